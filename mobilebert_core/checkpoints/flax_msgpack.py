"""Flax's `flax_model.msgpack`: nested maps of arrays in MessagePack, read without Flax.

An array is an extension of type 1 that holds shape, name of the dtype and bytes. Rules: only maps
of arrays are read, arrays stay in the mapped file until they are asked for, and what is written is
byte for byte what `flax.serialization.msgpack_serialize` makes, but for arrays beyond a gibibyte,
which Flax splits. Read next: `flax_naming.py`.
"""

import struct
from collections.abc import Iterator, Mapping
from math import prod
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

from mobilebert_core.checkpoints.files import ByteReader, damaged, map_file
from mobilebert_core.checkpoints.store import (
    DTYPES,
    StoredTensor,
    check_shape,
    mapped_tensor,
    raw_bytes,
)
from mobilebert_core.errors import CheckpointError

FILE = "flax_model.msgpack"
_ARRAY, _SCALAR = 1, 3  # Flax's extension types; a NumPy scalar is written as an array
_CHUNKED = "__msgpack_chunked_array__"
# Far beyond any model; long paths to many small arrays would otherwise outgrow the file.
MAX_TENSORS, _MAX_DEPTH, _MAX_KEY, _MAX_PATH = 100_000, 32, 200, 500

# First byte -> layout of the length, as `struct` has it.
_MAPS = {0xDE: ">H", 0xDF: ">I"}
_STRINGS = {0xD9: ">B", 0xDA: ">H", 0xDB: ">I"}
_BYTES = {0xC4: ">B", 0xC5: ">H", 0xC6: ">I"}
_EXTENSIONS = {0xC7: ">B", 0xC8: ">H", 0xC9: ">I"}
_FIXED_EXTENSIONS = {0xD4: 1, 0xD5: 2, 0xD6: 4, 0xD7: 8, 0xD8: 16}
_FIXED_CODES = {size: code for code, size in _FIXED_EXTENSIONS.items()}
_INTEGERS = {0xCC: ">B", 0xCD: ">H", 0xCE: ">I", 0xCF: ">Q"}

Tree: TypeAlias = "dict[str, Tree | StoredTensor]"


def read_flax_msgpack(path: Path) -> dict[str, StoredTensor]:
    """The arrays of a file by their paths in the tree, joined by dots.

    Raises:
        CheckpointError: the file is damaged, or holds more than nested maps of arrays.
    """
    data = map_file(path)
    reader = ByteReader(data, path)
    tensors: dict[str, StoredTensor] = {}
    for name, tensor in _entries(reader, data, "", 0):
        if name in tensors:
            raise damaged(path, f"it holds {name!r} twice")
        if len(tensors) == MAX_TENSORS:
            raise damaged(path, f"it holds more than {MAX_TENSORS} arrays")
        tensors[name] = tensor
    if reader.position != reader.end:
        raise reader.fail(f"{reader.end - reader.position} bytes follow the tree")
    return tensors


def _entries(
    reader: ByteReader, data: Any, start: str, depth: int
) -> Iterator[tuple[str, StoredTensor]]:
    """What is in the map at the reader's position."""
    count = _length(reader, reader.take(1)[0], _MAPS, 0x80, 0x0F)
    if count is None:
        raise reader.fail("no map of arrays")
    if depth > _MAX_DEPTH:
        raise reader.fail(f"its maps are nested more than {_MAX_DEPTH} deep")
    for _ in range(count):
        key = _text(reader)
        if key == _CHUNKED:
            raise CheckpointError(
                f"{reader.path} holds an array in chunks, {start[:-1]!r}, expected whole ones; "
                "restore it with Flax and save its weights with mobilebert.save"
            )
        name = start + key
        if len(name) > _MAX_PATH:
            raise reader.fail(f"a path in the tree has more than {_MAX_PATH} letters")
        code = reader.take(1)[0]
        size = _extension_size(reader, code)
        if size is not None:
            yield name, _array(reader, data, name, size)
        elif code in _MAPS or code & 0xF0 == 0x80:
            reader.position -= 1
            yield from _entries(reader, data, f"{name}.", depth + 1)
        else:
            raise reader.fail(f"under {name!r} there is no array")


def _length(
    reader: ByteReader, code: int, layouts: Mapping[int, str], fixed: int, mask: int
) -> int | None:
    """The length that a first byte announces; None when it is of another type."""
    if code in layouts:
        return int(reader.number(layouts[code]))
    return code & mask if fixed and code & ~mask == fixed else None


def _text(reader: ByteReader) -> str:
    size = _length(reader, reader.take(1)[0], _STRINGS, 0xA0, 0x1F)
    if size is None or size > _MAX_KEY:
        raise reader.fail(f"no text of at most {_MAX_KEY} bytes")
    return reader.take(size).decode("utf-8", "backslashreplace")


def _extension_size(reader: ByteReader, code: int) -> int | None:
    if code in _FIXED_EXTENSIONS:
        return _FIXED_EXTENSIONS[code]
    return _length(reader, code, _EXTENSIONS, 0, 0)


def _array(reader: ByteReader, data: Any, name: str, size: int) -> StoredTensor:
    """The array in the extension of `size` bytes whose type comes next."""
    if reader.number(">B") not in (_ARRAY, _SCALAR):
        raise reader.fail(f"{name!r} is an extension that is no array")
    end = reader.position + size
    if reader.take(1) != b"\x93":
        raise reader.fail(f"{name!r} is not shape, dtype and values")
    rank = _length(reader, reader.take(1)[0], {}, 0x90, 0x0F)
    if rank is None:
        raise reader.fail(f"{name!r} has no shape")
    shape = check_shape(reader.path, name, tuple(_integer(reader) for _ in range(rank)))
    dtype = _text(reader)
    count = _length(reader, reader.take(1)[0], _BYTES, 0, 0)
    if count is None or reader.position + count != end:
        raise reader.fail(f"the values of {name!r} do not end with it")
    if dtype in DTYPES and count != prod(shape) * DTYPES[dtype].itemsize:
        raise reader.fail(f"{name!r} has {count} bytes, which {shape} does not fit")
    return mapped_tensor(data, shape, dtype, reader.skip(count))


def _integer(reader: ByteReader) -> int:
    code = reader.take(1)[0]
    if code < 0x80:
        return code
    if code not in _INTEGERS:
        raise reader.fail("a size is no integer")
    return int(reader.number(_INTEGERS[code]))


def write_flax_msgpack(
    folder: Path, tensors: Mapping[str, StoredTensor], limit: int | None
) -> None:
    """Write tensors into a folder, one at a time.

    Args:
        folder: an existing folder without weights.
        tensors: name in the file -> tensor.
        limit: not used; there is one file.
    """
    with (folder / FILE).open("wb") as file:
        _write_map(file, nested(tensors))


def nested(tensors: Mapping[str, StoredTensor]) -> Tree:
    """The tree of tensors, its keys sorted at every level as JAX does it."""
    tree: Tree = {}
    for name, tensor in sorted(tensors.items(), key=lambda item: item[0].split(".")):
        *path, leaf = name.split(".")
        branch = tree
        for key in path:
            below = branch.setdefault(key, {})
            assert isinstance(below, dict)
            branch = below
        branch[leaf] = tensor
    return tree


def _write_map(file: BinaryIO, tree: Tree) -> None:
    file.write(_header(len(tree), _MAPS, 0x80, 0x0F))
    for key, value in tree.items():
        text = key.encode()
        file.write(_header(len(text), _STRINGS, 0xA0, 0x1F) + text)
        if isinstance(value, dict):
            _write_map(file, value)
        else:
            _write_array(file, value)


def _write_array(file: BinaryIO, tensor: StoredTensor) -> None:
    head = b"\x93" + _header(len(tensor.shape), {}, 0x90, 0x0F)
    head += b"".join(_header(size, _INTEGERS, 0x00, 0x7F) for size in tensor.shape)
    dtype = tensor.dtype.encode()
    head += _header(len(dtype), _STRINGS, 0xA0, 0x1F) + dtype + _header(tensor.nbytes, _BYTES)
    size = len(head) + tensor.nbytes
    start = bytes([_FIXED_CODES[size]]) if size in _FIXED_CODES else _header(size, _EXTENSIONS)
    file.write(start + bytes([_ARRAY]) + head)
    file.write(raw_bytes(tensor.read()).data)


def _header(
    length: int, layouts: Mapping[int, str], fixed: int | None = None, mask: int = 0
) -> bytes:
    """The shortest announcement of a length, or of an integer."""
    if fixed is not None and length <= mask:
        return bytes([fixed | length])
    for code, layout in layouts.items():
        if length < 1 << 8 * struct.calcsize(layout):
            return bytes([code]) + struct.pack(layout, length)
    raise CheckpointError(f"{length} bytes are more than MessagePack can hold; use another format")
