"""Which tokens of one or two texts make up each row.

Rules: a window never holds more tokens than its limit; consecutive windows of a text share
`stride` tokens; with two texts that are both cut, every window of the first meets every window of
the second. Read next: `encoding.py`.
"""

from dataclasses import dataclass
from typing import Literal

from mobilebert_core.errors import TokenizerError
from mobilebert_core.tokenization.settings import Side

Truncation = Literal["longest_first", "only_first", "only_second", "do_not_truncate"]
Window = tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class Cut:
    """How texts are cut to fit.

    Attributes:
        strategy: which text gives way.
        room: how many tokens of the texts fit into a row.
        stride: how many tokens consecutive windows share.
        side: where tokens are dropped.
        keep_overflow: whether the windows after the first are wanted.
    """

    strategy: Truncation
    room: int
    stride: int
    side: Side
    keep_overflow: bool


def cut_windows(lengths: tuple[int, ...], cut: Cut) -> list[tuple[Window, ...]]:
    """The rows that one or two texts of these lengths are cut into.

    Returns:
        For each row, the window of each text.

    Raises:
        TokenizerError: the texts cannot be cut that way.

    Example:
        >>> cut = Cut(
        ...     strategy="longest_first", room=3, stride=1, side="right", keep_overflow=True
        ... )
        >>> cut_windows((5,), cut)
        [((0, 3),), ((2, 5),)]
    """
    if cut.strategy == "do_not_truncate" or sum(lengths) <= cut.room:
        return [tuple((0, length) for length in lengths)]
    limits = _limits(lengths, cut)
    windows = [_windows(length, limit, cut) for length, limit in zip(lengths, limits, strict=True)]
    if not cut.keep_overflow:
        return [tuple(each[0] for each in windows)]
    if len(windows) == 1:
        return [(window,) for window in windows[0]]
    firsts, seconds = windows
    rows = [(first, second) for first in firsts for second in seconds]
    # Rows that continue the first text come before those that only continue the second.
    return [rows[0], *rows[len(seconds) :], *rows[1 : len(seconds)]]


def _limits(lengths: tuple[int, ...], cut: Cut) -> tuple[int, ...]:
    """How many tokens of each text a row may hold."""
    if len(lengths) == 1:
        if cut.strategy == "only_second":
            raise TokenizerError(
                'truncation="only_second", but there is no second text; give one or pass '
                'truncation="longest_first"'
            )
        return (cut.room,)
    first, second = lengths
    if cut.strategy == "longest_first":
        return _share(first, second, cut.room)
    kept, length = (second, first) if cut.strategy == "only_first" else (first, second)
    limit = cut.room - kept
    if limit < 1:
        raise TokenizerError(
            f'truncation="{cut.strategy}" cannot cut {length} tokens so that they fit beside the '
            f"{kept} tokens of the other text into {cut.room}; raise max_length or pass "
            'truncation="longest_first"'
        )
    return (limit, second) if cut.strategy == "only_first" else (first, limit)


def _share(first: int, second: int, room: int) -> tuple[int, int]:
    """Cut the longer text; once both are as long, share evenly, the odd token to the second.

    Which of two texts counts as the longer decides who gets the odd token: the second, unless the
    first one is strictly longer.
    """
    shorter = min(first, second)
    longer = max(shorter, room - shorter)
    if shorter + longer > room:
        shorter, longer = room // 2, room - room // 2
    return (longer, shorter) if first > second else (shorter, longer)


def _windows(length: int, limit: int, cut: Cut) -> list[Window]:
    """The windows of one text, the one that is kept first."""
    if length <= limit:
        return [(0, length)]
    if not cut.keep_overflow and limit == 0:
        return [(0, 0)]
    if limit <= cut.stride:
        raise TokenizerError(
            f"stride={cut.stride}, but only {limit} tokens of the text fit into a row, and the "
            "next row must move on; lower stride or raise max_length"
        )
    starts = range(0, length - cut.stride, limit - cut.stride)
    windows = [(start, min(start + limit, length)) for start in starts]
    if cut.side == "left":
        windows = [(length - end, length - start) for start, end in windows]
    return windows
