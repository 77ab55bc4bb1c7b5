"""What `diff` finds between two checkpoints."""

import json
from math import inf
from pathlib import Path

import numpy as np
import pytest

from mobilebert_conformance.cases import small_config
from mobilebert_conformance.weights import Array, random_weights
from mobilebert_core.checkpoints import save_checkpoint
from mobilebert_core.comparison import diff
from mobilebert_core.errors import CheckpointError

QUERY = "mobilebert.encoder.layer.1.attention.self.query.weight"
BIAS = "mobilebert.pooler.dense.bias"


@pytest.fixture
def weights() -> dict[str, Array]:
    return {n: a.astype(np.float32) for n, a in random_weights(small_config(), "base").items()}


@pytest.fixture
def first(tmp_path: Path, weights: dict[str, Array]) -> Path:
    return save_checkpoint(tmp_path / "first", small_config(), weights, "base")


def save(tmp_path: Path, weights: dict[str, Array], format: str = "safetensors") -> Path:
    return save_checkpoint(tmp_path / "second", small_config(), weights, "base", format=format)


@pytest.mark.parametrize("format", ["safetensors", "npz", "google-tf1", "torch-bin"])
def test_the_same_weights_are_the_same_in_every_format(
    tmp_path: Path, first: Path, weights: dict[str, Array], format: str
) -> None:
    found = diff(first, save(tmp_path, weights, format))
    assert found.same
    assert found.compared == len(weights)


@pytest.mark.parametrize("format", ["safetensors", "google-tf1"])
def test_changed_numbers_are_found_and_measured(
    tmp_path: Path, first: Path, weights: dict[str, Array], format: str
) -> None:
    weights[QUERY] = weights[QUERY].copy()
    weights[QUERY][2, 1] = 0.0
    weights[QUERY][5, 0] += np.float32(1000.0)
    scale = float(np.abs(weights[QUERY][weights[QUERY] < 900]).max())
    (row,) = diff(first, save(tmp_path, weights, format)).tensors
    shape = f"float32 {weights[QUERY].shape}"
    assert (row.name, row.kind, row.first, row.second) == (QUERY, "values", shape, shape)
    assert row.count == 2
    assert row.largest == pytest.approx(1000.0)
    assert row.relative == pytest.approx(1000.0 / scale, rel=0.5)


def test_largest_differences_come_first(
    tmp_path: Path, first: Path, weights: dict[str, Array]
) -> None:
    names = list(weights)[3:9]
    for size, name in enumerate(names):
        weights[name] = weights[name] + np.float32(2.0**size)
    found = diff(first, save(tmp_path, weights))
    assert [row.name for row in found.tensors] == names[::-1]


def test_sign_of_zero_is_a_difference_of_size_zero(
    tmp_path: Path, weights: dict[str, Array]
) -> None:
    weights[BIAS][0] = 0.0
    first = save_checkpoint(tmp_path / "first", small_config(), weights, "base")
    weights[BIAS][0] = -0.0
    (row,) = diff(first, save(tmp_path, weights)).tensors
    assert (row.count, row.largest, row.relative) == (1, 0.0, 0.0)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_number_that_is_none_is_an_infinite_difference(
    tmp_path: Path, first: Path, weights: dict[str, Array], value: float
) -> None:
    weights[BIAS][0] = value
    (row,) = diff(first, save(tmp_path, weights)).tensors
    assert row.largest == inf


def test_the_same_nan_in_both_is_no_difference(tmp_path: Path, weights: dict[str, Array]) -> None:
    weights[BIAS][0] = np.nan
    first = save_checkpoint(tmp_path / "first", small_config(), weights, "base")
    assert diff(first, save(tmp_path, weights)).same


def test_other_dtype_is_a_difference_even_of_the_same_numbers(
    tmp_path: Path, first: Path, weights: dict[str, Array]
) -> None:
    weights[BIAS] = weights[BIAS].astype(np.float64)
    (row,) = diff(first, save(tmp_path, weights)).tensors
    assert (row.kind, row.count, row.largest) == ("dtype", 0, 0.0)


def test_tensors_of_one_side_come_before_all_others(tmp_path: Path, first: Path) -> None:
    weights = random_weights(small_config(), "masked-lm")
    weights = {name: array.astype(np.float32) for name, array in weights.items()}
    second = save_checkpoint(tmp_path / "second", small_config(), weights, "masked-lm")
    found = diff(first, second)
    kinds = {row.name: row.kind for row in found.tensors}
    assert kinds[BIAS] == "only in the first"
    assert kinds["cls.predictions.bias"] == "only in the second"
    assert found.settings == {"head": ("base", "masked-lm")}
    assert all(row.largest == inf for row in found.tensors[: len(kinds) - 1])


def test_other_shape_is_told_with_both(tmp_path: Path, first: Path) -> None:
    config = small_config(max_position_embeddings=8)
    weights = {n: a.astype(np.float32) for n, a in random_weights(config, "base").items()}
    found = diff(first, save_checkpoint(tmp_path / "second", config, weights, "base"))
    row = next(row for row in found.tensors if row.kind == "shape")
    assert (row.first, row.second) == ("float32 (19, 24)", "float32 (8, 24)")
    assert found.settings == {"max_position_embeddings": (19, 8)}


def test_settings_alone_make_a_difference(
    tmp_path: Path, first: Path, weights: dict[str, Array]
) -> None:
    config = small_config(hidden_act="gelu")
    found = diff(first, save_checkpoint(tmp_path / "second", config, weights, "base"))
    assert found.tensors == ()
    assert not found.same


def test_setting_that_one_dialect_omits_is_a_difference(
    tmp_path: Path, weights: dict[str, Array]
) -> None:
    config = small_config(trigram_padding="masked")
    first = save_checkpoint(tmp_path / "first", config, weights, "base")
    assert diff(first, save(tmp_path, weights)).settings == {"trigram_padding": ("masked", None)}


def test_values_for_json_have_no_infinity(tmp_path: Path, first: Path) -> None:
    weights = random_weights(small_config(), "masked-lm")
    second = save_checkpoint(tmp_path / "second", small_config(), weights, "masked-lm")
    text = json.dumps(diff(first, second).to_dict(), allow_nan=False)
    assert json.loads(text)["tensors"][0]["largest"] is None


def test_absent_checkpoint_is_an_error(tmp_path: Path, first: Path) -> None:
    with pytest.raises(CheckpointError, match="does not exist"):
        diff(first, tmp_path / "nothing")
