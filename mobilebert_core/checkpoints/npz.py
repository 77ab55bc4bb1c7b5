"""NumPy's own archive: `weights.npz`, an uncompressed zip of one `.npy` for each tensor.

Rules: nothing is unpickled and nothing decompressed; a tensor is read from its place in the mapped
archive. NumPy has no bfloat16 and writes it as two raw bytes, `|V2`, which are read as bfloat16.
"""

import mmap
import zipfile
from collections.abc import Mapping
from io import BytesIO
from math import prod
from pathlib import Path
from tokenize import TokenError

import numpy as np

from mobilebert_core.checkpoints.files import damaged, map_file
from mobilebert_core.checkpoints.store import (
    DTYPES,
    RAW_BFLOAT16,
    StoredTensor,
    check_shape,
    mapped_tensor,
)
from mobilebert_core.checkpoints.zip_archives import archive_members

FILE = "weights.npz"
_SUFFIX = ".npy"
# What NumPy lets escape from a header that it cannot parse.
_UNREADABLE = (
    ValueError,
    KeyError,
    TypeError,
    SyntaxError,
    TokenError,
    RecursionError,
    MemoryError,
)
_MAX_HEADER = 4096  # bytes; NumPy's own are 118


def read_npz(path: Path) -> dict[str, StoredTensor]:
    """The arrays of an archive, by name.

    Raises:
        CheckpointError: the archive is damaged, compressed, or holds more than plain arrays.
    """
    data = map_file(path)
    tensors: dict[str, StoredTensor] = {}
    for file_name, member in archive_members(path, data).items():
        name = file_name.removesuffix(_SUFFIX)
        if name == file_name:
            raise damaged(path, f"it holds {name!r}, expected arrays (*.npy) only")
        tensors[name] = _stored_tensor(path, data, name, *member.range()).after(member.check)
    return tensors


def _stored_tensor(path: Path, data: mmap.mmap, name: str, start: int, size: int) -> StoredTensor:
    shape, in_columns, dtype, header = _header(
        path, name, data[start : start + min(size, _MAX_HEADER)]
    )
    shape = check_shape(path, name, shape)
    own = "bfloat16" if dtype == RAW_BFLOAT16 else dtype.name
    if size != header + prod(shape) * dtype.itemsize:
        raise damaged(path, f"{name!r} has {size - header} bytes, which {shape} does not fit")
    if own in DTYPES and dtype.newbyteorder("<") != dtype:
        raise damaged(path, f"the numbers of {name!r} are big-endian, expected little-endian ones")
    if in_columns:
        return mapped_tensor(data, shape[::-1], own, start + header).transposed()
    return mapped_tensor(data, shape, own, start + header)


def _header(
    path: Path, name: str, text: bytes
) -> tuple[tuple[int, ...], bool, np.dtype[np.generic], int]:
    """Shape, whether in Fortran's order, dtype, and the number of bytes before the values."""
    file = BytesIO(text)
    try:
        version = np.lib.format.read_magic(file)
        read = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }[version]
        shape, in_columns, dtype = read(file, max_header_size=_MAX_HEADER)
    except _UNREADABLE as error:
        raise damaged(path, f"{name!r} is no plain array ({error})") from error
    if dtype.hasobject:
        raise damaged(path, f"{name!r} holds Python objects, expected numbers; nothing was run")
    return shape, in_columns, dtype, file.tell()


def write_npz(folder: Path, tensors: Mapping[str, StoredTensor], limit: int | None) -> None:
    """Write tensors into a folder, one at a time.

    Args:
        folder: an existing folder without weights.
        tensors: name in the file -> tensor.
        limit: not used; there is one file.
    """
    with zipfile.ZipFile(folder / FILE, "w", zipfile.ZIP_STORED) as archive:
        for name, tensor in tensors.items():
            with archive.open(name + _SUFFIX, "w", force_zip64=True) as member:
                values = np.ascontiguousarray(tensor.read())
                if tensor.dtype == "bfloat16":
                    values = values.view(RAW_BFLOAT16)
                np.lib.format.write_array(member, values, allow_pickle=False)
