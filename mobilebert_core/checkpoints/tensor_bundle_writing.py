"""Being written."""

from collections.abc import Mapping
from pathlib import Path

from mobilebert_core.checkpoints.store import StoredTensor


def write_bundle(folder: Path, tensors: Mapping[str, StoredTensor], limit: int | None) -> None:
    """Write tensors into a folder."""
    raise NotImplementedError
