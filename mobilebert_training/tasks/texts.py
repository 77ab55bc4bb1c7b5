"""One or two texts and a label: the examples of the heads that classify texts.

Read next: `labels.py`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mobilebert_core.errors import InputError, brief
from mobilebert_training.readers.files import Faults
from mobilebert_training.readers.records import Record, field_names, find_field

TEXT_NAMES = ("text", "sentence", "sentence1", "text1", "premise", "question1", "question")
PAIR_NAMES = (
    "text_pair", "sentence2", "text2", "hypothesis", "question2", "next_sentence",
)  # fmt: skip
LABEL_NAMES = ("label", "labels", "score", "similarity", "gold_label", "target", "class")


@dataclass(frozen=True)
class TextExample:
    """A text, maybe a second one, and what is said about it.

    Attributes:
        texts: one or two strings.
        label: as the file has it: a string, or what JSON has.
        path: the file it is from.
        line: its line there.
    """

    texts: tuple[str, ...]
    label: Any
    path: Path = Path("examples")
    line: int = 0


@dataclass(frozen=True)
class TextColumns:
    """Which columns hold what: a name, or a number from 0; None takes a usual one."""

    text: str | int | None = None
    text_pair: str | int | None = None
    label: str | int | None = None


def text_examples(
    records: Sequence[Record], columns: TextColumns, *, pair: bool = False
) -> list[TextExample]:
    """Records of one file as examples.

    Without a header, the text is the first column; the second text, where one is wanted, the next
    one; the label the one after. A second text that is not asked for is taken where a column has a
    usual name for it, unless `columns` names the first.

    Args:
        records: at least one.
        columns: which fields are taken.
        pair: whether two texts are needed.

    Raises:
        InputError: a column is not there, or a text is none.
    """
    text = find_field(records, columns.text, TEXT_NAMES, "text")
    others = [name for name in PAIR_NAMES if name != str(text).lower()]
    # Who names one text wants one, unless the head needs two.
    usual = others if pair or columns.text is None else ()
    second = find_field(records, columns.text_pair, usual, "text_pair")
    label = find_field(records, columns.label, LABEL_NAMES, "label")
    if 0 in records[0].fields:
        text = 0 if text is None else text
        second = _after(text) if pair and second is None else second
        label = _after(text if second is None else second) if label is None else label
    wanted = {"text": text, "label": label}
    if pair or second is not None:
        wanted["text_pair"] = second
    found = check_found(records, wanted)
    names = [found[role] for role in ("text", "text_pair") if role in found]
    faults = Faults(records[0].path)
    examples = []
    for record in records:
        texts = tuple(read_text_field(record, name, faults) for name in names)
        value = read_label_field(record, found["label"], faults)
        examples.append(TextExample(texts, value, record.path, record.line))
    faults.finish()
    return examples


def check_same_texts(examples: Sequence[TextExample]) -> None:
    """Refuse single texts among pairs.

    Args:
        examples: of all files; at least one.

    Raises:
        InputError: names the first example that has another number of texts.
    """
    first = examples[0]
    for each in examples:
        if len(each.texts) != len(first.texts):
            raise InputError(
                f"{each.path}, line {each.line} has {_texts(each)}, {first.path}, line "
                f"{first.line} has {_texts(first)}; expected the same of all. Say which columns "
                "are meant: text=..., and text_pair=... for the second text"
            )


def _texts(example: TextExample) -> str:
    return "one text" if len(example.texts) == 1 else "two texts"


def read_text_field(record: Record, name: str | int, faults: Faults) -> str:
    """A text of a record; `""` where there is none, which is a fault."""
    value = record.fields.get(name)
    if not isinstance(value, str):
        faults.add(record.line, f"{name!r} is {brief(value)}, expected a text")
        return ""
    return value


def read_label_field(record: Record, name: str | int, faults: Faults) -> Any:
    """The label of a record; none is a fault."""
    value = record.fields.get(name)
    if value is None or isinstance(value, dict):
        faults.add(record.line, f"the label {name!r} is {brief(value)}, expected a name or number")
    return value


def check_found(
    records: Sequence[Record], needed: Mapping[str, str | int | None]
) -> dict[str, str | int]:
    """The fields that are needed, by role.

    Raises:
        InputError: one is not there, and which it is has to be said.
    """
    names = field_names(records)
    found = {role: name for role, name in needed.items() if name is not None and name in names}
    missing = [role for role in needed if role not in found]
    if missing:
        raise InputError(
            f"{records[0].path}: which column is {' and '.join(missing)}? Say it by name or by "
            f"number from 0, e.g. {missing[0]}={names[0]!r}; it has {', '.join(map(repr, names))}"
        )
    return found


def _after(column: str | int) -> int:
    return int(column) + 1
