"""Sequence classification: a class, several labels, or a number, for a text or a pair of texts.

Read next: `labels.py`, `mobilebert_training/metrics.py`.

N examples  L labels
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from mobilebert_core.errors import InputError
from mobilebert_training.metrics import (
    classification_metrics,
    multi_label_metrics,
    regression_metrics,
)
from mobilebert_training.tasks.examples import Array, Examples, encode
from mobilebert_training.tasks.labels import (
    MULTI,
    PROBLEM_TYPES,
    REGRESSION,
    SINGLE,
    check_names,
    class_labels,
    collect_labels,
    find_problem_type,
    label_name,
    label_parts,
    number_labels,
    several_labels,
)
from mobilebert_training.tasks.supervised import Outputs, SupervisedTask
from mobilebert_training.tasks.texts import TextExample, check_same_texts

METRICS = {
    SINGLE: ("accuracy", "f1_macro", "matthews"),
    MULTI: ("f1_macro", "f1_micro", "accuracy"),
    REGRESSION: ("spearman", "pearson"),
}


class SequenceClassification(SupervisedTask):
    """Texts, or pairs of texts, with labels.

    Args:
        training: at least one example.
        validation: maybe none.
        tokenizer: what `mobilebert.load_tokenizer` returns.
        max_length: tokens of a row; longer texts are cut.
        labels: the names of the labels in the order of their ids; None takes those that occur.
        problem_type: as of the configuration; None finds it out from the labels.
        metric: the deciding one; None takes accuracy, macro F1 or Spearman's correlation.
        threshold: from which probability on an example has a label, where it may have several.

    Raises:
        InputError: a label does not fit, or an argument is none of those that are known.
    """

    head = "sequence-classification"

    def __init__(
        self,
        training: Sequence[TextExample],
        validation: Sequence[TextExample],
        tokenizer: Any,
        *,
        max_length: int = 128,
        labels: Sequence[str] | None = None,
        problem_type: str | None = None,
        metric: str | None = None,
        threshold: float = 0.5,
    ) -> None:
        together = [*training, *validation]
        check_same_texts(together)
        self.problem_type = problem_type or find_problem_type(together)
        if self.problem_type not in PROBLEM_TYPES:
            raise InputError(
                f"problem_type={problem_type!r}, expected one of {', '.join(PROBLEM_TYPES)}"
            )
        if not 0 < threshold < 1:
            raise InputError(f"threshold={threshold}, expected a probability between 0 and 1")
        self.threshold = threshold
        self._choose_metric(metric, METRICS[self.problem_type])
        self.names = self._find_names(together, labels)
        self.config_changes = {
            "problem_type": self.problem_type,
            **(
                {"num_labels": 1}
                if self.problem_type == REGRESSION
                else {"id2label": dict(enumerate(self.names))}
            ),
        }
        self.training, self.validation = (
            Examples(
                **encode(tokenizer, [each.texts for each in part], max_length),
                labels={"labels": self._read_labels(part)},
            )
            for part in (training, validation)
        )

    def baseline(self) -> dict[str, float]:
        """The most frequent class, the most frequent label alone, or the mean number, always."""
        if not len(self.validation):
            return {}
        seen, count = self._labels_of(self.training), len(self.validation)
        if self.problem_type == REGRESSION:
            return self._score(np.full(count, seen.mean()))
        if self.problem_type == SINGLE:
            return self._score(np.full(count, np.bincount(seen).argmax()))
        always = np.arange(len(self.names)) == seen.sum(axis=0).argmax()  # (L,)
        return self._score(np.tile(always, (count, 1)))

    def _find_names(
        self, examples: Sequence[TextExample], given: Sequence[str] | None
    ) -> tuple[str, ...]:
        if self.problem_type == REGRESSION:
            return ()
        if given is not None:
            return check_names(given)
        if self.problem_type == SINGLE:
            names = collect_labels([label_name(each.label) for each in examples])
            if len(names) < 2:
                raise InputError(
                    f"All examples have the label {', '.join(names)!r}; expected two at least: "
                    "is another column the label, or is it regression (problem_type)?"
                )
            return names
        names = collect_labels([name for each in examples for name in label_parts(each.label)])
        if not names:
            raise InputError("No example has a label; is another column the label?")
        return names

    def _read_labels(self, examples: Sequence[TextExample]) -> Array:
        if self.problem_type == REGRESSION:
            return number_labels(examples)  # (N,)
        if self.problem_type == SINGLE:
            return class_labels(examples, self.names)  # (N,)
        return several_labels(examples, self.names)  # (N, L)

    def _labels_of(self, examples: Examples) -> Array:
        labels = examples.labels["labels"]
        assert isinstance(labels, np.ndarray)
        return labels

    def _predictions(self, outputs: Outputs) -> Array:
        """Numbers (N,), classes (N,), or which labels there are (N, L)."""
        logits = np.stack(outputs["logits"])  # (N, L)
        if self.problem_type == REGRESSION:
            return logits[:, 0]  # (N,)
        if self.problem_type == SINGLE:
            return np.asarray(logits.argmax(axis=1))  # (N,)
        # The logit of the threshold: the sigmoid of a large negative logit would overflow.
        return np.asarray(logits > np.log(self.threshold / (1 - self.threshold)))  # (N, L)

    def _score(self, predicted: Array) -> dict[str, float]:
        expected = self._labels_of(self.validation)
        if self.problem_type == REGRESSION:
            return regression_metrics(predicted, expected.astype(np.float64))
        if self.problem_type == SINGLE:
            return classification_metrics(predicted, expected)
        return multi_label_metrics(predicted, expected > 0)

    def _measure(self, outputs: Outputs) -> dict[str, float]:
        return self._score(self._predictions(outputs))

    def _describe(self, outputs: Outputs) -> list[dict[str, Any]]:
        predicted = self._predictions(outputs)
        if self.problem_type == REGRESSION:
            return [{"value": float(value)} for value in predicted]
        if self.problem_type == SINGLE:
            return [{"label": self.names[each]} for each in predicted]
        return [{"labels": [self.names[i] for i in np.flatnonzero(row)]} for row in predicted]
