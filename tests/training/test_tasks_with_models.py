"""The tasks of all heads evaluate a real model, and its batches give a loss."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from mobilebert_core import registry
from mobilebert_core.config import MobileBertConfig
from mobilebert_core.loading import create
from mobilebert_core.tokenization import load_tokenizer
from mobilebert_training.readers.conll import Sentence
from mobilebert_training.readers.squad import Answer, Question
from mobilebert_training.tasks.choices import ChoiceExample
from mobilebert_training.tasks.multiple_choice import MultipleChoice
from mobilebert_training.tasks.next_sentence_prediction import NextSentencePrediction
from mobilebert_training.tasks.question_answering import QuestionAnswering
from mobilebert_training.tasks.sequence_classification import SequenceClassification
from mobilebert_training.tasks.supervised import SupervisedTask
from mobilebert_training.tasks.texts import TextExample
from mobilebert_training.tasks.token_classification import TokenClassification

CONTEXT = "The cat sat on the mat, and the dog lay under the old table by the door. " * 3


def texts(*labels: Any) -> list[TextExample]:
    return [TextExample(("the cat " * (i + 1), "a dog"), label) for i, label in enumerate(labels)]


CASES: dict[str, tuple[type[SupervisedTask], list[Any]]] = {
    "single": (SequenceClassification, texts("x", "y", "z")),
    "multi": (SequenceClassification, texts("x,y", "z", "x")),
    "regression": (SequenceClassification, texts("1.5", "2", "4")),
    "next sentence": (NextSentencePrediction, texts(0, 1, 0)),
    "choices": (
        MultipleChoice,
        [ChoiceExample("the cat", ("sat", "lay down", "ran"), label) for label in (2, 0)],
    ),
    "tokens": (
        TokenClassification,
        [Sentence(("the", "cat") * n, ("O", "B-cat") * n) for n in (1, 3, 40)],
    ),
    "questions": (
        QuestionAnswering,
        [
            Question("q1", "Who sat?", CONTEXT, (Answer("cat", 4),)),
            Question("q2", "Who lay?", CONTEXT, ()),
        ],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_model_is_evaluated_when_its_config_is_the_tasks(case: str) -> None:
    make, examples = CASES[case]
    tokenizer = load_tokenizer()
    options: dict[str, Any] = {"max_length": 40}
    task = make(examples, examples, tokenizer, **options)
    config = MobileBertConfig(
        vocab_size=len(tokenizer),
        hidden_size=24,
        num_hidden_layers=2,
        num_attention_heads=3,
        intermediate_size=20,
        embedding_size=10,
        intra_bottleneck_size=12,
        max_position_embeddings=40,
    ).replace(**task.config_changes)
    model = create(config, task.head, "numpy")
    backend: Any = registry.get("numpy")

    def run(batch: Mapping[str, Any]) -> Any:
        labels = {name: batch[name] for name in batch if name in task.training.labels}
        inputs = {name: batch[name] for name in batch if name not in labels}
        return backend.run(model, inputs, labels=labels)

    metrics = task.evaluate(run)
    assert task.metric in metrics
    assert all(np.isfinite(value) for value in metrics.values())
    everything = run(task.batch(np.arange(len(task)), (0, 0)))
    assert metrics["loss"] == pytest.approx(float(everything["loss"]), rel=1e-5)
    assert task.baseline().keys() == metrics.keys() - {"loss"}
    assert len(task.predict(run)) == len(examples)
