"""Multiple choice: its files, batches and measure."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mobilebert_core.config import MobileBertConfig
from mobilebert_core.errors import InputError
from mobilebert_core.input_checks import check
from mobilebert_core.tokenization import load_tokenizer
from mobilebert_training.readers.records import Record
from mobilebert_training.tasks.choices import ChoiceExample, choice_examples
from mobilebert_training.tasks.multiple_choice import MultipleChoice

EXAMPLES = (
    ChoiceExample("one two", ("a b c", "d", "e f"), 2),
    ChoiceExample("three", ("g", "h", "i j k l m"), 0),
    ChoiceExample("four", ("n", "o p", "q"), 2),
)


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return load_tokenizer()


def records(*objects: Mapping[str | int, Any]) -> list[Record]:
    return [Record(Path("data.jsonl"), line, each) for line, each in enumerate(objects, 1)]


def parts(example: ChoiceExample) -> tuple[str, tuple[str, ...], int]:
    return example.text, example.choices, example.label


def test_choices_are_an_axis_when_batched(tokenizer: Any) -> None:
    task = MultipleChoice(EXAMPLES, [], tokenizer)
    batch = task.batch(np.array([1, 0]), (0, 0))
    assert batch["input_ids"].shape == (2, 3, 9)
    assert batch["labels"].tolist() == [0, 2]
    row = tokenizer("one two", "e f")
    length = len(row["input_ids"])
    assert batch["input_ids"][1, 2, :length].tolist() == row["input_ids"]
    assert batch["token_type_ids"][1, 2, :length].tolist() == row["token_type_ids"]
    assert batch["attention_mask"][1, 2].tolist() == [1] * length + [0] * (9 - length)
    inputs = {name: array for name, array in batch.items() if name != "labels"}
    check(MobileBertConfig(), task.head, inputs, {"labels": batch["labels"]})


def test_the_highest_logit_chooses_when_measured(tokenizer: Any) -> None:
    def run(batch: Mapping[str, Any]) -> dict[str, Any]:
        return {"logits": batch["attention_mask"].sum(axis=2).astype(np.float32)}

    task = MultipleChoice(EXAMPLES[:1], EXAMPLES, tokenizer)
    assert task.predict(run) == [{"choice": 0}, {"choice": 2}, {"choice": 1}]
    assert task.evaluate(run) == {"accuracy": 0}
    assert task.baseline() == {"accuracy": pytest.approx(2 / 3)}


def test_copa_is_read_when_the_question_links_premise_and_choice() -> None:
    fields = {"premise": "It fell.", "choice1": "Wind.", "choice2": "Sun.", "idx": 3}
    examples = choice_examples(
        records(
            {**fields, "question": "cause", "label": 0},
            {**fields, "question": "effect", "label": 1},
        )
    )
    assert [parts(each) for each in examples] == [
        ("It fell. because", ("Wind.", "Sun."), 0),
        ("It fell. so", ("Wind.", "Sun."), 1),
    ]


def test_commonsense_qa_is_read_when_in_either_layout() -> None:
    labels, texts = ["A", "B", "C"], ["x", "y", "z"]
    flat = {"question": "Q?", "choices": {"label": labels, "text": texts}, "answerKey": "C"}
    pairs = [{"label": label, "text": text} for label, text in zip(labels, texts, strict=True)]
    nested = {"question": {"stem": "Q?", "choices": pairs}, "answerKey": "C"}
    flat_example, nested_example = choice_examples(records(flat, nested))
    assert parts(flat_example) == parts(nested_example) == ("Q?", ("x", "y", "z"), 2)


def test_columns_are_found_when_a_table_has_usual_names_or_none() -> None:
    named = {"label": "B", "sentence": "s", "ending1": "y", "ending0": "x"}
    assert parts(choice_examples(records(named))[0]) == ("s", ("x", "y"), 1)
    numbered: dict[str | int, Any] = dict(enumerate(["s", "x", "y", "z", "2"]))
    assert parts(choice_examples(records(numbered))[0]) == ("s", ("x", "y", "z"), 2)


def test_columns_are_taken_when_they_are_named() -> None:
    fields = {"a": "s", "b": "x", "c": "y", "d": 1, "e": ["u", "v", "w"]}
    examples = choice_examples(records(fields), text="a", choices=("c", "b"), label="d")
    assert parts(examples[0]) == ("s", ("y", "x"), 1)
    examples = choice_examples(records(fields), text="a", choices=("e",), label="d")
    assert parts(examples[0]) == ("s", ("u", "v", "w"), 1)


GOOD = {"text": "t", "choices": ["x", "y"], "label": 0}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({**GOOD, "label": 2}, "line 2: the label is 2, expected 0 to 1 or a letter from A"),
        ({**GOOD, "label": True}, "line 2: the label is True"),
        ({**GOOD, "label": "C"}, "line 2: the label is 'C'"),
        ({**GOOD, "choices": ["x"]}, r"line 2: the choices are \['x'\], expected two texts"),
        ({**GOOD, "choices": ["x", 1]}, "line 2: the choices are"),
        ({**GOOD, "choices": ["x", "y", "z"]}, "line 2: 3 choices, expected 2"),
        ({**GOOD, "text": None}, "line 2: 'text' is None, expected a text"),
    ],
)
def test_the_line_is_named_when_choices_are_malformed(fields: Any, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        choice_examples(records(GOOD, fields))
    assert "data.jsonl" in str(caught.value)


def test_the_line_is_named_when_copa_or_commonsense_qa_are_malformed() -> None:
    copa = {"premise": "p", "choice1": "x", "choice2": "y", "question": "why", "label": 0}
    with pytest.raises(InputError, match="line 1: 'question' is 'why', expected 'cause'"):
        choice_examples(records(copa))
    for choices in ({"label": ["A"], "text": ["x"]}, None, [{"label": "A"}], {"label": 3}):
        fields = {"question": "q", "choices": choices, "answerKey": "B"}
        with pytest.raises(InputError, match="line 1: no choices with label and text"):
            choice_examples(records(json.loads(json.dumps(fields))))


def test_columns_are_asked_for_when_none_are_choices() -> None:
    with pytest.raises(InputError, match=r"which columns are the choices\?"):
        choice_examples(records({"text": "t", "first": "x", "second": "y", "label": 0}))
    with pytest.raises(InputError, match=r"which column is text and label\?"):
        choice_examples(records({"first": "x", "choices": ["a", "b"]}))


def test_numbers_of_choices_are_compared_when_files_are_mixed(tokenizer: Any) -> None:
    mixed = [EXAMPLES[0], ChoiceExample("t", ("x", "y"), 0, Path("other.tsv"), 7)]
    with pytest.raises(InputError, match=r"other\.tsv, line 7 has 2 choices, expected 3"):
        MultipleChoice(mixed, [], tokenizer)
