"""The benchmark of fine-tuning: practice asks what its passages answer, before the task."""

import itertools
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

FIRST = "On 4 May 1812 the painter Ada Vale left Bristol for good, sold her house to a cousin, and"


@pytest.fixture(scope="module")
def practice(load: Any) -> Any:
    return load("fine_tuning_practice")


@pytest.fixture(scope="module")
def text(load: Any) -> Any:
    return load("fine_tuning_text")


@pytest.fixture
def data(tmp_path: Path, text: Any, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two sources whose words are all different, one of them held out."""
    words = (f"{part}{number}" for number in itertools.count() for part in ("ba", "Ko", "ri"))
    for name in ("train", "held_out"):
        lines = [
            " ".join(f"The {' the '.join(itertools.islice(words, 8))} {name}." for _ in range(7))
            for _ in range(60)
        ]
        (tmp_path / f"{name}.txt").write_text("\n".join(lines), encoding="utf-8")
    sources = {
        f"pg_{name}": (f"{name}.txt", lambda path: path.read_text("utf-8").splitlines())
        for name in ("train", "held_out")
    }
    preparation = SimpleNamespace(HELD_OUT=("pg_held_out",), SOURCES=sources)
    monkeypatch.setattr(text, "load_preparation", lambda: preparation)
    return tmp_path


def paragraphs(path: Path) -> list[Any]:
    (article,) = json.loads(path.read_text(encoding="utf-8"))["data"]
    found: list[Any] = article["paragraphs"]
    return found


def test_answers_are_numbers_names_and_words_between_small_ones(practice: Any) -> None:
    found = {FIRST[each.start : each.end]: each.kind for each in practice.answers_in(FIRST)}
    assert found["4"] == "number"
    assert found["1812"] == "number"
    assert found["Ada Vale"] == "name"
    assert found["sold"] == ""
    assert practice.answers_in("Nobody knew why.")[0].kind == ""  # a sentence begins so
    assert not {"On", "the", "to", "for", "and"} & set(found)


def test_answer_has_no_more_than_four_words(practice: Any) -> None:
    sentence = "one " + "red blue green white black " * 4
    sizes = {len(sentence[start:end].split()) for start, end, _ in practice.answers_in(sentence)}
    assert sizes == {4}


def test_hidden_words_are_neither_answers_nor_in_questions(practice: Any) -> None:
    sentence = "The old [UNK] of [UNK] was sold with [UNK] houses and ships in the harbour."
    spans = practice.answers_in(sentence)
    assert not [each for each in spans if "UNK" in sentence[each.start : each.end]]
    draw = np.random.RandomState(0)
    asked = [practice.ask(sentence, span, draw) for span in spans for _ in range(20)]
    assert any(asked)
    assert "UNK" not in " ".join(asked)


@given(seed=st.integers(0, 10**6))
def test_question_is_of_the_words_around_its_answer(practice: Any, seed: int) -> None:
    draw = np.random.RandomState(seed)
    for span in practice.answers_in(FIRST):
        asked = practice.ask(FIRST, span, draw)
        if asked:
            around = FIRST[: span.start] + FIRST[span.end :]
            words = practice.WORD.findall(asked)
            asking = {word for each in practice.ASKING[span.kind] for word in each.split()}
            assert asking & set(words)
            assert set(words) - asking <= set(practice.WORD.findall(around))


def test_answers_stand_once_where_they_are_said_to(practice: Any, data: Path) -> None:
    for path in practice.short_passages(data, data):
        found = paragraphs(path)
        assert len(found) > 20
        for each in found:
            for question in each["qas"]:
                (answer,) = question["answers"]
                assert each["context"].find(answer["text"]) == answer["answer_start"]
                assert each["context"].count(answer["text"]) == 1


def test_passages_have_about_the_words_that_are_asked_for(practice: Any, data: Path) -> None:
    sizes = [
        len(each["context"].split()) for each in paragraphs(practice.long_passages(data, data)[0])
    ]
    assert 70 <= min(sizes) < max(sizes) < 210


def test_passage_is_left_out_when_a_sentence_makes_it_too_long(practice: Any) -> None:
    lines = ["word " * 25 + "end.", "word " * 70 + "end.", "word " * 26 + "end."]
    found = list(practice.passages(lines, (20, 30), np.random.RandomState(0)))
    assert [len(" ".join(each).split()) for each in found] == [26, 27]


def test_questions_take_words_from_both_sides(practice: Any) -> None:
    span = practice.Span(FIRST.index("Ada"), FIRST.index(" left"), "name")
    draw = np.random.RandomState(0)
    words = " ".join(practice.ask(FIRST, span, draw) for _ in range(50)).split()
    assert {"painter", "left"} <= set(words)


def test_ids_of_questions_are_all_different(practice: Any, data: Path) -> None:
    found = [
        question["id"]
        for path in practice.short_passages(data, data)
        for each in paragraphs(path)
        for question in each["qas"]
    ]
    assert len(set(found)) == len(found)


@pytest.mark.parametrize("task", ["short passages", "following sentence", "next sentence"])
def test_running_text_is_tested_on_held_out_text_alone(load: Any, data: Path, task: str) -> None:
    files = load("fine_tuning_data").recipe_of(task).files(data, data)
    train, test = (path.read_text(encoding="utf-8") for path in files)
    assert "held_out." in test
    assert "train." not in test
    assert "held_out." not in train


def test_right_choice_is_the_sentence_that_follows(text: Any, data: Path) -> None:
    read = (data / "train.txt").read_text(encoding="utf-8")
    places = []
    for line in text.following_sentences(data, data)[0].read_text("utf-8").splitlines():
        row = json.loads(line)
        place = "ABCD".index(row["answerKey"])
        places.append(place)
        assert f"{row['question']} {row['choices']['text'][place]}" in read
    assert set(places) == {0, 1, 2, 3}


def test_practice_comes_first_and_names_the_result(load: Any, tmp_path: Path) -> None:
    benchmark = load("fine_tuning")
    job = benchmark.Job("XQuAD", benchmark.PRACTISED, "m", tmp_path, tmp_path, "quick", "d")
    assert [(each.task, each.kind) for each in job.chain] == [
        ("short passages", "nano"),
        ("long passages", "nano, practised"),
        ("XQuAD", "nano, practised"),
    ]
    other = benchmark.replace(job, digest="e")
    assert len({each.key for each in (*job.chain, *other.chain)}) == 6


def test_job_without_practice_needs_nothing_before(load: Any, tmp_path: Path) -> None:
    benchmark = load("fine_tuning")
    job = benchmark.Job("XQuAD", benchmark.NANO, "m", tmp_path, tmp_path, "quick", "d")
    assert job.chain == [job]
