"""Initial values: golden numbers, independence of how they are made, and their distribution."""

import hashlib
import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mobilebert_conformance.cases import small_config
from mobilebert_core import initialization
from mobilebert_core.errors import ConfigError
from mobilebert_core.initialization import initial_tensor, initial_weights, standard_normal
from mobilebert_core.schema import WORD_EMBEDDINGS, TensorSpec, owned_tensors

WORD = 1 << 64

# sum of the twelve uniforms at index 0, 1, 2 and 1000, computed once by `_sum` below
GOLDEN = {
    (0, "mobilebert.embeddings.word_embeddings.weight"): (451159, 456327, 203105, 332263),
    (1, "classifier.weight"): (388248, 409115, 460445, 331518),
    (-7, "classifier.weight"): (324486, 351786, 322768, 408364),
}
GOLDEN_INDICES = (0, 1, 2, 1000)


def _splitmix(counter: int) -> int:
    """SplitMix64 in Python integers."""
    value = (counter + 1) * 0x9E3779B97F4A7C15 % WORD
    value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9 % WORD
    value = (value ^ (value >> 27)) * 0x94D049BB133111EB % WORD
    return value ^ (value >> 31)


def _sum(seed: int, name: str, index: int) -> int:
    """The twelve 16-bit uniforms of one value, summed, in Python integers."""
    key = int.from_bytes(hashlib.sha256(f"{seed}:{name}".encode()).digest()[:8], "little")
    words = [_splitmix((key + 3 * index + word) % WORD) for word in range(3)]
    return sum((word >> shift) & 0xFFFF for word in words for shift in (0, 16, 32, 48))


def _value(total: int) -> float:
    return (total - 393210) / math.sqrt(65536**2 - 1)


@pytest.mark.parametrize(("seed", "name"), GOLDEN)
def test_values_are_the_golden_ones(seed: int, name: str) -> None:
    values = [standard_normal(seed, name, index, 1)[0] for index in GOLDEN_INDICES]
    assert values == [_value(total) for total in GOLDEN[seed, name]]


@given(
    seed=st.integers(-(2**70), 2**70),
    name=st.text(max_size=20),
    index=st.integers(0, 2**40),
)
def test_value_equals_that_of_python_integers(seed: int, name: str, index: int) -> None:
    assert standard_normal(seed, name, index, 1)[0] == _value(_sum(seed, name, index))


def test_published_splitmix_output_is_reproduced() -> None:
    # Vigna's reference generator seeded with 1234567: its first outputs.
    counters = np.array([0, 1, 2], np.uint64)
    gamma = 0x9E3779B97F4A7C15
    inverse = pow(gamma, -1, WORD)
    key = 1234567 * inverse % WORD
    mixed = initialization._mix(np.uint64(key) + counters)
    assert [int(value) for value in mixed] == [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
    ]


@given(start=st.integers(0, 50), count=st.integers(0, 50), chunk=st.integers(1, 9))
def test_values_do_not_depend_on_start_or_chunk(start: int, count: int, chunk: int) -> None:
    expected = standard_normal(3, "name", 0, 100)[start : start + count]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(initialization, "_CHUNK", chunk)
        values = standard_normal(3, "name", start, count)
    assert values.tobytes() == expected.tobytes()


def test_values_do_not_depend_on_the_real_chunk_border() -> None:
    border = initialization._CHUNK
    whole = standard_normal(3, "name", 0, border + 5)
    assert whole[border - 2 :].tobytes() == standard_normal(3, "name", border - 2, 7).tobytes()


def test_count_of_zero_gives_no_values() -> None:
    assert standard_normal(0, "name", 5, 0).shape == (0,)


# Distribution -------------------------------------------------------------------------------------

COUNT = 1_000_000


@pytest.fixture(scope="module")
def sample() -> Any:
    return standard_normal(11, "sample", 0, COUNT)


def test_mean_is_zero(sample: Any) -> None:
    assert abs(sample.mean()) < 5 / math.sqrt(COUNT)


def test_variance_is_one(sample: Any) -> None:
    assert abs(sample.var() - 1) < 5 * math.sqrt(2 / COUNT)


def test_skewness_is_zero(sample: Any) -> None:
    assert abs((sample**3).mean()) < 5 * math.sqrt(15 / COUNT)


def test_kurtosis_is_that_of_twelve_uniforms(sample: Any) -> None:
    expected = float(3 - Fraction(6, 5) / 12)
    assert abs((sample**4).mean() - expected) < 5 * math.sqrt(96 / COUNT)


def test_values_stay_within_six(sample: Any) -> None:
    assert 4.2 < np.abs(sample).max() < 6


def _irwin_hall(total: int) -> Fraction:
    """Probability that the sum of twelve uniforms on [0, 1] is at most `total`."""
    terms = (
        (-1) ** k * Fraction(math.comb(12, k) * (total - k) ** 12, math.factorial(12))
        for k in range(total + 1)
    )
    return sum(terms, Fraction(0))


@pytest.mark.parametrize("bound", [1, 2, 3, 4])
def test_quantiles_are_those_of_twelve_uniforms(bound: int, sample: Any) -> None:
    share = float(_irwin_hall(6 + bound) - _irwin_hall(6 - bound))
    found = (np.abs(sample) < bound).mean()
    assert abs(found - share) < 5 * math.sqrt(share * (1 - share) / COUNT)


def test_neighbours_are_uncorrelated(sample: Any) -> None:
    for lag in (1, 2, 3, 4, 16, 128, 512):
        assert abs((sample[lag:] * sample[:-lag]).mean()) < 5 / math.sqrt(COUNT - lag)


def test_squares_of_neighbours_are_uncorrelated(sample: Any) -> None:
    squares = (sample**2 - 1) / math.sqrt(2)
    assert abs((squares[1:] * squares[:-1]).mean()) < 5 / math.sqrt(COUNT)


@pytest.mark.parametrize(
    ("seed", "name"), [(12, "sample"), (-11, "sample"), (11, "sample2"), (11 + 2**64, "sample")]
)
def test_other_seed_or_name_is_uncorrelated(seed: int, name: str, sample: Any) -> None:
    other = standard_normal(seed, name, 0, 100_000)
    assert abs((other * sample[:100_000]).mean()) < 5 / math.sqrt(100_000)


def test_seed_and_name_are_kept_apart() -> None:
    one, other = standard_normal(1, "1:a", 0, 4), standard_normal(11, "a", 0, 4)
    assert one.tobytes() != other.tobytes()


@pytest.mark.parametrize("seed", [0, -1, 2**63, 2**64, -(2**100), 10**100])
def test_seed_may_be_any_integer(seed: int) -> None:
    assert standard_normal(seed, "name", 0, 3)[1] == _value(_sum(seed, "name", 1))


def test_seed_may_be_a_numpy_integer() -> None:
    seed: Any = np.int64(3)
    assert standard_normal(seed, "n", 0, 3).tobytes() == standard_normal(3, "n", 0, 3).tobytes()


@pytest.mark.parametrize("seed", [None, 1.0, "0", True, [1], float("nan")])
def test_seed_that_is_no_integer_raises(seed: Any) -> None:
    with pytest.raises(ConfigError, match="seed"):
        standard_normal(seed, "name", 0, 1)


# Tensors ------------------------------------------------------------------------------------------


def test_normal_tensor_is_the_scaled_stream_in_c_order() -> None:
    config = small_config(initializer_range=0.5)
    spec = TensorSpec("some.weight", (3, 4), "normal", "encoder")
    expected = (standard_normal(9, "some.weight", 0, 12) * 0.5).astype(np.float32).reshape(3, 4)
    values = initial_tensor(config, spec, 9)
    assert (values.dtype, values.shape) == (np.float32, (3, 4))
    assert values.tobytes() == expected.tobytes()


def test_tensor_of_another_shape_shares_the_values() -> None:
    wide = initial_tensor(small_config(), TensorSpec("w", (2, 6), "normal", "encoder"), 1)
    tall = initial_tensor(small_config(), TensorSpec("w", (4, 3), "normal", "encoder"), 1)
    assert wide.tobytes() == tall.tobytes()


def test_embedding_of_the_padding_token_is_zero() -> None:
    table = initial_weights(small_config(pad_token_id=4), "base", 0)[WORD_EMBEDDINGS]
    assert [bool(row.any()) for row in table] == [token != 4 for token in range(61)]


def test_embedding_has_no_zero_row_when_there_is_no_padding_token() -> None:
    table = initial_weights(small_config(pad_token_id=None), "base", 0)[WORD_EMBEDDINGS]
    assert all(row.any() for row in table)


def test_other_rows_do_not_depend_on_the_padding_token() -> None:
    one = initial_weights(small_config(pad_token_id=4), "base", 0)[WORD_EMBEDDINGS]
    other = initial_weights(small_config(pad_token_id=5), "base", 0)[WORD_EMBEDDINGS]
    assert one[6:].tobytes() == other[6:].tobytes()


@pytest.mark.parametrize("head", ["base", "pretraining", "multiple-choice", "question-answering"])
def test_weights_are_exactly_the_owned_tensors(head: str) -> None:
    weights = initial_weights(small_config(), head, 0)
    specs = owned_tensors(small_config(), head)
    assert {name: value.shape for name, value in weights.items()} == {
        name: spec.shape for name, spec in specs.items()
    }
    for name, spec in specs.items():
        if spec.init in ("zeros", "ones"):
            assert (weights[name] == (spec.init == "ones")).all(), name
        else:
            assert 0.8 < weights[name].std() / 0.02 < 1.2, name


def test_encoder_is_the_same_whatever_the_head() -> None:
    base = initial_weights(small_config(), "base", 4)
    other = initial_weights(small_config(), "masked-lm", 4)
    shared = [name for name in other if name.startswith("mobilebert.")]
    assert shared
    assert all(base[name].tobytes() == other[name].tobytes() for name in shared)


def test_weights_leave_the_pooler_out_when_asked() -> None:
    weights = initial_weights(small_config(), "base", 0, add_pooling_layer=False)
    assert not any("pooler" in name for name in weights)


def test_weights_of_another_seed_differ() -> None:
    one, other = (initial_weights(small_config(), "base", seed) for seed in (0, 1))
    assert one[WORD_EMBEDDINGS].tobytes() != other[WORD_EMBEDDINGS].tobytes()
