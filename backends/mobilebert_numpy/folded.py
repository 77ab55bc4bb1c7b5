"""The folded MobileBERT encoder in NumPy: products, ReLU and softmax; see `core/folding.py`.

Layers see N = B * S tokens in one axis, or the tokens of texts that stand side by side.

B batch  S sequence  N tokens  H hidden  T bottleneck width  A heads  D head size  I feed-forward
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from mobilebert_core import folding
from mobilebert_core.config import MobileBertConfig
from mobilebert_core.packing import Group, groups
from mobilebert_numpy.layers import ACTIVATIONS, softmax

Array = np.ndarray[Any, np.dtype[Any]]


class Product:
    """`inputs @ kernel + bias`."""

    def __init__(self, kernel: Array, bias: Array) -> None:
        self.kernel = kernel  # (in, out)
        self.bias = bias  # (out,)

    def __call__(self, inputs: Array) -> Array:
        outputs = inputs @ self.kernel  # (N, out)
        outputs += self.bias
        return outputs


class Addition:
    """`residual * rescale + inputs @ kernel`."""

    def __init__(self, weights: folding.Addition) -> None:
        self.kernel = weights.kernel  # (in, out)
        self.rescale = weights.rescale  # (out,) or None

    def __call__(self, residual: Array, inputs: Array) -> Array:
        if self.rescale is not None:
            residual = residual * self.rescale
        outputs = inputs @ self.kernel  # (N, out)
        outputs += residual
        return outputs


class FoldedAttention:
    """Attention of queries, keys and values side by side, and its way onto the residual."""

    def __init__(self, config: MobileBertConfig, weights: folding.Layer) -> None:
        self.num_heads = config.num_attention_heads
        self.output = Addition(weights.attention_output)

    def __call__(
        self, residual: Array, mixed: Array, parts: tuple[Group, ...], bias: Array | None
    ) -> tuple[Array, list[Array]]:
        attended = [
            self.attend(mixed[each.start : each.stop].reshape(each.texts, each.length, -1), bias)
            for each in parts
        ]
        context = np.concatenate([context for context, _ in attended])  # (N, T)
        return self.output(residual, context), [probabilities for _, probabilities in attended]

    def attend(self, mixed: Array, bias: Array | None) -> tuple[Array, Array]:
        """Texts of one length, (B, S, 3 T), to their context, (B * S, T), and probabilities."""
        heads = mixed.reshape(*mixed.shape[:2], 3, self.num_heads, -1)  # (B, S, 3, A, D)
        queries, keys, values = heads.transpose(2, 0, 3, 1, 4)  # 3 x (B, A, S, D)
        scores = queries @ keys.swapaxes(2, 3)  # (B, A, S, S)
        if bias is not None:
            scores += bias
        probabilities = softmax(scores)  # (B, A, S, S)
        context = (probabilities @ values).swapaxes(1, 2)  # (B, S, A, D)
        return context.reshape(mixed.shape[0] * mixed.shape[1], -1), probabilities


class FoldedFeedForward:
    """One feed-forward network, onto its input."""

    def __init__(self, config: MobileBertConfig, weights: folding.FeedForward) -> None:
        self.activation: Callable[[Array], Array] = ACTIVATIONS[config.hidden_act]
        self.intermediate = Product(weights.intermediate_kernel, weights.intermediate_bias)
        self.output = Addition(weights.output)

    def __call__(self, hidden_states: Array) -> Array:
        expanded = self.activation(self.intermediate(hidden_states))  # (N, I)
        return self.output(hidden_states, expanded)  # (N, T)


class FoldedLayer:
    """One layer, from a folded state to the next one."""

    def __init__(self, config: MobileBertConfig, weights: folding.Layer) -> None:
        self.width = config.true_hidden_size
        self.input = Product(weights.input_kernel, weights.input_bias)
        self.queries_keys_values = None
        if weights.attention_kernel is not None and weights.attention_bias is not None:
            self.queries_keys_values = Product(weights.attention_kernel, weights.attention_bias)
        self.attention = FoldedAttention(config, weights)
        self.feed_forward = [FoldedFeedForward(config, each) for each in weights.feed_forward]
        self.bottleneck = Addition(weights.bottleneck)
        self.scale = weights.scale  # (H,)
        self.shift = weights.shift  # (H,)

    def __call__(
        self, state: Array, parts: tuple[Group, ...], bias: Array | None
    ) -> tuple[Array, list[Array]]:
        projected = self.input(state)  # (N, 4 T), or (N, T)
        if self.queries_keys_values is None:
            residual, mixed = projected[:, : self.width], projected[:, self.width :]
        else:
            residual, mixed = projected, self.queries_keys_values(projected)  # (N, 3 T)
        inner, probabilities = self.attention(residual, mixed, parts, bias)
        for feed_forward in self.feed_forward:
            inner = feed_forward(inner)  # (N, T)
        return self.bottleneck(state, inner), probabilities  # (N, H)

    def unfold(self, state: Array) -> Array:
        """The layer's output in the model's own terms."""
        return state * self.scale + self.shift


class FoldedEncoder:
    """The stack of layers."""

    def __init__(self, config: MobileBertConfig, layers: tuple[folding.Layer, ...]) -> None:
        self.layer = [FoldedLayer(config, weights) for weights in layers]

    def __call__(
        self,
        hidden_states: Array,
        bias: Array | None,
        collect: tuple[str, ...],
        lengths: tuple[int, ...] | None = None,
    ) -> tuple[Array, tuple[Array, ...], tuple[Array, ...]]:
        batch, length, _ = hidden_states.shape
        parts = groups((length,) * batch if lengths is None else lengths)
        states, attentions = [hidden_states], []
        state = hidden_states.reshape(batch * length, -1)  # (N, H)
        for layer in self.layer:
            state, probabilities = layer(state, parts, bias)
            if "hidden_states" in collect:
                states.append(layer.unfold(state).reshape(hidden_states.shape))
            if "attentions" in collect:
                attentions.extend(probabilities)
        sequence = self.layer[-1].unfold(state).reshape(hidden_states.shape)
        return sequence, tuple(states), tuple(attentions)
