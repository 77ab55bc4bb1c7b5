"""`open_task`: files of all heads, those of the real data sets too."""

import gzip
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from mobilebert_core.errors import ConfigError, InputError
from mobilebert_core.tokenization import load_tokenizer
from mobilebert_training.squad_scorer import normalize_answer
from mobilebert_training.tasks.examples import split_off
from mobilebert_training.tasks.opening import open_task
from mobilebert_training.tasks.question_answering import QuestionAnswering
from mobilebert_training.tasks.sequence_classification import SequenceClassification
from mobilebert_training.tasks.supervised import SupervisedTask
from mobilebert_training.tasks.token_classification import TokenClassification


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return load_tokenizer()


def write(path: Path, text: str) -> Path:
    data = text.encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def first_row(task: SupervisedTask) -> list[int]:
    return task.training.input_ids[0].tolist()


@pytest.mark.parametrize(
    ("name", "text", "options"),
    [
        ("a.tsv", "one two\tx\nthree\ty\n", {}),
        ("a.tsv", "label\tsentence\nx\tone two\ny\tthree\n", {}),
        ("a.tsv", "what\tsaid\nx\tone two\ny\tthree\n", {"text": "said", "label": "what"}),
        ("a.csv", "x,1,one two\ny,2,three\n", {"text": 2, "label": "0"}),
        ("A.CSV.gz", '"one two",x\nthree,y\n', {}),
        ("a.jsonl", '{"text": "one two", "label": "x"}\n{"text": "three", "label": "y"}\n', {}),
        ("a.data", "one two\tx\nthree\ty\n", {"format": "tsv"}),
        ("a.tsv", "text\tlabel\nthree\tx\n", {"header": False, "validation_fraction": 0}),
    ],
)
def test_texts_are_found_when_files_differ_in_form(
    tmp_path: Path, tokenizer: Any, name: str, text: str, options: dict[str, Any]
) -> None:
    options = {"validation_fraction": 0, **options}
    path = write(tmp_path / name, text)
    task = open_task("sequence-classification", path, None, tokenizer, **options)
    first = "text" if options.get("header") is False else "one two"
    assert (len(task), first_row(task)) == (2, tokenizer(first)["input_ids"])
    assert len(task.config_changes["id2label"]) == 2


def test_pairs_are_taken_when_columns_say_so(tmp_path: Path, tokenizer: Any) -> None:
    path = write(tmp_path / "a.csv", "one,two,1.5\nthree,four,2\n")
    columns: dict[str, Any] = {"text": 0, "text_pair": 1, "validation_fraction": 0}
    task = open_task("sequence-classification", path, None, tokenizer, **columns)
    assert first_row(task) == tokenizer("one", "two")["input_ids"]
    assert task.config_changes["problem_type"] == "regression"


def test_next_sentences_are_pairs_when_no_column_is_named(tmp_path: Path, tokenizer: Any) -> None:
    path = write(tmp_path / "a.tsv", "one\ttwo\t1\nthree\tfour\t0\n")
    options: dict[str, Any] = {"validation_fraction": 0}
    task = open_task("next-sentence-prediction", path, None, tokenizer, **options)
    assert first_row(task) == tokenizer("one", "two")["input_ids"]


def test_files_are_joined_when_several_are_given(tmp_path: Path, tokenizer: Any) -> None:
    first = write(tmp_path / "a.tsv", "one\tx\ntwo\ty\n")
    second = write(tmp_path / "b.csv", "three,x\n")
    task = open_task("sequence-classification", [first, str(second)], second, tokenizer)
    assert (len(task), len(task.validation)) == (3, 1)


def test_each_file_is_a_label_when_given_as_a_mapping(tmp_path: Path, tokenizer: Any) -> None:
    files = {
        "up": write(tmp_path / "a.up", "one\n\ntwo\n"),
        "down": write(tmp_path / "b", "three\n"),
    }
    task = open_task("sequence-classification", files, files, tokenizer)
    assert isinstance(task, SequenceClassification)
    assert task.names == ("down", "up")
    assert task.batch([0, 1, 2], (0, 0))["labels"].tolist() == [1, 1, 0]
    with pytest.raises(InputError, match="A file for each label is for sequence classification"):
        open_task("token-classification", files, None, tokenizer)


def test_labels_come_from_a_file_when_one_is_named(tmp_path: Path, tokenizer: Any) -> None:
    path = write(tmp_path / "a.tsv", "one\t1\ntwo\t0\n")
    labels = write(tmp_path / "labels.txt", "sad\nglad\nother\n")
    task = open_task("sequence-classification", path, path, tokenizer, labels=labels)
    assert task.config_changes["id2label"] == {0: "sad", 1: "glad", 2: "other"}


def test_options_reach_the_task_when_given(tmp_path: Path, tokenizer: Any) -> None:
    path = write(tmp_path / "a.tsv", "one two three four five\tx\ntwo\ty\n")
    options: dict[str, Any] = {"max_length": 5, "metric": "matthews", "threshold": None}
    task = open_task("sequence-classification", path, path, tokenizer, **options)
    assert (len(first_row(task)), task.metric) == (5, "matthews")


def test_rows_are_no_longer_than_the_tokenizer_says_when_more_is_asked(
    tmp_path: Path, tokenizer: Any
) -> None:
    path = write(tmp_path / "a.tsv", "one " * 2000 + "\tx\ntwo\ty\n")
    task = open_task("sequence-classification", path, path, tokenizer, max_length=1500)
    assert len(first_row(task)) == tokenizer.model_max_length


def test_tagged_words_are_read_when_the_ending_is_odd(tmp_path: Path, tokenizer: Any) -> None:
    path = write(tmp_path / "a.annotated", "one\tO\n\ntwo\tB-x\n")
    task = open_task("token-classification", path, path, tokenizer)
    assert (len(task), len(task.validation)) == (2, 2)


@pytest.mark.parametrize(
    ("head", "name", "options", "message"),
    [
        ("sequence-classification", "a.xlsx", {}, r"a\.xlsx ends in \.xlsx, which is no format of"),
        (
            "sequence-classification",
            "a.tsv",
            {"format": "tvs"},
            "format='tvs' is no format of this",
        ),
        ("sequence-classification", "a.tsv", {"txt": 1}, "'txt' is no option of .* 'text'"),
        ("sequence-classification", "a.tsv", {"text": 7}, r"a\.tsv has no column 7 for text"),
        ("sequence-classification", "a.tsv", {"text": 1}, "which column is label"),
        (
            "sequence-classification",
            "a.tsv",
            {"validation_fraction": 1},
            "validation_fraction is 1",
        ),
        ("question-answering", "a.json", {"text": 0}, "'text' is no option of question-answering"),
        ("question-answering", "a.tsv", {}, "is no format of this head; expected json"),
        ("token-classification", "gone.conll", {}, r"There is no file .*gone\.conll"),
    ],
)
def test_what_is_wrong_is_told_when_a_task_cannot_be_opened(
    tmp_path: Path, tokenizer: Any, head: str, name: str, options: dict[str, Any], message: str
) -> None:
    path = tmp_path / name
    if not name.startswith("gone"):
        write(path, "one\tx\ntwo\ty\n")
    with pytest.raises(InputError, match=message):
        open_task(head, path, None, tokenizer, **options)


@pytest.mark.parametrize(
    "rows",
    ["good,x\ngood,y\nbad,x\nbad,y\n", "fine,0.5\nbad,0.25\nodd,3\n"],
    ids=["classes", "numbers"],
)
@pytest.mark.parametrize("header", [None, False, True])
def test_names_that_nobody_knows_are_not_taken_for_an_example(
    tmp_path: Path, tokenizer: Any, rows: str, header: bool | None
) -> None:
    path = write(tmp_path / "a.csv", f"review,sentiment\n{rows}")
    options: dict[str, Any] = {"header": header, "validation_fraction": 0}
    if header:
        options |= {"text": "review", "label": "sentiment"}
    if header is None:
        with pytest.raises(InputError, match=r"line 1 seems to name .*text='review'.*header=False"):
            open_task("sequence-classification", path, None, tokenizer, **options)
    else:
        task = open_task("sequence-classification", path, None, tokenizer, **options)
        assert len(task) == rows.count("\n") + (not header)


@pytest.mark.parametrize(
    "first", ["one\tx\ntwo\ty\n", "one\tx\ntwo\tx\nthree\tx\nfour\ty\nfive\ty\n"]
)
def test_examples_without_names_are_taken_as_they_are(
    tmp_path: Path, tokenizer: Any, first: str
) -> None:
    path = write(tmp_path / "a.tsv", first)
    task = open_task("sequence-classification", path, None, tokenizer, validation_fraction=0)
    assert len(task) == first.count("\n")


@pytest.mark.parametrize("swapped", [False, True])
def test_single_texts_among_pairs_are_refused(
    tmp_path: Path, tokenizer: Any, swapped: bool
) -> None:
    files = [
        write(tmp_path / "a.csv", "text,label\none,x\ntwo,y\n"),
        write(tmp_path / "b.csv", "sentence1,sentence2,label\none,two,x\n"),
    ]
    with pytest.raises(InputError, match=r"line 2 has (one text|two texts), .*line 2 has"):
        open_task("sequence-classification", files[:: -1 if swapped else 1], None, tokenizer)


@pytest.mark.parametrize("name", ["premise", "hypothesis"])
def test_a_text_that_is_named_comes_alone(tmp_path: Path, tokenizer: Any, name: str) -> None:
    path = write(tmp_path / "a.csv", "premise,hypothesis,label\none,two,x\nthree,four,y\n")
    options: dict[str, Any] = {"text": name, "validation_fraction": 0}
    task = open_task("sequence-classification", path, None, tokenizer, **options)
    word = {"premise": "one", "hypothesis": "two"}[name]
    assert first_row(task) == tokenizer(word)["input_ids"]


def test_a_second_text_is_another_column_than_the_first(tmp_path: Path, tokenizer: Any) -> None:
    path = write(tmp_path / "a.csv", "sentence2,text2,label\none,two,0\nthree,four,1\n")
    options: dict[str, Any] = {"text": "sentence2", "validation_fraction": 0}
    task = open_task("next-sentence-prediction", path, None, tokenizer, **options)
    assert first_row(task) == tokenizer("one", "two")["input_ids"]


@pytest.mark.parametrize("option", [{"text": "a"}, {"header": True}, {"format": "tsv"}])
def test_columns_are_refused_for_files_of_one_label(
    tmp_path: Path, tokenizer: Any, option: dict[str, Any]
) -> None:
    files = {"up": write(tmp_path / "a.up", "one\n"), "down": write(tmp_path / "b", "three\n")}
    with pytest.raises(InputError, match=f"{next(iter(option))} is given for text files of one"):
        open_task("sequence-classification", files, files, tokenizer, **option)


def test_a_head_is_refused_when_it_has_no_labelled_examples(tokenizer: Any) -> None:
    with pytest.raises(
        ConfigError, match="masked-lm has no labelled examples; expected one of seq"
    ):
        open_task("masked-lm", "a.tsv", None, tokenizer)
    with pytest.raises(ConfigError, match="did you mean 'token-classification'"):
        open_task("token-clasification", "a.tsv", None, tokenizer)


def test_a_fraction_and_a_file_are_refused_when_both_are_given(
    tmp_path: Path, tokenizer: Any
) -> None:
    path = write(tmp_path / "a.tsv", "one\tx\ntwo\ty\n")
    with pytest.raises(InputError, match="and a file for validation; give one"):
        open_task("sequence-classification", path, path, tokenizer, validation_fraction=0.5)


def test_a_split_is_a_function_of_the_seed_when_made() -> None:
    training, validation = split_off(50, 0.2, 3)
    assert (len(validation), sorted(training + validation)) == (10, list(range(50)))
    assert split_off(50, 0.2, 3) == (training, validation)
    assert split_off(50, 0.2, 4) != (training, validation)
    assert split_off(2, 0.01, 0)[0] in ([0], [1])
    assert split_off(3, 0, 0) == ([0, 1, 2], [])
    with pytest.raises(InputError, match="1 examples cannot be split"):
        split_off(1, 0.1, 0)


def test_paragraphs_stay_together_when_questions_are_split(tmp_path: Path, tokenizer: Any) -> None:
    paragraphs = [
        {
            "context": f"It is {number}.",
            "qas": [
                {
                    "id": f"{number}-{i}",
                    "question": "What?",
                    "answers": [{"text": str(number), "answer_start": 6}],
                }
                for i in range(3)
            ],
        }
        for number in range(10, 20)
    ]
    path = write(tmp_path / "a.json", json.dumps({"data": [{"paragraphs": paragraphs}]}))
    task = open_task("question-answering", path, None, tokenizer, validation_fraction=0.2)
    assert isinstance(task, QuestionAnswering)
    assert (len(task), len(task.questions)) == (24, 6)
    assert len({question.context for question in task.questions}) == 2


# Real data


def test_goemotions_opens_when_labels_are_ids(shared_data: Path, tokenizer: Any) -> None:
    folder = shared_data / "goemotions"
    options: dict[str, Any] = {"labels": folder / "labels.txt"}
    files = (folder / "dev.tsv", folder / "test.tsv")
    task = open_task("sequence-classification", *files, tokenizer, **options)
    assert (len(task), len(task.validation)) == (5426, 5427)
    assert task.batch([0, 1], (0, 0))["labels"].sum(axis=1).tolist() == [1, 2]
    assert task.config_changes["id2label"][27] == "neutral"
    assert 0.28 < task.baseline()["f1_micro"] < 0.32


def test_stsb_opens_as_a_regression_when_columns_are_named(
    shared_data: Path, tokenizer: Any
) -> None:
    files = (shared_data / "stsb/stsb-en-train.csv.gz", shared_data / "stsb/stsb-en-dev.csv")
    columns: dict[str, Any] = {"text": 0, "text_pair": 1, "label": 2}
    task = open_task("sequence-classification", *files, tokenizer, **columns)
    assert (len(task), len(task.validation)) == (5749, 1500)
    assert task.metric == "spearman"


def test_sentence_polarity_opens_when_each_label_has_a_file(
    shared_data: Path, tmp_path: Path, tokenizer: Any
) -> None:
    with zipfile.ZipFile(shared_data / "sentence_polarity/sentence_polarity.zip") as archive:
        archive.extractall(tmp_path)
    stem = tmp_path / "sentence_polarity"
    files = {"negative": stem / "rt-polarity.neg", "positive": stem / "rt-polarity.pos"}
    task = open_task("sequence-classification", files, None, tokenizer)
    assert (len(task), len(task.validation)) == (9596, 1066)
    assert task.config_changes["id2label"] == {0: "negative", 1: "positive"}


def test_wnut_opens_when_endings_are_odd(shared_data: Path, tokenizer: Any) -> None:
    folder = shared_data / "wnut17"
    files = (folder / "emerging.dev.conll", folder / "emerging.test.annotated")
    task = open_task("token-classification", *files, tokenizer)
    assert isinstance(task, TokenClassification)
    assert (len(task.sentences), len(task.names), task.names[0]) == (1287, 13, "O")
    assert sum(len(each.words) for each in task.sentences) == 23394
    assert task.baseline()["f1"] == 0


def test_copa_and_commonsense_qa_open_when_given_as_they_are(
    shared_data: Path, tokenizer: Any
) -> None:
    files = (shared_data / "copa/train.jsonl", shared_data / "copa/val.jsonl")
    task = open_task("multiple-choice", *files, tokenizer)
    assert (len(task), len(task.validation), task.training.choices) == (368, 100, 2)
    task = open_task("multiple-choice", shared_data / "csqa/dev_rand_split.jsonl", None, tokenizer)
    assert (len(task) + len(task.validation), task.training.choices) == (1221, 5)


@pytest.mark.parametrize("max_length", [128, 384])
def test_xquad_answers_are_recovered_when_cut_out_by_spans(
    shared_data: Path, tokenizer: Any, max_length: int
) -> None:
    path = shared_data / "squad/xquad.en.json"
    task = open_task("question-answering", path, path, tokenizer, max_length=max_length)
    assert isinstance(task, QuestionAnswering)
    assert len(task.questions) == 1190
    found = {}
    starts, ends = (task.validation.labels[f"{side}_positions"] for side in ("start", "end"))
    for window, start, end in zip(task.windows, starts, ends, strict=True):
        if start:
            left, right = (
                window.offsets[start - window.first, 0],
                window.offsets[end - window.first, 1],
            )
            found[window.question] = task.questions[window.question].context[left:right]
    right = [
        normalize_answer(found.get(number, "")) == normalize_answer(question.answers[0].text)
        for number, question in enumerate(task.questions)
    ]
    assert sum(right) / len(right) >= 0.999
