"""Tensors that are still on disk.

A reader returns `StoredTensor`s under the names of its file; `names.py` gives them canonical names;
`TensorStore` is what the rest of the library sees. Rules: shapes and dtypes cost nothing, data is
read when asked for, and nothing is kept. Read next: `names.py`.
"""

import mmap
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt

from mobilebert_core.checkpoints.files import damaged

Array = npt.NDArray[Any]

# The dtypes that weights may have. A file may also hold others, in tensors that no model needs.
DTYPES: dict[str, np.dtype[Any]] = {
    "float64": np.dtype(np.float64),
    "float32": np.dtype(np.float32),
    "float16": np.dtype(np.float16),
    "bfloat16": np.dtype(ml_dtypes.bfloat16),
}
# How libraries without bfloat16 keep it: two bytes of no meaning.
RAW_BFLOAT16 = np.dtype("V2")
_MAX_RANK = 8  # far beyond any weight, and below every limit of NumPy


@dataclass(frozen=True)
class StoredTensor:
    """One tensor in a file.

    Attributes:
        shape: its shape.
        dtype: name of its dtype, e.g. `float32`; one of `DTYPES` if it can be a weight.
        read: returns its values as a new array.
    """

    shape: tuple[int, ...]
    dtype: str
    read: Callable[[], Array]

    @property
    def nbytes(self) -> int:
        """The bytes that its values take; `dtype` is one of `DTYPES`."""
        return prod(self.shape) * DTYPES[self.dtype].itemsize

    def after(self, check: Callable[[], None]) -> "StoredTensor":
        """The same tensor, whose values are read after a check, which raises if need be."""
        read = self.read

        def checked() -> Array:
            check()
            return read()

        return StoredTensor(self.shape, self.dtype, checked)

    def transposed(self) -> "StoredTensor":
        """The same tensor with its axes reversed."""
        read = self.read
        return StoredTensor(
            self.shape[::-1], self.dtype, lambda: np.asarray(read().transpose(), order="C")
        )


def raw_bytes(values: Array) -> npt.NDArray[np.uint8]:
    """The bytes of an array in C order, without a copy where it is in that order."""
    return np.ascontiguousarray(values).reshape(-1).view(np.uint8)


def check_shape(path: Path, name: str, shape: tuple[object, ...]) -> tuple[int, ...]:
    """The shape that a file gives for a tensor, if a tensor can have it.

    Raises:
        CheckpointError: too many axes, or a size that is negative or no integer.
    """
    sizes = tuple(size for size in shape if type(size) is int and size >= 0)
    if len(sizes) != len(shape) or len(shape) > _MAX_RANK:
        raise damaged(path, f"the shape of {name!r} is impossible")
    return sizes


def mapped_tensor(
    data: mmap.mmap,
    shape: tuple[int, ...],
    dtype: str,
    offset: int,
    strides: tuple[int, ...] | None = None,
) -> StoredTensor:
    """A tensor in a mapped file, whose bounds the caller has checked; strides are in bytes."""

    def read() -> Array:
        if prod(shape) == 0:
            return np.empty(shape, DTYPES[dtype])
        view: Array = np.ndarray(shape, DTYPES[dtype], data, offset, strides)
        values = view.copy()
        _release(data, offset, values.nbytes)
        return values

    return StoredTensor(shape, dtype, read)


def _release(data: mmap.mmap, start: int, size: int) -> None:
    """Let go of mapped pages that have been read: resident, they count as memory of the process."""
    if hasattr(mmap, "MADV_DONTNEED"):
        first = start - start % mmap.PAGESIZE
        data.madvise(mmap.MADV_DONTNEED, first, min(start + size, len(data)) - first)


class TensorStore(Mapping[str, Array]):
    """Lazy weights: canonical name -> array, in the order of the computation.

    Each access reads one tensor from its mapped file into a new array and keeps nothing.

    Args:
        tensors: the tensors by canonical name; their dtypes are among `DTYPES`.
    """

    def __init__(self, tensors: Mapping[str, StoredTensor]) -> None:
        self._tensors = dict(tensors)

    def __getitem__(self, name: str) -> Array:
        return self._tensors[name].read()

    def __contains__(self, name: object) -> bool:
        return name in self._tensors  # Mapping's own would read the tensor

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)

    def __repr__(self) -> str:
        return f"TensorStore({len(self)} tensors)"

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of one tensor; reads no data."""
        return self._tensors[name].shape

    def dtype(self, name: str) -> np.dtype[Any]:
        """The dtype of one tensor; reads no data."""
        return DTYPES[self._tensors[name].dtype]

    def nbytes(self, name: str) -> int:
        """The bytes that one tensor takes; reads no data."""
        return self._tensors[name].nbytes

    def stored(self, name: str) -> StoredTensor:
        """One tensor, still on disk."""
        return self._tensors[name]

    def select(self, names: Iterable[str]) -> "TensorStore":
        """A store of some of the tensors; reads no data.

        Raises:
            KeyError: a name is not in the store.
        """
        return TensorStore({name: self._tensors[name] for name in names})


def stored_tensors(weights: Mapping[str, Array]) -> dict[str, StoredTensor]:
    """Weights as tensors that are read when asked for, whether they are on disk or in memory.

    A dtype that is none of weights keeps its name; saving refuses it.
    """
    if hasattr(weights, "stored"):
        return {name: weights.stored(name) for name in weights}
    return {name: _in_memory(weights[name]) for name in weights}


def _in_memory(values: Array) -> StoredTensor:
    return StoredTensor(values.shape, str(values.dtype), lambda: values)
