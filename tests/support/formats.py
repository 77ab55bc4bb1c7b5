"""Checkpoint formats as the tests take them: those whose packages are installed."""

import importlib.util
import shutil
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mobilebert_conformance.weights import Array
from mobilebert_core.checkpoints.formats import get_format
from mobilebert_core.checkpoints.store import StoredTensor

NEEDS = {"hf-tf-h5": "h5py", "keras-weights": "h5py", "orbax": "orbax"}


def is_available(format: str) -> bool:
    """Whether a format can be written here."""
    package = NEEDS.get(format)
    return package is None or importlib.util.find_spec(package) is not None


def require(*formats: str) -> None:
    """Skip the test when the package of a format is absent."""
    for name in formats:
        if not is_available(name):
            pytest.skip(f"{name} needs {NEEDS[name]}, which is not installed")


def contents(weights: Mapping[str, Array]) -> dict[str, tuple[Any, ...]]:
    """Every bit of some tensors, for a comparison."""
    return {name: (a.shape, a.dtype.name, a.tobytes()) for name, a in weights.items()}


def rewrite(folder: Path, format: str, tensors: Mapping[str, StoredTensor]) -> None:
    """Put other tensors, by their names in the file, in place of a checkpoint's."""
    row = get_format(format)
    for path in [each for each in folder.iterdir() if row.owns(each)]:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    row.write(folder, tensors, None)


def tensors_that_live_alone(
    count: int,
) -> tuple[dict[str, StoredTensor], list[weakref.ref[Array]]]:
    """Tensors whose reading fails while another's values are held, and what has been read."""
    alive: list[weakref.ref[Array]] = []

    def read() -> Array:
        assert not [each for each in alive if each() is not None]
        values = np.random.default_rng(len(alive)).standard_normal(5).astype(np.float32)
        alive.append(weakref.ref(values))
        return values

    return {str(number): StoredTensor((5,), "float32", read) for number in range(count)}, alive
