"""Masks: how many, of which kind, and never where nothing may be hidden.

B batch  S sequence  P prediction positions
"""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mobilebert_core.errors import InputError
from mobilebert_training.masking import mask_tokens, positions_per_row
from mobilebert_training.randomness import generator

Array = np.ndarray[Any, np.dtype[Any]]
MASK, VOCABULARY, FIRST = 4, 1009, 5


def masked(ids: Array, maskable: Array, fraction: float = 0.15, seed: int = 0) -> dict[str, Array]:
    return mask_tokens(
        ids,
        maskable,
        generator(seed),
        mask_token_id=MASK,
        vocab_size=VOCABULARY,
        first_token_id=FIRST,
        fraction=fraction,
    )


def random_rows(seed: int, rows: int, length: int, share: float) -> tuple[Array, Array]:
    draw = generator(seed, 1)
    ids = draw.integers(FIRST, VOCABULARY, (rows, length))
    return ids, draw.random((rows, length)) < share


QUICK = settings(deadline=None, max_examples=60)  # a busy machine fails no test
CASES = given(
    seed=st.integers(0, 10**6),
    rows=st.integers(1, 7),
    length=st.integers(1, 40),
    share=st.sampled_from([0.0, 0.1, 0.5, 1.0]),
    fraction=st.sampled_from([0.01, 0.15, 0.5, 1.0]),
)


@QUICK
@CASES
def test_labels_are_the_hidden_tokens(
    seed: int, rows: int, length: int, share: float, fraction: float
) -> None:
    ids, maskable = random_rows(seed, rows, length, share)
    found = masked(ids, maskable, fraction)
    positions, labels = found["prediction_positions"], found["labels"]
    counted = labels != -100
    assert (labels[counted] == np.take_along_axis(ids, positions, axis=1)[counted]).all()
    restored = found["input_ids"].copy()
    for row in range(rows):
        restored[row, positions[row][counted[row]]] = labels[row][counted[row]]
    assert (restored == ids).all()


@QUICK
@CASES
def test_every_row_has_its_share_of_positions_that_may_be_hidden(
    seed: int, rows: int, length: int, share: float, fraction: float
) -> None:
    ids, maskable = random_rows(seed, rows, length, share)
    found = masked(ids, maskable, fraction)
    for row, positions in enumerate(found["prediction_positions"]):
        counted = found["labels"][row] != -100
        chosen, available = positions[counted], int(maskable[row].sum())
        assert len(chosen) == min(available, max(1, round(available * fraction)))
        assert maskable[row][chosen].all()
        assert (np.diff(chosen) > 0).all()
        assert (positions[~counted] == 0).all()
        assert counted[: len(chosen)].all()


def test_of_chosen_tokens_eight_in_ten_are_masked_and_one_is_random() -> None:
    ids, maskable = random_rows(3, 2000, 41, 0.9)
    found = masked(ids, maskable)
    counted = found["labels"] != -100
    seen = np.take_along_axis(found["input_ids"], found["prediction_positions"], axis=1)[counted]
    labels = found["labels"][counted]
    count = len(labels)
    margin = 4 * (0.16 / count) ** 0.5  # four standard errors at most
    assert abs((seen == MASK).mean() - 0.8) < margin
    assert abs((seen == labels).mean() - 0.1) < margin
    others = seen[(seen != MASK) & (seen != labels)]
    assert abs(len(others) / count - 0.1) < margin
    assert others.min() >= FIRST
    assert others.max() < VOCABULARY
    assert len(np.unique(others)) > 500


def test_every_position_is_chosen_alike() -> None:
    ids, maskable = random_rows(4, 4000, 20, 1.0)
    chosen = np.bincount(masked(ids, maskable)["prediction_positions"].ravel(), minlength=20)
    expected = 4000 * 3 / 20
    assert abs(chosen - expected).max() < 5 * expected**0.5


def test_masks_are_a_function_of_the_generator() -> None:
    ids, maskable = random_rows(5, 6, 30, 0.8)
    first, again, other = (masked(ids, maskable, seed=seed) for seed in (1, 1, 2))
    assert all((first[name] == again[name]).all() for name in first)
    assert any((first[name] != other[name]).any() for name in first)


def test_what_is_given_stays_as_it_is() -> None:
    ids, maskable = random_rows(6, 4, 25, 0.7)
    before = ids.copy(), maskable.copy()
    masked(ids, maskable)
    assert (ids == before[0]).all()
    assert (maskable == before[1]).all()


@pytest.mark.parametrize(("length", "expected"), [(1, 1), (9, 1), (128, 19), (20, 3)])
def test_positions_of_a_row_are_a_rounded_share(length: int, expected: int) -> None:
    assert positions_per_row(length) == expected


@pytest.mark.parametrize(
    ("shape", "fraction"), [((2, 4), 0.15), ((2, 3), 0.0), ((2, 3), 1.1), ((2, 3), float("nan"))]
)
def test_shapes_and_shares_are_refused_when_they_mean_nothing(
    shape: tuple[int, ...], fraction: float
) -> None:
    with pytest.raises(InputError, match="expected two arrays"):
        masked(np.full((2, 3), 7), np.ones(shape, bool), fraction)
