"""The limits of `limits.toml`, read once."""

import tomllib
from importlib import resources

LIMITS: dict[str, dict[str, float]] = tomllib.loads(
    resources.files("mobilebert_conformance").joinpath("limits.toml").read_text()
)
