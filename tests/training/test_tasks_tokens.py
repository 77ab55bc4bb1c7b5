"""Token classification: labels on first pieces, long sentences, and the measure."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mobilebert_core.config import MobileBertConfig
from mobilebert_core.errors import InputError
from mobilebert_core.input_checks import check
from mobilebert_core.outputs import TokenClassificationOutput
from mobilebert_core.tokenization import load_tokenizer
from mobilebert_training.readers.conll import Sentence
from mobilebert_training.tasks.token_classification import TokenClassification


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    """Pieces whose number is known: one, or three for `xyz`."""
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "b", "x", "##y", "##z"]
    return type(load_tokenizer())(vocab={piece: index for index, piece in enumerate(pieces)})


def sentence(words: str, tags: str) -> Sentence:
    return Sentence(tuple(words.split()), tuple(tags.split()), Path("data.conll"), 3)


TRAINING = [sentence("a xyz b", "O B-p I-p"), sentence("b", "O")]
LONG = [sentence("a xyz b xyz a b b", "O B-p O B-q I-q O O"), sentence("b a", "B-p O")]


def run_right(task: TokenClassification) -> Any:
    """Predicts the labels of the batch; where there is none, the last class."""

    def run(batch: Mapping[str, Any]) -> dict[str, Any]:
        classes = np.where(batch["labels"] < 0, len(task.names) - 1, batch["labels"])
        return {"logits": np.eye(len(task.names), dtype=np.float32)[classes]}

    return run


def test_first_pieces_have_labels_when_words_are_split(tokenizer: Any) -> None:
    task = TokenClassification(TRAINING, [], tokenizer)
    assert task.config_changes["id2label"] == {0: "O", 1: "B-p", 2: "I-p"}
    batch = task.batch(np.array([1, 0]), (0, 0))
    assert batch["input_ids"].tolist() == [[2, 6, 3, 0, 0, 0, 0], [2, 5, 7, 8, 9, 6, 3]]
    assert batch["labels"].tolist() == [
        [-100, 0, -100, -100, -100, -100, -100],
        [-100, 0, 1, -100, -100, 2, -100],
    ]
    inputs = {name: array for name, array in batch.items() if name != "labels"}
    config = MobileBertConfig().replace(**task.config_changes)
    check(config, task.head, inputs, {"labels": batch["labels"]})


@pytest.mark.parametrize("max_length", [4, 5, 6, 7, 9, 50])
def test_every_word_is_evaluated_when_sentences_are_long(tokenizer: Any, max_length: int) -> None:
    task = TokenClassification(TRAINING, LONG, tokenizer, max_length=max_length)
    assert max(map(len, task.validation.input_ids)) <= max_length
    assert task.predict(run_right(task)) == [
        {"words": list(each.words), "tags": list(each.tags)} for each in LONG
    ]
    assert task.evaluate(run_right(task)) == {"f1": 1, "precision": 1, "recall": 1, "accuracy": 1}


def test_sentences_are_cut_between_words_when_long(tokenizer: Any) -> None:
    task = TokenClassification(TRAINING, LONG[:1], tokenizer, max_length=6)
    rows = [row[1:-1].tolist() for row in task.validation.input_ids]
    assert rows == [[5, 7, 8, 9], [6, 7, 8, 9], [5, 6, 6]]


def test_words_without_pieces_count_as_outside_when_measured(tokenizer: Any) -> None:
    odd = [Sentence(("a", "\u200b", "b"), ("O", "B-p", "B-p"))]
    task = TokenClassification(TRAINING, odd, tokenizer)
    assert task.predict(run_right(task))[0]["tags"] == ["O", "O", "B-p"]
    assert task.evaluate(run_right(task))["recall"] == 0.5


def test_the_loss_is_the_mean_over_words_when_rows_differ(tokenizer: Any) -> None:
    many = [sentence(" ".join("a" * n), " ".join("O" * n)) for n in range(1, 90)]

    def run(batch: Mapping[str, Any]) -> TokenClassificationOutput[Any]:
        counts = (batch["labels"] >= 0).sum(axis=1)
        loss = (counts * counts).sum() / counts.sum()  # each word's loss: its sentence's length
        shape = (*batch["labels"].shape, 3)
        return TokenClassificationOutput(logits=np.zeros(shape, np.float32), loss=loss)

    task = TokenClassification(TRAINING, many, tokenizer)
    lengths = np.arange(1, 90)
    assert task.evaluate(run)["loss"] == pytest.approx((lengths**2).sum() / lengths.sum())


def test_the_baseline_has_no_entities_when_most_words_are_outside(tokenizer: Any) -> None:
    task = TokenClassification(TRAINING, LONG, tokenizer)
    assert task.baseline() == {"f1": 0, "precision": 0, "recall": 0, "accuracy": 5 / 9}


def test_accuracy_decides_when_tags_are_none_of_entities(tokenizer: Any) -> None:
    task = TokenClassification([sentence("a b", "NOUN VERB")], LONG[:0], tokenizer)
    assert task.metric == "accuracy"
    with pytest.raises(InputError, match="metric='f1' is none of this task"):
        TokenClassification([sentence("a b", "NOUN VERB")], [], tokenizer, metric="f1")


def test_file_and_line_are_named_when_a_tag_is_unknown(tokenizer: Any) -> None:
    with pytest.raises(InputError, match=r"data\.conll cannot be used: line 4: the tag 'B-p'"):
        TokenClassification(TRAINING, [], tokenizer, labels=["O"])


def test_labels_keep_their_order_when_given(tokenizer: Any) -> None:
    task = TokenClassification(TRAINING, [], tokenizer, labels=["I-p", "B-p", "O", "B-q"])
    assert task.batch(np.array([0]), (0, 0))["labels"].tolist() == [
        [-100, 2, 1, -100, -100, 0, -100]
    ]


def test_a_length_is_refused_when_it_leaves_no_room(tokenizer: Any) -> None:
    with pytest.raises(InputError, match="max_length=2 leaves no room"):
        TokenClassification(TRAINING, [], tokenizer, max_length=2)
