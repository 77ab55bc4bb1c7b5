"""What the messages of a dataset in an HDF5 file say: its shape, its dtype, where its values lie.

Rules: values lie in one piece in the file itself, little-endian; compressed and scattered ones are
refused. HDF5 has no bfloat16: it is two opaque bytes, as Keras stores it. Read next: `store.py`.
"""

import mmap
import struct
from math import prod
from pathlib import Path

from mobilebert_core.checkpoints.files import ByteReader, damaged
from mobilebert_core.checkpoints.h5_metadata import (
    DATASPACE,
    DATATYPE,
    EXTERNAL_FILES,
    FILTERS,
    LAYOUT,
    UNDEFINED,
    Messages,
)
from mobilebert_core.checkpoints.store import StoredTensor, check_shape, mapped_tensor
from mobilebert_core.errors import CheckpointError

_INTEGER, _FLOAT, _OPAQUE = 0, 1, 5  # classes of types
_BIG_ENDIAN, _SIGNED = 0x41, 0x08  # in a type's bits
_SCALAR, _SIMPLE, _NULL = 0, 1, 2  # kinds of shapes
_CONTIGUOUS, _VIRTUAL = 1, 3  # classes of layouts


def _ieee(size: int, exponent: int) -> bytes:
    """A type of floating-point numbers as IEEE 754 has them: bits, size, places in a number."""
    bits, mantissa = 8 * size, 8 * size - exponent - 1
    places = (0, bits, mantissa, exponent, 0, mantissa, (1 << exponent - 1) - 1)
    return struct.pack("<3BI2H4BI", 0x20, bits - 1, 0, size, *places)


_FLOATS = {_ieee(2, 5): "float16", _ieee(4, 8): "float32", _ieee(8, 11): "float64"}


def tensor_from_messages(
    path: Path, data: mmap.mmap, name: str, messages: Messages
) -> StoredTensor:
    """The tensor that messages describe; its values stay in the file.

    Raises:
        CheckpointError: it is not within the file, or not in one piece, or not of numbers.
    """
    dtype, item_size = _dtype(path, name, messages[DATATYPE])
    sizes = _sizes(messages[DATASPACE])
    if sizes is None:
        raise damaged(path, f"{name!r} has no shape")
    shape = check_shape(path, name, sizes)
    if max(shape, default=0) > len(data):  # also where another size is 0
        raise damaged(path, f"{name!r} of shape {shape} is larger than the file")
    size = prod(shape) * item_size
    offset = _offset(path, name, messages, size) if size else 0
    if offset > len(data) - size:
        raise damaged(path, f"{name!r} lies outside the file")
    return mapped_tensor(data, shape, dtype, offset)


def _dtype(path: Path, name: str, message: ByteReader) -> tuple[str, int]:
    """A type's name and the size of a number; integers, for they may be in what is ignored."""
    family = message.number("B") & 0x0F  # the other bits tell versions, which differ for compounds
    start = message.position
    bits, size = message.take(3)[0], message.number("<I")
    if family == _OPAQUE and size == 2:
        return "bfloat16", size
    if family == _INTEGER:
        return f"{'' if bits & _SIGNED else 'u'}int{8 * size}", size
    if family == _FLOAT and bits & _BIG_ENDIAN:
        raise damaged(path, f"the numbers of {name!r} are big-endian, expected little-endian ones")
    if family == _FLOAT:
        message.position = start
        dtype = _FLOATS.get(message.take(19))
        if dtype is not None:
            return dtype, size
    raise damaged(path, f"{name!r} holds something other than numbers of 16, 32 or 64 bits")


def _sizes(message: ByteReader) -> tuple[int, ...] | None:
    """The sizes of a dataspace; None where there is none, not even that of a single number."""
    version, rank, _, kind = message.take(4)
    if version == 1:  # without kinds
        kind = _SIMPLE
        message.skip(4)
    if version not in {1, 2} or kind > _NULL or (kind != _SIMPLE and rank):
        raise message.fail("a shape of an unknown kind")
    if kind == _NULL:
        return None
    return struct.unpack(f"<{rank}Q", message.take(8 * rank))


def _offset(path: Path, name: str, messages: Messages, size: int) -> int:
    """Where the values begin that a file holds in one piece."""
    if LAYOUT not in messages:
        raise damaged(path, f"{name!r} has no place for its values")
    message = messages[LAYOUT]
    version, layout = message.take(2)
    if EXTERNAL_FILES in messages or (version == 4 and layout == _VIRTUAL):
        raise damaged(path, f"the values of {name!r} are in other files, which are not opened")
    if version not in {3, 4}:
        raise message.fail(f"the values of {name!r} are laid out in a way that is not known")
    if FILTERS in messages or layout != _CONTIGUOUS:
        raise CheckpointError(
            f"{name!r} in {path} is compressed or in pieces, expected values in one piece as Keras "
            "and transformers store them; type: h5repack -f NONE -l CONTI OLD NEW"
        )
    offset, stored = message.number("<Q"), message.number("<Q")
    if offset == UNDEFINED:
        raise damaged(path, f"the values of {name!r} have never been written")
    if stored != size:
        raise damaged(path, f"{name!r} has {stored} bytes, expected {size}")
    return int(offset)
