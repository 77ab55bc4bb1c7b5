"""TensorFlow's checkpoint files, written without TensorFlow.

Rules: the variables are stored in the order of their names, as TensorFlow's `Saver` does, one at a
time; the files are byte by byte those that it writes. Read next: `tensor_bundle.py`, which reads
them and says what they hold.
"""

import struct
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

from mobilebert_core.checkpoints.crc32c import masked_crc32c
from mobilebert_core.checkpoints.sorted_table_writing import encode_varint, write_table
from mobilebert_core.checkpoints.store import StoredTensor, raw_bytes
from mobilebert_core.checkpoints.tensor_bundle import INDEX_SUFFIX

PREFIX = "mobilebert_variables.ckpt"  # of Google's published checkpoints
_HEADER = b"\x08\x01\x1a\x02\x08\x01"  # one data file; written by version 1 of the format
_DTYPE_NUMBERS = {"float32": 1, "float64": 2, "bfloat16": 14, "float16": 19}
_VARINT, _BYTES, _FIXED32 = 0, 2, 5


def write_bundle(folder: Path, tensors: Mapping[str, StoredTensor], limit: int | None) -> None:
    """Write variables into a folder, one at a time.

    Args:
        folder: an existing folder without weights.
        tensors: name in the file -> variable.
        limit: not used; there is one data file.
    """
    entries = {b"": _HEADER}
    offset = 0
    with (folder / f"{PREFIX}.data-00000-of-00001").open("wb") as file:
        for name in sorted(tensors):
            tensor = tensors[name]
            entries[name.encode()] = _entry(tensor, offset, _write_values(file, tensor))
            offset += tensor.nbytes
    write_table(folder / (PREFIX + INDEX_SUFFIX), entries)
    (folder / "checkpoint").write_text(
        f'model_checkpoint_path: "{PREFIX}"\nall_model_checkpoint_paths: "{PREFIX}"\n',
        encoding="utf-8",
    )


def _write_values(file: BinaryIO, tensor: StoredTensor) -> int:
    """Write a variable's values; their checksum."""
    data = raw_bytes(tensor.read())
    file.write(data.data)
    return masked_crc32c(data)


def _entry(tensor: StoredTensor, offset: int, checksum: int) -> bytes:
    """A variable's message."""
    dimensions = b"".join(_message(2, _number(1, size)) for size in tensor.shape)
    return (
        _number(1, _DTYPE_NUMBERS[tensor.dtype])
        + _message(2, dimensions)
        + _number(4, offset)
        + _number(5, tensor.nbytes)
        + bytes([6 << 3 | _FIXED32])
        + struct.pack("<I", checksum)
    )


def _number(field: int, value: int) -> bytes:
    """A field of a message; zero is the default, which is left out."""
    return bytes([field << 3 | _VARINT]) + encode_varint(value) if value else b""


def _message(field: int, content: bytes) -> bytes:
    return bytes([field << 3 | _BYTES]) + encode_varint(len(content)) + content
