"""HDF5 files as a flat table of tensors, for the two formats that use them.

Rules: the HDF5 library only says where a tensor lies, its values come from the mapped file; links
to other names and files, compressed and scattered values are refused; attributes are never read.
HDF5 has no bfloat16: it is stored as two opaque bytes, as Keras does. Read next: `hf_tf_h5.py`.
"""

import mmap
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import FileIO
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from mobilebert_core.checkpoints.files import damaged, map_file
from mobilebert_core.checkpoints.store import StoredTensor, check_shape, mapped_tensor
from mobilebert_core.errors import CheckpointError, MissingDependencyError

_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_RAW_BFLOAT16 = np.dtype("V2")
_MAX_DEPTH = 32  # groups in groups; a MobileBERT has fewer than half as many


def import_h5py() -> Any:
    """The package h5py.

    Raises:
        MissingDependencyError: it is not installed.
    """
    try:
        import h5py
    except ImportError as error:
        raise MissingDependencyError(
            'HDF5 checkpoints (*.h5) need h5py; type: pip install "mobilebert[h5]"'
        ) from error
    return h5py


def read_h5(path: Path) -> dict[str, StoredTensor]:
    """The datasets of a file by their whole names, e.g. `mobilebert/encoder/kernel:0`.

    Raises:
        CheckpointError: the file is damaged, or holds more than plain tensors in one piece each.
        MissingDependencyError: h5py is not installed.
    """
    data = map_file(path)
    if data[: len(_SIGNATURE)] != _SIGNATURE:  # a user block, of any content, would come before it
        raise damaged(path, "it does not begin as HDF5 files do")
    h5py = import_h5py()
    try:
        with h5py.File(path, "r", locking=False) as file:
            return {
                name: _stored_tensor(h5py, path, data, name, dataset)
                for name, dataset in _datasets(h5py, path, file)
            }
    except CheckpointError:
        raise
    except Exception as error:  # of many kinds, according to what is wrong in the file
        raise damaged(path, f"HDF5 cannot read it ({error})") from error


def _datasets(h5py: Any, path: Path, file: Any) -> Iterator[tuple[str, Any]]:
    """Every dataset and its name; no object may have two names, so that the walk ends."""
    seen: set[int] = set()
    groups = [("", file, 0)]
    while groups:
        start, group, depth = groups.pop()
        if depth > _MAX_DEPTH:
            raise damaged(path, f"its groups are nested more than {_MAX_DEPTH} deep")
        for key in group:
            name = start + key
            if not name.isprintable() or "/" in key or key in {"", "."}:
                raise damaged(path, f"it has the impossible name {name!r}")
            link = group.id.links.get_info(key.encode())
            if link.type != h5py.h5l.TYPE_HARD:
                raise damaged(path, f"{name!r} is a link to elsewhere, which is not followed")
            if link.u in seen:
                raise damaged(path, f"{name!r} is another name of something that has one")
            seen.add(link.u)
            found = group[key]
            if isinstance(found, h5py.Group):
                groups.append((f"{name}/", found, depth + 1))
            elif isinstance(found, h5py.Dataset):
                yield name, found
            else:
                raise damaged(path, f"{name!r} is neither a group nor a dataset")


def _stored_tensor(h5py: Any, path: Path, data: mmap.mmap, name: str, dataset: Any) -> StoredTensor:
    kind = dataset.id.get_type()
    dtype = _dtype(h5py, path, name, kind)
    if dataset.shape is None:
        raise damaged(path, f"{name!r} has no shape")
    shape = check_shape(path, name, dataset.shape)
    if max(shape, default=0) > len(data):  # also where another size is 0
        raise damaged(path, f"{name!r} of shape {shape} is larger than the file")
    size = prod(shape) * kind.get_size()
    offset = _offset(h5py, path, name, dataset) if size else 0
    if offset > len(data) - size:
        raise damaged(path, f"{name!r} lies outside the file")
    return mapped_tensor(data, shape, dtype, offset)


def _dtype(h5py: Any, path: Path, name: str, kind: Any) -> str:
    """The name of a type; integers have one too, for they may be in tensors that are ignored."""
    h5t = h5py.h5t
    own = {
        "float16": h5t.IEEE_F16LE,
        "float32": h5t.IEEE_F32LE,
        "float64": h5t.IEEE_F64LE,
    }
    for dtype, known in own.items():
        if kind.equal(known):
            return dtype
    family = kind.get_class()
    if family == h5t.OPAQUE and kind.get_size() == _RAW_BFLOAT16.itemsize:
        return "bfloat16"
    if family == h5t.INTEGER:
        sign = "u" if kind.get_sign() == h5t.SGN_NONE else ""
        return f"{sign}int{8 * kind.get_size()}"
    if family == h5t.FLOAT and kind.get_order() != h5t.ORDER_LE:
        raise damaged(path, f"the numbers of {name!r} are big-endian, expected little-endian ones")
    raise damaged(path, f"{name!r} holds something other than numbers of 16, 32 or 64 bits")


def _offset(h5py: Any, path: Path, name: str, dataset: Any) -> int:
    """Where the values begin that a file holds in one piece."""
    properties = dataset.id.get_create_plist()
    if properties.get_layout() == h5py.h5d.VIRTUAL or properties.get_external_count():
        raise damaged(path, f"the values of {name!r} are in other files, which are not opened")
    if properties.get_layout() != h5py.h5d.CONTIGUOUS:
        raise CheckpointError(
            f"{name!r} in {path} is compressed or in pieces, expected values in one piece as Keras "
            "and transformers store them; type: h5repack -f NONE -l CONTI OLD NEW"
        )
    offset = dataset.id.get_offset()
    if offset is None:
        raise damaged(path, f"the values of {name!r} have never been written")
    return int(offset)


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
    h5py = import_h5py()
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
            dataset = file.create_dataset(name, data=values.view(_RAW_BFLOAT16))
            dataset.attrs["dtype"] = "bfloat16"
        else:
            file.create_dataset(name, data=values)
