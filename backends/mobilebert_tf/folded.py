"""The folded MobileBERT encoder in TensorFlow: products, ReLU and softmax; see `core/folding.py`.

Layers see N = B * S tokens in one axis. These are no Keras layers: there is nothing to train, and a
graph holds the weights as constants, which TensorFlow prepares once for its products.

B batch  S sequence  N tokens  H hidden  T bottleneck width  A heads  D head size  I feed-forward
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from mobilebert_core import folding
from mobilebert_core.config import MobileBertConfig
from mobilebert_tf.layers import ACTIVATIONS, widen

Array = np.ndarray[Any, np.dtype[Any]]


class Product:
    """`inputs @ kernel + bias`."""

    def __init__(self, kernel: Array, bias: Array) -> None:
        self.kernel = kernel  # (in, out)
        self.bias = bias  # (out,)

    def __call__(self, inputs: tf.Tensor) -> tf.Tensor:
        return tf.nn.bias_add(tf.matmul(inputs, self.kernel), self.bias)  # (N, out)


class Addition:
    """`residual * rescale + inputs @ kernel`."""

    def __init__(self, weights: folding.Addition) -> None:
        self.kernel = weights.kernel  # (in, out)
        self.rescale = weights.rescale  # (out,) or None

    def __call__(self, residual: tf.Tensor, inputs: tf.Tensor) -> tf.Tensor:
        if self.rescale is not None:
            residual = residual * self.rescale
        return residual + tf.matmul(inputs, self.kernel)  # (N, out)


class FoldedAttention:
    """Attention of queries, keys and values side by side, and its way onto the residual."""

    def __init__(self, config: MobileBertConfig, weights: folding.Layer) -> None:
        self.width = config.true_hidden_size
        self.output = Addition(weights.attention_output)

    def __call__(
        self, residual: tf.Tensor, mixed: tf.Tensor, shape: tf.Tensor, bias: tf.Tensor | None
    ) -> tuple[tf.Tensor, tf.Tensor]:
        heads = tf.transpose(tf.reshape(mixed, shape), [2, 0, 3, 1, 4])  # (3, B, A, S, D)
        queries, keys, values = tf.unstack(heads)  # 3 x (B, A, S, D)
        scores = tf.matmul(queries, keys, transpose_b=True)  # (B, A, S, S)
        if bias is not None:
            scores = scores + bias
        probabilities = tf.cast(tf.nn.softmax(widen(scores)), mixed.dtype)
        context = tf.transpose(tf.matmul(probabilities, values), [0, 2, 1, 3])  # (B, S, A, D)
        context = tf.reshape(context, [-1, self.width])  # (N, T)
        return self.output(residual, context), probabilities


class FoldedFeedForward:
    """One feed-forward network, onto its input."""

    def __init__(self, config: MobileBertConfig, weights: folding.FeedForward) -> None:
        self.activation: Callable[[tf.Tensor], tf.Tensor] = ACTIVATIONS[config.hidden_act]
        self.intermediate = Product(weights.intermediate_kernel, weights.intermediate_bias)
        self.output = Addition(weights.output)

    def __call__(self, hidden_states: tf.Tensor) -> tf.Tensor:
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
        self, state: tf.Tensor, shape: tf.Tensor, bias: tf.Tensor | None
    ) -> tuple[tf.Tensor, tf.Tensor]:
        projected = self.input(state)  # (N, 4 T), or (N, T)
        if self.queries_keys_values is None:
            residual, mixed = tf.split(projected, [self.width, 3 * self.width], axis=1)
        else:
            residual, mixed = projected, self.queries_keys_values(projected)  # (N, 3 T)
        inner, probabilities = self.attention(residual, mixed, shape, bias)
        for feed_forward in self.feed_forward:
            inner = feed_forward(inner)  # (N, T)
        return self.bottleneck(state, inner), probabilities  # (N, H)

    def unfold(self, state: tf.Tensor) -> tf.Tensor:
        """The layer's output in the model's own terms."""
        wide = widen(state)  # as NoNorm does: round once
        scale, shift = tf.cast(self.scale, wide.dtype), tf.cast(self.shift, wide.dtype)
        return tf.cast(wide * scale + shift, state.dtype)


class FoldedEncoder:
    """The stack of layers."""

    def __init__(self, config: MobileBertConfig, layers: tuple[folding.Layer, ...]) -> None:
        self.config = config
        self.layer = [FoldedLayer(config, weights) for weights in layers]

    def __call__(
        self, hidden_states: tf.Tensor, bias: tf.Tensor | None, collect: tuple[str, ...] = ()
    ) -> tuple[tf.Tensor, tuple[tf.Tensor, ...], tuple[tf.Tensor, ...]]:
        whole = tf.shape(hidden_states)  # [B, S, H]
        heads = [3, self.config.num_attention_heads, self.config.attention_head_size]
        shape = tf.concat([whole[:2], heads], axis=0)  # [B, S, 3, A, D]
        states, attentions = [hidden_states], []
        state = tf.reshape(hidden_states, [-1, hidden_states.shape[2]])  # (N, H)
        for layer in self.layer:
            state, probabilities = layer(state, shape, bias)
            if "hidden_states" in collect:
                states.append(tf.reshape(layer.unfold(state), whole))
            if "attentions" in collect:
                attentions.append(probabilities)
        sequence = tf.reshape(self.layer[-1].unfold(state), whole)
        return sequence, tuple(states), tuple(attentions)
