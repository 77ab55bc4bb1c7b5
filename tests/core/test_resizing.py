"""Another vocabulary size: what stays, what is new, and that the path does not matter."""

from typing import Any

import ml_dtypes
import numpy as np
import pytest

from mobilebert_conformance.cases import VARIANTS, small_config
from mobilebert_conformance.weights import random_weights
from mobilebert_core.config import MobileBertConfig
from mobilebert_core.errors import ConfigError
from mobilebert_core.heads import HEADS
from mobilebert_core.resizing import resize_token_embeddings
from mobilebert_core.schema import (
    EXTRA_EMBEDDINGS,
    PREDICTION_BIAS,
    WORD_EMBEDDINGS,
    owned_tensors,
)


@pytest.fixture(params=HEADS)
def head(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


def _bytes(weights: dict[str, Any]) -> dict[str, tuple[Any, ...]]:
    return {name: (each.shape, each.dtype, each.tobytes()) for name, each in weights.items()}


def _model(head: str, dtype: Any = np.float32, **changes: Any) -> tuple[MobileBertConfig, Any]:
    config = small_config(**changes)
    weights = random_weights(config, head)
    return config, {name: each.astype(dtype) for name, each in weights.items()}


@pytest.mark.parametrize("size", [1, 60, 61, 62, 200])
def test_result_fits_the_schema(size: int, head: str) -> None:
    config, weights = resize_token_embeddings(*_model(head), size)
    assert config.vocab_size == size
    expected = {name: spec.shape for name, spec in owned_tensors(config, head).items()}
    assert {name: each.shape for name, each in weights.items()} == expected


def test_result_fits_the_schema_when_there_is_no_extra_block() -> None:
    model = _model("masked-lm", **VARIANTS["full_width_embeddings"])
    config, weights = resize_token_embeddings(*model, 70)
    expected = {name: spec.shape for name, spec in owned_tensors(config, "masked-lm").items()}
    assert {name: each.shape for name, each in weights.items()} == expected


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16, ml_dtypes.bfloat16])
def test_kept_rows_are_bit_exact_when_growing(dtype: Any) -> None:
    config, weights = _model("masked-lm", dtype)
    _, resized = resize_token_embeddings(config, weights, 65)
    for name, kept in (
        (WORD_EMBEDDINGS, resized[WORD_EMBEDDINGS][:61]),
        (EXTRA_EMBEDDINGS, resized[EXTRA_EMBEDDINGS][:, :61]),
        (PREDICTION_BIAS, resized[PREDICTION_BIAS][:61]),
    ):
        assert resized[name].dtype == weights[name].dtype
        assert kept.tobytes() == weights[name].tobytes()


def test_kept_rows_are_bit_exact_when_shrinking() -> None:
    config, weights = _model("masked-lm")
    _, resized = resize_token_embeddings(config, weights, 40)
    assert resized[WORD_EMBEDDINGS].tobytes() == weights[WORD_EMBEDDINGS][:40].tobytes()
    assert resized[EXTRA_EMBEDDINGS].tobytes() == weights[EXTRA_EMBEDDINGS][:, :40].tobytes()
    assert resized[PREDICTION_BIAS].tobytes() == weights[PREDICTION_BIAS][:40].tobytes()


def test_other_tensors_are_untouched(head: str) -> None:
    config, weights = _model(head)
    _, resized = resize_token_embeddings(config, weights, 70)
    others = set(weights) - {WORD_EMBEDDINGS, EXTRA_EMBEDDINGS, PREDICTION_BIAS}
    assert list(resized) == list(weights)
    assert all(resized[name].tobytes() == weights[name].tobytes() for name in others)


def test_given_weights_are_not_modified() -> None:
    config, weights = _model("masked-lm")
    before = _bytes(weights)
    resize_token_embeddings(config, weights, 70)
    assert _bytes(weights) == before


def test_growing_and_shrinking_back_is_the_identity(head: str) -> None:
    config, weights = _model(head)
    back_config, back = resize_token_embeddings(*resize_token_embeddings(config, weights, 80), 61)
    assert back_config == config
    assert _bytes(back) == _bytes(weights)


def test_same_size_is_the_identity(head: str) -> None:
    config, weights = _model(head)
    same_config, same = resize_token_embeddings(config, weights, 61)
    assert same_config == config
    assert _bytes(same) == _bytes(weights)


def test_new_rows_do_not_depend_on_the_path() -> None:
    model = _model("masked-lm")
    _, direct = resize_token_embeddings(*model, 75)
    _, stepwise = resize_token_embeddings(*resize_token_embeddings(*model, 66), 75)
    assert _bytes(stepwise) == _bytes(direct)


def test_new_rows_do_not_depend_on_the_old_vocabulary() -> None:
    _, large = resize_token_embeddings(*_model("masked-lm"), 75)
    _, small = resize_token_embeddings(*_model("masked-lm", vocab_size=50), 75)
    assert large[WORD_EMBEDDINGS][61:].tobytes() == small[WORD_EMBEDDINGS][61:].tobytes()
    assert large[EXTRA_EMBEDDINGS][:, 61:].tobytes() == small[EXTRA_EMBEDDINGS][:, 61:].tobytes()


def test_new_rows_are_normal_with_the_initializer_range() -> None:
    model = _model("masked-lm", initializer_range=0.5)
    _, resized = resize_token_embeddings(*model, 1061)
    for rows in (resized[WORD_EMBEDDINGS][61:], resized[EXTRA_EMBEDDINGS][:, 61:]):
        assert 0.48 < rows.std() < 0.52
        assert abs(rows.mean()) < 0.025


def test_new_rows_differ_from_each_other_and_from_another_seed() -> None:
    model = _model("base")
    _, one = resize_token_embeddings(*model, 64)
    _, other = resize_token_embeddings(*model, 64, seed=1)
    rows = {
        table[WORD_EMBEDDINGS][token].tobytes() for table in (one, other) for token in (61, 62, 63)
    }
    assert len(rows) == 6


def test_extra_block_and_embeddings_of_a_new_token_differ() -> None:
    _, resized = resize_token_embeddings(*_model("masked-lm"), 62)
    row, column = resized[WORD_EMBEDDINGS][61], resized[EXTRA_EMBEDDINGS][:, 61]
    assert not set(row.tolist()) & set(column.tolist())


def test_new_biases_are_zero() -> None:
    _, resized = resize_token_embeddings(*_model("masked-lm"), 70)
    assert not resized[PREDICTION_BIAS][61:].any()


@pytest.mark.parametrize("size", [0, -1, 2.5, "70", None, True])
def test_invalid_size_raises_a_config_error(size: Any) -> None:
    with pytest.raises(ConfigError, match="vocab_size"):
        resize_token_embeddings(*_model("base"), size)


def test_cutting_off_the_padding_token_raises_a_config_error() -> None:
    with pytest.raises(ConfigError, match="pad_token_id"):
        resize_token_embeddings(*_model("base", pad_token_id=50), 50)


def test_invalid_seed_raises_a_config_error() -> None:
    seed: Any = 0.5
    with pytest.raises(ConfigError, match="seed"):
        resize_token_embeddings(*_model("base"), 70, seed=seed)


def test_weights_under_other_names_raise_a_config_error() -> None:
    with pytest.raises(ConfigError, match="canonical"):
        resize_token_embeddings(small_config(), {"embeddings.weight": np.zeros((61, 10))}, 70)


def test_weights_of_another_vocabulary_raise() -> None:
    config, weights = _model("masked-lm")
    with pytest.raises(ConfigError):
        resize_token_embeddings(config.replace(vocab_size=50), weights, 70)
