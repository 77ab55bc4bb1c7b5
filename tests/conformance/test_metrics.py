"""The metrics: what they measure, and that nothing without meaning passes for agreement."""

import math
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from metrics import gradient_errors
from mobilebert_conformance.metrics import (
    FIELD_METRICS,
    Comparison,
    Metric,
    absolute_error,
    bits_differ,
    channel_error,
    field_error,
    output_errors,
    tensor_error,
    token_error,
    worst_of,
)
from mobilebert_core.heads import HEADS

METRICS = [channel_error, token_error, tensor_error, absolute_error]
REFERENCE = np.array([[3.0, 1e6], [4.0, 1e6]])  # rows are tokens, columns are channels


@pytest.fixture(params=METRICS, ids=lambda metric: metric.__name__)
def metric(request: pytest.FixtureRequest) -> Any:
    """Each metric of numbers."""
    return request.param


def test_error_is_zero_when_both_are_the_same(metric: Metric) -> None:
    assert metric(REFERENCE, REFERENCE) == Comparison(0.0, 4)


def test_channel_error_is_relative_to_its_own_channel() -> None:
    test = REFERENCE + np.array([[0.05, 0], [0, 0]])  # of a channel with the square mean 12.5

    assert channel_error(test, REFERENCE).error == pytest.approx(0.01)


def test_token_error_is_relative_to_its_own_row() -> None:
    test = REFERENCE.T + np.array([[0.05, 0], [0, 0]])

    assert token_error(test, REFERENCE.T).error == pytest.approx(0.01)


def test_tensor_error_is_relative_to_the_whole() -> None:
    assert tensor_error([3.0, 4.5], [3.0, 4.0]).error == pytest.approx(0.1)


def test_tensor_error_is_relative_when_it_is_a_single_number() -> None:
    assert tensor_error(np.float64(2.5), np.float64(-2.0)).error == pytest.approx(2.25)


def test_absolute_error_is_the_largest_difference() -> None:
    assert absolute_error([[0.5, 0.25]], [[0.25, 0.75]]) == Comparison(0.5, 2)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_value_is_a_fault_when_both_are_not_finite(metric: Metric, value: float) -> None:
    wrong = np.array([[1.0, value]])

    assert metric(wrong, wrong).fault


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_fault_names_the_side_that_is_not_finite(metric: Metric, value: float) -> None:
    sound, wrong = np.array([[1.0, 2.0]]), np.array([[1.0, value]])

    assert metric(wrong, sound).fault.startswith("the backend has 1 of 2 values")
    assert metric(sound, wrong).fault.startswith("the reference has 1 of 2 values")


def test_empty_arrays_are_a_fault(metric: Metric) -> None:
    assert metric(np.empty((0, 3)), np.empty((0, 3))).fault == "nothing was compared"


def test_shapes_that_differ_are_a_fault_even_when_they_broadcast(metric: Metric) -> None:
    assert metric(np.ones((1, 3)), np.ones((2, 3))).fault == "shape (1, 3), expected (2, 3)"


def test_nothing_at_all_is_a_fault(metric: Metric) -> None:
    assert metric(None, REFERENCE).fault == "the backend gives nothing"
    assert metric(REFERENCE, None).fault == "the reference gives nothing"


def test_fault_is_an_infinite_error(metric: Metric) -> None:
    assert metric(np.array([math.nan]), np.array([1.0])).error == math.inf


@pytest.mark.parametrize("relative", [channel_error, token_error, tensor_error])
def test_error_is_infinite_when_the_reference_is_zero_and_the_test_is_not(relative: Metric) -> None:
    assert relative([[1e-100]], [[0.0]]) == Comparison(math.inf, 1)


@pytest.mark.parametrize("relative", [channel_error, token_error, tensor_error])
def test_error_is_zero_when_both_are_zero(relative: Metric) -> None:
    assert relative([[0.0]], [[0.0]]) == Comparison(0.0, 1)


def test_numbers_are_compared_in_float64_when_they_have_less(metric: Metric) -> None:
    small = np.array([[1.0]], ml_dtypes.bfloat16)

    assert metric(small, np.array([[1 + 2**-20]])).error == pytest.approx(2**-20, rel=1e-3)


# Bits ---------------------------------------------------------------------------------------------


def test_bits_are_counted_where_they_differ() -> None:
    assert bits_differ(np.array([1.0, 2.0, 3.0]), np.array([1.0, 5.0, 6.0])) == Comparison(2.0, 3)


def test_bits_differ_between_the_two_zeros() -> None:
    assert bits_differ(np.array([-0.0]), np.array([0.0])).error == 1


def test_bits_do_not_differ_between_equal_nans() -> None:
    assert bits_differ(np.array([math.nan]), np.array([math.nan])).error == 0


def test_bits_of_two_dtypes_are_a_fault() -> None:
    found = bits_differ(np.zeros(2, np.int32), np.zeros(2, np.float32))

    assert found.fault == "int32 (2,), expected float32 (2,)"


def test_bits_of_two_shapes_are_a_fault() -> None:
    assert bits_differ(np.zeros((1, 2)), np.zeros((2, 1))).fault


def test_bits_of_nothing_are_a_fault() -> None:
    assert bits_differ(None, np.zeros(2)).fault == "the backend gives nothing"


def test_bits_do_not_depend_on_the_layout_in_memory() -> None:
    array = np.arange(6.0).reshape(2, 3)

    assert bits_differ(np.asfortranarray(array), array) == Comparison(0.0, 6)


# Several comparisons ------------------------------------------------------------------------------


def test_worst_of_names_the_largest_error_and_counts_all() -> None:
    found = worst_of({"a": Comparison(0.1, 3), "b": Comparison(0.3, 4), "c": Comparison(0.2, 5)})

    assert found == Comparison(0.3, 12, where="b")


def test_worst_of_prefers_a_fault_to_a_large_error() -> None:
    found = worst_of(
        {"a": Comparison(1e9, 3), "b": Comparison(0.0, 4, "wrong"), "c": Comparison(1, 1)}
    )

    assert (found.where, found.fault) == ("b", "wrong")


def test_worst_of_prefers_nan_to_a_large_error() -> None:
    assert worst_of({"a": Comparison(1e9, 3), "b": Comparison(math.nan, 4)}).where == "b"


def test_worst_of_nothing_is_a_fault() -> None:
    assert worst_of({}) == Comparison(math.inf, 0, "nothing was compared")


def test_worst_of_compared_nothing_when_its_worst_did_not() -> None:
    assert worst_of({"a": Comparison(0.1, 3), "b": Comparison(math.inf, 0)}).compared == 0


# Output fields ------------------------------------------------------------------------------------


def test_every_field_of_logits_is_compared_by_token() -> None:
    fields = {name for head in HEADS.values() for name in head.output.__dataclass_fields__}
    logits = {name for name in fields if name.endswith("logits")}

    assert {name for name, each in FIELD_METRICS.items() if each is token_error} == logits
    assert FIELD_METRICS.keys() - logits == {"loss", "attentions"}


def test_field_error_names_the_worst_array_of_several() -> None:
    one = np.ones((2, 3))

    found = field_error("hidden_states", (one, one * 1.5, one), (one, one, one))

    assert found == Comparison(0.5, 18, where="hidden_states[1]")


@pytest.mark.parametrize("test", [(), (REFERENCE,), REFERENCE, None])
def test_field_error_is_a_fault_when_arrays_are_missing(test: Any) -> None:
    assert field_error("hidden_states", test, (REFERENCE, REFERENCE)).fault


def test_field_is_a_fault_when_it_is_missing() -> None:
    errors = output_errors({}, {"logits": REFERENCE})

    assert errors["logits"].fault == "the backend gives nothing"


def test_field_is_a_fault_when_nobody_expects_it() -> None:
    errors = output_errors({"logits": REFERENCE, "loss": 1.0}, {"logits": REFERENCE})

    assert errors["logits"] == Comparison(0.0, 4)
    assert errors["loss"].fault == "the reference gives nothing"


# Gradients ----------------------------------------------------------------------------------------


def test_gradient_error_is_relative_to_its_own_tensor() -> None:
    reference = {"a": np.array([3.0, 4.0]), "b": np.array([100.0])}

    errors = gradient_errors(reference | {"a": np.array([3.0, 4.5])}, reference)

    assert errors == {"a": pytest.approx(0.1), "b": 0.0}


def test_gradient_error_is_relative_to_the_largest_when_the_tensor_is_nearly_zero() -> None:
    reference = {"zero": np.array([1e-17]), "largest": np.array([10.0])}

    errors = gradient_errors(reference | {"zero": np.array([3e-17])}, reference)

    assert errors["zero"] == pytest.approx(2e-14)


def test_gradients_fail_when_one_is_missing_or_unexpected() -> None:
    with pytest.raises(AssertionError):
        gradient_errors({"extra": np.ones(1)}, {"missing": np.ones(1)})
