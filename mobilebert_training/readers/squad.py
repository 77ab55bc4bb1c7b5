"""SQuAD, versions 1.1 and 2: paragraphs with questions, and where in the paragraph the answers are.

An error names article, paragraph and question by their numbers from 1, and the question's id.
Read next: `tasks/question_answering.py`.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mobilebert_core.errors import InputError, brief
from mobilebert_training.readers.files import Faults, read_text


@dataclass(frozen=True)
class Answer:
    """A text, and the character of the paragraph that it begins at."""

    text: str
    start: int


@dataclass(frozen=True)
class Question:
    """A question about a paragraph.

    Attributes:
        id: unlike those of the other questions.
        question: its text.
        context: the paragraph.
        answers: those that people gave; none where the paragraph does not tell, in version 2.
    """

    id: str
    question: str
    context: str
    answers: tuple[Answer, ...]


def read_squad(path: Path, encoding: str = "utf-8") -> list[Question]:
    """The questions of a file, in its order.

    Raises:
        InputError: the file is no SQuAD, a question is malformed, an answer does not stand where
            it should, or an id is there twice.
    """
    try:
        content: Any = json.loads(read_text(path, encoding))
    except json.JSONDecodeError as error:
        raise InputError(
            f"{path} is no JSON: {error.msg} at line {error.lineno}, column {error.colno}"
        ) from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is no JSON that can be read: {brief(str(error))}") from error
    faults = Faults(path)
    questions = [
        question
        for place, paragraph in _paragraphs(content, faults)
        for question in _questions(place, paragraph, faults)
    ]
    seen: set[str] = set()
    for question in questions:
        if question.id in seen:
            faults.add_at(f"question {question.id!r}", "the id is there twice, expected once")
        seen.add(question.id)
    faults.finish()
    if not questions:
        raise InputError(f"{path} has no questions; expected SQuAD: data, paragraphs, qas")
    return questions


def _paragraphs(content: Any, faults: Faults) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Paragraphs with the place where they are."""
    for article_place, article in _members("the file", content, "data", faults, "article "):
        for place, paragraph in _members(
            article_place, article, "paragraphs", faults, f"{article_place}, paragraph "
        ):
            if isinstance(paragraph, dict) and isinstance(paragraph.get("context"), str):
                yield place, paragraph
            else:
                faults.add_at(place, f"expected an object with a text 'context'{_given(paragraph)}")


def _members(
    place: str, parent: Any, name: str, faults: Faults, prefix: str
) -> Iterator[tuple[str, Any]]:
    members = parent.get(name) if isinstance(parent, dict) else None
    if not isinstance(members, list):
        faults.add_at(place, f"expected an object with a list {name!r}{_given(parent)}")
        return
    for number, member in enumerate(members, 1):
        yield f"{prefix}{number}", member


def _questions(place: str, paragraph: Mapping[str, Any], faults: Faults) -> Iterator[Question]:
    context = paragraph["context"]
    for where, entry in _members(place, paragraph, "qas", faults, f"{place}, question "):
        if not isinstance(entry, dict) or not all(
            isinstance(entry.get(name), str) for name in ("id", "question")
        ):
            faults.add_at(where, f"expected an object with texts 'id', 'question'{_given(entry)}")
            continue
        where = f"{where} ({entry['id'][:80]!r})"
        impossible = entry.get("is_impossible", False) is True
        answers = entry.get("answers", [] if impossible else None)
        if not isinstance(answers, list) or not (answers or impossible):
            faults.add_at(where, f"answers is {brief(answers)}, expected a list with an answer")
            continue
        found = [] if impossible else [_answer(where, each, context, faults) for each in answers]
        kept = tuple(each for each in found if each is not None)
        yield Question(entry["id"], entry["question"], context, kept)


def _answer(place: str, entry: Any, context: str, faults: Faults) -> Answer | None:
    text, start = (
        (entry.get("text"), entry.get("answer_start")) if isinstance(entry, dict) else (None, None)
    )
    if not isinstance(text, str) or isinstance(start, bool) or not isinstance(start, int):
        faults.add_at(place, f"an answer is {brief(entry)}, expected text and answer_start")
        return None
    there = context[start : start + len(text)] if start >= 0 else ""
    if not text.strip() or there.split() != text.split():
        faults.add_at(
            place,
            f"the answer {brief(text)} should begin at character {start}, where the paragraph has "
            f"{brief(there)}",
        )
        return None
    return Answer(text, start)


def _given(value: Any) -> str:
    if isinstance(value, dict):
        return f"; it has {', '.join(map(repr, list(value)[:10])) or 'nothing'}"
    return f", not {brief(value)}"
