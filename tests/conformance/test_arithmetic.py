"""What the oracle computes with, against Python's own mathematics and exact derivatives."""

import math
from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from mobilebert_conformance import arithmetic
from mobilebert_conformance.arithmetic import BFLOAT16, BY_DTYPE, COMPLEX128, FLOAT32, FLOAT64

STEP = 1e-30
POINTS = np.array([-40.0, -6.5, -1.3, -0.4, -1e-9, 1e-9, 0.2, 0.9, 3.7, 8.0, 40.0])


def distribution(x: float) -> float:
    """The distribution function of the normal distribution, exact in its left tail too."""
    return math.erfc(-x / math.sqrt(2)) / 2


def density(x: float) -> float:
    """The density of the normal distribution."""
    return math.exp(-x * x / 2) / math.sqrt(2 * math.pi)


def tanh_part(x: float) -> float:
    """What Google's approximation puts for the distribution function, doubled, less one."""
    return math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))


def tanh_slope(x: float) -> float:
    """Its derivative."""
    return (1 - tanh_part(x) ** 2) * math.sqrt(2 / math.pi) * (1 + 3 * 0.044715 * x**2)


# Value and derivative of each function of one number.
FUNCTIONS: dict[str, tuple[Callable[[float], float], Callable[[float], float]]] = {
    "relu": (lambda x: max(x, 0.0), lambda x: float(x > 0)),
    "gelu": (lambda x: x * distribution(x), lambda x: distribution(x) + x * density(x)),
    "gelu_tanh": (
        lambda x: x * (1 + tanh_part(x)) / 2,
        lambda x: (1 + tanh_part(x) + x * tanh_slope(x)) / 2,
    ),
    "erf": (math.erf, lambda x: 2 / math.sqrt(math.pi) * math.exp(-x * x)),
    "softplus": (
        lambda x: max(x, 0.0) + math.log1p(math.exp(-abs(x))),
        lambda x: 1 / (1 + math.exp(-x)),
    ),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_value_is_that_of_pythons_mathematics(name: str) -> None:
    expected = [FUNCTIONS[name][0](x) for x in POINTS]

    assert getattr(arithmetic, name)(POINTS) == pytest.approx(expected, rel=1e-14, abs=1e-15)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_imaginary_part_is_the_derivative(name: str) -> None:
    expected = [FUNCTIONS[name][1](x) for x in POINTS]

    found = getattr(arithmetic, name)(POINTS + 1j * STEP)

    assert found.imag / STEP == pytest.approx(expected, rel=1e-14, abs=1e-15)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_real_part_does_not_depend_on_the_imaginary_one(name: str) -> None:
    function = getattr(arithmetic, name)

    assert function(POINTS + 1j * STEP).real == pytest.approx(function(POINTS), rel=1e-15)


def test_gelu_is_that_of_torch() -> None:
    torch = pytest.importorskip("torch", reason="an independent erf")
    x = torch.linspace(-5, 5, 101, dtype=torch.float64)

    assert arithmetic.gelu(x.numpy()) == pytest.approx(
        (x * torch.special.ndtr(x)).numpy(), rel=1e-12, abs=1e-16
    )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", [*FUNCTIONS, "softmax", "log_softmax"])
def test_dtype_is_kept(name: str, dtype: Any) -> None:
    assert getattr(arithmetic, name)(POINTS.astype(dtype)).dtype == dtype


def test_softplus_does_not_overflow() -> None:
    assert arithmetic.softplus(np.array([-1e4, 1e4])).tolist() == [0.0, 1e4]


def test_softmax_is_that_of_its_definition() -> None:
    scores = [0.5, -1.25, 2.0]
    total = sum(map(math.exp, scores))

    found = arithmetic.softmax(np.array([scores, scores[::-1]]))

    expected = [math.exp(each) / total for each in scores]
    assert found[0] == pytest.approx(expected, rel=1e-15)
    assert found[1] == pytest.approx(expected[::-1], rel=1e-15)


def test_softmax_does_not_overflow() -> None:
    lowest = FLOAT64.lowest

    assert arithmetic.softmax(np.array([[1e4, 1e4, lowest]])).tolist() == [[0.5, 0.5, 0.0]]


def test_softmax_has_its_derivative_in_the_imaginary_part() -> None:
    p = arithmetic.softmax(np.array([0.5, -1.25, 2.0]))
    move = np.array([0.3, -2.0, 1.0])

    found = arithmetic.softmax(np.array([0.5, -1.25, 2.0]) + 1j * STEP * move)

    assert found.imag / STEP == pytest.approx(p * (move - (p * move).sum()), rel=1e-14)


def test_log_softmax_is_the_logarithm_of_the_softmax() -> None:
    logits = np.array([[0.5, -1.25, 2.0]])

    expected = np.log(arithmetic.softmax(logits))

    assert arithmetic.log_softmax(logits)[0] == pytest.approx(expected[0], rel=1e-14)


def test_log_softmax_is_finite_when_the_softmax_is_zero() -> None:
    assert arithmetic.log_softmax(np.array([1e4, 0.0])).tolist() == [0.0, -1e4]


def test_log_softmax_has_its_derivative_in_the_imaginary_part() -> None:
    logits, move = np.array([0.5, -1.25, 2.0]), np.array([0.3, -2.0, 1.0])

    found = arithmetic.log_softmax(logits + 1j * STEP * move)

    expected = move - (arithmetic.softmax(logits) * move).sum()
    assert found.imag / STEP == pytest.approx(expected, rel=1e-14)


MATRICES = {
    "real": (np.arange(6.0).reshape(1, 2, 3), np.arange(12.0).reshape(3, 4) - 5),
    "complex_left": (
        np.arange(6.0).reshape(1, 2, 3) * (1 + 2j),
        np.arange(12.0).reshape(3, 4) - 5,
    ),
    "complex_right": (
        np.arange(6.0).reshape(1, 2, 3),
        (np.arange(12.0).reshape(3, 4) - 5) * (3 - 1j),
    ),
    "complex": (np.arange(6.0).reshape(2, 3) * (1 + 2j), np.arange(12.0).reshape(3, 4) * (3 - 1j)),
}


@pytest.mark.parametrize("kind", MATRICES)
def test_matmul_is_the_matrix_product(kind: str) -> None:
    left, right = MATRICES[kind]

    found = arithmetic.matmul(left, right)

    expected = (left[..., :, :, None] * right).sum(axis=-2)
    assert found.shape == expected.shape
    assert (found == expected).all()


# Kinds of numbers ---------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [FLOAT64, FLOAT32, COMPLEX128])
def test_values_are_kept_in_their_own_dtype(kind: Any) -> None:
    kept = kind.keep([1 / 3])

    assert kept.dtype == kind.dtype == np.dtype(kind.name)
    assert kept[0] == np.dtype(kind.name).type(1 / 3)


@pytest.mark.parametrize(
    ("value", "nearest"),
    [
        (1 + 2**-8, 1.0),  # a tie goes to the even neighbour, down ...
        (1 + 3 * 2**-8, 1 + 2**-6),  # ... or up
        (1 + 2**-8 + 2**-20, 1 + 2**-7),
        (1 + 2**-8 - 2**-20, 1.0),
        (-1 - 3 * 2**-8, -1 - 2**-6),
        (3e38, float(ml_dtypes.bfloat16(3e38))),
    ],
)
def test_bfloat16_is_rounded_to_the_nearest_even(value: float, nearest: float) -> None:
    kept = BFLOAT16.keep(np.array([value]))

    assert kept.dtype == np.float32
    assert kept.tolist() == [nearest]


@pytest.mark.parametrize("name", BY_DTYPE)
def test_lowest_is_finite_and_nothing_is_lower(name: str) -> None:
    kind = BY_DTYPE[name]
    dtype = np.dtype(ml_dtypes.bfloat16 if name == "bfloat16" else name)

    assert kind.keep(kind.lowest) == kind.lowest == float(ml_dtypes.finfo(dtype).min)
