"""Two checkpoints side by side, whatever their formats: what `mobilebert diff` shows.

Rules: tensors are compared under canonical names, in the canonical layout and bit by bit, one pair
in memory at a time; how far numbers lie apart is computed in float64. What the files hold beside
the weights (optimizer slots, tied copies) does not count.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import inf
from pathlib import Path
from typing import Any

import numpy as np

from mobilebert_core.checkpoints import Checkpoint, StoredTensor
from mobilebert_core.loading import open_source

_KINDS_OF_VALUES = ("values", "dtype")  # the others come first

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class TensorDifference:
    """One tensor that is not the same in both.

    Attributes:
        name: canonical name.
        kind: `only in the first`, `only in the second`, `shape`, `dtype` (the numbers may be the
            same), or `values`.
        first: shape and dtype in the first checkpoint, or empty.
        second: likewise in the second.
        count: how many numbers differ, bit by bit; of all, where shapes do.
        largest: the largest absolute difference; infinite where one is not a number, or missing.
        relative: that difference over the largest number of the tensor in the first checkpoint.
    """

    name: str
    kind: str
    first: str
    second: str
    count: int
    largest: float
    relative: float


@dataclass(frozen=True)
class Comparison:
    """What differs between two checkpoints.

    Attributes:
        first: the first's folder.
        second: the second's folder.
        compared: how many tensors both have.
        tensors: those that differ: missing ones and other shapes, then the numerically largest
            difference first.
        settings: configuration field, or `head`, -> value in the first and in the second.
    """

    first: Path
    second: Path
    compared: int
    tensors: tuple[TensorDifference, ...]
    settings: Mapping[str, tuple[Any, Any]]

    @property
    def same(self) -> bool:
        """Whether nothing differs."""
        return not self.tensors and not self.settings

    def to_dict(self) -> dict[str, Any]:
        """The same as plain values, for JSON, which knows no infinity: None stands for it."""
        rows = [asdict(each) for each in self.tensors]
        for row in rows:
            row |= {key: None for key in ("largest", "relative") if row[key] == inf}
        return {
            "first": str(self.first),
            "second": str(self.second),
            "same": self.same,
            "compared": self.compared,
            "tensors": rows,
            "settings": {name: list(values) for name, values in self.settings.items()},
        }


def diff(first: str | Path, second: str | Path, *, format: str | None = None) -> Comparison:
    """Compare two checkpoints, tensor by tensor, across formats.

    Args:
        first: a folder, a weights file, a packaged name or a hub id.
        second: likewise.
        format: forces one of several formats in a folder, for both.

    Raises:
        CheckpointError: one of them is absent, damaged or not a MobileBERT's.
        ConfigError: a configuration is invalid or ambiguous.
    """
    one, other = (open_source(source, format=format) for source in (first, second))
    shared = [name for name in one.weights if name in other.weights]
    rows = [_missing(one, name, "only in the first") for name in one.weights if name not in shared]
    rows += [
        _missing(other, name, "only in the second") for name in other.weights if name not in shared
    ]
    for name in shared:
        row = _compare(name, one.weights.stored(name), other.weights.stored(name))
        if row is not None:
            rows.append(row)
    rows.sort(
        key=lambda row: (row.kind in _KINDS_OF_VALUES, -row.largest, -row.relative, -row.count)
    )
    return Comparison(one.path, other.path, len(shared), tuple(rows), _settings(one, other))


def _describe(tensor: StoredTensor) -> str:
    return f"{tensor.dtype} {tensor.shape}"


def _missing(checkpoint: Checkpoint, name: str, kind: str) -> TensorDifference:
    tensor = checkpoint.weights.stored(name)
    sides = (_describe(tensor), "") if kind.endswith("first") else ("", _describe(tensor))
    return TensorDifference(name, kind, *sides, int(np.prod(tensor.shape)), inf, inf)


def _compare(name: str, first: StoredTensor, second: StoredTensor) -> TensorDifference | None:
    sides = _describe(first), _describe(second)
    if first.shape != second.shape:
        size = max(int(np.prod(each.shape)) for each in (first, second))
        return TensorDifference(name, "shape", *sides, size, inf, inf)
    one, other = first.read(), second.read()
    kind, count = "dtype", 0
    if first.dtype == second.dtype:
        bits = np.dtype(f"u{one.dtype.itemsize}")
        differing = np.ascontiguousarray(one).view(bits) != np.ascontiguousarray(other).view(bits)
        kind, count = "values", int(np.count_nonzero(differing))
        if not count:
            return None
    unequal, largest, relative = _distance(one.astype(np.float64), other.astype(np.float64))
    return TensorDifference(name, kind, *sides, count or unequal, largest, relative)


def _distance(one: Array, other: Array) -> tuple[int, float, float]:
    """How many numbers differ; the largest difference, absolute and over the largest number.

    Equal infinities are equal, and so is what is no number in both.
    """
    same = (one == other) | (np.isnan(one) & np.isnan(other))
    with np.errstate(invalid="ignore"):
        apart = np.where(same, 0.0, np.abs(one - other))
    largest = float(np.where(np.isnan(apart), inf, apart).max(initial=0.0))
    finite = np.abs(one[np.isfinite(one)])
    scale = float(finite.max(initial=0.0))
    relative = largest / scale if scale else (inf if largest else 0.0)
    return int(np.count_nonzero(~same)), largest, relative


def _settings(one: Checkpoint, other: Checkpoint) -> dict[str, tuple[Any, Any]]:
    first, second = one.config.to_dict(), other.config.to_dict()  # label2id repeats id2label
    found = {
        name: (first.get(name), second.get(name))
        for name in first | second
        if name != "label2id" and first.get(name) != second.get(name)
    }
    if None not in (one.head, other.head) and one.head != other.head:
        found["head"] = (one.head, other.head)
    return found
