"""Layers as nodes: dense, the two normalisations, embedding, activations.

Rules: a function appends nodes and returns the name of the result; `name` is where its weights
stand. ONNX Runtime fuses such nodes into faster ones where it can. Read next: `encoder.py`.

N tokens, one row each
"""

import math
from collections.abc import Callable

import numpy as np
from numpy.polynomial import Chebyshev, chebyshev

from mobilebert_core.config import MobileBertConfig
from mobilebert_onnxruntime.graph import Graph


def linear(graph: Graph, inputs: str, name: str, output: str | None = None) -> str:
    """`x W^T + b` with a kernel (out, in), for (N, in)."""
    weight, bias = graph.weight(f"{name}.weight"), graph.weight(f"{name}.bias")
    return graph.node("Gemm", inputs, weight, bias, transB=1, output=output)  # (N, out)


def no_norm(graph: Graph, inputs: str, name: str) -> str:
    """The element-wise linear map that replaces layer normalisation (section 3.3)."""
    scaled = graph.node("Mul", inputs, graph.weight(f"{name}.weight"))
    return graph.node("Add", scaled, graph.weight(f"{name}.bias"))


def layer_norm(graph: Graph, inputs: str, name: str, eps: float) -> str:
    """Normalisation to mean 0 and variance 1 over the last axis, then scale and shift.

    Not the operator LayerNormalization: that keeps epsilon in float32 whatever the model computes
    in, and in ONNX Runtime 1.20 it subtracts squares, which gives NaN far from mean 0.
    """
    last = graph.integers(-1)
    centered = graph.node("Sub", inputs, graph.node("ReduceMean", inputs, last))  # (N, H)
    square = graph.node("Mul", centered, centered)
    variance = graph.node("ReduceMean", square, last)  # (N, 1)
    deviation = graph.node("Sqrt", graph.node("Add", variance, graph.number(eps)))
    return no_norm(graph, graph.node("Div", centered, deviation), name)


def norm(graph: Graph, config: MobileBertConfig, inputs: str, name: str) -> str:
    """The normalisation that the configuration asks for."""
    if config.normalization_type == "no_norm":
        return no_norm(graph, inputs, name)
    return layer_norm(graph, inputs, name, config.layer_norm_eps)


def embedding(graph: Graph, ids: str, name: str) -> str:
    """Rows of a table."""
    return graph.node("Gather", graph.weight(f"{name}.weight"), ids)


def relu(graph: Graph, x: str) -> str:
    """`max(x, 0)`."""
    return graph.node("Relu", x)


def gelu(graph: Graph, x: str) -> str:
    """`x Phi(x)` with the exact normal distribution function (Hendrycks and Gimpel, 2016)."""
    if graph.dtype == np.float64:
        return _gelu_by_tail(graph, x)
    erf = graph.node("Erf", graph.node("Div", x, graph.number(math.sqrt(2))))
    doubled = graph.node("Mul", x, graph.node("Add", erf, graph.number(1)))
    return graph.node("Mul", doubled, graph.number(0.5))


def gelu_tanh(graph: Graph, x: str) -> str:
    """Google's approximation: `x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) / 2`."""
    square = graph.node("Mul", x, x)
    cubic = graph.node("Mul", graph.node("Mul", square, x), graph.number(0.044715))
    inner = graph.node("Mul", graph.node("Add", x, cubic), graph.number(math.sqrt(2 / math.pi)))
    doubled = graph.node("Add", graph.node("Tanh", inner), graph.number(1))
    return graph.node("Mul", graph.node("Mul", x, graph.number(0.5)), doubled)


ACTIVATIONS: dict[str, Callable[[Graph, str], str]] = {
    "relu": relu,
    "gelu": gelu,
    "gelu_tanh": gelu_tanh,
}


# ONNX Runtime has no Erf for float64. The upper tail of the normal distribution,
#     Q(a) = 1 - Phi(a) = exp(-a^2 / 2) P(u),    u = SHIFT - STRETCH / (min(a, LARGEST) + CENTER),
# takes its place: P is smooth, and a polynomial in u, which runs from -1 to 1, meets it up to
# rounding.
LARGEST = 12.0  # beyond, Q is below 2e-33, and P may stand still
CENTER = 5.0
DEGREE = 18
_START, _END = 1 / CENTER, 1 / (LARGEST + CENTER)
SHIFT = (_START + _END) / (_START - _END)
STRETCH = 2 / (_START - _END)


def _scaled_tail(u: float) -> float:
    """P(u) from the standard library's erfc."""
    a = STRETCH / (SHIFT - u) - CENTER
    return 0.5 * math.exp(a * a / 2) * math.erfc(a / math.sqrt(2))


def tail_coefficients() -> list[float]:
    """Coefficients of P, the constant first."""
    fitted = Chebyshev.interpolate(np.vectorize(_scaled_tail), DEGREE)
    return [float(each) for each in chebyshev.cheb2poly(fitted.coef)]


def _gelu_by_tail(graph: Graph, x: str) -> str:
    """`max(x, 0) - |x| Q(|x|)`, which is `x Phi(x)` without cancellation on either side."""
    size = graph.node("Abs", x)
    bounded = graph.node("Min", size, graph.number(LARGEST))
    part = graph.node(
        "Div", graph.number(STRETCH), graph.node("Add", bounded, graph.number(CENTER))
    )
    u = graph.node("Sub", graph.number(SHIFT), part)
    *lower, value = (graph.number(each) for each in tail_coefficients())
    for coefficient in reversed(lower):
        value = graph.node("Add", graph.node("Mul", value, u), coefficient)
    exponent = graph.node("Mul", graph.node("Mul", x, x), graph.number(-0.5))
    tail = graph.node("Mul", graph.node("Exp", exponent), value)  # Q(|x|)
    return graph.node("Sub", graph.node("Relu", x), graph.node("Mul", size, tail))
