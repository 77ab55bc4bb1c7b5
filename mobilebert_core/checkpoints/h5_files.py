"""HDF5 files as a flat table of tensors, for the two formats that use them.

Rules: files are read by our own code, for the HDF5 library can crash on damaged ones, and written
by h5py; values come from the mapped file; links to other names and files, compressed and scattered
values are refused; attributes are never read. Read next: `h5_metadata.py`.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import FileIO
from pathlib import Path
from typing import Any

import numpy as np

from mobilebert_core.checkpoints.files import map_file
from mobilebert_core.checkpoints.h5_messages import tensor_from_messages
from mobilebert_core.checkpoints.h5_metadata import datasets
from mobilebert_core.checkpoints.store import RAW_BFLOAT16, StoredTensor
from mobilebert_core.errors import MissingDependencyError


def _import_h5py() -> Any:
    """The package h5py.

    Raises:
        MissingDependencyError: it is not installed.
    """
    try:
        import h5py
    except ImportError as error:
        raise MissingDependencyError(
            'Writing HDF5 checkpoints (*.h5) needs h5py; type: pip install "mobilebert[h5]"'
        ) from error
    return h5py


def read_h5(path: Path) -> dict[str, StoredTensor]:
    """The datasets of a file by their whole names, e.g. `mobilebert/encoder/kernel:0`.

    Raises:
        CheckpointError: the file is damaged, or holds more than plain tensors in one piece each.
    """
    data = map_file(path)
    return {
        name: tensor_from_messages(path, data, name, messages)
        for name, messages in datasets(path, data)
    }


class _Disk(FileIO):
    """A file that never tells HDF5 of a failed write, after which it would crash the process."""

    failure: OSError | None = None

    def write(self, values: Any) -> int:
        """Write all of it, unless a write has failed before."""
        left = memoryview(values).cast("B")
        size = len(left)
        while left and self.failure is None:
            try:
                left = left[super().write(left) :]
            except OSError as error:
                self.failure = error
        return size

    def truncate(self, size: int | None = None) -> int:
        """Set the size, likewise."""
        try:
            return super().truncate(size)
        except OSError as error:
            self.failure = self.failure or error
            return size or 0


@contextmanager
def new_h5_file(path: Path) -> Iterator[Any]:
    """An empty file that is open for writing; closed afterwards.

    Raises:
        MissingDependencyError: h5py is not installed.
        OSError: the file could not be written.
    """
    h5py = _import_h5py()
    with _Disk(path, "w+") as disk:
        try:
            with h5py.File(disk, "w") as file:
                yield file
        finally:
            if disk.failure is not None:
                raise disk.failure


def write_tensors(file: Any, tensors: Mapping[str, StoredTensor]) -> None:
    """Add tensors to a file, one at a time."""
    for name, tensor in tensors.items():
        values = np.asarray(tensor.read(), order="C")
        if tensor.dtype == "bfloat16":
            dataset = file.create_dataset(name, data=values.view(RAW_BFLOAT16))
            dataset.attrs["dtype"] = "bfloat16"
        else:
            file.create_dataset(name, data=values)
