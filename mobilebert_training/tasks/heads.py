"""What `open_task` knows of each head, as data: how its files are read and what options there are.

Read next: the module of the head.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mobilebert_core.errors import InputError
from mobilebert_training.readers.conll import Sentence, read_conll
from mobilebert_training.readers.json_lines import read_json_lines
from mobilebert_training.readers.plain_text import read_plain_text
from mobilebert_training.readers.records import Record
from mobilebert_training.readers.squad import Question, read_squad
from mobilebert_training.readers.tables import SEPARATORS, read_table
from mobilebert_training.tasks.choices import ChoiceExample, choice_examples
from mobilebert_training.tasks.labels import refuse_names
from mobilebert_training.tasks.multiple_choice import MultipleChoice
from mobilebert_training.tasks.next_sentence_prediction import NextSentencePrediction
from mobilebert_training.tasks.question_answering import QuestionAnswering
from mobilebert_training.tasks.sequence_classification import SequenceClassification
from mobilebert_training.tasks.supervised import SupervisedTask
from mobilebert_training.tasks.texts import (
    LABEL_NAMES,
    PAIR_NAMES,
    TEXT_NAMES,
    TextColumns,
    TextExample,
    text_examples,
)
from mobilebert_training.tasks.token_classification import TokenClassification

FORMATS = ("tsv", "csv", "jsonl", "conll", "json")
_ENDINGS = {"tab": "tsv", "ndjson": "jsonl", "bio": "conll", "iob": "conll"}


@dataclass(frozen=True)
class Opening:
    """How a task of one head comes from files.

    Attributes:
        read: the examples of a file: path, then by keyword `format`, `encoding` and those of
            `reading_options`.
        build: the class of the task.
        max_length: tokens of a row, unless said otherwise.
        reading_options: what says where things stand in a file.
        class_options: keywords of the class.
        group: examples with equal results are not torn apart when some are split off.
        read_labelled: the examples of a text file that belongs to one label.
    """

    read: Callable[..., list[Any]]
    build: Callable[..., SupervisedTask]
    max_length: int
    reading_options: tuple[str, ...]
    class_options: tuple[str, ...]
    group: Callable[[Any], Any] | None = None
    read_labelled: Callable[[Path, str, str], list[Any]] | None = None


def find_format(path: Path, wanted: str | None, allowed: Sequence[str]) -> str:
    """The format of a file, by its ending where none is wanted.

    Raises:
        InputError: the ending says nothing, or the head cannot be trained from this format.
    """
    ending = path.name.lower().removesuffix(".gz").rpartition(".")[2]
    found = wanted or _ENDINGS.get(ending, ending)
    if found not in allowed:
        given = f"format={wanted!r}" if wanted else f"{path} ends in .{ending}, which"
        raise InputError(
            f"{given} is no format of this head; expected {', '.join(allowed)}; say which one it "
            f"is, e.g. format={allowed[0]!r}"
        )
    return found


def read_records(
    path: Path,
    known_names: Sequence[str],
    named: Sequence[str | int | None] = (),
    *,
    format: str | None,
    encoding: str,
    header: bool | None = None,
    quoted: bool | None = None,
) -> list[Record]:
    """The records of a table or of JSON lines.

    Args:
        path: the file.
        known_names: names that tell a header from a row.
        named: the columns that were asked for: a name says that there is a header.
        format: as of `find_format`.
        encoding: of the file.
        header: as of `read_table`.
        quoted: as of `read_table`.

    Raises:
        InputError: as of the readers.
    """
    found = find_format(path, format, ("tsv", "csv", "jsonl"))
    if found == "jsonl":
        return read_json_lines(path, encoding)
    if header is None and any(isinstance(name, str) and not name.isdigit() for name in named):
        header = True
    return read_table(
        path,
        SEPARATORS[found],
        header=header,
        known_names=known_names,
        quoted=quoted,
        encoding=encoding,
    )


def _read_texts(
    path: Path,
    *,
    pair: bool = False,
    text: str | int | None = None,
    text_pair: str | int | None = None,
    label: str | int | None = None,
    **reading: Any,
) -> list[TextExample]:
    columns = TextColumns(text, text_pair, label)
    records = read_records(
        path,
        (*TEXT_NAMES, *PAIR_NAMES, *LABEL_NAMES),
        named=(text, text_pair, label),
        **reading,
    )
    examples = text_examples(records, columns, pair=pair)
    if reading.get("header") is None and 0 in records[0].fields:
        refuse_names(examples, records[0])
    return examples


def _read_labelled_texts(path: Path, label: str, encoding: str) -> list[TextExample]:
    return [
        TextExample((record.fields["text"],), label, path, record.line)
        for record in read_plain_text(path, encoding)
    ]


def _read_pairs(path: Path, **reading: Any) -> list[TextExample]:
    return _read_texts(path, pair=True, **reading)


def _read_choices(
    path: Path,
    *,
    text: str | int | None = None,
    choices: Sequence[str | int] | None = None,
    label: str | int | None = None,
    **reading: Any,
) -> list[ChoiceExample]:
    known, named = (*TEXT_NAMES, *LABEL_NAMES), (text, label, *(choices or ()))
    records = read_records(path, known, named, **reading)
    return choice_examples(records, text=text, choices=choices, label=label)


def _read_sentences(path: Path, *, format: str | None, encoding: str) -> list[Sentence]:
    # Files of tags have all kinds of endings, and only one format.
    find_format(path, format or "conll", ("conll",))
    return read_conll(path, encoding)


def _read_questions(path: Path, *, format: str | None, encoding: str) -> list[Question]:
    find_format(path, format, ("json",))
    return read_squad(path, encoding)


_TABLE = ("header", "quoted")
_TEXTS = ("text", "text_pair", "label", *_TABLE)

OPENINGS: Mapping[str, Opening] = {
    "sequence-classification": Opening(
        _read_texts,
        SequenceClassification,
        128,
        _TEXTS,
        ("labels", "problem_type", "metric", "threshold"),
        read_labelled=_read_labelled_texts,
    ),
    "next-sentence-prediction": Opening(
        _read_pairs, NextSentencePrediction, 128, _TEXTS, ("metric",)
    ),
    "multiple-choice": Opening(
        _read_choices, MultipleChoice, 128, ("text", "choices", "label", *_TABLE), ("metric",)
    ),
    "token-classification": Opening(
        _read_sentences, TokenClassification, 128, (), ("labels", "metric")
    ),
    "question-answering": Opening(
        _read_questions,
        QuestionAnswering,
        384,
        (),
        ("metric", "stride", "candidates", "most_answer_tokens", "null_threshold"),
        group=lambda question: question.context,
    ),
}
