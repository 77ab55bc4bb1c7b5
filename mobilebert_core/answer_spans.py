"""Paragraphs cut into windows, answers as spans of tokens, and back from tokens to text.

A row is `[CLS] question [SEP] window of the paragraph [SEP]`; consecutive windows share `stride`
tokens. Spans count tokens of the row, and 0, the place of [CLS], says that a window has no answer.

S sequence  W tokens of the paragraph in a window
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mobilebert_core.errors import InputError

Array = np.ndarray[Any, np.dtype[Any]]

MOST_QUESTION_TOKENS = 64  # what BERT's own code keeps of a question
CANDIDATES, MOST_ANSWER_TOKENS = 20, 30  # and what it looks for answers among
_AT_A_TIME = 256


@dataclass(frozen=True)
class Window:
    """A question with part of its paragraph.

    Attributes:
        question: its index.
        input_ids: (S,).
        token_type_ids: (S,).
        first: where the paragraph begins.
        offsets: (W, 2), the characters of the paragraph that a token stands for.
    """

    question: int
    input_ids: Array
    token_type_ids: Array
    first: int
    offsets: Array


@dataclass(frozen=True)
class Span:
    """Part of a window that may be the answer: its score, and its characters."""

    score: float
    start: int
    end: int


def make_windows(
    tokenizer: Any, questions: Sequence[tuple[str, str]], max_length: int, stride: int | None = None
) -> Iterator[Window]:
    """The windows of all questions, in their order.

    Args:
        tokenizer: what `mobilebert.load_tokenizer` returns.
        questions: each with its paragraph. A question that takes more than 64 tokens, or half a
            row, is cut.
        max_length: tokens of a row.
        stride: how many tokens consecutive windows share; None takes 128, or a third of a row.

    Raises:
        InputError: windows would not move on.
    """
    room = max_length - tokenizer.num_special_tokens_to_add(pair=True)
    most = min(MOST_QUESTION_TOKENS, room // 2)
    stride = min(128, max_length // 3, max(0, room - most - 1)) if stride is None else stride
    if most < 1 or not 0 <= stride < room - most:
        raise InputError(
            f"max_length={max_length} and stride={stride} do not go together: {most} tokens are "
            f"for the question and {room - most} for the paragraph; give a stride from 0 on and "
            "below that"
        )
    for start in range(0, len(questions), _AT_A_TIME):
        asked, paragraphs = zip(*questions[start : start + _AT_A_TIME], strict=True)
        encoded = tokenizer(
            _cut_questions(tokenizer, asked, most),
            list(paragraphs),
            truncation="only_second",
            max_length=max_length,
            stride=stride,
            return_overflowing_tokens=True,
            return_offsets_mapping=True,
            return_token_type_ids=True,
        )
        for row, place in enumerate(encoded["overflow_to_sample_mapping"]):
            types = np.array(encoded["token_type_ids"][row], np.int32)  # (S,)
            first = int(types.argmax())
            offsets = np.array(encoded["offset_mapping"][row][first:-1], np.int32).reshape(-1, 2)
            ids = np.array(encoded["input_ids"][row], np.int32)  # (S,)
            yield Window(start + place, ids, types, first, offsets)


def _cut_questions(tokenizer: Any, texts: Sequence[str], most: int) -> list[str]:
    encoded = tokenizer(
        list(texts), add_special_tokens=False, return_offsets_mapping=True, verbose=False
    )
    return [
        text[: offsets[most - 1][1]] if len(offsets) > most else text
        for text, offsets in zip(texts, encoded["offset_mapping"], strict=True)
    ]


def is_unanswered(span: Span | None, none_score: float, threshold: float = 0.0) -> bool:
    """Whether no answer is likelier than the best one, as the official evaluation decides.

    Args:
        span: the best of all windows, or None.
        none_score: the least sum of both logits of [CLS], of all windows.
        threshold: by how much it must be more than the span's.
    """
    return span is None or none_score - span.score > threshold


def best_span(
    window: Window,
    start_logits: Array,
    end_logits: Array,
    *,
    candidates: int = CANDIDATES,
    most_tokens: int = MOST_ANSWER_TOKENS,
) -> Span | None:
    """The likeliest answer in a window.

    Args:
        window: of S tokens.
        start_logits: (S,).
        end_logits: (S,).
        candidates: how many of the best starts and of the best ends are combined.
        most_tokens: the longest answer.

    Returns:
        None where no start and end go together.
    """
    inside = slice(window.first, window.first + len(window.offsets))
    starts, ends = (
        np.argsort(-logits[inside], kind="stable")[:candidates]
        for logits in (start_logits, end_logits)
    )
    scores = start_logits[inside][starts][:, None] + end_logits[inside][ends]  # (starts, ends)
    lengths = ends - starts[:, None] + 1  # (starts, ends)
    scores = np.where((lengths > 0) & (lengths <= most_tokens), scores, -np.inf)
    if not scores.size or np.isneginf(scores).all():
        return None
    start, end = np.unravel_index(scores.argmax(), scores.shape)
    return Span(
        float(scores[start, end]),
        int(window.offsets[starts[start], 0]),
        int(window.offsets[ends[end], 1]),
    )
