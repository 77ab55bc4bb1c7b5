"""The folded MobileBERT encoder in `flax.nnx`: products, ReLU and softmax; see `core/folding.py`.

Layers see N = B * S tokens in one axis. Weights are variables that are no parameters: training
code does not find them.

B batch  S sequence  N tokens  H hidden  T bottleneck width  A heads  D head size  I feed-forward
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array

from mobilebert_core import folding
from mobilebert_core.config import MobileBertConfig
from mobilebert_jax.layers import ACTIVATIONS, product_precision, widened


class Product(nnx.Module):
    """`inputs @ kernel + bias`."""

    def __init__(self, kernel: Array, bias: Array) -> None:
        self.kernel = nnx.Variable(kernel)  # (in, out)
        self.bias = nnx.Variable(bias)  # (out,)

    def __call__(self, inputs: Array) -> Array:
        return jnp.matmul(inputs, self.kernel[...], precision=product_precision()) + self.bias[...]


class Addition(nnx.Module):
    """`residual * rescale + inputs @ kernel`."""

    def __init__(self, weights: folding.Addition) -> None:
        self.kernel = nnx.Variable(weights.kernel)  # (in, out)
        self.rescale = None if weights.rescale is None else nnx.Variable(weights.rescale)  # (out,)

    def __call__(self, residual: Array, inputs: Array) -> Array:
        if self.rescale is not None:
            residual = residual * self.rescale[...]
        return residual + jnp.matmul(inputs, self.kernel[...], precision=product_precision())


class FoldedAttention(nnx.Module):
    """Attention of queries, keys and values side by side, and its way onto the residual."""

    def __init__(self, config: MobileBertConfig, weights: folding.Layer) -> None:
        self.num_heads = config.num_attention_heads
        self.output = Addition(weights.attention_output)

    def __call__(
        self, residual: Array, mixed: Array, texts: int, bias: Array | None
    ) -> tuple[Array, Array]:
        heads = mixed.reshape(texts, -1, 3, self.num_heads, mixed.shape[1] // 3 // self.num_heads)
        queries, keys, values = heads.transpose(2, 0, 3, 1, 4)  # 3 x (B, A, S, D)
        scores = jnp.matmul(queries, keys.swapaxes(2, 3), precision=product_precision())
        if bias is not None:
            scores = scores + bias  # (B, A, S, S)
        probabilities = jax.nn.softmax(widened(scores), axis=-1).astype(mixed.dtype)
        context = jnp.matmul(probabilities, values, precision=product_precision())
        context = context.swapaxes(1, 2).reshape(residual.shape)  # (N, T)
        return self.output(residual, context), probabilities


class FoldedFeedForward(nnx.Module):
    """One feed-forward network, onto its input."""

    def __init__(self, config: MobileBertConfig, weights: folding.FeedForward) -> None:
        self.activation = config.hidden_act  # a name: functions of JAX cannot be pickled
        self.intermediate = Product(weights.intermediate_kernel, weights.intermediate_bias)
        self.output = Addition(weights.output)

    def __call__(self, hidden_states: Array) -> Array:
        expanded = ACTIVATIONS[self.activation](self.intermediate(hidden_states))  # (N, I)
        return self.output(hidden_states, expanded)  # (N, T)


class FoldedLayer(nnx.Module):
    """One layer, from a folded state to the next one."""

    def __init__(self, config: MobileBertConfig, weights: folding.Layer) -> None:
        self.width = config.true_hidden_size
        self.input = Product(weights.input_kernel, weights.input_bias)
        self.queries_keys_values = (
            None
            if weights.attention_kernel is None
            else Product(weights.attention_kernel, weights.attention_bias)
        )
        self.attention = FoldedAttention(config, weights)
        self.feed_forward = nnx.List(
            [FoldedFeedForward(config, each) for each in weights.feed_forward]
        )
        self.bottleneck = Addition(weights.bottleneck)
        self.scale = nnx.Variable(weights.scale)  # (H,)
        self.shift = nnx.Variable(weights.shift)  # (H,)

    def __call__(self, state: Array, texts: int, bias: Array | None) -> tuple[Array, Array]:
        projected = self.input(state)  # (N, 4 T), or (N, T)
        if self.queries_keys_values is None:
            residual, mixed = projected[:, : self.width], projected[:, self.width :]
        else:
            residual, mixed = projected, self.queries_keys_values(projected)  # (N, 3 T)
        inner, probabilities = self.attention(residual, mixed, texts, bias)
        for feed_forward in self.feed_forward:
            inner = feed_forward(inner)  # (N, T)
        return self.bottleneck(state, inner), probabilities  # (N, H)

    def unfold(self, state: Array) -> Array:
        """The layer's output in the model's own terms."""
        outputs = widened(state) * self.scale[...] + self.shift[...]
        return outputs.astype(state.dtype)  # as NoNorm does: round once


class FoldedEncoder(nnx.Module):
    """The stack of layers."""

    def __init__(self, config: MobileBertConfig, layers: tuple[folding.Layer, ...]) -> None:
        self.layer = nnx.List([FoldedLayer(config, weights) for weights in layers])

    def __call__(
        self,
        hidden_states: Array,
        bias: Array | None,
        collect: tuple[str, ...],
        key: Array | None = None,
    ) -> tuple[Array, tuple[Array, ...], tuple[Array, ...]]:
        del key  # nothing is dropped: the weights are for inference only
        states, attentions = [hidden_states], []
        state = hidden_states.reshape(-1, hidden_states.shape[2])  # (N, H)
        for layer in self.layer:
            state, probabilities = layer(state, len(hidden_states), bias)
            if "hidden_states" in collect:
                states.append(layer.unfold(state).reshape(hidden_states.shape))
            if "attentions" in collect:
                attentions.append(probabilities)
        sequence = self.layer[-1].unfold(state).reshape(hidden_states.shape)
        return sequence, tuple(states), tuple(attentions)


def folded_encoder(
    config: MobileBertConfig,
    weights: Mapping[str, np.ndarray[Any, Any]],
    *,
    dtype: np.dtype[Any],
    device: jax.Device | None,
) -> FoldedEncoder:
    """The folded encoder of canonical weights."""
    layers = folding.fold_encoder(config, weights, dtype=dtype)
    return FoldedEncoder(
        config, folding.map_arrays(layers, lambda array: jax.device_put(array, device))
    )
