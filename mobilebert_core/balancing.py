"""Chooses the scales of folded activations: within a range, or alike for quantisation.

Every channel of every activation of a folded layer may be divided by a factor that the next kernel
takes back: the state, the residual, the values, queries against keys, and, where the activation is
ReLU, what lies between a feed-forward network's products. Factors are powers of two, which round
nothing. Which ranges occur is measured, on a sample of states, by `trace`.

N tokens  H hidden  T bottleneck width  I feed-forward  A heads  D head size
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mobilebert_core.config import MobileBertConfig
from mobilebert_core.folding import Addition, FeedForward, Layer

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class Activations:
    """One array for each activation of a layer: the largest sizes, or the factors; by channel.

    Attributes:
        state: (H,).
        residual: (T,).
        queries: (T,).
        keys: (T,).
        values: (T,).
        expanded: (I,) for each feed-forward network.
    """

    state: Array
    residual: Array
    queries: Array
    keys: Array
    values: Array
    expanded: tuple[Array, ...]


def trace(
    config: MobileBertConfig,
    layers: tuple[Layer, ...],
    states: Array,
    activation: Callable[[Array], Array],
) -> tuple[Activations, ...]:
    """The largest sizes of a sample's activations, layer by layer.

    Args:
        config: the configuration.
        layers: from `fold_encoder`.
        states: (texts, S, H), the embeddings of a sample.
        activation: that of the configuration.
    """
    found = []
    for layer in layers:
        states, sizes = _trace_layer(config, layer, states, activation)
        found.append(sizes)
    return tuple(found)


def _trace_layer(
    config: MobileBertConfig, layer: Layer, states: Array, activation: Callable[[Array], Array]
) -> tuple[Array, Activations]:
    """The next states, (texts, S, H), and the largest sizes on the way."""
    state, width = states.reshape(-1, states.shape[2]), config.true_hidden_size
    projected = state @ layer.input_kernel + layer.input_bias
    residual, mixed = projected[:, :width], projected[:, width:]
    if layer.attention_kernel is not None:
        mixed = residual @ layer.attention_kernel + layer.attention_bias
    context = _attend(mixed.reshape(*states.shape[:2], 3, config.num_attention_heads, -1))
    inner, expanded = [residual, _add(layer.attention_output, residual, context)], []
    for network in layer.feed_forward:
        kernel, bias = network.intermediate_kernel, network.intermediate_bias
        expanded.append(activation(inner[-1] @ kernel + bias))
        inner.append(_add(network.output, inner[-1], expanded[-1]))
    after = _add(layer.bottleneck, state, inner[-1])
    queries, keys, values = (_largest(each) for each in np.split(mixed, 3, axis=1))
    sizes = Activations(
        state=_largest(state, after),
        residual=_largest(*inner),
        queries=queries,
        keys=keys,
        values=values,
        expanded=tuple(_largest(each) for each in expanded),
    )
    return after.reshape(states.shape), sizes


def _attend(heads: Array) -> Array:
    """Queries, keys and values, (texts, S, 3, A, D), to the context, (N, T)."""
    queries, keys, values = heads.transpose(2, 0, 3, 1, 4)  # 3 x (texts, A, S, D)
    scores = queries @ keys.swapaxes(2, 3)  # (texts, A, S, S)
    exponentials = np.exp(scores - scores.max(axis=-1, keepdims=True))
    probabilities = exponentials / exponentials.sum(axis=-1, keepdims=True)
    context = (probabilities @ values).swapaxes(1, 2)  # (texts, S, A, D)
    return np.asarray(context.reshape(heads.shape[0] * heads.shape[1], -1))


def _add(addition: Addition, residual: Array, inputs: Array) -> Array:
    kept = residual if addition.rescale is None else residual * addition.rescale
    return np.asarray(kept + inputs @ addition.kernel)


def _largest(*values: Array) -> Array:
    return np.asarray(np.max([np.abs(each).max(axis=0) for each in values], axis=0))


def within(sizes: tuple[Activations, ...], limit: float) -> tuple[Activations, ...]:
    """Factors that bring every channel down to a limit, and leave alone what is below it.

    Args:
        sizes: from `trace`.
        limit: e.g. 2.0**11 for float16, whose largest number is 2.0**16: what a sample does not
            show has room.
    """

    def down(size: Array) -> Array:
        return _power_of_two(np.maximum(size / limit, 1.0))

    state = down(np.max([each.state for each in sizes], axis=0))  # one scale for all layers
    found = []
    for each in sizes:
        # Scores are products of both: what queries lose, keys gain.
        large = (np.maximum(each.queries, each.keys) > limit) & (each.queries * each.keys > 0)
        ratio = np.where(large, each.queries, 1) / np.where(large, each.keys, 1)
        queries = _power_of_two(np.sqrt(ratio))
        found.append(
            Activations(
                state,
                down(each.residual),
                queries,
                1 / queries,
                down(each.values),
                tuple(down(size) for size in each.expanded),
            )
        )
    return tuple(found)


def alike(sizes: tuple[Activations, ...], layers: tuple[Layer, ...]) -> tuple[Activations, ...]:
    """Factors that share the spread of channels between activations and kernels.

    An activation that is rounded to 8 bits with one scale loses its small channels next to large
    ones; a kernel loses small rows. The square root of their ratio is the middle (SmoothQuant,
    Xiao et al. 2023).
    """

    def between(size: Array, *kernels: Array) -> Array:
        rows = np.max([np.abs(kernel).max(axis=1) for kernel in kernels], axis=0)
        known = (size > 0) & (rows > 0)
        ratio = np.where(known, np.sqrt(np.where(known, size, 1) / np.where(known, rows, 1)), 1.0)
        return _power_of_two(ratio / np.exp(np.log(ratio).mean()))

    largest = np.max([each.state for each in sizes], axis=0)
    state = between(largest, *(layer.input_kernel for layer in layers))
    found = []
    for each, layer in zip(sizes, layers, strict=True):
        inner = [network.intermediate_kernel for network in layer.feed_forward]
        ones = np.ones_like(each.queries)  # queries and keys meet each other, in float32
        found.append(
            Activations(
                state,
                between(each.residual, *inner, layer.bottleneck.kernel),
                ones,
                ones,
                between(each.values, layer.attention_output.kernel),
                tuple(
                    between(size, network.output.kernel)
                    for size, network in zip(each.expanded, layer.feed_forward, strict=True)
                ),
            )
        )
    return tuple(found)


def _power_of_two(values: Array) -> Array:
    return np.asarray(np.exp2(np.ceil(np.log2(values) - 0.5)))


def balance(
    config: MobileBertConfig, layers: tuple[Layer, ...], factors: tuple[Activations, ...]
) -> tuple[Layer, ...]:
    """The same layers with every activation divided by its factors.

    The first layer then takes `embeddings / factors[0].state`.

    Args:
        config: the configuration.
        layers: from `fold_encoder`.
        factors: one for each layer, with one `state` for all. `expanded` is used with ReLU only.
    """
    return tuple(
        _balanced(config, layer, each) for layer, each in zip(layers, factors, strict=True)
    )


def _balanced(config: MobileBertConfig, layer: Layer, by: Activations) -> Layer:
    heads = np.concatenate([by.queries, by.keys, by.values])
    if layer.attention_kernel is None or layer.attention_bias is None:
        mixed = np.concatenate([by.residual, heads])
        attention: dict[str, Any] = {}
    else:
        mixed = by.residual
        attention = {
            "attention_kernel": by.residual[:, None] * layer.attention_kernel / heads,
            "attention_bias": layer.attention_bias / heads,
        }
    networks = []
    for network, expanded in zip(layer.feed_forward, by.expanded, strict=True):
        middle = expanded if config.hidden_act == "relu" else np.ones_like(expanded)
        networks.append(
            FeedForward(
                by.residual[:, None] * network.intermediate_kernel / middle,
                network.intermediate_bias / middle,
                _through(network.output, middle, by.residual),
            )
        )
    return replace(
        layer,
        input_kernel=by.state[:, None] * layer.input_kernel / mixed,
        input_bias=layer.input_bias / mixed,
        attention_output=_through(layer.attention_output, by.values, by.residual),
        feed_forward=tuple(networks),
        bottleneck=_through(layer.bottleneck, by.residual, by.state),
        scale=layer.scale * by.state,
        **attention,
    )


def _through(addition: Addition, before: Array, after: Array) -> Addition:
    return replace(addition, kernel=before[:, None] * addition.kernel / after)
