"""PyTorch's `pytorch_model.bin`, read without PyTorch: one file, or several beside an index.

Two kinds are on disk: a zip archive (since PyTorch 1.6) and, before, pickles followed by the data.
Rules: only tensors in plain containers are read (see `torch_pickle.py`), nothing is executed, and
every tensor's window lies within its storage. Nothing is decompressed: PyTorch stores archive
members as they are, so a compressed one is not PyTorch's.
"""

import mmap
from collections.abc import Callable
from math import prod
from pathlib import Path

from mobilebert_core.checkpoints.files import ByteReader, damaged, map_file
from mobilebert_core.checkpoints.sharding import read_sharded
from mobilebert_core.checkpoints.store import DTYPES, StoredTensor, check_shape, mapped_tensor
from mobilebert_core.checkpoints.torch_pickle import Storage, StridedTensor, load_pickle
from mobilebert_core.checkpoints.zip_archives import ZIP_START, archive_members

_LEGACY_START = b"\x80\x02"
_MAGIC_NUMBER = 0x1950A86A20F9469CFC6C
_PROTOCOL_VERSION = 1001
_ITEM_SIZES = {"int64": 8, "int32": 4, "int16": 2, "int8": 1, "uint8": 1, "bool": 1} | {
    name: dtype.itemsize for name, dtype in DTYPES.items()
}

# Returns the first byte of a storage in the file, having checked that all of it is there, and what
# checks its content before it is read.
Locate = Callable[[Storage], tuple[int, Callable[[], None]]]


def read_torch_bin(path: Path) -> dict[str, StoredTensor]:
    """The tensors of a file, or of the files of an index.

    Raises:
        CheckpointError: a file is damaged or missing, or holds more than tensors; the message names
            what. Nothing is ever executed.
    """
    return read_sharded(path, _read_file)


def _read_file(path: Path) -> dict[str, StoredTensor]:
    data = map_file(path)
    start = data[:4]
    if start == ZIP_START:
        state, locate = _open_archive(path, data)
    elif start[:2] == _LEGACY_START:
        state, locate = _open_legacy(path, data)
    else:
        raise damaged(path, f"it starts with {start!r}, expected a PyTorch file")
    return {
        name: _stored_tensor(path, data, name, tensor, locate) for name, tensor in state.items()
    }


def _flat_state(path: Path, state: object) -> dict[str, StridedTensor]:
    """What a pickle holds, if that is tensors by name."""
    if not isinstance(state, dict):
        raise damaged(path, f"it holds a {type(state).__name__}, expected a dictionary of tensors")
    for name, tensor in state.items():
        if not isinstance(name, str) or not isinstance(tensor, StridedTensor):
            raise damaged(
                path,
                f"under {name!r} it holds a {type(tensor).__name__}, expected tensors only (a "
                "model's state dict; take it out of a training checkpoint)",
            )
    return state


def _stored_tensor(
    path: Path, data: mmap.mmap, name: str, tensor: StridedTensor, locate: Locate
) -> StoredTensor:
    storage = tensor.storage
    if not isinstance(tensor.shape, tuple) or not isinstance(tensor.strides, tuple):
        raise damaged(path, f"the tensor {name!r} has no shape")
    shape = check_shape(path, name, tensor.shape)
    strides = check_shape(path, name, tensor.strides)
    offset = tensor.offset
    if type(offset) is not int or offset < 0 or len(strides) != len(shape):
        raise damaged(path, f"the tensor {name!r} has an impossible layout")
    last = offset + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))
    count = prod(shape)
    # Expanded tensors, which repeat one number many times, are no weights: they could be huge.
    if count and (last >= storage.view_size or count > storage.view_size):
        raise damaged(path, f"the tensor {name!r} reaches beyond its storage")
    size = _ITEM_SIZES[storage.dtype]
    start, check = locate(storage)
    first = start + (storage.view_offset + offset) * size
    steps = tuple(stride * size for stride in strides)
    return mapped_tensor(data, shape, storage.dtype, first, steps).after(check)


def _open_archive(path: Path, data: mmap.mmap) -> tuple[dict[str, StridedTensor], Locate]:
    members = archive_members(path, data)
    pickles = [name for name in members if name.count("/") == 1 and name.endswith("/data.pkl")]
    if len(pickles) != 1:
        raise damaged(path, f"a zip archive with {len(pickles)} files */data.pkl, expected one")
    folder = pickles[0].removesuffix("data.pkl")
    if f"{folder}constants.pkl" in members:
        raise damaged(path, "a TorchScript program, expected weights")
    if f"{folder}byteorder" in members:
        start, size = members[f"{folder}byteorder"].range()
        if data[start : start + size] != b"little":
            raise damaged(path, "its numbers are big-endian, expected little-endian ones")

    def locate(storage: Storage) -> tuple[int, Callable[[], None]]:
        member = members.get(f"{folder}data/{storage.key}")
        if member is None:
            raise damaged(path, f"the storage {storage.key!r} is missing")
        start, size = member.range()
        if size != storage.size * _ITEM_SIZES[storage.dtype]:
            raise damaged(path, f"the storage {storage.key!r} has {size} bytes, not what it says")
        return start, member.check

    members[pickles[0]].check()
    start, size = members[pickles[0]].range()
    state = load_pickle(ByteReader(data, path, start, start + size))
    return _flat_state(path, state), locate


def _open_legacy(path: Path, data: mmap.mmap) -> tuple[dict[str, StridedTensor], Locate]:
    """Magic number, version, system, state dict, storage keys: five pickles; then the storages."""
    reader = ByteReader(data, path)
    magic, version, system = (load_pickle(reader) for _ in range(3))
    if magic != _MAGIC_NUMBER or version != _PROTOCOL_VERSION or not isinstance(system, dict):
        raise damaged(path, "a pickle, but not one that PyTorch has written")
    if system.get("little_endian") is not True:
        raise damaged(path, "its numbers are big-endian, expected little-endian ones")
    state, keys = _flat_state(path, load_pickle(reader)), load_pickle(reader)
    if not isinstance(keys, list):
        raise damaged(path, "it lists no storages")
    declared = {tensor.storage.key: tensor.storage for tensor in state.values()}
    starts: dict[str, int] = {}
    for key in keys:
        if not isinstance(key, str) or key not in declared or key in starts:
            raise damaged(path, "its list of storages does not fit its tensors")
        count, size = reader.number("<q"), declared[key].size
        if count != size:
            raise reader.fail(f"the storage {key!r} has {count} numbers, expected {size}")
        starts[key] = reader.skip(size * _ITEM_SIZES[declared[key].dtype])

    def locate(storage: Storage) -> tuple[int, Callable[[], None]]:
        first = declared[storage.key]
        if storage.key not in starts or (storage.size, storage.dtype) != (first.size, first.dtype):
            raise damaged(path, f"the storage {storage.key!r} is missing or has two sizes")
        return starts[storage.key], lambda: None  # such files have no checksums

    return state, locate
