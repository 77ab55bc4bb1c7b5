"""What the labels of texts mean: one class, several labels, or a number; and their ids.

Rules: nothing is guessed that the labels do not say. Numbers of which one has a fraction are a
regression; where a label holds a comma or is a list, an example may have several labels; anything
else is one class. `problem_type` decides otherwise. Read next: `sequence_classification.py`.

N examples  L labels
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from mobilebert_core.errors import InputError, brief
from mobilebert_training.readers.files import Faults
from mobilebert_training.readers.records import Record
from mobilebert_training.tasks.examples import Array
from mobilebert_training.tasks.texts import TextExample

SINGLE, MULTI, REGRESSION = (
    "single_label_classification",
    "multi_label_classification",
    "regression",
)
PROBLEM_TYPES = (SINGLE, MULTI, REGRESSION)


def find_problem_type(examples: Sequence[TextExample]) -> str:
    """What kind of labels these are."""
    labels = [example.label for example in examples]
    if any(isinstance(label, list) for label in labels):
        return MULTI
    numbers = [_number(label) for label in labels]
    if all(number is not None for number in numbers) and any(
        number != int(number) for number in numbers if number is not None
    ):
        return REGRESSION
    return MULTI if any("," in label_name(label) for label in labels) else SINGLE


def label_name(label: Any) -> str:
    """A label as text; JSON's `true` and `3` as JSON writes them."""
    return str(label).lower() if isinstance(label, bool) else str(label).strip()


def label_parts(label: Any) -> list[str]:
    """The names in a label that may hold several, none for an empty one."""
    parts = label if isinstance(label, list) else label_name(label).split(",")
    return [name for name in map(label_name, parts) if name]


def refuse_names(examples: Sequence[TextExample], first: Record) -> None:
    """Refuse a table whose first row, read as an example, seems to name its columns.

    Its label then stands nowhere else, while all others stand twice or are numbers.

    Args:
        examples: of one table that was read without a header.
        first: its first row.

    Raises:
        InputError: says how to say that it is a header, or none.
    """
    name, *labels = [each.label for each in examples]
    others = Counter(labels)
    if len(labels) < 2 or name in others:
        return
    if min(others.values()) > 1 or (_number(name) is None and None not in map(_number, others)):
        names = list(first.fields.values())
        raise InputError(
            f"{first.path}, line {first.line} seems to name the columns: the label {name!r} stands "
            f"in no other row. Say which column is what, e.g. text={names[0]!r} and "
            f"label={names[-1]!r}, or that this is an example: header=False"
        )


def collect_labels(names: Sequence[str]) -> tuple[str, ...]:
    """The different names, without the empty one, sorted; as numbers where all are."""
    different = set(names) - {""}
    if all(name.isascii() and name.isdigit() and len(name) < 10 for name in different):
        return tuple(sorted(different, key=lambda name: (int(name), name)))
    return tuple(sorted(different))


def class_labels(examples: Sequence[TextExample], names: Sequence[str]) -> Array:
    """The class of each example; (N,) int64.

    Args:
        examples: whose labels are names, or ids where the names are others.
        names: the classes.

    Raises:
        InputError: a label is none of them; file and line are named.
    """
    ids = _ids(names, [label_name(example.label) for example in examples])
    classes = [_known(example, [label_name(example.label)], ids) for example in examples]
    _refuse(examples, classes, names)
    return np.array([each[0] for each in classes if each], np.int64)


def several_labels(examples: Sequence[TextExample], names: Sequence[str]) -> Array:
    """Which labels each example has; (N, L) float32 of 0 and 1.

    Args:
        examples: whose labels are `joy,pride`, `4,27` or lists of such.
        names: all labels.

    Raises:
        InputError: a label is none of them; file and line are named.
    """
    parts = [label_parts(example.label) for example in examples]
    ids = _ids(names, [name for each in parts for name in each])
    chosen = [_known(example, each, ids) for example, each in zip(examples, parts, strict=True)]
    _refuse(examples, chosen, names)
    labels = np.zeros((len(examples), len(names)), np.float32)
    for row, each in enumerate(chosen):
        labels[row, each] = 1
    return labels


def number_labels(examples: Sequence[TextExample]) -> Array:
    """The number of each example; (N,) float32.

    Raises:
        InputError: a label is no finite number; file and line are named.
    """
    numbers = [_number(example.label) for example in examples]
    _raise(
        [
            (example, f"the label is {brief(example.label)}, expected a number")
            for example, number in zip(examples, numbers, strict=True)
            if number is None
        ]
    )
    return np.array(numbers, np.float32)


def _number(label: Any) -> float | None:
    if isinstance(label, bool) or not isinstance(label, str | int | float):
        return None
    try:
        number = float(label)
    except (ValueError, OverflowError):
        return None
    # Neither infinity nor what is no number is smaller.
    return number if abs(number) < 1e30 else None


def _ids(names: Sequence[str], used: Sequence[str]) -> dict[str, int]:
    """Ids by name, and by the id itself where no label is used by its name."""
    ids = {name: index for index, name in enumerate(names)}
    if not any(name in ids for name in used):
        return ids | {str(index): index for index in range(len(names))}
    return ids


def _known(example: TextExample, names: Sequence[str], ids: dict[str, int]) -> list[int] | None:
    """The ids of an example's labels; None where one is unknown."""
    return [ids[name] for name in names] if all(name in ids for name in names) else None


def _refuse(
    examples: Sequence[TextExample], found: Sequence[list[int] | None], names: Sequence[str]
) -> None:
    shown = ", ".join(names[:10]) + (", ..." if len(names) > 10 else "")
    _raise(
        [
            (example, f"the label is {brief(example.label)}, expected one of {shown}")
            for example, each in zip(examples, found, strict=True)
            if each is None
        ]
    )


def _raise(wrong: Sequence[tuple[TextExample, str]]) -> None:
    """One error for the faulty lines of the first file that has some."""
    if wrong:
        faults = Faults(wrong[0][0].path)
        for example, fault in wrong:
            if example.path == faults.path:
                faults.add(example.line, fault)
        faults.finish()


def check_names(names: Sequence[str]) -> tuple[str, ...]:
    """Names of labels that were given.

    Raises:
        InputError: there are none, or one stands twice.
    """
    twice = sorted({name for name in names if list(names).count(name) > 1})
    if not names or twice:
        what = f"name {', '.join(twice)} twice" if twice else "are empty"
        raise InputError(f"labels {what}; expected each label once")
    return tuple(names)
