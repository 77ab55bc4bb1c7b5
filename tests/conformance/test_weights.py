"""The suite's weights: random, exact in float32, and the same function in another order."""

from typing import Any

import numpy as np
import pytest

from metrics import output_errors
from mobilebert_conformance.cases import ALL_VARIANTS, small_config
from mobilebert_conformance.oracle_heads import Oracle
from mobilebert_conformance.weights import (
    random_inputs,
    random_labels,
    random_weights,
    reordered_weights,
)
from mobilebert_core import registry
from mobilebert_core.config import MobileBertConfig
from mobilebert_core.heads import HEADS
from mobilebert_core.inputs import prepare
from mobilebert_core.schema import owned_tensors

LIMIT = 1e-11


@pytest.mark.parametrize("variant", ALL_VARIANTS)
@pytest.mark.parametrize("head", HEADS)
def test_weights_are_those_of_the_schema(head: str, variant: str) -> None:
    config = small_config(head, **ALL_VARIANTS[variant])

    weights = random_weights(config, head)

    shapes = {name: spec.shape for name, spec in owned_tensors(config, head).items()}
    assert {name: each.shape for name, each in weights.items()} == shapes
    assert {each.dtype for each in weights.values()} == {np.dtype(np.float64)}


@pytest.fixture(scope="module")
def weights() -> Any:
    """Of a small model."""
    return random_weights(small_config(), "pretraining")


def test_weights_are_exact_in_float32(weights: Any) -> None:
    assert all((each.astype(np.float32) == each).all() for each in weights.values())


def test_weights_are_never_zero_or_one(weights: Any) -> None:
    assert [name for name, each in weights.items() if np.isin(each, (0.0, 1.0)).any()] == []


def test_weights_differ_within_a_tensor_and_between_tensors(weights: Any) -> None:
    firsts = [each.flat[0] for each in weights.values()]

    assert all(each.std() > 0 for each in weights.values())
    assert len(set(firsts)) == len(firsts)


def test_weights_differ_when_the_seed_does() -> None:
    one, other = (random_weights(small_config(), "base", seed) for seed in (1, 2))

    assert all((one[name] != other[name]).mean() > 0.99 for name in one)


@pytest.mark.parametrize("variant", ALL_VARIANTS)
def test_reordered_weights_are_the_same_function(variant: str) -> None:
    config = small_config(**ALL_VARIANTS[variant])
    weights = random_weights(config, "base")
    inputs = random_inputs(config, "base")

    outputs = [
        Oracle(config, "base", each).run(inputs)
        for each in (weights, reordered_weights(config, weights, 1))
    ]

    assert max(output_errors(*outputs).values()) <= LIMIT


def test_reordered_weights_are_the_same_function_in_a_backend() -> None:
    numpy, config = registry.get("numpy"), small_config()
    weights = random_weights(config, "base")
    inputs = random_inputs(config, "base")

    outputs = [
        numpy.run(numpy.build(config, "base", each, dtype="float64", device=None), inputs)
        for each in (weights, reordered_weights(config, weights, 1))
    ]

    assert max(output_errors(*outputs).values()) <= LIMIT


def test_reordered_weights_have_other_bits() -> None:
    config = small_config()
    weights = random_weights(config, "base")

    changed = reordered_weights(config, weights, 1)

    moved = [name for name in weights if not (weights[name] == changed[name]).all()]
    assert len(moved) == config.num_hidden_layers * (4 * 3 + 7)


def test_reordered_weights_differ_when_the_seed_does() -> None:
    config = small_config()
    weights = random_weights(config, "base")

    one, other = (reordered_weights(config, weights, seed) for seed in (1, 2))

    assert any((one[name] != other[name]).any() for name in weights)


def test_reordered_weights_leave_what_they_were_made_of_alone() -> None:
    config = small_config()
    weights = random_weights(config, "base")
    before = {name: each.tobytes() for name, each in weights.items()}

    reordered_weights(config, weights, 1)

    assert {name: each.tobytes() for name, each in weights.items()} == before


@pytest.mark.parametrize("length", [1, 2, 3, 19])
@pytest.mark.parametrize("head", HEADS)
def test_inputs_and_labels_have_the_length_that_is_asked_for(head: str, length: int) -> None:
    config = small_config(head)

    inputs = random_inputs(config, head, length=length)

    assert {each.shape[-1] for each in inputs.values()} == {length}
    prepare(config, head, inputs, random_labels(config, head, inputs["input_ids"].shape))


@pytest.mark.parametrize("variant", [*ALL_VARIANTS, "full"])
def test_attention_is_neither_uniform_nor_all_on_one_token(variant: str) -> None:
    full = variant == "full"
    config = MobileBertConfig() if full else small_config(**ALL_VARIANTS[variant])
    inputs = random_inputs(config, "base")

    attentions = Oracle(config, "base", random_weights(config, "base")).run(inputs)["attentions"]

    length = inputs["input_ids"].shape[-1]
    for layer in attentions:
        largest = layer[0].max(axis=-1)  # of the row that attends everywhere
        assert 1.5 / length < largest.mean() < 0.9
        assert (largest > 0.99).mean() < 0.2
