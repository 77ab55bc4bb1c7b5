"""Texts side by side in one row, without padding between them.

All but attention and the trigram works token by token. Texts of one length that follow each other
make a group, which attends as one rectangle. Used by the folded encoders; made by `prediction.py`.

N tokens of all texts
"""

from collections.abc import Sequence
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]


class Group(NamedTuple):
    """Texts of one length, one after the other.

    Attributes:
        start: of the first one's first token.
        texts: how many there are.
        length: tokens of each.
    """

    start: int
    texts: int
    length: int

    @property
    def stop(self) -> int:
        """Where the next group starts."""
        return self.start + self.texts * self.length


def groups(lengths: Sequence[int]) -> tuple[Group, ...]:
    """The groups of a row of texts with these lengths."""
    found, start = [], 0
    for length, equal in groupby(lengths):
        group = Group(start, len(list(equal)), length)
        found.append(group)
        start = group.stop
    return tuple(found)


def first_tokens(lengths: Sequence[int]) -> Array:
    """Where each text starts; (texts,) int64."""
    return np.cumsum([0, *lengths[:-1]], dtype=np.int64)


def last_tokens(lengths: Sequence[int]) -> Array:
    """Where each text's last token is; (texts,) int64."""
    return np.cumsum(lengths, dtype=np.int64) - 1
