"""Question answering: the part of a paragraph that answers a question, as in SQuAD.

Training examples are windows of paragraphs; the answer to a question is the best span of all its
windows, in the paragraph's own characters. Read next: `answer_spans.py` of `mobilebert_core`,
`../squad_scorer.py`.

N windows
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from mobilebert_core.answer_spans import (
    CANDIDATES,
    MOST_ANSWER_TOKENS,
    Span,
    Window,
    best_span,
    is_unanswered,
    make_windows,
)
from mobilebert_core.errors import InputError
from mobilebert_training.readers.squad import Answer, Question
from mobilebert_training.squad_scorer import normalize_answer, score_v1, score_v2
from mobilebert_training.tasks.examples import Examples
from mobilebert_training.tasks.supervised import Outputs, SupervisedTask

NO_ANSWER = (0, 0)


class QuestionAnswering(SupervisedTask):
    """Questions about paragraphs.

    Where a question has no answer, training or validation, this is version 2 of SQuAD: that there
    is none can be predicted, and is when [CLS] is likelier than the best span. The metrics
    `exact_match` and `f1` are between 0 and 1; the scorer's are percentages.

    Args:
        training: at least one question.
        validation: maybe none.
        tokenizer: what `mobilebert.load_tokenizer` returns.
        max_length: tokens of a row.
        stride: tokens that consecutive windows share; None takes 128, or a third of a row.
        metric: the deciding one; None takes F1.
        candidates: how many starts and ends of a window are combined.
        most_answer_tokens: the longest answer that is predicted.
        null_threshold: by how much [CLS] must be likelier than the best span.

    Raises:
        InputError: `max_length` and `stride` do not go together, ids of questions are there twice,
            or the metric is unknown.
    """

    head = "question-answering"
    output_fields: ClassVar[tuple[str, ...]] = ("start_logits", "end_logits")
    outputs_by_token: ClassVar[bool] = True

    def __init__(
        self,
        training: Sequence[Question],
        validation: Sequence[Question],
        tokenizer: Any,
        *,
        max_length: int = 384,
        stride: int | None = None,
        metric: str | None = None,
        candidates: int = CANDIDATES,
        most_answer_tokens: int = MOST_ANSWER_TOKENS,
        null_threshold: float = 0.0,
    ) -> None:
        self.config_changes = {}
        self._choose_metric(metric, ("f1", "exact_match"))
        self.questions = tuple(validation)
        self.answers = {each.id: [one.text for one in each.answers] for each in validation}
        if len(self.answers) != len(self.questions):
            raise InputError("Ids of questions for validation are there twice, expected once each")
        self.may_be_unanswered = not all(each.answers for each in (*training, *validation))
        self.candidates, self.most_answer_tokens = candidates, most_answer_tokens
        self.null_threshold = null_threshold
        windows, self.windows = (
            list(make_windows(tokenizer, _texts(part), max_length, stride))
            for part in (training, validation)
        )
        self.training = _examples(windows, training, tokenizer)
        self.validation = _examples(self.windows, validation, tokenizer)
        self.frequent = _most_frequent_answer(training)

    def baseline(self) -> dict[str, float]:
        """The most frequent answer of the training questions, or none, always."""
        return self._score(dict.fromkeys(self.answers, self.frequent)) if self.questions else {}

    def _score(self, predictions: dict[str, str]) -> dict[str, float]:
        score = score_v2 if self.may_be_unanswered else score_v1
        return {name: value / 100 for name, value in score(predictions, self.answers).items()}

    def _measure(self, outputs: Outputs) -> dict[str, float]:
        return self._score({each["id"]: each["text"] for each in self._describe(outputs)})

    def _describe(self, outputs: Outputs) -> list[dict[str, Any]]:
        best: list[Span | None] = [None] * len(self.questions)
        none_scores = [np.inf] * len(self.questions)
        logits = zip(outputs["start_logits"], outputs["end_logits"], strict=True)
        for window, (start, end) in zip(self.windows, logits, strict=True):
            number = window.question
            none_scores[number] = min(none_scores[number], float(start[0] + end[0]))
            span = best_span(
                window, start, end, candidates=self.candidates, most_tokens=self.most_answer_tokens
            )
            so_far = best[number]
            if span is not None and (so_far is None or span.score > so_far.score):
                best[number] = span
        return [
            self._answer(question, span, none_score)
            for question, span, none_score in zip(self.questions, best, none_scores, strict=True)
        ]

    def _answer(self, question: Question, span: Span | None, none_score: float) -> dict[str, Any]:
        threshold = self.null_threshold if self.may_be_unanswered else np.inf
        if span is None or is_unanswered(span, none_score, threshold):
            return {"id": question.id, "text": "", "score": none_score}
        return {
            "id": question.id,
            "text": question.context[span.start : span.end],
            "score": span.score,
        }


def _examples(windows: Sequence[Window], questions: Sequence[Question], tokenizer: Any) -> Examples:
    """Windows with their spans; of several answers the first counts."""
    spans = np.array(
        [
            find_span(window, next(iter(questions[window.question].answers), None))
            for window in windows
        ],
        np.int64,
    ).reshape(-1, 2)  # (N, 2)
    return Examples(
        input_ids=tuple(window.input_ids for window in windows),
        token_type_ids=tuple(window.token_type_ids for window in windows),
        pad_token_id=tokenizer.pad_token_id,
        labels={"start_positions": spans[:, 0], "end_positions": spans[:, 1]},
    )


def find_span(window: Window, answer: Answer | None) -> tuple[int, int]:
    """First and last token of an answer; `NO_ANSWER` where the window does not hold all of it."""
    if answer is None or not len(window.offsets):
        return NO_ANSWER
    text = answer.text.strip()
    start = answer.start + len(answer.text) - len(answer.text.lstrip())
    end = start + len(text)
    inside = (window.offsets[:, 1] > start) & (window.offsets[:, 0] < end)  # (W,)
    if not inside.any() or start < window.offsets[0, 0] or end > window.offsets[-1, 1]:
        return NO_ANSWER
    tokens = np.flatnonzero(inside)
    return window.first + int(tokens[0]), window.first + int(tokens[-1])


def _texts(questions: Sequence[Question]) -> list[tuple[str, str]]:
    return [(each.question, each.context) for each in questions]


def _most_frequent_answer(questions: Sequence[Question]) -> str:
    texts = Counter(
        normalize_answer(each.answers[0].text) if each.answers else "" for each in questions
    )
    return texts.most_common(1)[0][0]
