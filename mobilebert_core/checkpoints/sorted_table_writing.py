"""Writes the sorted-string table of LevelDB, byte by byte as TensorFlow does.

Rules: keys ascend by bytes; the first key of every 16 in a block is whole, the others leave out
what they share with the one before; a block is closed when it is full and is never compressed.
Read next: `sorted_table.py`, which reads it and says what the parts are.
"""

import struct
from collections.abc import Mapping
from itertools import zip_longest
from pathlib import Path

from mobilebert_core.checkpoints.crc32c import masked_crc32c
from mobilebert_core.checkpoints.sorted_table import FOOTER_SIZE, MAGIC_NUMBER

_BLOCK_SIZE = 262_144  # of TensorFlow; LevelDB's own is 4096
_KEYS_BETWEEN_RESTARTS = 16
_UNCOMPRESSED = b"\0"


def write_table(path: Path, entries: Mapping[bytes, bytes]) -> None:
    """Write a table.

    Args:
        path: the file.
        entries: key -> value, in any order.
    """
    table = bytearray()
    index, block = _Block(1), _Block(_KEYS_BETWEEN_RESTARTS)
    keys = sorted(entries)
    for key, following in zip_longest(keys, keys[1:]):
        block.add(key, entries[key])
        if following is None or block.size >= _BLOCK_SIZE:
            index.add(_separator(key, following), _append(table, block))
            block = _Block(_KEYS_BETWEEN_RESTARTS)
    handles = _append(table, _Block(1)) + _append(table, index)  # the first would list filters
    table += handles.ljust(FOOTER_SIZE - 8, b"\0") + struct.pack("<Q", MAGIC_NUMBER)
    path.write_bytes(table)


def encode_varint(value: int) -> bytes:
    """A number in the variable-length notation of protocol buffers."""
    data = bytearray()
    while value >= 0x80:
        data.append(value & 0x7F | 0x80)
        value >>= 7
    data.append(value)
    return bytes(data)


class _Block:
    """Entries in ascending order.

    Args:
        interval: every so many entries the key is whole.
    """

    def __init__(self, interval: int) -> None:
        self._interval = interval
        self._count = 0
        self._last = b""
        self._data = bytearray()
        self._restarts = [0]

    @property
    def size(self) -> int:
        return len(self._data) + 4 * len(self._restarts) + 4

    def add(self, key: bytes, value: bytes) -> None:
        shared = _shared(self._last, key)
        if self._count % self._interval == 0:
            shared = 0
            if self._count:
                self._restarts.append(len(self._data))
        for number in (shared, len(key) - shared, len(value)):
            self._data += encode_varint(number)
        self._data += key[shared:] + value
        self._count, self._last = self._count + 1, key

    def content(self) -> bytes:
        count = len(self._restarts)
        return bytes(self._data) + struct.pack(f"<{count}II", *self._restarts, count)


def _append(table: bytearray, block: _Block) -> bytes:
    """Add a block and its trailer to the table; where it is and its size, without the trailer."""
    start, content = len(table), block.content()
    checked = content + _UNCOMPRESSED
    table += checked + struct.pack("<I", masked_crc32c(checked))
    return encode_varint(start) + encode_varint(len(content))


def _shared(first: bytes, second: bytes) -> int:
    """How many bytes two keys begin with in common."""
    length = 0
    for left, right in zip(first, second, strict=False):
        if left != right:
            break
        length += 1
    return length


def _separator(key: bytes, following: bytes | None) -> bytes:
    """A short key that is not below `key` and is below `following`; None is the end.

    Any such key would do; this is the one that TensorFlow chooses.
    """
    if following is None:
        for position, byte in enumerate(key):
            if byte < 0xFF:
                return key[:position] + bytes([byte + 1])
        return key
    position = _shared(key, following)
    if position < len(key) and key[position] + 1 < following[position]:
        return key[:position] + bytes([key[position] + 1])
    return key
