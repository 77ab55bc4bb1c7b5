"""A text with several continuations or answers, one of which is right: examples and their files.

Recognised are COPA (`premise`, `question`, `choice1`, `choice2`, `label`), CommonsenseQA in both of
its layouts (`answerKey`), and any table or JSON lines with a text, choices and a label.
Read next: `multiple_choice.py`.
"""

import re
import string
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mobilebert_core.errors import InputError, brief
from mobilebert_training.readers.files import Faults
from mobilebert_training.readers.records import Record, field_names, find_field
from mobilebert_training.tasks.texts import (
    LABEL_NAMES,
    TEXT_NAMES,
    check_found,
    read_text_field,
)

_CHOICE_NAME = re.compile(r"(?:choice|ending|option|answer)_?\d+", re.IGNORECASE)
_LINKS = {"cause": "because", "effect": "so"}  # how COPA's questions go on as a sentence


@dataclass(frozen=True)
class ChoiceExample:
    """A text and its choices.

    Attributes:
        text: what all choices share.
        choices: two at least.
        label: the index of the right one.
        path: the file it is from.
        line: its line there.
    """

    text: str
    choices: tuple[str, ...]
    label: int
    path: Path = Path("examples")
    line: int = 0


def choice_examples(
    records: Sequence[Record],
    *,
    text: str | int | None = None,
    choices: Sequence[str | int] | None = None,
    label: str | int | None = None,
) -> list[ChoiceExample]:
    """Records of one file as examples.

    Args:
        records: at least one.
        text: a column, None finds it.
        choices: two columns at least, or one that holds a list; None finds them: by names such as
            `choice1`, and without a header all columns between text and label, which is the last.
        label: a column with the index of the right choice, from 0, or its letter; None finds it.

    Raises:
        InputError: a column is not there, or a record is malformed.
    """
    read = _layout(records, text, choices, label)
    faults = Faults(records[0].path)
    examples = []
    for record in records:
        what, offered, right = read(record, faults)
        examples.append(_example(record, what, offered, right, faults))
    faults.finish()
    counts = [len(example.choices) for example in examples]
    for example in examples:
        if len(example.choices) != counts[0]:
            faults.add(
                example.line,
                f"{len(example.choices)} choices, expected {counts[0]} as on the first line",
            )
    faults.finish()
    return examples


Reading = Callable[[Record, Faults], tuple[str, Sequence[Any], Any]]


def _layout(
    records: Sequence[Record],
    text: str | int | None,
    choices: Sequence[str | int] | None,
    label: str | int | None,
) -> Reading:
    """How a record tells text, choices and label."""
    names = field_names(records)
    if text is None and choices is None and label is None:
        if "answerKey" in names and "question" in names:
            return _read_commonsense_qa
        if {"premise", "choice1", "choice2", "question", "label"} <= set(names):
            return _read_copa
    columns = [find_field(records, each, (), "choices") for each in choices or ()]
    first, last = (0, len(names) - 1) if names[0] == 0 else (None, None)
    found = check_found(
        records,
        {
            "text": first
            if text is None and first is not None
            else find_field(records, text, TEXT_NAMES, "text"),
            "label": last
            if label is None and last is not None
            else find_field(records, label, LABEL_NAMES, "label"),
        },
    )
    offered = [name for name in columns if name is not None] or _find_choices(records, found)
    return lambda record, faults: (
        read_text_field(record, found["text"], faults),
        _offered(record, offered, faults),
        record.fields.get(found["label"]),
    )


def _find_choices(records: Sequence[Record], found: dict[str, str | int]) -> list[str | int]:
    names = [name for name in field_names(records) if name not in found.values()]
    if names and isinstance(names[0], int):
        return names
    if "choices" in names:
        return ["choices"]
    matching = [name for name in names if _CHOICE_NAME.fullmatch(str(name))]
    if len(matching) < 2:
        raise InputError(
            f"{records[0].path}: which columns are the choices? Say them by name or by number from "
            f"0, e.g. choices=('choice1', 'choice2'); it has {', '.join(map(repr, names))}"
        )
    return sorted(matching, key=lambda name: int(re.sub(r"\D", "", str(name))))


def _offered(record: Record, names: Sequence[str | int], faults: Faults) -> Sequence[Any]:
    value = record.fields.get(names[0])
    if len(names) == 1 and isinstance(value, list):
        return value
    return [read_text_field(record, name, faults) for name in names]


def _read_copa(record: Record, faults: Faults) -> tuple[str, Sequence[Any], Any]:
    """The question becomes the word that links premise and choice."""
    question = record.fields.get("question")
    if question not in ("cause", "effect"):
        faults.add(record.line, f"'question' is {brief(question)}, expected 'cause' or 'effect'")
    premise = read_text_field(record, "premise", faults)
    offered = [read_text_field(record, name, faults) for name in ("choice1", "choice2")]
    return f"{premise} {_LINKS.get(str(question), '')}", offered, record.fields.get("label")


def _read_commonsense_qa(record: Record, faults: Faults) -> tuple[str, Sequence[Any], Any]:
    """Of `{question, choices: {label, text}}` or `{question: {stem, choices: [{label, text}]}}`."""
    question: Any = record.fields.get("question")
    choices: Any = record.fields.get("choices")
    if isinstance(question, dict):
        question, choices = question.get("stem"), question.get("choices")
    try:
        if isinstance(choices, list):
            choices = {name: [each[name] for each in choices] for name in ("label", "text")}
        keys, texts = list(choices["label"]), list(choices["text"])
        right = keys.index(record.fields.get("answerKey"))
    except (KeyError, TypeError, ValueError):
        faults.add(record.line, "no choices with label and text of which one is answerKey")
        return "", ("", ""), 0
    if not isinstance(question, str):
        faults.add(record.line, f"the question is {brief(question)}, expected a text")
    return str(question), texts, right


def _example(
    record: Record, text: str, choices: Sequence[Any], label: Any, faults: Faults
) -> ChoiceExample:
    if len(choices) < 2 or not all(isinstance(each, str) for each in choices):
        faults.add(record.line, f"the choices are {brief(choices)}, expected two texts at least")
        return ChoiceExample(text, ("", ""), 0, record.path, record.line)
    right = _right(label, len(choices))
    if right is None:
        faults.add(
            record.line,
            f"the label is {brief(label)}, expected 0 to {len(choices) - 1} or a letter from A",
        )
    return ChoiceExample(text, tuple(choices), right or 0, record.path, record.line)


def _right(label: Any, count: int) -> int | None:
    name = str(label).strip().upper()
    for names in ([str(index) for index in range(count)], string.ascii_uppercase[:count]):
        if name in list(names):
            return list(names).index(name)
    return None
