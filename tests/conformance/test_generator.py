"""The suite's generator: what its docstring says, and what the library's own makes."""

import hashlib
import math
from itertools import islice

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mobilebert_conformance import generator
from mobilebert_core.initialization import standard_normal

WORD = 1 << 64
GAMMA = 0x9E3779B97F4A7C15


def splitmix64(seed):
    """Vigna's sequential generator in Python integers."""
    state = seed
    while True:
        state = (state + GAMMA) % WORD
        value = (state ^ (state >> 30)) * 0xBF58476D1CE4E5B9 % WORD
        value = (value ^ (value >> 27)) * 0x94D049BB133111EB % WORD
        yield value ^ (value >> 31)


def stream(seed: int, name: str):
    """The stream of a tensor: the generator, `key` steps after a seed of 0."""
    key = int.from_bytes(hashlib.sha256(f"{seed}:{name}".encode()).digest()[:8], "little")
    return splitmix64(key * GAMMA % WORD)


@given(seed=st.integers(-(2**70), 2**70), name=st.text(max_size=20), count=st.integers(0, 9))
def test_words_are_those_of_splitmix64(seed: int, name: str, count: int) -> None:
    words = generator.words(seed, name, count)

    assert words.dtype == np.uint64
    assert words.tolist() == list(islice(stream(seed, name), count))


@given(seed=st.integers(-(2**70), 2**70), name=st.text(max_size=20), count=st.integers(0, 40))
def test_normal_is_the_librarys_own_bit_for_bit(seed: int, name: str, count: int) -> None:
    values = generator.normal(seed, name, (count,))

    assert values.tobytes() == standard_normal(seed, name, 0, count).tobytes()


def test_normal_is_a_sum_of_twelve_uniforms() -> None:
    words = list(islice(stream(5, "x"), 6))
    parts = [word >> shift & 0xFFFF for word in words for shift in (0, 16, 32, 48)]
    deviation = math.sqrt(65536**2 - 1)

    values = generator.normal(5, "x", (1, 2))

    assert values.dtype == np.float64
    assert values.tolist() == [
        [(sum(parts[:12]) - 393210) / deviation, (sum(parts[12:]) - 393210) / deviation]
    ]


def test_integers_are_the_remainders_of_the_words() -> None:
    expected = [word % 61 for word in islice(stream(2, "input_ids"), 6)]

    values = generator.integers(2, "input_ids", (2, 3), 61)

    assert values.dtype == np.int64
    assert values.reshape(-1).tolist() == expected
    assert values.shape == (2, 3)


@given(seed=st.integers(0, 100), limit=st.integers(1, 7))
def test_integers_are_within_their_limit(seed: int, limit: int) -> None:
    values = generator.integers(seed, "x", (200,), limit)

    assert set(values.tolist()) == set(range(limit))


@given(seed=st.integers(0, 100), size=st.integers(0, 50))
def test_permutation_holds_every_index_once(seed: int, size: int) -> None:
    assert sorted(generator.permutation(seed, "x", size).tolist()) == list(range(size))


def test_permutation_sorts_the_words() -> None:
    words = list(islice(stream(3, "x"), 9))

    order = generator.permutation(3, "x", 9)

    assert [words[index] for index in order] == sorted(words)


@pytest.mark.parametrize(("seed", "name"), [(1, "y"), (2, "x")])
def test_streams_differ_when_seed_or_name_does(seed: int, name: str) -> None:
    assert not set(generator.words(1, "x", 50)) & set(generator.words(seed, name, 50))
