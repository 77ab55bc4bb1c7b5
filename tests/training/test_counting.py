"""Parts of a batch: their labels, their counts, and no padding that only other parts need."""

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from mobilebert_training.counting import label_counts, rows_of, split_batch

QUICK = settings(deadline=None, max_examples=60)  # a busy machine fails no test
Array = np.ndarray[Any, np.dtype[Any]]


def padded(lengths: list[int], width: int) -> dict[str, Array]:
    mask = (np.arange(width) < np.array(lengths)[:, None]).astype(np.int64)  # (B, S)
    ids = np.arange(mask.size).reshape(mask.shape) + 1
    return {"input_ids": ids, "attention_mask": mask, "labels": np.arange(len(lengths))}


def test_inputs_and_labels_are_parted_by_the_head() -> None:
    batch = {name: np.zeros(2) for name in ("input_ids", "start_positions", "end_positions")}
    inputs, labels = split_batch(batch, "question-answering")
    assert (set(inputs), set(labels)) == ({"input_ids"}, {"start_positions", "end_positions"})


def test_labels_count_unless_they_are_ignored() -> None:
    labels = {
        "labels": np.array([[3, -100, 0], [-100, -100, -100]]),
        "next_sentence_label": np.array([1, -100]),
    }
    assert label_counts(labels) == {"labels": 2, "next_sentence_label": 1}


def test_numbers_count_by_the_row() -> None:
    assert label_counts({"labels": np.array([[0.0, 1.0], [-100.0, 0.5]])}) == {"labels": 2}


@QUICK
@given(lengths=st.lists(st.integers(1, 9), min_size=1, max_size=6), data=st.data())
def test_rows_lose_the_padding_but_a_column_that_none_of_them_needs(
    lengths: list[int], data: st.DataObject
) -> None:
    rows = data.draw(st.lists(st.integers(0, len(lengths) - 1), min_size=1, max_size=6))
    batch = padded(lengths, 11)
    part = rows_of(batch, np.array(rows))
    longest = min(max(lengths[row] for row in rows) + 1, 11)
    for name in ("input_ids", "attention_mask"):
        assert part[name].shape == (len(rows), longest)
        assert (part[name] == batch[name][rows, :longest]).all()
    assert part["labels"].tolist() == rows


def test_numbers_of_as_many_labels_as_tokens_stay_whole() -> None:
    batch = {**padded([2, 5, 4], 6), "labels": np.arange(18, dtype=np.float32).reshape(3, 6)}
    part = rows_of(batch, np.array([0, 2]))
    assert part["input_ids"].shape == (2, 5)
    assert part["labels"].tolist() == batch["labels"][[0, 2]].tolist()


def test_rows_of_choices_lose_padding_alike() -> None:
    batch = padded([2, 5, 3, 4], 8)
    choices = {name: each.reshape(2, 2, 8) for name, each in batch.items() if each.ndim == 2}
    part = rows_of({**choices, "labels": np.array([0, 1])}, np.array([1]))
    assert part["input_ids"].shape == (1, 2, 5)
    assert part["labels"].tolist() == [1]


def test_rows_keep_their_padding_when_spans_are_chosen_among_all_columns() -> None:
    batch = {**padded([2, 5], 8), "start_positions": np.array([1, 3])}
    assert rows_of(batch, np.array([0]))["input_ids"].shape == (1, 8)


def test_rows_keep_their_length_when_there_is_no_mask() -> None:
    part = rows_of({"input_ids": np.arange(12).reshape(3, 4)}, np.array([2, 0]))
    assert part["input_ids"].tolist() == [[8, 9, 10, 11], [0, 1, 2, 3]]


def test_tokens_are_left_when_a_row_is_all_padding() -> None:
    assert rows_of(padded([0, 6], 7), np.array([0]))["input_ids"].shape == (1, 2)
