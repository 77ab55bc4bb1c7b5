"""Folded weights: the same function, whatever the scales; by the NumPy backend's folded encoder."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mobilebert
from metrics import channel_error
from mobilebert_conformance.cases import extreme_case, make_case, small_config
from mobilebert_conformance.oracle_heads import Oracle
from mobilebert_conformance.weights import random_weights
from mobilebert_core.balancing import Activations, alike, balance, trace, within
from mobilebert_core.errors import ConfigError
from mobilebert_core.folding import (
    LARGEST_SCALE,
    SMALLEST_SCALE,
    Layer,
    fold_encoder,
    map_arrays,
    reason_not_to_fold,
    without_encoder,
)
from mobilebert_numpy.folded import FoldedEncoder
from mobilebert_numpy.layers import ACTIVATIONS

KINDS: dict[str, dict[str, Any]] = {
    "shared": {},
    "unshared": {"key_query_shared_bottleneck": False},
    "bottleneck attention": {"use_bottleneck_attention": True},
    "one network": {"num_feedforward_networks": 1},
    "gelu": {"hidden_act": "gelu_tanh"},
}
EXACT = 1e-11


def folded(case: Any) -> Any:
    numpy = mobilebert.get_backend("numpy")
    model = numpy.build(
        case.config, case.head, case.make_weights(), dtype="float64", device=None, optimize=True
    )
    return numpy.run(model, case.inputs, collect=("hidden_states",))


def worst(output: Any, case: Any) -> float:
    truth = Oracle(case.config, case.head, case.make_weights()).run(case.inputs, {})
    pairs = zip(output.hidden_states, truth["hidden_states"], strict=True)
    return max(channel_error(found, expected) for found, expected in pairs)


@pytest.mark.parametrize("kind", KINDS)
def test_folding_is_exact_for_every_kind_of_layer(kind: str) -> None:
    case = make_case(kind, "base", small_config(**KINDS[kind]))

    assert worst(folded(case), case) < EXACT


def test_folding_is_exact_for_zero_tiny_huge_and_negative_scales() -> None:
    case = extreme_case("base")

    assert worst(folded(case), case) < EXACT


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(-60, 60), min_size=1, max_size=6), st.integers(0, 999))
def test_folding_is_exact_for_any_powers_in_the_norms(powers: list[int], seed: int) -> None:
    config = small_config()
    weights = random_weights(config, "base")
    norms = [name for name in weights if name.endswith("output.bottleneck.LayerNorm.weight")]
    for number, power in enumerate(powers):
        channel = (seed + 7 * number) % config.hidden_size
        weights[norms[number % len(norms)]][channel] *= 2.0**power
    case = make_case("powers", "base", config, weights=lambda: weights)

    assert worst(folded(case), case) < EXACT


def test_scales_that_are_carried_along_stay_in_range() -> None:
    case = extreme_case("base")
    layers = fold_encoder(case.config, case.make_weights(), dtype=np.float64)

    sizes = np.abs(np.concatenate([layer.scale for layer in layers]))
    assert sizes.min() >= SMALLEST_SCALE
    assert sizes.max() <= LARGEST_SCALE


def test_states_are_rescaled_only_where_a_scale_leaves_the_range() -> None:
    config = small_config()
    layers = fold_encoder(config, random_weights(config, "base"))

    assert not [layer for layer in layers if layer.bottleneck.rescale is not None]
    assert all(each.output.rescale is None for layer in layers for each in layer.feed_forward)


def test_folded_weights_have_the_dtype_that_was_asked_for_and_rows_in_one_piece() -> None:
    config = small_config()
    found = set()
    for layer in fold_encoder(config, random_weights(config, "base"), dtype=np.float32):
        map_arrays(layer, lambda array: found.add((array.dtype.name, array.flags.c_contiguous)))

    assert found == {("float32", True)}


@pytest.mark.parametrize(
    "changes", [{"normalization_type": "layer_norm"}, {"use_bottleneck": False}]
)
def test_fold_encoder_refuses_what_is_not_linear(changes: dict[str, Any]) -> None:
    config = small_config(**changes)

    assert reason_not_to_fold(config)
    with pytest.raises(ConfigError, match=r"cannot be folded: (normalization_type|use_bottleneck)"):
        fold_encoder(config, random_weights(config, "base"))


def test_weights_too_large_for_float32_are_refused_not_made_infinite() -> None:
    config = small_config()
    weights = random_weights(config, "base")
    for name, array in weights.items():
        if name.endswith(".dense.weight"):
            array *= 1e12

    fold_encoder(config, weights, dtype=np.float64)
    with pytest.raises(ConfigError, match=r"float32: .*e\+\d\d; load it with dtype='float64'"):
        fold_encoder(config, weights, dtype=np.float32)


def test_without_encoder_keeps_embeddings_pooler_and_head() -> None:
    weights = random_weights(small_config(), "pretraining")
    kept = without_encoder(weights)

    assert {name.split(".")[1] for name in kept} == {
        "embeddings", "pooler", "predictions", "seq_relationship",
    }  # fmt: skip


OUTLIER = 2.5e7  # as the published weights have it, in one channel of the first token


def outliers(**changes: Any) -> tuple[Any, tuple[Layer, ...], Any]:
    """A model one of whose channels is huge, read by kernels that are as much smaller."""
    config = small_config(num_hidden_layers=4, **changes)
    weights = random_weights(config, "base")
    channel = 5
    readers = [
        name
        for name, array in weights.items()
        if ".encoder." in name and "layer.0" not in name and array.shape[1:] == (24,)
    ]
    for name, array in weights.items():
        if name.endswith("output.bottleneck.dense.weight") and "layer.0" in name:
            array[channel] *= OUTLIER
        elif name.endswith("output.bottleneck.LayerNorm.weight"):
            array[channel] = 1
        elif name in readers:
            array[:, channel] /= OUTLIER
    layers = fold_encoder(config, weights, dtype=np.float64)
    states = np.random.default_rng(4).normal(size=(3, 11, config.hidden_size))
    return config, layers, states


def largest(sizes: tuple[Activations, ...], name: str) -> float:
    found = [np.max(getattr(each, name)) for each in sizes]
    return float(max(found))


@pytest.mark.parametrize("choose", ["within", "alike"])
@pytest.mark.parametrize("kind", KINDS)
def test_balancing_changes_no_bit_of_the_function(kind: str, choose: str) -> None:
    config, layers, states = outliers(**KINDS[kind])
    sizes = trace(config, layers, states, ACTIVATIONS[config.hidden_act])
    factors = within(sizes, 2.0**11) if choose == "within" else alike(sizes, layers)
    balanced = balance(config, layers, factors)

    before, _, _ = FoldedEncoder(config, layers)(states, None, ())
    after, _, _ = FoldedEncoder(config, balanced)(states / factors[0].state, None, ())
    assert channel_error(after, before) < EXACT


def test_within_holds_every_activation_in_the_range_of_float16() -> None:
    config, layers, states = outliers()
    activation, limit = ACTIVATIONS[config.hidden_act], 2.0**11
    sizes = trace(config, layers, states, activation)
    factors = within(sizes, limit)
    balanced = balance(config, layers, factors)
    after = trace(config, balanced, states / factors[0].state, activation)

    assert largest(sizes, "state") > 1e6
    for name in ("state", "residual", "queries", "keys", "values"):
        assert largest(after, name) < 2 * limit
    assert max(size.max() for each in after for size in each.expanded) < 2 * limit


def test_float16_holds_outliers_only_within_its_range() -> None:
    config, layers, states = outliers()
    sizes = trace(config, layers, states, ACTIVATIONS[config.hidden_act])
    factors = within(sizes, 2.0**11)
    exact, _, _ = FoldedEncoder(config, layers)(states, None, ())

    balanced = halved(balance(config, layers, factors))
    found = FoldedEncoder(config, balanced)(as_float16(states / factors[0].state), None, ())[0]
    with np.errstate(all="ignore"):
        plain = FoldedEncoder(config, halved(layers))(as_float16(states), None, ())[0]
    assert not np.isfinite(plain).all()
    assert channel_error(found, exact) < 0.03


def as_float16(array: Any) -> Any:
    with np.errstate(over="ignore"):
        return array.astype(np.float16)


def halved(layers: tuple[Layer, ...]) -> tuple[Layer, ...]:
    """Everything in float16 but what unfolds the result."""
    return tuple(
        replace(map_arrays(each, as_float16), scale=each.scale, shift=each.shift) for each in layers
    )


def test_alike_evens_out_what_8_bits_would_lose() -> None:
    config, layers, states = outliers()
    activation = ACTIVATIONS[config.hidden_act]
    sizes = trace(config, layers, states, activation)
    factors = alike(sizes, layers)
    after = trace(config, balance(config, layers, factors), states / factors[0].state, activation)

    assert spread(after[-1].state) < spread(sizes[-1].state) / 100


def spread(size: Any) -> float:
    return float(size.max() / np.median(size))
