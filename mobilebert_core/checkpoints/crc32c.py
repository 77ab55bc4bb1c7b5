"""The CRC-32C checksum (Castagnoli) over whole arrays.

A CRC is linear over bits: the checksum of two adjacent pieces is that of the first, moved on by the
length of the second, combined with that of the second by exclusive or. So large chunks are folded
into one, word by word, each step for all words at once in NumPy; then the words of the last chunk
are combined pairwise, then pairs of pairs.
"""

import mmap
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

_Words = npt.NDArray[np.uint32]

_POLYNOMIAL = 0x82F63B78  # 0x1EDC6F41 with its bits reversed
_CHUNK_LEVEL = 15
_CHUNK = 1 << _CHUNK_LEVEL  # bytes per pass, so that the intermediate arrays stay small
_MASK_DELTA = 0xA282EAD8


def masked_crc32c(
    data: bytes | mmap.mmap | npt.NDArray[np.uint8], start: int = 0, size: int | None = None
) -> int:
    """The checksum as LevelDB and TensorFlow store it: rotated, plus a constant.

    Args:
        data: the bytes.
        start: the first one to count.
        size: how many to count; None counts all that follow.
    """
    crc = crc32c(np.frombuffer(data, np.uint8)[start : None if size is None else start + size])
    return (((crc >> 15) | (crc << 17)) + _MASK_DELTA) & 0xFFFF_FFFF


def crc32c(data: npt.NDArray[np.uint8]) -> int:
    """The checksum of a one-dimensional array of bytes."""
    head = data.size % _CHUNK
    # Zeros in front do not change a register that is zero: a short first chunk is filled up so.
    first = np.zeros(_CHUNK if data.size >= _CHUNK else _round_up(head), np.uint8)
    first[first.size - head :] = data[:head]
    words: _Words = first.view("<u4")
    for start in range(head, data.size, _CHUNK):
        chunk = np.ascontiguousarray(data[start : start + _CHUNK])
        words = _apply(_move(_CHUNK_LEVEL), words) ^ chunk.view("<u4")
    return _advance(0xFFFF_FFFF, data.size) ^ _remainder(words) ^ 0xFFFF_FFFF


def _round_up(size: int) -> int:
    """The next size of 4, 8, 16, ... bytes."""
    return max(4, 1 << (size - 1).bit_length()) if size else 4


def _remainder(words: _Words) -> int:
    """The register after 1, 2, 4, 8, ... words, started at zero."""
    words = _apply(_move(2), words)
    level = 2
    while words.size > 1:
        words = _apply(_move(level), words[0::2]) ^ words[1::2]
        level += 1
    return int(words[0])


def _advance(register: int, size: int) -> int:
    """The register after `size` zero bytes."""
    word = np.array([register], np.uint32)
    for level in range(size.bit_length()):
        if size >> level & 1:
            word = _apply(_move(level), word)
    return int(word[0])


@cache
def _move(level: int) -> tuple[_Words, ...]:
    """The step over 2**level zero bytes: a table for each byte of the register."""
    if level == 0:
        values = np.arange(256, dtype=np.uint32)
        lowest: _Words = values
        for _ in range(8):
            lowest = (lowest >> np.uint32(1)) ^ (lowest & np.uint32(1)) * np.uint32(_POLYNOMIAL)
        return (lowest, values, values << np.uint32(8), values << np.uint32(16))
    half = _move(level - 1)
    return tuple(_apply(half, table) for table in half)


def _apply(tables: tuple[_Words, ...], words: npt.NDArray[Any]) -> _Words:
    first, second, third, fourth = tables
    result: _Words = (
        first[words & 0xFF]
        ^ second[(words >> 8) & 0xFF]
        ^ third[(words >> 16) & 0xFF]
        ^ fourth[words >> 24]
    )
    return result
