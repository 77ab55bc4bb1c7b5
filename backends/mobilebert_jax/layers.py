"""Flax's own layers, made without values: those come from the canonical weights, one by one.

Every product is computed in full float32 on every device, unless the user sets
`jax_default_matmul_precision`: GPUs and TPUs would round the factors to fewer bits.
"""

from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array, lax

ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "relu": jax.nn.relu,
    "gelu": partial(jax.nn.gelu, approximate=False),
    "gelu_tanh": partial(jax.nn.gelu, approximate=True),
}

# Layers ask for a key for each of their parameters; none is drawn, for nothing random is made.
_NO_KEYS: Any = SimpleNamespace(params=lambda: None)


def _shape_only(key: None, shape: tuple[int, ...], dtype: Any) -> Any:
    """An initialiser that makes no values."""
    del key
    return jax.ShapeDtypeStruct(shape, dtype)


def product_precision() -> lax.Precision | None:
    """Full precision, or None where the user's own setting shall hold."""
    return None if jax.config.jax_default_matmul_precision else lax.Precision.HIGHEST


def dot_general(left: Array, right: Array, *arguments: Any, **options: Any) -> Array:
    """`lax.dot_general`, in full precision when none is asked for."""
    if options.get("precision") is None:
        options["precision"] = product_precision()
    return lax.dot_general(left, right, *arguments, **options)


def linear(inputs: int, outputs: int, *, use_bias: bool = True) -> nnx.Linear:
    """`x W + b` with a kernel (in, out)."""
    return nnx.Linear(
        inputs,
        outputs,
        use_bias=use_bias,
        kernel_init=_shape_only,
        bias_init=_shape_only,
        dot_general=dot_general,
        rngs=_NO_KEYS,
    )


def embedding(rows: int, width: int) -> nnx.Embed:
    """Rows of a table."""
    table = nnx.Embed(rows, width, embedding_init=_shape_only, rngs=_NO_KEYS)
    table.dtype = None  # that of the parameter, also after the user has cast it
    return table


def layer_norm(width: int, eps: float) -> nnx.LayerNorm:
    """Layer normalisation in at least float32; the fast variance would cancel digits."""
    return nnx.LayerNorm(
        width,
        epsilon=eps,
        use_fast_variance=False,
        scale_init=_shape_only,
        bias_init=_shape_only,
        rngs=_NO_KEYS,
    )


def widened(values: Array) -> Array:
    """At least float32."""
    return values.astype(jnp.promote_types(values.dtype, jnp.float32))


def folded(key: Array | None, index: int) -> Array | None:
    """The key of one of several places that drop values; None where nothing is dropped."""
    return None if key is None else jax.random.fold_in(key, index)
