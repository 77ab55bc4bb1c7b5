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


@pytest.fixture
def job_of(load: Any, tmp_path: Path) -> Any:
    """Makes jobs whose files are there."""
    benchmark = load("fine_tuning_jobs")
    (tmp_path / "train").write_text("1")
    (tmp_path / "test").write_text("2")
    tasks = ("XQuAD", "long passages", "short passages", "COPA")
    files = {task: [(tmp_path / "train", tmp_path / "test")] for task in tasks}

    def make(task: str, kind: str) -> Any:
        return benchmark.Job(task, kind, "m", files, tmp_path, "quick", "d")

    return make


def test_practice_comes_first_and_names_the_result(load: Any, job_of: Any) -> None:
    benchmark = load("fine_tuning_jobs")
    job = job_of("XQuAD", benchmark.PRACTISED)
    assert [(each.task, each.kind) for each in job.chain] == [
        ("short passages", "nano"),
        ("long passages", "nano, practised"),
        ("XQuAD", "nano, practised"),
    ]
    other = benchmark.replace(job, digest="e")
    assert len({each.key for each in (*job.chain, *other.chain)}) == 6


def test_job_without_practice_needs_nothing_before(load: Any, job_of: Any) -> None:
    job = job_of("XQuAD", load("fine_tuning_jobs").NANO)
    assert job.chain == [job]


def test_practice_is_the_same_for_all_folds(load: Any, job_of: Any) -> None:
    jobs = load("fine_tuning_jobs")
    job = job_of("XQuAD", jobs.PRACTISED)
    job.files["XQuAD"].append(job.files["XQuAD"][0][::-1])
    other = jobs.replace(job, fold=1)
    assert other.key != job.key
    assert [each.key for each in other.chain[:-1]] == [each.key for each in job.chain[:-1]]


@pytest.mark.parametrize("file", ["train", "test"])
def test_other_data_is_another_result(load: Any, job_of: Any, tmp_path: Path, file: str) -> None:
    before = job_of("COPA", load("fine_tuning_jobs").RANDOM).key
    (tmp_path / file).write_text("3")
    assert job_of("COPA", load("fine_tuning_jobs").RANDOM).key != before


def test_other_baselines_are_another_result(
    load: Any, job_of: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    benchmark = load("fine_tuning_jobs")
    kinds = (benchmark.MAJORITY, benchmark.NANO)
    before = [job_of("COPA", kind).key for kind in kinds]
    (tmp_path / "other.py").write_text("STRENGTHS = ()")
    monkeypatch.setattr(benchmark, "BASELINES", tmp_path / "other.py")
    jobs = [job_of("COPA", kind) for kind in kinds]
    assert [job.key == key for job, key in zip(jobs, before, strict=True)] == [False, True]


def result(kind: str, value: float, **more: Any) -> dict[str, Any]:
    return {"task": "COPA", "kind": kind, "metrics": {"accuracy": value}, "seconds": 1.0, **more}


def test_what_decides_is_fixed_before_anything_is_measured(load: Any) -> None:
    benchmark = load("fine_tuning")
    baselines = {benchmark.MAJORITY: {"accuracy": 0.5}, benchmark.WORDS: {"accuracy": 0.6}}
    rows = benchmark.summarise(
        [
            result(benchmark.MAJORITY, 0, baselines=baselines, trained_on=3, tested_on=2),
            result(benchmark.RANDOM, 0.5, steps=7, model="r"),
            result(benchmark.NANO, 0.9, steps=7, model="n"),
            result(benchmark.PRACTISED, 0.4, steps=20, model="p"),
        ]
    )
    assert [(row["learns"], row["model"], row["steps"]) for row in rows] == [(False, "p", 20)]


@pytest.mark.parametrize(
    ("random", "nano", "learns"),
    [({}, 0.6, True), ({}, 0.51, False), ({"accuracy": 0.3}, None, False)],
)
def test_training_that_diverged_is_worse_than_any_figure(
    load: Any, random: dict[str, float], nano: float | None, learns: bool
) -> None:
    benchmark = load("fine_tuning")
    baselines = {benchmark.MAJORITY: {"accuracy": 0.5}, benchmark.WORDS: {"accuracy": 0.6}}
    found = {} if nano is None else {"accuracy": nano}
    common = {"task": "COPA", "seconds": 1.0, "steps": 3, "model": "m"}
    (row,) = benchmark.summarise(
        [
            {**common, "kind": benchmark.MAJORITY, "baselines": baselines,
             "trained_on": 3, "tested_on": 2},
            {**common, "kind": benchmark.RANDOM, "metrics": random},
            {**common, "kind": benchmark.NANO, "metrics": found},
        ]
    )  # fmt: skip
    assert row["learns"] == learns
    assert row[benchmark.NANO] == nano
    benchmark.show([row])


def test_folds_count_with_their_mean_and_none_where_one_diverged(load: Any) -> None:
    benchmark = load("fine_tuning")
    baselines = {benchmark.MAJORITY: {"accuracy": 0.5}, benchmark.WORDS: {"accuracy": 0.6}}
    by_kind = {benchmark.NANO: (0.5, 0.7), benchmark.RANDOM: (0.4, None)}
    rows = [
        result(benchmark.MAJORITY, 0, baselines=baselines, trained_on=3, tested_on=2)
        for _ in range(2)
    ] + [
        {**result(kind, 0, steps=7, model="m"), "metrics": {"accuracy": value} if value else {}}
        for kind, values in by_kind.items()
        for value in values
    ]
    (row,) = benchmark.summarise(rows)
    assert row[benchmark.NANO] == pytest.approx(0.6)
    assert row[benchmark.RANDOM] is None
    assert (row["folds"], row["steps"], row["tested_on"]) == (2, 14, 4)


def test_each_example_is_tested_on_in_one_fold_and_trained_on_in_all_others(
    load: Any, tmp_path: Path
) -> None:
    for name, lines in (("train", range(8)), ("test", range(8, 11))):
        (tmp_path / name).write_text("".join(f"{line}\n" for line in lines))
    splits = load("fine_tuning_data").cut_in_folds((tmp_path / "train", tmp_path / "test"), 3)
    tested: list[str] = []
    for train, test in splits:
        parts = train.read_text().split(), test.read_text().split()
        assert sorted(parts[0] + parts[1], key=int) == [str(line) for line in range(11)]
        tested += parts[1]
    assert len(splits) == 3
    assert sorted(tested, key=int) == [str(line) for line in range(11)]


def test_no_article_is_asked_about_on_both_sides(load: Any, tmp_path: Path) -> None:
    articles = [
        {"paragraphs": [{"context": f"{number}", "qas": []} for _ in range(3)]}
        for number in range(10)
    ]
    (tmp_path / "squad").mkdir()
    (tmp_path / "squad" / "xquad.en.json").write_text(json.dumps({"data": articles}))
    train, test = (
        {each["context"] for each in paragraphs(path)}
        for path in load("fine_tuning_data").xquad(tmp_path, tmp_path)
    )
    assert (len(train), len(test)) == (8, 2)
    assert not train & test


def test_strength_is_chosen_by_the_metric_and_on_examples_put_aside(load: Any) -> None:
    baselines = load("fine_tuning_baselines")
    seen: list[set[int]] = []

    def fit(rows: list[int], strength: float) -> tuple[set[int], float]:
        seen.append(set(rows))
        return set(rows), strength

    def measure(model: tuple[set[int], float], rows: list[int]) -> float:
        assert not model[0] & set(rows)
        return -abs(model[1] - 3.0)

    rows, strength = baselines.choose_strength(50, fit, measure)
    assert (rows, strength) == (set(range(50)), 3.0)
    assert {len(each) for each in seen[:-1]} == {45}
