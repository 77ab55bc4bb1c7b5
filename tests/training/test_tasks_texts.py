"""Tasks that classify texts: labels, batches and measures."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mobilebert_core.config import MobileBertConfig
from mobilebert_core.errors import InputError
from mobilebert_core.input_checks import check
from mobilebert_core.losses import sequence_classification_loss
from mobilebert_core.outputs import SequenceClassificationOutput
from mobilebert_core.tokenization import load_tokenizer
from mobilebert_training.task import Task
from mobilebert_training.tasks.next_sentence_prediction import NextSentencePrediction
from mobilebert_training.tasks.sequence_classification import SequenceClassification
from mobilebert_training.tasks.texts import TextExample


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return load_tokenizer()


def examples(*pairs: tuple[Any, ...]) -> list[TextExample]:
    """From texts and, last, a label."""
    return [
        TextExample(each[:-1], each[-1], Path("data.tsv"), line)
        for line, each in enumerate(pairs, 1)
    ]


TRAINING = examples(("good", "fine"), ("bad and long", "poor"), ("so so", "fine"))
VALIDATION = examples(("one two three four five six", "fine"), ("one", "poor"), ("one two", "fine"))


def words_in(batch: Mapping[str, Any]) -> np.ndarray:
    """How many tokens a row has besides [CLS] and [SEP]."""
    return batch["attention_mask"].sum(axis=1) - 2


def run_by_length(batch: Mapping[str, Any]) -> dict[str, Any]:
    """Says `poor`, the second class, of texts with less than six words."""
    short = words_in(batch) < 6
    return {"logits": np.stack([~short, short], axis=1).astype(np.float32)}


def test_a_task_is_what_the_trainer_asks_for_when_made(tokenizer: Any) -> None:
    task: Task = SequenceClassification(TRAINING, VALIDATION, tokenizer)
    assert task.head == "sequence-classification"
    assert len(task) == 3
    assert (task.metric, task.higher_is_better) == ("accuracy", True)
    config = MobileBertConfig().replace(**task.config_changes)
    assert config.id2label == {0: "fine", 1: "poor"}
    assert config.problem_type == "single_label_classification"


def test_rows_are_filled_up_to_the_longest_when_batched(tokenizer: Any) -> None:
    task = SequenceClassification(TRAINING, [], tokenizer)
    batch = task.batch(np.array([2, 1, 2]), (0, 1))
    assert batch["input_ids"].shape == (3, 5)
    alone = tokenizer("so so")["input_ids"]
    assert batch["input_ids"][0].tolist() == [*alone, tokenizer.pad_token_id]
    assert batch["attention_mask"].tolist() == [[1, 1, 1, 1, 0], [1] * 5, [1, 1, 1, 1, 0]]
    assert batch["labels"].tolist() == [0, 1, 0]
    assert {array.dtype for array in batch.values()} == {np.dtype(np.int64)}


def test_a_batch_is_the_same_when_drawn_again(tokenizer: Any) -> None:
    task = SequenceClassification(TRAINING, [], tokenizer)
    first, second = (task.batch(np.array([0, 2]), (5, 7)) for _ in range(2))
    assert all((first[name] == second[name]).all() for name in first)


def test_pairs_have_two_token_types_when_encoded(tokenizer: Any) -> None:
    task = SequenceClassification(examples(("a b", "c", "x"), ("d", "e", "y")), [], tokenizer)
    batch = task.batch(np.array([0]), (0, 0))
    assert batch["token_type_ids"].tolist() == [[0, 0, 0, 0, 1, 1]]


def test_texts_are_cut_when_longer_than_a_row(tokenizer: Any) -> None:
    long = examples(("word " * 100, "x"), ("word", "y"))
    task = SequenceClassification(long, [], tokenizer, max_length=13)
    assert task.batch(np.array([0, 1]), (0, 0))["input_ids"].shape == (2, 13)


def test_predictions_keep_the_order_of_examples_when_run_by_length(tokenizer: Any) -> None:
    task = SequenceClassification(TRAINING, VALIDATION, tokenizer)
    assert [each["label"] for each in task.predict(run_by_length)] == ["fine", "poor", "poor"]
    metrics = task.evaluate(run_by_length)
    assert "loss" not in metrics
    assert abs(metrics["accuracy"] - 2 / 3) < 1e-12


def test_the_loss_is_the_mean_over_examples_when_batches_differ_in_size(tokenizer: Any) -> None:
    many = examples(*(("word " * (1 + i % 9), "fine" if i % 3 else "poor") for i in range(100)))
    task = SequenceClassification(TRAINING, many, tokenizer)
    config = MobileBertConfig().replace(**task.config_changes)
    rows = []

    def run(batch: Mapping[str, Any]) -> SequenceClassificationOutput[Any]:
        rows.append((len(batch["labels"]), words_in(batch).min(), words_in(batch).max()))
        logits = np.stack([words_in(batch), np.ones(len(batch["labels"]))], axis=1)
        loss = sequence_classification_loss(config, logits, batch["labels"])
        return SequenceClassificationOutput(logits=logits, loss=loss)

    assert task.evaluate(run)["loss"] == pytest.approx(mean_loss(many))
    assert rows == [(64, 1, 6), (36, 6, 9)]


def mean_loss(many: list[TextExample]) -> float:
    losses = []
    for each in many:
        logits = np.array([len(each.texts[0].split()), 1.0])
        losses.append(np.log(np.exp(logits).sum()) - logits[int(each.label == "poor")])
    return float(np.mean(losses))


def test_there_are_no_metrics_when_there_is_nothing_to_validate(tokenizer: Any) -> None:
    task = SequenceClassification(TRAINING, [], tokenizer)
    assert task.evaluate(run_by_length) == task.baseline() == {}
    assert task.predict(run_by_length) == []


def test_the_baseline_says_the_frequent_class_of_training_when_measured(tokenizer: Any) -> None:
    rare = examples(("a", "poor"), ("b", "poor"), ("c", "fine"), ("d", "poor"))
    assert SequenceClassification(TRAINING, rare, tokenizer).baseline()["accuracy"] == 0.25


@pytest.mark.parametrize(
    ("labels", "kind", "names"),
    [
        (["b", "a"], "single_label_classification", ("a", "b")),
        (["10", "9"], "single_label_classification", ("9", "10")),
        ([1, True], "single_label_classification", ("1", "true")),
        (["1.5", "3"], "regression", ()),
        ([2.0, 0.25], "regression", ()),
        (["2,13", "5"], "multi_label_classification", ("2", "5", "13")),
        (["joy,pride", ""], "multi_label_classification", ("joy", "pride")),
        ([["x"], []], "multi_label_classification", ("x",)),
    ],
)
def test_the_kind_of_labels_is_found_when_not_said(
    tokenizer: Any, labels: list[Any], kind: str, names: tuple[str, ...]
) -> None:
    task = SequenceClassification(examples(*(("t", each) for each in labels)), [], tokenizer)
    assert (task.problem_type, task.names) == (kind, names)
    config = MobileBertConfig().replace(**task.config_changes)
    batch = task.batch(np.array([1, 0, 1]), (0, 0))
    inputs = {name: array for name, array in batch.items() if name != "labels"}
    check(config, task.head, inputs, {"labels": batch["labels"]})


def test_ids_stand_for_names_when_labels_are_given(tokenizer: Any) -> None:
    names = ("anger", "joy", "pride")
    train = examples(("t", "0,2"), ("t", "1"))
    task = SequenceClassification(train, [], tokenizer, labels=names)
    labels = task.batch(np.array([0, 1]), (0, 0))["labels"]
    assert labels.tolist() == [[1, 0, 1], [0, 1, 0]]
    assert labels.dtype == np.float32
    assert task.config_changes["id2label"] == {0: "anger", 1: "joy", 2: "pride"}


def test_labels_are_those_above_the_threshold_when_there_may_be_several(tokenizer: Any) -> None:
    train = examples(("t", "a,b"), ("t", "c"))
    probabilities = np.array([[0.35, 0.25, 0.9], [0.1, 0.31, 0.29]])

    def run(batch: Mapping[str, Any]) -> dict[str, Any]:
        return {"logits": np.log(probabilities / (1 - probabilities))}

    task = SequenceClassification(train, train, tokenizer, threshold=0.3)
    assert task.predict(run) == [{"labels": ["a", "c"]}, {"labels": ["b"]}]
    task = SequenceClassification(train, train, tokenizer)
    assert task.predict(run) == [{"labels": ["c"]}, {"labels": []}]
    assert task.metric == "f1_macro"
    assert task.baseline()["f1_micro"] == 2 * 1 / (2 + 3)


def test_correlations_are_measured_when_labels_are_numbers(tokenizer: Any) -> None:
    train = examples(("one", "1.5"), ("one two", "3"), ("one two three", "4"))

    def run(batch: Mapping[str, Any]) -> dict[str, Any]:
        return {"logits": words_in(batch)[:, None].astype(np.float32)}

    task = SequenceClassification(train, train, tokenizer, metric="pearson")
    assert task.batch(np.array([1]), (0, 0))["labels"].dtype == np.float32
    metrics = task.evaluate(run)
    assert metrics["spearman"] == pytest.approx(1)
    assert metrics["pearson"] == pytest.approx(np.corrcoef([1, 2, 3], [1.5, 3, 4])[0, 1])
    assert task.predict(run)[1] == {"value": 2.0}
    assert task.baseline()["pearson"] == 0


@pytest.mark.parametrize(
    ("options", "labels", "message"),
    [
        ({"labels": ["x", "y"]}, ["x", "z"], r"data\.tsv cannot be used: line 2: the label is 'z'"),
        (
            {"problem_type": "regression"},
            ["1", "nan"],
            "line 2: the label is 'nan', expected a num",
        ),
        ({"problem_type": "regression"}, ["1", True], "line 2: the label is True, expected a num"),
        ({}, ["x", ""], "All examples have the label 'x'"),
        ({"problem_type": "multi_label_classification"}, ["", ","], "No example has a label"),
        ({}, ["x", "", "y"], "line 2: the label is ''"),
        ({"labels": ["x", "x"]}, ["x", "y"], "labels name x twice"),
        ({"problem_type": "several"}, ["x", "y"], "problem_type='several', expected one of"),
        ({"metric": "acuracy"}, ["x", "y"], "did you mean 'accuracy'"),
        ({"threshold": 1}, ["x", "y"], "threshold=1, expected a probability"),
    ],
)
def test_what_is_wrong_is_told_when_labels_or_options_do_not_fit(
    tokenizer: Any, options: dict[str, Any], labels: list[Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        SequenceClassification(
            examples(*(("t", each) for each in labels)), [], tokenizer, **options
        )


def test_loss_decides_by_being_small_when_it_is_the_metric(tokenizer: Any) -> None:
    task = SequenceClassification(TRAINING, VALIDATION, tokenizer, metric="loss")
    assert (task.metric, task.higher_is_better) == ("loss", False)


def test_next_sentences_are_labelled_zero_when_they_follow(tokenizer: Any) -> None:
    pairs = examples(("a", "b c d", "1"), ("e", "f", 0), ("g", "h", "0"))

    def run(batch: Mapping[str, Any]) -> dict[str, Any]:
        return {"logits": np.stack([np.full(3, 3.5), words_in(batch) - 1], axis=1)}

    task = NextSentencePrediction(pairs, pairs, tokenizer)
    assert task.batch(np.array([0, 1]), (0, 0))["labels"].tolist() == [1, 0]
    assert task.config_changes == {}
    assert [each["label"] for each in task.predict(run)] == [1, 0, 0]
    assert task.evaluate(run)["accuracy"] == 1
    rare = examples(("a", "b", 1), ("c", "d", 1), ("e", "f", 0))
    assert NextSentencePrediction(pairs, rare, tokenizer).baseline()["accuracy"] == 1 / 3
    with pytest.raises(InputError, match="line 1: the label is 'yes', expected one of 0, 1"):
        NextSentencePrediction(examples(("a", "b", "yes")), [], tokenizer)
