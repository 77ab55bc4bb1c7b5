"""Canonical weights <-> NumPy parameters: same names, same layouts, one dtype."""

from collections.abc import Mapping
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]


class Weights:
    """Canonical weights seen from inside the model: `weights.at("attention.self")["..."]`.

    Arguments:
        arrays: all tensors by canonical name.
        prefix: where this view stands, ending in a dot, or empty.
    """

    def __init__(self, arrays: Mapping[str, Array], prefix: str = "") -> None:
        self.arrays = arrays
        self.prefix = prefix

    def at(self, name: str) -> "Weights":
        """The view one module further in."""
        return Weights(self.arrays, f"{self.prefix}{name}.")

    def __getitem__(self, name: str) -> Array:
        return self.arrays[self.prefix + name]

    def get(self, name: str) -> Array | None:
        """The tensor, or None where the configuration has none."""
        return self.arrays.get(self.prefix + name)

    def __contains__(self, name: str) -> bool:
        return self.prefix + name in self.arrays


def from_canonical(weights: Mapping[str, Array], dtype: str) -> dict[str, Array]:
    """Copies of canonical weights in the dtype of the computation."""
    return {name: np.array(weights[name], dtype=dtype) for name in weights}


def to_canonical(parameters: Mapping[str, Array]) -> dict[str, Array]:
    """Copies of a model's parameters under their canonical names: the inverse."""
    return {name: array.copy() for name, array in parameters.items()}
