"""Canonical weights <-> Flax parameters: other leaf names, and kernels turned to (in, out).

The base model also drops a prefix. Nothing else differs.
"""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from flax import nnx

from mobilebert_core.checkpoints.flax_naming import flax_place
from mobilebert_core.config import MobileBertConfig
from mobilebert_core.schema import owned_tensors
from mobilebert_jax.sharding import annotation

Array = np.ndarray[Any, np.dtype[Any]]


def native_name(name: str, head: str) -> str:
    """The path of attributes and list positions that leads to a parameter."""
    return flax_place(name, head).name


def is_transposed(name: str) -> bool:
    """Whether the native layout is (in, out), the canonical one (out, in)."""
    return flax_place(name, "").transposed


def owner(model: nnx.Module, path: str) -> tuple[Any, str]:
    """The module that a path of attributes leads to, and the attribute there."""
    *parts, attribute = path.split(".")
    module: Any = model
    for part in parts:
        module = module[int(part)] if part.isdigit() else getattr(module, part)
    return module, attribute


def to_array(value: Any) -> Array:
    """An array with a copy of a JAX array's values; bfloat16 included."""
    return np.array(value)


def load_canonical(
    model: nnx.Module,
    head: str,
    weights: Mapping[str, Array],
    *,
    dtype: np.dtype[Any],
    device: jax.Device | None,
) -> None:
    """Give a model made without values its parameters, one tensor at a time."""
    for name in weights:
        array = weights[name].T if is_transposed(name) else weights[name]
        # JAX may keep an array's memory instead of copying it: the copy must be ours alone.
        value = jax.device_put(np.array(array, dtype, order="C"), device)
        module, attribute = owner(model, native_name(name, head))
        # An annotated parameter would otherwise ask for a mesh as soon as it is made.
        parameter = nnx.Param(value, out_sharding=annotation(name), eager_sharding=False)
        setattr(module, attribute, parameter)


def owned_parameters(
    model: Any, config: MobileBertConfig, head: str
) -> dict[str, nnx.Param[jax.Array]]:
    """The parameters under canonical names; each tied pair once, under its owner's name."""
    pooled = head != "base" or model.pooler is not None
    owned = {}
    for name in owned_tensors(config, head, add_pooling_layer=pooled):
        module, attribute = owner(model, native_name(name, head))
        owned[name] = getattr(module, attribute)
    return owned


def to_canonical(name: str, value: Any) -> Array:
    """A copy of a parameter, or of its gradient, in the canonical layout."""
    array = to_array(value)
    return np.ascontiguousarray(array.T) if is_transposed(name) else array
