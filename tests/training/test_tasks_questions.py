"""Question answering: windows, spans, and the way back to the paragraph's text."""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mobilebert_core.answer_spans import Window, best_span, make_windows
from mobilebert_core.config import MobileBertConfig
from mobilebert_core.errors import InputError
from mobilebert_core.input_checks import check
from mobilebert_core.tokenization import load_tokenizer
from mobilebert_training.readers.squad import Answer, Question
from mobilebert_training.tasks.question_answering import QuestionAnswering, find_span

CONTEXT = (
    "Ada Lovelace, née Byron, wrote the first program in  1843 (for an engine that never ran)."
)


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return load_tokenizer()


def ask(id: str, text: str | None, context: str = CONTEXT, question: str = "Who?") -> Question:
    answers = () if text is None else (Answer(text, context.index(text)),)
    return Question(id, question, context, answers)


def texts(question: Question) -> tuple[str, str]:
    return question.question, question.context


def text_of(window: Window, span: tuple[int, int], context: str) -> str:
    first, last = (token - window.first for token in span)
    return context[window.offsets[first, 0] : window.offsets[last, 1]]


def run_right(task: QuestionAnswering) -> Any:
    """Points at the labels, less surely where a window has none."""

    def run(batch: Mapping[str, Any]) -> dict[str, Any]:
        places = np.arange(batch["input_ids"].shape[1])
        logits = {
            f"{side}_logits": (places == batch[f"{side}_positions"][:, None]) * 9.0
            for side in ("start", "end")
        }
        return {**logits, "loss": np.float32(len(places))}

    return run


@pytest.mark.parametrize(
    "text",
    [
        "Ada Lovelace",
        "née Byron",
        "in  1843",
        "1843 (",
        " program ",
        "ran).",
        "for an",
        "(for an",
        " (",
    ],
)
def test_the_answer_is_recovered_when_its_span_is_cut_out(tokenizer: Any, text: str) -> None:
    question = ask("q", text)
    (window,) = make_windows(tokenizer, [texts(question)], 96, None)
    span = find_span(window, question.answers[0])
    assert text_of(window, span, CONTEXT) == text.strip()


def test_the_whole_token_is_taken_when_an_answer_ends_inside_it(tokenizer: Any) -> None:
    question = ask("q", "Lovel")
    (window,) = make_windows(tokenizer, [texts(question)], 96, None)
    assert text_of(window, find_span(window, question.answers[0]), CONTEXT).startswith("Lovel")


def test_windows_overlap_and_cover_the_paragraph_when_it_is_long(tokenizer: Any) -> None:
    context = " ".join(f"word {number}" for number in range(90))
    questions = [ask("q1", "89", context), ask("q2", "Ada")]
    windows = list(make_windows(tokenizer, list(map(texts, questions)), 32, 5))
    mine = [window for window in windows if window.question == 0]
    assert max(len(window.input_ids) for window in windows) == 32
    assert len(mine) > 5
    for before, after in pairwise(mine):
        assert (before.offsets[-5:] == after.offsets[:5]).all()
    assert (mine[0].offsets[0, 0], mine[-1].offsets[-1, 1]) == (0, len(context))
    assert [window.question for window in windows] == sorted(each.question for each in windows)


def test_a_window_points_at_cls_when_it_does_not_hold_the_whole_answer(tokenizer: Any) -> None:
    context = " ".join("abcdefghij" * 5)
    question = Question("q", "x", context, (Answer("d e f g", context.index("d e f g")),))
    windows = list(make_windows(tokenizer, [texts(question)], 9, 2))
    start = context.index("d e f g")
    spans = [find_span(window, question.answers[0]) for window in windows]
    for window, span in zip(windows, spans, strict=True):
        if window.offsets[0, 0] <= start and window.offsets[-1, 1] >= start + 7:
            assert text_of(window, span, context) == "d e f g"
        else:
            assert span == (0, 0)
    assert len(set(spans)) > 1


def test_a_question_is_cut_when_it_would_fill_the_row(tokenizer: Any) -> None:
    question = ask("q", "1843", question="what " * 300)
    windows = list(make_windows(tokenizer, [texts(question)], 40, None))
    assert {window.first for window in windows} == {2 + (40 - 3) // 2}
    windows = list(make_windows(tokenizer, [texts(question)], 384, None))
    assert {window.first for window in windows} == {2 + 64}


@pytest.mark.parametrize(("max_length", "stride"), [(16, 12), (16, -1), (4, None)])
def test_lengths_are_refused_when_windows_would_not_move(
    tokenizer: Any, max_length: int, stride: int | None
) -> None:
    with pytest.raises(InputError, match=f"max_length={max_length} and stride="):
        list(make_windows(tokenizer, [("Who?", CONTEXT)], max_length, stride))


@settings(deadline=None, max_examples=80)
@given(data=st.data(), count=st.integers(1, 9), first=st.integers(2, 4), most=st.integers(1, 5))
def test_the_best_span_agrees_with_brute_force_when_all_are_candidates(
    data: st.DataObject, count: int, first: int, most: int
) -> None:
    size = first + count + 1
    numbers = st.lists(st.floats(-5, 5, width=16), min_size=size, max_size=size)
    start, end = (np.array(data.draw(numbers)) for _ in range(2))
    offsets = np.array([(3 * place, 3 * place + 2) for place in range(count)])
    ids = np.zeros(size, np.int32)
    span = best_span(
        Window(0, ids, ids, first, offsets), start, end, candidates=count, most_tokens=most
    )
    assert span is not None
    scores = {
        (i, j): start[first + i] + end[first + j]
        for i in range(count)
        for j in range(i, min(count, i + most))
    }
    assert span.score == max(scores.values())
    assert scores[span.start // 3, span.end // 3] == span.score


def test_few_candidates_are_combined_when_asked_to() -> None:
    offsets = np.array([(place, place + 1) for place in range(4)])
    ids = np.zeros(7, np.int32)
    window = Window(0, ids, ids, 2, offsets)
    start, end = np.array([9, 9, 0, 1, 2, 5, 9.0]), np.array([9, 9, 4, 3, 0, 1, 9.0])
    assert best_span(window, start, end, candidates=1, most_tokens=9) is None
    span = best_span(window, start, end, candidates=3, most_tokens=9)
    assert span is not None
    assert (span.score, span.start, span.end) == (6, 3, 4)


def test_answers_are_right_when_the_model_points_at_the_labels(tokenizer: Any) -> None:
    long = "word " * 60 + "Grace Hopper" + " word" * 60
    questions = [ask("q1", "née Byron"), ask("q2", "Grace Hopper", long)]
    task = QuestionAnswering(questions, questions, tokenizer, max_length=48)
    assert len(task) > 4
    right = run_right(task)
    assert {each["id"]: each["text"] for each in task.predict(right)} == {
        "q1": "née Byron",
        "q2": "Grace Hopper",
    }
    metrics = task.evaluate(right)
    assert (metrics["exact_match"], metrics["f1"]) == (1, 1)
    assert metrics["loss"] > 0
    assert task.metric == "f1"


def test_labels_fit_the_head_when_batched(tokenizer: Any) -> None:
    task = QuestionAnswering([ask("q1", "Ada"), ask("q2", None)], [], tokenizer)
    batch = task.batch(np.array([1, 0]), (0, 0))
    assert batch["start_positions"].tolist()[0] == 0 < batch["start_positions"].tolist()[1]
    labels = {name: batch.pop(name) for name in ("start_positions", "end_positions")}
    check(MobileBertConfig(), task.head, batch, labels)
    assert task.evaluate(run_right(task)) == {}


def test_no_answer_is_predicted_when_cls_is_likelier(tokenizer: Any) -> None:
    questions = [ask("q1", "Ada"), ask("q2", None)]
    task = QuestionAnswering(questions, questions, tokenizer)
    assert [each["text"] for each in task.predict(run_right(task))] == ["Ada", ""]
    assert task.evaluate(run_right(task))["no_answer_f1"] == 1
    stubborn = QuestionAnswering(questions, questions, tokenizer, null_threshold=100)
    assert stubborn.predict(run_right(stubborn))[1]["text"] != ""


def test_an_answer_is_always_given_when_all_questions_have_one(tokenizer: Any) -> None:
    task = QuestionAnswering([ask("q1", "Ada")], [ask("q2", "Byron")], tokenizer)

    def run(batch: Mapping[str, Any]) -> dict[str, Any]:
        logits = -np.arange(batch["input_ids"].size, dtype=float).reshape(1, -1)
        return {"start_logits": logits, "end_logits": logits}

    text = task.predict(run)[0]["text"]
    assert text
    assert CONTEXT.startswith(text)


def test_the_baseline_says_the_frequent_answer_of_training_when_measured(tokenizer: Any) -> None:
    training = [ask("a", "Ada"), ask("b", "1843"), ask("c", "1843")]
    validation = [ask("d", "1843"), ask("e", "Ada")]
    baseline = QuestionAnswering(training, validation, tokenizer).baseline()
    assert baseline == {"exact_match": 0.5, "f1": 0.5}


def test_ids_are_refused_when_they_repeat(tokenizer: Any) -> None:
    with pytest.raises(InputError, match="Ids of questions"):
        QuestionAnswering([ask("a", "Ada")], [ask("b", "Ada"), ask("b", "1843")], tokenizer)
