"""`open_task`: from files to a task, in one call.

The reader is chosen by a file's ending, the task by the head; what a head reads and which options
it has is told by `heads.py`, which is next to read.
"""

import difflib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mobilebert_core.errors import ConfigError, InputError, raise_faults
from mobilebert_core.heads import get_head
from mobilebert_training.readers.files import read_lines
from mobilebert_training.tasks.examples import split_off
from mobilebert_training.tasks.heads import OPENINGS, Opening
from mobilebert_training.tasks.supervised import SupervisedTask

OneFile = str | Path
Files = OneFile | Sequence[OneFile] | Mapping[str, OneFile]


def open_task(
    head: str,
    train_files: Files,
    validation_files: Files | None,
    tokenizer: Any,
    *,
    max_length: int | None = None,
    validation_fraction: float | None = None,
    seed: int = 0,
    format: str | None = None,
    encoding: str = "utf-8",
    **options: Any,
) -> SupervisedTask:
    """A task of a head, with the examples of files.

    Args:
        head: the name of a task head, e.g. `"sequence-classification"`.
        train_files: a file, several, or, for sequence classification, a text file for each label,
            e.g. `{"negative": "rt.neg", "positive": "rt.pos"}`.
        validation_files: likewise; None splits some of the training examples off.
        tokenizer: what `mobilebert.load_tokenizer` returns.
        max_length: tokens of a row; None takes 128, 384 for question answering, and no more than
            the tokenizer's `model_max_length`.
        validation_fraction: how much is split off where there is no file for validation, by default
            a tenth; 0: nothing. Paragraphs with questions stay together.
        seed: chooses what is split off.
        format: `"tsv"`, `"csv"`, `"jsonl"`, `"conll"` or `"json"`; None goes by the ending of each
            file, which may be followed by `.gz`.
        encoding: of the files.
        options: those of the head; None counts as not given.
            For tables and JSON lines `text`, `text_pair` and `label`, or `text`, `choices`
            (several) and `label`: columns by name, or by number from 0. For tables `header` and
            `quoted` as of `read_table`; naming a column means that there is a header.
            For classification `labels`: names in the order of their ids, or a file with one a line.
            All others as of the head's class: `metric`, `problem_type`, `threshold`, `stride`.

    Raises:
        ConfigError: no head has this name, or it has no supervised task.
        InputError: a file is missing or malformed, a column is not there, an option is unknown.

    Example:
        >>> import mobilebert
        >>> task = open_task(
        ...     "sequence-classification", "train.tsv", None, mobilebert.load_tokenizer()
        ... )  # doctest: +SKIP
    """
    opening = _find_opening(head)
    options = {name: value for name, value in options.items() if value is not None}
    _check_options(head, opening, options)
    if "labels" in options:
        options["labels"] = _read_labels(options["labels"])
    limit = opening.max_length if max_length is None else max_length
    limit = min(limit, tokenizer.model_max_length)
    reading = {"format": format, "encoding": encoding}
    training = _read(opening, train_files, reading, options)
    if validation_files is not None:
        if validation_fraction:
            raise InputError(
                f"validation_fraction={validation_fraction} and a file for validation; give one"
            )
        validation = _read(opening, validation_files, reading, options)
    else:
        fraction = 0.1 if validation_fraction is None else validation_fraction
        training, validation = _split(training, opening.group, fraction, seed)
    of_class = {name: options[name] for name in opening.class_options if name in options}
    return opening.build(training, validation, tokenizer, max_length=limit, **of_class)


def _find_opening(head: str) -> Opening:
    get_head(head)
    if head not in OPENINGS:
        raise ConfigError(
            f"The head {head} has no labelled examples; expected one of {', '.join(OPENINGS)}"
        )
    return OPENINGS[head]


def _check_options(head: str, opening: Opening, options: Mapping[str, Any]) -> None:
    known = (*opening.reading_options, *opening.class_options)
    faults = []
    for name in options:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {close[0]!r}? E" if close else "e"
            faults.append(f"{name!r} is no option of {head}; {hint}xpected {', '.join(known)}")
    raise_faults(InputError, "The task cannot be opened", faults)


def _read(
    opening: Opening, files: Files, reading: Mapping[str, Any], options: Mapping[str, Any]
) -> list[Any]:
    """The examples of all files."""
    wanted = {name: options[name] for name in opening.reading_options if name in options}
    if isinstance(files, Mapping):
        if opening.read_labelled is None:
            raise InputError(
                "A file for each label is for sequence classification; give a file, or several"
            )
        useless = [*wanted, *(["format"] if reading["format"] else [])]
        if useless:
            raise InputError(
                f"{', '.join(useless)} is given for text files of one label each, which have no "
                "columns; leave it out, or give tables"
            )
        pairs = [(label, Path(file)) for label, file in files.items()]
        return [
            example
            for label, file in pairs
            for example in opening.read_labelled(file, label, reading["encoding"])
        ]
    several = [files] if isinstance(files, str | Path) else files
    if not several:
        raise InputError("No file is given; expected at least one")
    return [
        example for file in several for example in opening.read(Path(file), **reading, **wanted)
    ]


def _split(
    examples: list[Any], group: Callable[[Any], Any] | None, fraction: float, seed: int
) -> tuple[list[Any], list[Any]]:
    """Examples to train on, and some for validation; those of one group stay together."""
    keys = list(range(len(examples))) if group is None else [group(each) for each in examples]
    different = list(dict.fromkeys(keys))
    aside = {different[i] for i in split_off(len(different), fraction, seed)[1]}
    return (
        [example for example, key in zip(examples, keys, strict=True) if key not in aside],
        [example for example, key in zip(examples, keys, strict=True) if key in aside],
    )


def _read_labels(labels: Any) -> tuple[str, ...]:
    """Names of labels, as given or from a file."""
    if isinstance(labels, str | Path):
        return tuple(line.strip() for line in read_lines(Path(labels)) if line.strip())
    return tuple(map(str, labels))
