"""Canonical weights <-> Keras variables: other names of the leaves, kernels transposed."""

from collections.abc import Mapping
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
_WEIGHTS = ("kernel", "embeddings", "gamma")  # what `weight` is called, by the kind of layer


def native_variable(model: Any, name: str, head: str) -> tuple[keras.Variable | None, bool]:
    """The variable of a canonical name, and whether it is transposed; None where there is none.

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
            return None, False
    if leaf == "bias":
        return getattr(layer, "bias", getattr(layer, "beta", None)), False
    found = (getattr(layer, kind) for kind in _WEIGHTS if hasattr(layer, kind))
    return next(found, None), isinstance(layer, Linear)


def to_tensor(array: Array) -> tf.Tensor:
    """A tensor with a copy of an array: TensorFlow may otherwise share its memory."""
    native = array.dtype.newbyteorder("=")
    return tf.convert_to_tensor(np.array(array, native, order="C"))


def to_array(tensor: Any) -> Array:
    """An array with a copy of the values of a tensor, a variable or sparse gradients."""
    return np.array(tf.convert_to_tensor(tensor).numpy())


def load_canonical(model: Any, head: str, weights: Mapping[str, Array], dtype: str) -> None:
    """Give a built model its values, one tensor at a time."""
    for name in weights:
        variable, transposed = native_variable(model, name, head)
        array = np.asarray(weights[name]).astype(tf.as_dtype(dtype).as_numpy_dtype, copy=False)
        variable.assign(to_tensor(array.T if transposed else array))


def owned_parameters(
    model: Any, config: MobileBertConfig, head: str
) -> dict[str, tuple[keras.Variable, bool]]:
    """Variables, and whether they are transposed, under canonical names; a tied pair once."""
    specs = [spec for spec in tensors(config, head).values() if spec.tied_to is None]
    found = {spec.name: native_variable(model, spec.name, head) for spec in specs}
    return {name: pair for name, pair in found.items() if pair[0] is not None}


def to_canonical(array: Array, transposed: bool) -> Array:
    """The canonical layout of a kernel or of its gradient."""
    return np.ascontiguousarray(array.T) if transposed else array
