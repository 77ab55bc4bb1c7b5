"""Encoded examples with labels, and the batches that are made of them.

Read next: `supervised.py`.

N examples  C choices  B batch  S sequence
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mobilebert_core.errors import InputError, TokenizerError
from mobilebert_core.input_checks import IGNORED_LABEL

Array = np.ndarray[Any, np.dtype[Any]]
Labels = Array | tuple[Array, ...]

_CHUNK = 1024  # texts that are tokenized at once


@dataclass(frozen=True)
class Examples:
    """Rows of ids, and the labels that belong to them.

    Attributes:
        input_ids: N rows (S,), each of its own length; N * C rows where there are choices.
        token_type_ids: likewise.
        pad_token_id: what fills rows up.
        labels: by the names that the model takes: an array whose first axis is N, or N arrays (S,)
            with a label for each token.
        choices: C, or 0 where inputs have no such axis.
    """

    input_ids: tuple[Array, ...]
    token_type_ids: tuple[Array, ...]
    pad_token_id: int
    labels: Mapping[str, Labels] = field(default_factory=dict)
    choices: int = 0

    def __len__(self) -> int:
        return len(self.input_ids) // max(1, self.choices)

    def lengths(self) -> Array:
        """The longest row of each example; (N,)."""
        lengths = np.array([len(row) for row in self.input_ids], np.int64)
        longest: Array = lengths.reshape(len(self), max(1, self.choices)).max(axis=1)  # (N,)
        return longest

    def batch(self, indices: Array | Sequence[int]) -> dict[str, Array]:
        """Inputs and labels of some examples, filled up to the longest row.

        Args:
            indices: (B,) integers.

        Returns:
            `input_ids`, `attention_mask` and `token_type_ids`, (B, S) or (B, C, S), and the labels.
        """
        chosen = np.asarray(indices, np.int64)
        rows = chosen
        if self.choices:
            rows = (chosen[:, None] * self.choices + np.arange(self.choices)).reshape(-1)  # (B*C,)
        ids = [self.input_ids[row] for row in rows]
        width = max(map(len, ids))
        mask = np.arange(width) < np.array([len(row) for row in ids])[:, None]  # (B*C, S)
        batch = {
            "input_ids": _rectangle(ids, width, self.pad_token_id),
            "attention_mask": mask.astype(np.int64),
            "token_type_ids": _rectangle([self.token_type_ids[row] for row in rows], width, 0),
        }
        if self.choices:
            shape = (len(chosen), self.choices, width)
            batch = {name: array.reshape(shape) for name, array in batch.items()}  # (B, C, S)
        for name, labels in self.labels.items():
            if isinstance(labels, tuple):
                batch[name] = _rectangle([labels[row] for row in chosen], width, IGNORED_LABEL)
            else:
                batch[name] = labels[chosen]
        return batch


def encode(tokenizer: Any, texts: Sequence[Sequence[str]], max_length: int) -> dict[str, Any]:
    """Texts, or pairs of texts, as rows of ids; the longer text gives way where both are too long.

    Args:
        tokenizer: what `mobilebert.load_tokenizer` returns.
        texts: one or two strings each; two are written `[CLS] first [SEP] second [SEP]`.
        max_length: tokens of a row, the special ones included.

    Returns:
        `input_ids`, `token_type_ids` and `pad_token_id`, as `Examples` takes them.

    Raises:
        InputError: the tokenizer cannot take a text, or `max_length`.
    """
    input_ids: list[Array] = []
    token_type_ids: list[Array] = []
    for chunk in chunks(texts, _CHUNK):
        firsts = [each[0] for each in chunk]
        seconds = [each[1] for each in chunk] if len(chunk[0]) > 1 else None
        encoded = call_tokenizer(tokenizer, firsts, seconds, truncation=True, max_length=max_length)
        input_ids += [np.array(row, np.int32) for row in encoded["input_ids"]]
        token_type_ids += [np.array(row, np.int32) for row in encoded["token_type_ids"]]
    return {
        "input_ids": tuple(input_ids),
        "token_type_ids": tuple(token_type_ids),
        "pad_token_id": tokenizer.pad_token_id,
    }


def call_tokenizer(tokenizer: Any, *texts: Any, **options: Any) -> Any:
    """What the tokenizer says of a batch of texts.

    Raises:
        InputError: it refuses them.
    """
    try:
        return tokenizer(*texts, **options)
    except TokenizerError as error:
        raise InputError(f"The examples cannot be tokenized: {error}") from error


def chunks(values: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    """Consecutive parts of a sequence."""
    for start in range(0, len(values), size):
        yield values[start : start + size]


def split_off(count: int, fraction: float, seed: int) -> tuple[list[int], list[int]]:
    """Which of `count` things stay, and which are put aside; both in their order.

    Args:
        count: how many there are.
        fraction: how much is put aside, at least one thing of two; 0 puts none aside.
        seed: chooses which.

    Raises:
        InputError: the fraction is not below 1, or nothing would stay.
    """
    if not 0 <= fraction < 1:
        raise InputError(f"validation_fraction is {fraction}, expected a number from 0 and below 1")
    aside = max(1, round(count * fraction)) if fraction else 0
    if aside >= count:
        raise InputError(
            f"{count} examples cannot be split: none would be left to train on; give a file for "
            "validation or validation_fraction=0"
        )
    chosen = set(_shuffled(count, seed)[:aside])
    return [i for i in range(count) if i not in chosen], sorted(chosen)


def _shuffled(count: int, seed: int) -> list[int]:
    # Not numpy.random.Generator, whose stream may change between versions of NumPy.
    order: list[int] = np.random.RandomState(seed % 2**32).permutation(count).tolist()
    return order


def _rectangle(rows: Sequence[Array], width: int, filling: int) -> Array:
    filled = np.full((len(rows), width), filling, np.int64)
    for place, row in enumerate(rows):
        filled[place, : len(row)] = row
    return filled
