"""Canonical weights <-> Keras variables: other names of the leaves, kernels transposed."""

from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from mobilebert_core.config import MobileBertConfig
from mobilebert_core.schema import PREFIX, tensors
from mobilebert_tf.layers import Linear

Array = np.ndarray[Any, np.dtype[Any]]

# Keras reserves `input` and `output` on every layer.
_ATTRIBUTES = {"input": "input_layer", "output": "output_layer"}
# What a canonical leaf may be called, by the kind of layer.
_KINDS = {"weight": ("kernel", "embeddings", "gamma"), "bias": ("bias", "beta")}


def owner(model: Any, name: str, head: str) -> tuple[Any, str]:
    """The layer of a canonical name and what the variable is called there; None where none is.

    Args:
        model: one of the eight models.
        name: canonical, e.g. `mobilebert.encoder.layer.0.attention.self.query.weight`.
        head: name of its head; the base model is its own root.
    """
    *path, leaf = (name.removeprefix(PREFIX) if head == "base" else name).split(".")
    layer = model
    for part in path:
        attribute = _ATTRIBUTES.get(part, part)
        layer = layer[int(part)] if part.isdigit() else getattr(layer, attribute, None)
        if layer is None:
            return None, ""
    return layer, next(kind for kind in _KINDS[leaf] if hasattr(layer, f"{kind}_initializer"))


def is_transposed(layer: Any, kind: str) -> bool:
    """Whether the native layout is (in, out), the canonical one (out, in)."""
    return kind == "kernel" and isinstance(layer, Linear)


def to_tensor(array: Array) -> tf.Tensor:
    """A tensor with a copy of an array: TensorFlow may otherwise share its memory."""
    native = array.dtype.newbyteorder("=")
    return tf.convert_to_tensor(np.array(array, native, order="C"))


def to_array(tensor: Any) -> Array:
    """An array with a copy of the values of a tensor, a variable or sparse gradients."""
    return np.array(tf.convert_to_tensor(tensor).numpy())


def load_canonical(model: Any, head: str, weights: Mapping[str, Array]) -> None:
    """Build a model whose variables have their values from the first: no second copy is made."""
    given = [(name, *owner(model, name, head)) for name in weights]

    def initializer(name: str, layer: Any, kind: str) -> Callable[..., tf.Tensor]:
        def value(shape: Any, dtype: Any = None) -> tf.Tensor:
            numpy_dtype = tf.as_dtype(dtype).as_numpy_dtype
            # No name for the array: it goes before the next copy is made, where it is not shared.
            tensor = tf.convert_to_tensor(weights[name].astype(numpy_dtype, copy=False))
            if is_transposed(layer, kind):
                return tf.transpose(tensor)
            return tf.raw_ops.DeepCopy(x=tensor)

        return value

    for name, layer, kind in given:
        setattr(layer, f"{kind}_initializer", initializer(name, layer, kind))
    model.build()
    for _, layer, kind in given:  # they would hold on to the weights
        setattr(layer, f"{kind}_initializer", keras.initializers.Zeros())


def owned_parameters(
    model: Any, config: MobileBertConfig, head: str
) -> dict[str, tuple[keras.Variable, bool]]:
    """Variables, and whether they are transposed, under canonical names; a tied pair once."""
    specs = [spec for spec in tensors(config, head).values() if spec.tied_to is None]
    found = {spec.name: owner(model, spec.name, head) for spec in specs}
    return {
        name: (getattr(layer, kind), is_transposed(layer, kind))
        for name, (layer, kind) in found.items()
        if layer is not None
    }


def to_canonical(array: Array, transposed: bool) -> Array:
    """The canonical layout of a kernel or of its gradient."""
    return np.ascontiguousarray(array.T) if transposed else array
