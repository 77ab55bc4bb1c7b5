"""The reader of SQuAD names article, paragraph and question of what is malformed."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mobilebert_core.errors import InputError
from mobilebert_training.readers.squad import Answer, read_squad

CONTENT: dict[str, Any] = {
    "data": [
        {"paragraphs": []},
        {
            "paragraphs": [
                {
                    "context": "Ada wrote the first program in 1843.",
                    "qas": [
                        {
                            "id": "q1",
                            "question": "Who?",
                            "answers": [{"text": "Ada", "answer_start": 0}],
                        },
                        {
                            "id": "q2",
                            "question": "When did she stop?",
                            "is_impossible": True,
                            "answers": [],
                            "plausible_answers": [{"text": "1843", "answer_start": 31}],
                        },
                    ],
                }
            ]
        },
    ]
}


def write(folder: Path, content: Any) -> Path:
    path = folder / "squad.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_questions_are_read_when_both_versions_mix(tmp_path: Path) -> None:
    first, second = read_squad(write(tmp_path, CONTENT))
    assert (first.id, first.question, first.answers) == ("q1", "Who?", (Answer("Ada", 0),))
    assert (second.id, second.answers) == ("q2", ())
    assert first.context == second.context == "Ada wrote the first program in 1843."


def test_there_is_no_answer_when_a_question_is_impossible(tmp_path: Path) -> None:
    content = copy.deepcopy(CONTENT)
    second = content["data"][1]["paragraphs"][0]["qas"][1]
    second["answers"] = second.pop("plausible_answers")
    assert read_squad(write(tmp_path, content))[1].answers == ()


def question(content: Any) -> Any:
    return content["data"][1]["paragraphs"][0]["qas"][0]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            lambda content: question(content).update(answers=[]),
            r"article 2, paragraph 1, question 1 \('q1'\): answers is \[\]",
        ),
        (
            lambda content: question(content)["answers"][0].update(answer_start=1),
            r"\('q1'\): the answer 'Ada' should begin at character 1, .* has 'da '",
        ),
        (
            lambda content: question(content)["answers"][0].update(answer_start=-1),
            "should begin at character -1",
        ),
        (
            lambda content: question(content)["answers"][0].update(text="1843", answer_start=-5),
            "should begin at character -5",
        ),
        (
            lambda content: question(content)["answers"][0].update(text="da", answer_start=True),
            "expected text and answer_start",
        ),
        (
            lambda content: question(content)["answers"][0].update(answer_start="0"),
            "expected text and answer_start",
        ),
        (
            lambda content: question(content).update(question=None),
            "article 2, paragraph 1, question 1: expected an object with texts 'id', 'question'",
        ),
        (lambda content: question(content).update(id="q2"), "question 'q2': the id is there twice"),
        (
            lambda content: content["data"][1]["paragraphs"].append({"qas": []}),
            "article 2, paragraph 2: expected an object with a text 'context'; it has 'qas'",
        ),
        (
            lambda content: content["data"].append([]),
            r"article 3: expected an object with a list 'paragraphs', not \[\]",
        ),
        (lambda content: content.pop("data"), "the file: expected an object with a list 'data'"),
        (lambda content: content["data"].pop(), "has no questions"),
    ],
)
def test_the_place_is_named_when_something_is_malformed(
    tmp_path: Path, damage: Callable[[Any], Any], message: str
) -> None:
    content = copy.deepcopy(CONTENT)
    damage(content)
    with pytest.raises(InputError, match=message) as caught:
        read_squad(write(tmp_path, content))
    assert "squad.json" in str(caught.value)


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, '{"data": ' + "9" * 5000 + "}"])
def test_a_file_is_refused_when_it_is_no_json(tmp_path: Path, text: str) -> None:
    with pytest.raises(InputError, match=r"squad\.json is no JSON"):
        read_squad(write(tmp_path, text))
