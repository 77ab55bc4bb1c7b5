"""The layers that a framework would bring: dense, layer normalisation, embedding, activations."""

from collections.abc import Callable
from typing import Any

import numpy as np

from mobilebert_numpy.params import Weights

Array = np.ndarray[Any, np.dtype[Any]]


class Linear:
    """`x W^T + b` with a kernel (out, in)."""

    def __init__(self, weights: Weights) -> None:
        self.weight = weights["weight"]  # (out, in)
        self.bias = weights["bias"]  # (out,)

    def __call__(self, inputs: Array) -> Array:
        # One product over all tokens: a stack of small ones would not use the whole processor.
        rows = inputs.reshape(-1, inputs.shape[-1]) @ self.weight.T
        rows += self.bias
        return rows.reshape(*inputs.shape[:-1], -1)


class LayerNorm:
    """Normalisation to mean 0 and variance 1 over the last axis, then scale and shift."""

    def __init__(self, weights: Weights, eps: float) -> None:
        self.weight = weights["weight"]
        self.bias = weights["bias"]
        self.eps = eps

    def __call__(self, inputs: Array) -> Array:
        centered = inputs - inputs.mean(axis=-1, keepdims=True)
        variance = np.square(centered).mean(axis=-1, keepdims=True)
        return centered / np.sqrt(variance + self.eps) * self.weight + self.bias


class Embedding:
    """Rows of a table."""

    def __init__(self, weights: Weights) -> None:
        self.weight = weights["weight"]  # (rows, width)

    def __call__(self, ids: Array) -> Array:
        return self.weight[ids]


def relu(x: Array) -> Array:
    """`max(x, 0)`."""
    return np.maximum(x, 0)


def gelu(x: Array) -> Array:
    """`x Phi(x)` with the exact normal distribution function (Hendrycks and Gimpel, 2016)."""
    wide = x.astype(np.float64)
    return (0.5 * wide * (1.0 + erf(wide / np.sqrt(2.0)))).astype(x.dtype)


def gelu_tanh(x: Array) -> Array:
    """Google's approximation: `x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) / 2`."""
    cube = x * x * x
    return 0.5 * x * (1.0 + np.tanh(float(np.sqrt(2.0 / np.pi)) * (x + 0.044715 * cube)))


ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "relu": relu,
    "gelu": gelu,
    "gelu_tanh": gelu_tanh,
}


def softmax(scores: Array) -> Array:
    """Softmax over the last axis."""
    scores = scores - scores.max(axis=-1, keepdims=True)
    np.exp(scores, out=scores)
    scores /= scores.sum(axis=-1, keepdims=True)
    return scores


# Rational minimax approximations of W. J. Cody, Math. Comp. 23 (1969): numerators and
# denominators, highest power first, for erf(x)/x in x^2 below 0.46875, for erfc(x) exp(x^2) in x up
# to 4, and beyond in 1/x^2.
_SMALL = (
    (1.85777706184603153e-1, 3.16112374387056560, 1.13864154151050156e2, 3.77485237685302021e2,
     3.20937758913846947e3),
    (1.0, 2.36012909523441209e1, 2.44024637934444173e2, 1.28261652607737228e3,
     2.84423683343917062e3),
)  # fmt: skip
_MIDDLE = (
    (2.15311535474403846e-8, 5.64188496988670089e-1, 8.88314979438837594, 6.61191906371416295e1,
     2.98635138197400131e2, 8.81952221241769090e2, 1.71204761263407058e3, 2.05107837782607147e3,
     1.23033935479799725e3),
    (1.0, 1.57449261107098347e1, 1.17693950891312499e2, 5.37181101862009858e2,
     1.62138957456669019e3, 3.29079923573345963e3, 4.36261909014324716e3, 3.43936767414372164e3,
     1.23033935480374942e3),
)  # fmt: skip
_LARGE = (
    (1.63153871373020978e-2, 3.05326634961232344e-1, 3.60344899949804439e-1,
     1.25781726111229246e-1, 1.60837851487422766e-2, 6.58749161529837803e-4),
    (1.0, 2.56852019228982242, 1.87295284992346047, 5.27905102951428412e-1,
     6.05183413124413191e-2, 2.33520497626869185e-3),
)  # fmt: skip


def erf(x: Array) -> Array:
    """The error function, to a few units in the last place of float64."""
    size = np.abs(x)
    result = np.sign(x)  # the value beyond 6, to the last bit
    for low, high, part in ((0.0, 0.46875, "small"), (0.46875, 4.0, "middle"), (4.0, 6.0, "large")):
        chosen = (size >= low) & (size < high)
        y = size[chosen]
        if part == "small":
            values = y * _ratio(_SMALL, y * y)
        elif part == "middle":
            values = 1.0 - np.exp(-y * y) * _ratio(_MIDDLE, y)
        else:
            inverse = 1.0 / (y * y)
            tail = (1.0 / np.sqrt(np.pi) - inverse * _ratio(_LARGE, inverse)) / y
            values = 1.0 - np.exp(-y * y) * tail
        result[chosen] *= values
    result[x != x] = np.nan
    return result


def _ratio(polynomials: tuple[tuple[float, ...], tuple[float, ...]], x: Array) -> Array:
    numerator, denominator = polynomials
    return np.polyval(numerator, x) / np.polyval(denominator, x)
