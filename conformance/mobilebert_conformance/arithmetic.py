"""The numbers that the oracle computes with.

`FLOAT64` is the truth, `COMPLEX128` carries derivatives through it (see `gradients.py`), and the
lower dtypes are what law 2 measures with. Each operation here is complex-analytic at the real axis:
comparisons look at real parts only.
"""

import math
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]

_erf = np.frompyfunc(math.erf, 1, 1)


@dataclass(frozen=True)
class Arithmetic:
    """A kind of numbers.

    Attributes:
        name: of the dtype that is computed in.
        dtype: of the arrays that hold it; 16-bit values are held in float32.
        lowest: the most negative finite value, where attention is masked.
    """

    name: str
    dtype: Any
    lowest: float

    def keep(self, values: Any) -> Array:
        """Values as this arithmetic stores them, after every single operation."""
        array = np.asarray(values, self.dtype)
        narrow = {"bfloat16": ml_dtypes.bfloat16, "float16": np.float16}.get(self.name)
        return array if narrow is None else array.astype(narrow).astype(np.float32)


_BFLOAT16 = ml_dtypes.finfo(ml_dtypes.bfloat16)  # type: ignore[no-untyped-call]

FLOAT64 = Arithmetic("float64", np.float64, float(np.finfo(np.float64).min))
COMPLEX128 = Arithmetic("complex128", np.complex128, float(np.finfo(np.float64).min))
FLOAT32 = Arithmetic("float32", np.float32, float(np.finfo(np.float32).min))
BFLOAT16 = Arithmetic("bfloat16", np.float32, float(_BFLOAT16.min))

FLOAT16 = Arithmetic("float16", np.float32, float(np.finfo(np.float16).min))

BY_DTYPE = {each.name: each for each in (FLOAT64, FLOAT32, BFLOAT16, FLOAT16)}


def matmul(left: Array, right: Array) -> Array:
    """The matrix product; one real product where only the left side is complex."""
    if np.iscomplexobj(left) and not np.iscomplexobj(right):
        both = np.concatenate([left.real, left.imag])
        product = both @ right
        half = len(left)
        return product[:half] + 1j * product[half:]
    return left @ right


def relu(x: Array) -> Array:
    """`max(x, 0)`."""
    return np.where(x.real > 0, x, x.dtype.type(0))


def gelu(x: Array) -> Array:
    """`x Phi(x)`, with the distribution function of the normal distribution."""
    return np.asarray(0.5 * x * (1 + erf(x / math.sqrt(2))))


def gelu_tanh(x: Array) -> Array:
    """`x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2`."""
    inner = math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x)
    return np.asarray(0.5 * x * (1 + np.tanh(inner)))


def erf(x: Array) -> Array:
    """The error function; along the imaginary axis its derivative `2 exp(-x^2) / sqrt(pi)`."""
    real = np.asarray(_erf(x.real.astype(np.float64)), np.float64)
    if not np.iscomplexobj(x):
        return real.astype(x.dtype)
    slope = 2 / math.sqrt(math.pi) * np.exp(-(x.real**2))
    return np.asarray(real + 1j * x.imag * slope)


ACTIVATIONS = {"relu": relu, "gelu": gelu, "gelu_tanh": gelu_tanh}


def softmax(scores: Array) -> Array:
    """Softmax over the last axis."""
    exponentials = np.exp(scores - scores.real.max(axis=-1, keepdims=True))
    return np.asarray(exponentials / exponentials.sum(axis=-1, keepdims=True))


def log_softmax(logits: Array) -> Array:
    """The logarithm of the softmax over the last axis."""
    shifted = logits - logits.real.max(axis=-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)))


def softplus(x: Array) -> Array:
    """`log(1 + exp(x))`, without overflow."""
    size = np.where(x.real > 0, x, -x)
    return relu(x) + np.log1p(np.exp(-size))
