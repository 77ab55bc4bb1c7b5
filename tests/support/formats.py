"""Checkpoint formats as the tests take them: those whose packages are installed."""

import importlib.util
from collections.abc import Mapping
from typing import Any

import pytest

from mobilebert_conformance.weights import Array

NEEDS = {"hf-tf-h5": "h5py", "keras-weights": "h5py", "orbax": "orbax"}


def require(*formats: str) -> None:
    """Skip the test when the package of a format is absent."""
    for name in formats:
        package = NEEDS.get(name)
        if package is not None and importlib.util.find_spec(package) is None:
            pytest.skip(f"{name} needs {package}, which is not installed")


def contents(weights: Mapping[str, Array]) -> dict[str, tuple[Any, ...]]:
    """Every bit of some tensors, for a comparison."""
    return {name: (a.shape, a.dtype.name, a.tobytes()) for name, a in weights.items()}
