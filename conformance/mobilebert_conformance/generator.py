"""Random numbers that any language on any machine can make again, bit for bit.

A tensor's stream is SplitMix64 (Steele et al., 2014) at the positions `key`, `key + 1`, ...; the
key is the first 8 bytes, little-endian, of SHA-256 over `"{seed}:{name}"`. Arithmetic is that of
unsigned 64-bit integers up to one final rounding. Written from this text alone, so that clause 5.3
can hold the library's own generator against it.
"""

import hashlib
import math
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]

_NORMAL_WORDS = 3  # one normal value takes three words, twelve 16-bit parts


def words(seed: int, name: str, count: int) -> Array:
    """The first `count` words of a stream; (count,) uint64."""
    digest = hashlib.sha256(f"{seed}:{name}".encode()).digest()
    key = np.frombuffer(digest[:8], "<u8")
    state = (key + np.arange(1, count + 1, dtype=np.uint64)) * np.uint64(0x9E3779B97F4A7C15)
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))


def normal(seed: int, name: str, shape: tuple[int, ...]) -> Array:
    """Mean 0 and variance 1: sums of twelve 16-bit uniforms (Irwin and Hall); float64."""
    count = math.prod(shape)
    parts = words(seed, name, _NORMAL_WORDS * count).astype("<u8").view("<u2")
    total = parts.reshape(count, 12).sum(axis=1, dtype=np.float64)
    values: Array = (total - 6 * 65535) / math.sqrt(65536.0**2 - 1)
    return values.reshape(shape)


def integers(seed: int, name: str, shape: tuple[int, ...], limit: int) -> Array:
    """Values of 0 ... limit - 1, the words' remainders; int64."""
    found = words(seed, name, math.prod(shape)) % np.uint64(limit)
    return found.astype(np.int64).reshape(shape)


def permutation(seed: int, name: str, size: int) -> Array:
    """An order of 0 ... size - 1: where the words of a stream would be sorted; int64."""
    return np.argsort(words(seed, name, size), kind="stable")
