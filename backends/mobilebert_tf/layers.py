"""Keras layers that know their sizes when they are made, so that `build` needs no input.

Initialisers are zeros until a model is built: they give way to canonical weights then, see
`params.py`.
"""

import math
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf


def gelu(values: tf.Tensor) -> tf.Tensor:
    """The exact form, by the error function; `tf.nn.gelu` rounds its constant to float32."""
    return 0.5 * values * (1 + tf.math.erf(values * math.sqrt(0.5)))


def gelu_tanh(values: tf.Tensor) -> tf.Tensor:
    """The tanh approximation."""
    inner = math.sqrt(2 / math.pi) * (values + 0.044715 * values**3)
    return 0.5 * values * (1 + tf.tanh(inner))


ACTIVATIONS: dict[str, Callable[[tf.Tensor], tf.Tensor]] = {
    "relu": tf.nn.relu,
    "gelu": gelu,
    "gelu_tanh": gelu_tanh,
}


def widen(values: tf.Tensor) -> tf.Tensor:
    """At least float32."""
    return tf.cast(values, tf.float32) if values.dtype.size < 4 else values


class Module(keras.layers.Layer):
    """A layer made of layers; building it builds them, under its name.

    Args:
        name: of the layer, the last part of its variables' paths.
        dtype: a Keras dtype policy, or its name.
    """

    def __init__(self, name: str, dtype: Any) -> None:
        super().__init__(name=name, dtype=dtype)

    def build(self, input_shape: Any = None) -> None:
        """Create the variables of every part."""
        # A head's tables are the largest tensors: they come first, while little else is held.
        for part in reversed(self._flatten_layers(include_self=False, recursive=False)):
            part.build(None)
            part._build_shapes_dict = None  # what Keras noted is no shape, and `summary` reads it


class Linear(keras.layers.Dense):
    """`x @ kernel + bias`; the kernel is (in_features, out_features)."""

    def __init__(
        self, in_features: int, out_features: int, name: str, dtype: Any, *, use_bias: bool = True
    ) -> None:
        super().__init__(
            out_features, use_bias=use_bias, kernel_initializer="zeros", name=name, dtype=dtype
        )
        self.in_features = in_features

    def build(self, input_shape: Any = None) -> None:
        """Create kernel and bias."""
        super().build((None, self.in_features))

    def call(self, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """(..., in_features) -> (..., out_features), as one product of two matrices."""
        if inputs.shape.rank == 2:
            return super().call(inputs, training=training)
        rows = super().call(tf.reshape(inputs, [-1, self.in_features]), training=training)
        return tf.reshape(rows, tf.concat([tf.shape(inputs)[:-1], [self.units]], 0))


class Embedding(keras.layers.Embedding):
    """One row for each id; the table is (rows, width)."""

    def __init__(self, rows: int, width: int, name: str, dtype: Any) -> None:
        super().__init__(rows, width, embeddings_initializer="zeros", name=name, dtype=dtype)

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """The rows, in the dtype that the layer computes in; (..., width)."""
        # The gradient of a gather has a part for each use of a row, and Keras' optimisers square
        # the parts before they add them. Reshaping makes it a dense gradient, and costs nothing.
        table = tf.convert_to_tensor(self.embeddings)
        rows = tf.gather(tf.reshape(table, table.shape), inputs)
        return tf.cast(rows, self.compute_dtype)


class LayerNorm(keras.layers.LayerNormalization):
    """Layer normalisation over the last axis."""

    def __init__(self, width: int, eps: float, name: str, dtype: Any) -> None:
        super().__init__(epsilon=eps, name=name, dtype=dtype)
        self.width = width

    def build(self, input_shape: Any = None) -> None:
        """Create gamma and beta."""
        super().build((None, self.width))
