"""TensorFlow's checkpoint files: `<prefix>.index` and `<prefix>.data-00000-of-00001`.

The index is a sorted table from variable names to small protocol-buffer messages, which say where
in the data files a tensor is; the empty name holds the header. Rules: every message is checked
against the data files on opening, and every tensor's checksum when it is read. Messages:
TensorFlow's `tensor_bundle.proto`, `tensor_shape.proto` and `types.proto`.
"""

import mmap
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path

from mobilebert_core.checkpoints.crc32c import masked_crc32c
from mobilebert_core.checkpoints.files import ByteReader, damaged, map_file
from mobilebert_core.checkpoints.sorted_table import read_table
from mobilebert_core.checkpoints.store import (
    DTYPES,
    Array,
    StoredTensor,
    check_shape,
    mapped_tensor,
)
from mobilebert_core.errors import CheckpointError, raise_faults

INDEX_SUFFIX = ".index"
_DTYPE_NAMES = {
    1: "float32",
    2: "float64",
    3: "int32",
    7: "string",
    9: "int64",
    10: "bool",
    14: "bfloat16",
    19: "float16",
}
_MAX_SHARDS = 10_000
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


@dataclass(frozen=True)
class _Entry:
    """A variable's message."""

    dtype: str
    shape: tuple[int, ...]
    shard: int
    offset: int
    size: int
    checksum: int


def read_bundle(path: Path) -> dict[str, StoredTensor]:
    """The variables of a checkpoint, by its index file.

    Raises:
        CheckpointError: a file is damaged or missing, or a variable is of a kind that no MobileBERT
            has (partitioned, big-endian).
    """
    messages = read_table(path)
    shards = _open_shards(path, _shard_count(path, messages.pop(b"", b"")))
    tensors: dict[str, StoredTensor] = {}
    for key, message in messages.items():
        name = key.decode("utf-8", "backslashreplace")
        entry = _parse_entry(path, name, message)
        if entry.shard >= len(shards):
            raise damaged(path, f"{name} is in data file {entry.shard} of {len(shards)}")
        data_path, data = shards[entry.shard]
        if entry.offset + entry.size > len(data):
            raise damaged(
                data_path, f"it has {len(data)} bytes, {name} ends at {entry.offset + entry.size}"
            )
        if entry.dtype in DTYPES and entry.size != _bytes_of(entry):
            raise damaged(path, f"{name} has {entry.size} bytes, which {entry.shape} does not fit")
        tensors[name] = _stored_tensor(name, entry, data_path, data)
    return tensors


def _bytes_of(entry: _Entry) -> int:
    return prod(entry.shape) * DTYPES[entry.dtype].itemsize


def _stored_tensor(name: str, entry: _Entry, path: Path, data: mmap.mmap) -> StoredTensor:
    def read() -> Array:
        if masked_crc32c(data, entry.offset, entry.size) != entry.checksum:
            raise damaged(path, f"the checksum of {name} is wrong")
        return mapped_tensor(data, entry.shape, entry.dtype, entry.offset).read()

    return StoredTensor(entry.shape, entry.dtype, read)


def _open_shards(path: Path, count: int) -> list[tuple[Path, mmap.mmap]]:
    prefix = path.name.removesuffix(INDEX_SUFFIX)
    files = [path.with_name(f"{prefix}.data-{i:05d}-of-{count:05d}") for i in range(count)]
    missing = [f"no {file.name} in {file.parent}" for file in files if not file.is_file()]
    raise_faults(CheckpointError, f"Data files of {path} are missing; get them again", missing)
    return [(file, map_file(file)) for file in files]


def _shard_count(path: Path, message: bytes) -> int:
    """The number of data files, from the header."""
    fields = dict(_fields(ByteReader(message, path)))
    count = fields.get(1, 0)
    if not isinstance(count, int) or not 1 <= count <= _MAX_SHARDS:
        raise damaged(path, f"its header announces {count!r} data files")
    if fields.get(2, 0) != 0:
        raise damaged(path, "its numbers are big-endian, expected little-endian ones")
    return count


def _parse_entry(path: Path, name: str, message: bytes) -> _Entry:
    values = {1: 0, 3: 0, 4: 0, 5: 0, 6: 0}
    shape: tuple[int, ...] = ()
    for number, value in _fields(ByteReader(message, path)):
        if number == 7:
            raise CheckpointError(
                f"{path}: {name} is a partitioned variable, expected whole ones; save the "
                "checkpoint again without partitioner"
            )
        if number == 2 and isinstance(value, bytes):
            shape = check_shape(path, name, tuple(_dimensions(path, value)))
        elif number in values and isinstance(value, int):
            values[number] = value
        else:
            raise damaged(path, f"the entry of {name} has an unknown field {number}")
    dtype = _DTYPE_NAMES.get(values[1], f"TensorFlow's dtype {values[1]}")
    return _Entry(dtype, shape, values[3], values[4], values[5], values[6])


def _dimensions(path: Path, message: bytes) -> Iterator[int]:
    for number, value in _fields(ByteReader(message, path)):
        if number != 2 or not isinstance(value, bytes):
            raise damaged(path, "a variable of unknown shape")
        size = dict(_fields(ByteReader(value, path))).get(1, 0)
        # A negative size arrives as a huge number; check_shape refuses both.
        yield size if isinstance(size, int) and size < 1 << 63 else -1


def _fields(reader: ByteReader) -> Iterator[tuple[int, int | bytes]]:
    """The fields of a protocol-buffer message: number and value."""
    while reader.position < reader.end:
        tag = reader.varint()
        kind = tag & 7
        if kind == _VARINT:
            yield tag >> 3, reader.varint()
        elif kind == _BYTES:
            yield tag >> 3, reader.take(reader.varint())
        elif kind == _FIXED32:
            yield tag >> 3, reader.number("<I")
        elif kind == _FIXED64:
            yield tag >> 3, reader.number("<Q")
        else:
            raise reader.fail(f"a message has a field of kind {kind}")
