"""The CRC-32C checksum (Castagnoli) over whole arrays.

A CRC is linear over bits: the checksum of two adjacent pieces is that of the first, moved on by the
length of the second, combined with that of the second by exclusive or. So pieces of four bytes are
combined pairwise, then pairs of pairs, each round for all of them at once in NumPy.
"""

import mmap
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

_Words = npt.NDArray[np.uint32]

_POLYNOMIAL = 0x82F63B78  # 0x1EDC6F41 with its bits reversed
_CHUNK = 1 << 18  # bytes per pass, so that the intermediate arrays stay small
_MASK_DELTA = 0xA282EAD8


def masked_crc32c(data: bytes | mmap.mmap, start: int = 0, size: int | None = None) -> int:
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
    first = np.zeros(_round_up(head), np.uint8)
    first[first.size - head :] = data[:head]
    register = _advance(0xFFFF_FFFF, head) ^ _remainder(first)
    for start in range(head, data.size, _CHUNK):
        chunk = np.ascontiguousarray(data[start : start + _CHUNK])
        register = _advance(register, _CHUNK) ^ _remainder(chunk)
    return register ^ 0xFFFF_FFFF


def _round_up(size: int) -> int:
    """The next size of 4, 8, 16, ... bytes."""
    return max(4, 1 << (size - 1).bit_length()) if size else 4


def _remainder(chunk: npt.NDArray[np.uint8]) -> int:
    """The register after `chunk`, started at zero; the chunk has 4, 8, 16, ... bytes."""
    words = _apply(_move(2), chunk.view("<u4"))
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
