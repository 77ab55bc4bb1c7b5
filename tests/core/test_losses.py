"""Every loss against PyTorch, in both precisions and at the edges."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metrics import relative_error
from mobilebert_conformance.cases import small_config
from mobilebert_core.losses import cross_entropy, sequence_classification_loss, span_loss

torch = pytest.importorskip("torch")
F = torch.nn.functional

LIMITS = {"float64": 1e-14, "float32": 2e-6}
EXTREMES = [0.0, 1.0, -3.5, 1e4, -1e4, 1e30, -1e30]


@pytest.fixture(params=LIMITS)
def dtype(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


def _logits(shape: tuple[int, ...], dtype: str, scale: float = 3.0) -> Any:
    return (np.random.default_rng(5).standard_normal(shape) * scale).astype(dtype)


def _reference_span(start_logits: Any, end_logits: Any, start: Any, end: Any) -> Any:
    length = start_logits.shape[1]
    losses = [
        F.cross_entropy(
            torch.tensor(logits), torch.tensor(labels).clamp(0, length), ignore_index=length
        )
        for logits, labels in ((start_logits, start), (end_logits, end))
    ]
    return ((losses[0] + losses[1]) / 2).numpy()


# Cross-entropy ------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(1, 2), (7, 3), (4, 5, 11), (2, 3, 4, 6)])
def test_cross_entropy_equals_pytorch(shape: tuple[int, ...], dtype: str) -> None:
    logits = _logits(shape, dtype)
    labels = np.random.default_rng(6).integers(0, shape[-1], shape[:-1])
    labels.flat[1::3] = -100
    reference = F.cross_entropy(
        torch.tensor(logits).reshape(-1, shape[-1]), torch.tensor(labels).reshape(-1)
    )
    assert relative_error(cross_entropy(logits, labels), reference.numpy()) < LIMITS[dtype]


def test_cross_entropy_keeps_the_dtype(dtype: str) -> None:
    loss = cross_entropy(_logits((3, 4), dtype), np.array([0, 1, 2]))
    assert (loss.dtype.name, loss.shape) == (dtype, ())


def test_cross_entropy_is_nan_when_every_label_is_ignored(dtype: str) -> None:
    loss = cross_entropy(_logits((2, 3, 4), dtype), np.full((2, 3), -100))
    assert np.isnan(loss)
    assert (loss.dtype.name, loss.shape) == (dtype, ())


@pytest.mark.parametrize("label", [0, 1, 2])
def test_cross_entropy_equals_pytorch_when_logits_are_extreme(label: int, dtype: str) -> None:
    logits = np.array([[1e30, -1e30, 0.0], [5.0, 1e30, 1e30]], dtype)
    labels = np.array([label, 1])
    reference = F.cross_entropy(torch.tensor(logits), torch.tensor(labels))
    assert relative_error(cross_entropy(logits, labels), reference.numpy()) < LIMITS[dtype]


def test_cross_entropy_counts_only_what_has_a_label() -> None:
    logits = _logits((5, 3), "float64")
    labels = np.array([2, -100, 0, -100, 1])
    kept = labels != -100
    alone = cross_entropy(logits[kept], labels[kept])
    assert cross_entropy(logits, labels).tobytes() == alone.tobytes()


def test_ignored_rows_do_not_matter_when_they_are_not_finite() -> None:
    logits = np.array([[1.0, 2.0], [np.nan, np.inf]])
    loss = cross_entropy(logits, np.array([0, -100]))
    assert relative_error(loss, np.log1p(np.e)) < 1e-15


@pytest.mark.parametrize("kind", [np.int8, np.int32, np.uint8, np.uint64])
def test_cross_entropy_takes_labels_of_any_integer_width(kind: Any) -> None:
    logits, labels = _logits((4, 3), "float64"), np.array([0, 2, 1, 1])
    expected = cross_entropy(logits, labels)
    assert cross_entropy(logits, labels.astype(kind)).tobytes() == expected.tobytes()


@pytest.mark.parametrize("narrow", ["float16", "bfloat16"])
def test_cross_entropy_computes_in_float32_when_logits_are_narrow(narrow: str) -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes")
    kind = np.float16 if narrow == "float16" else ml_dtypes.bfloat16
    logits = _logits((6, 9), "float32").astype(kind)
    labels = np.arange(6)
    expected = cross_entropy(logits.astype(np.float32), labels)
    loss = cross_entropy(logits, labels)
    assert (loss.dtype, loss.tobytes()) == (np.float32, expected.tobytes())


def test_inputs_stay_as_they_were() -> None:
    logits, labels = _logits((4, 3), "float64"), np.array([0, 2, -100, 1])
    before = logits.tobytes(), labels.tobytes()
    cross_entropy(logits, labels)
    assert (logits.tobytes(), labels.tobytes()) == before


@given(data=st.data())
def test_cross_entropy_equals_pytorch_whatever_the_values(data: st.DataObject) -> None:
    rows, classes = data.draw(st.integers(1, 5)), data.draw(st.integers(1, 6))
    value = st.sampled_from(EXTREMES) | st.floats(-50, 50)
    flat = data.draw(st.lists(value, min_size=rows * classes, max_size=rows * classes))
    logits = np.array(flat).reshape(rows, classes)
    label = st.sampled_from([-100, *range(classes)])
    labels = np.array(data.draw(st.lists(label, min_size=rows, max_size=rows)))
    reference = F.cross_entropy(torch.tensor(logits), torch.tensor(labels)).numpy()
    loss = cross_entropy(logits, labels)
    if np.isnan(reference):
        assert np.isnan(loss)
    else:
        # Confident rows lose digits to cancellation in either implementation.
        assert abs(float(loss) - float(reference)) <= 1e-14 * max(float(reference), 1.0)


# Sequence classification --------------------------------------------------------------------------


def test_regression_of_one_value_equals_pytorch(dtype: str) -> None:
    logits, labels = _logits((6, 1), dtype), np.linspace(-2, 3, 6).astype(dtype)
    config = small_config(num_labels=1)
    reference = F.mse_loss(torch.tensor(logits).squeeze(), torch.tensor(labels)).numpy()
    loss = sequence_classification_loss(config, logits, labels)
    assert relative_error(loss, reference) < LIMITS[dtype]


def test_regression_gives_the_same_when_labels_are_a_column() -> None:
    logits, labels = _logits((6, 1), "float64"), np.linspace(-2, 3, 6)
    config = small_config(num_labels=1)
    expected = sequence_classification_loss(config, logits, labels)
    column = sequence_classification_loss(config, logits, labels[:, None])
    assert column.tobytes() == expected.tobytes()


def test_regression_of_several_values_equals_pytorch(dtype: str) -> None:
    logits, labels = _logits((6, 5), dtype), _logits((6, 5), dtype)[::-1].copy()
    config = small_config(problem_type="regression")
    reference = F.mse_loss(torch.tensor(logits), torch.tensor(labels)).numpy()
    loss = sequence_classification_loss(config, logits, labels)
    assert relative_error(loss, reference) < LIMITS[dtype]


def test_regression_takes_integer_labels() -> None:
    logits, labels = _logits((3, 1), "float64"), np.array([1, 4, -100])
    loss = sequence_classification_loss(small_config(num_labels=1), logits, labels)
    expected = sequence_classification_loss(
        small_config(num_labels=1), logits, labels.astype(np.float64)
    )
    assert loss.tobytes() == expected.tobytes()


@pytest.mark.parametrize("problem_type", [None, "single_label_classification"])
def test_single_label_equals_pytorch(problem_type: str | None, dtype: str) -> None:
    logits, labels = _logits((6, 5), dtype), np.array([0, 4, 2, -100, 1, 3])
    config = small_config(problem_type=problem_type)
    reference = F.cross_entropy(torch.tensor(logits), torch.tensor(labels)).numpy()
    loss = sequence_classification_loss(config, logits, labels)
    assert relative_error(loss, reference) < LIMITS[dtype]


@pytest.mark.parametrize("problem_type", [None, "multi_label_classification"])
@pytest.mark.parametrize("scale", [1.0, 1e3, 1e30])
def test_multi_label_equals_pytorch(problem_type: str | None, scale: float, dtype: str) -> None:
    logits = _logits((6, 5), dtype, scale)
    labels = (np.arange(30).reshape(6, 5) % 3 == 0).astype(dtype)
    config = small_config(problem_type=problem_type)
    reference = F.binary_cross_entropy_with_logits(torch.tensor(logits), torch.tensor(labels))
    loss = sequence_classification_loss(config, logits, labels)
    assert relative_error(loss, reference.numpy()) < LIMITS[dtype]


def test_multi_label_equals_pytorch_when_labels_are_soft() -> None:
    logits, labels = _logits((4, 5), "float64"), np.linspace(0, 1, 20).reshape(4, 5)
    reference = F.binary_cross_entropy_with_logits(torch.tensor(logits), torch.tensor(labels))
    loss = sequence_classification_loss(small_config(), logits, labels)
    assert relative_error(loss, reference.numpy()) < 1e-14


def test_multi_label_takes_integer_labels_when_the_problem_type_says_so() -> None:
    logits, labels = _logits((4, 5), "float64"), np.arange(20).reshape(4, 5) % 2
    config = small_config(problem_type="multi_label_classification")
    loss = sequence_classification_loss(config, logits, labels)
    expected = sequence_classification_loss(config, logits, labels.astype(np.float64))
    assert loss.tobytes() == expected.tobytes()


def test_config_stays_without_a_problem_type_after_a_loss() -> None:
    config = small_config()
    sequence_classification_loss(config, _logits((2, 5), "float64"), np.array([0, 1]))
    assert config.problem_type is None


# Spans --------------------------------------------------------------------------------------------


def test_span_loss_equals_pytorch(dtype: str) -> None:
    start_logits, end_logits = _logits((4, 9), dtype), _logits((4, 9), dtype)[::-1].copy()
    start, end = np.array([0, 3, 8, 5]), np.array([2, 3, 8, 7])
    reference = _reference_span(start_logits, end_logits, start, end)
    loss = span_loss(start_logits, end_logits, start, end)
    assert relative_error(loss, reference) < LIMITS[dtype]


def test_span_positions_are_clamped_when_outside(dtype: str) -> None:
    start_logits, end_logits = _logits((4, 9), dtype), _logits((4, 9), dtype)[::-1].copy()
    start, end = np.array([-5, 9, 1000, 4]), np.array([2, -1, 8, 10**12])
    reference = _reference_span(start_logits, end_logits, start, end)
    loss = span_loss(start_logits, end_logits, start, end)
    assert relative_error(loss, reference) < LIMITS[dtype]


def test_span_counts_nothing_when_it_ends_at_the_length() -> None:
    logits = _logits((2, 9), "float64")
    loss = span_loss(logits, logits, np.array([3, 9]), np.array([4, 9]))
    alone = span_loss(logits[:1], logits[:1], np.array([3]), np.array([4]))
    assert loss.tobytes() == alone.tobytes()


def test_span_loss_is_nan_when_every_end_is_outside() -> None:
    logits = _logits((2, 9), "float64")
    assert np.isnan(span_loss(logits, logits, np.array([3, 1]), np.array([9, 40])))


def test_span_loss_takes_a_column_of_positions() -> None:
    logits = _logits((3, 9), "float64")
    start, end = np.array([3, 1, 9]), np.array([4, 2, 9])
    expected = span_loss(logits, logits, start, end)
    assert span_loss(logits, logits, start[:, None], end[:, None]).tobytes() == expected.tobytes()


@pytest.mark.parametrize("kind", [np.int8, np.uint8])
def test_span_loss_takes_narrow_integers_when_the_sequence_is_long(kind: Any) -> None:
    logits, positions = _logits((2, 300), "float64"), np.array([3, 100])
    expected = span_loss(logits, logits, positions, positions)
    loss = span_loss(logits, logits, positions.astype(kind), positions.astype(kind))
    assert loss.tobytes() == expected.tobytes()
