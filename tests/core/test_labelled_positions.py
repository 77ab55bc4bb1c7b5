"""`labelled_positions`: what it gives, checked against a loop over rows, and what it refuses."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mobilebert
from mobilebert_core.errors import InputError
from mobilebert_core.labelled import labelled_positions

ROWS = [[-100, 8, -100, 5, 9], [-100] * 5, [7, -100, -100, -100, 6]]


@st.composite
def label_rows(draw: st.DrawFn) -> list[list[int]]:
    """Rectangular labels, often ignored, and 0 among them: the padded positions are 0 too."""
    length = draw(st.integers(1, 7))
    row = st.lists(st.sampled_from([-100, -100, 0, 3, 60]), min_size=length, max_size=length)
    return draw(st.lists(row, min_size=1, max_size=4))


def pairs_of(chosen: dict[str, Any]) -> list[list[tuple[int, int]]]:
    """(position, label) of each row, padding included."""
    names = ("prediction_positions", "labels")
    both = [chosen[name].reshape(-1, chosen[name].shape[-1]).tolist() for name in names]
    return [list(zip(*row, strict=True)) for row in zip(*both, strict=True)]


@settings(deadline=None)
@given(label_rows(), st.integers(0, 5))
def test_every_label_is_there_once_and_the_rest_counts_nothing(
    rows: list[list[int]], more: int
) -> None:
    expected = [[pair for pair in enumerate(row) if pair[1] != -100] for row in rows]
    width = max(1, *map(len, expected)) + more

    chosen = labelled_positions(rows, at_most=width)

    assert pairs_of(chosen) == [row + [(0, -100)] * (width - len(row)) for row in expected]


@settings(deadline=None)
@given(label_rows())
def test_largest_row_decides_the_width_when_none_is_given(rows: list[list[int]]) -> None:
    largest = max(1, *(sum(label != -100 for label in row) for row in rows))

    chosen = labelled_positions(rows)

    assert {each.shape for each in chosen.values()} == {(len(rows), largest)}


@settings(deadline=None)
@given(label_rows())
def test_one_row_beyond_at_most_is_an_error(rows: list[list[int]]) -> None:
    row = [5, 6, *rows[0]]
    count = sum(label != -100 for label in row)

    with pytest.raises(
        InputError, match=f"Row 1 has {count} labels, more than at_most={count - 1}"
    ):
        labelled_positions([[-100] * len(row), row], at_most=count - 1)


def test_error_counts_the_rows_beyond_at_most() -> None:
    with pytest.raises(InputError, match=r"2 of 3 rows; the largest number is 3\); raise at_most"):
        labelled_positions([[1, 2, -100], [1, -100, -100], [1, 2, 3]], at_most=1)


def test_batch_without_labels_asks_for_one_position_a_row() -> None:
    chosen = labelled_positions(np.full((2, 5), -100))

    assert pairs_of(chosen) == [[(0, -100)], [(0, -100)]]


def test_leading_axes_are_kept() -> None:
    labels = np.array([ROWS, ROWS[::-1]])

    chosen = labelled_positions(labels, at_most=4)

    assert {each.shape for each in chosen.values()} == {(2, 3, 4)}
    assert pairs_of(chosen) == pairs_of(labelled_positions(ROWS + ROWS[::-1], at_most=4))


@pytest.mark.parametrize("dtype", ["uint8", "int16", "int32", "uint32", "int64"])
def test_integers_of_any_dtype_become_int64(dtype: str) -> None:
    rows = [[3, 4, 250]] if dtype.startswith("u") else [[3, -100, 250]]

    chosen = labelled_positions(np.array(rows, dtype))

    assert {each.dtype for each in chosen.values()} == {np.dtype(np.int64)}
    assert pairs_of(chosen) == [[(i, each) for i, each in enumerate(rows[0]) if each != -100]]


def test_labels_are_left_as_they_were() -> None:
    labels = np.array(ROWS)

    labelled_positions(labels)

    assert labels.tolist() == ROWS


@pytest.mark.parametrize(
    ("labels", "at_most", "words"),
    [
        (np.full((2, 3), 1.0), None, ["dtype float64", "integers"]),
        (np.array([3, -100]), None, ["(2,)", "(batch, sequence)"]),
        (np.zeros((0, 4), int), None, ["(0, 4)", "not empty"]),
        (np.zeros((4, 0), int), 2, ["(4, 0)", "not empty"]),
        ([[1, 2], [3]], None, ["labels", "rectangular"]),
        (ROWS, 0, ["at_most is 0", "positive"]),
        (ROWS, 2.5, ["at_most is 2.5", "positive"]),
        (np.array([1.0]), -1, ["3 faults", "(1,)"]),
    ],
)
def test_fault_is_named(labels: Any, at_most: Any, words: list[str]) -> None:
    with pytest.raises(InputError) as caught:
        labelled_positions(labels, at_most=at_most)

    assert all(word in str(caught.value) for word in words), caught.value


def test_function_is_public() -> None:
    assert mobilebert.labelled_positions is labelled_positions
