"""Next-sentence prediction: whether the second of two texts follows the first.

Read next: `texts.py`.

N examples
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from mobilebert_training.metrics import classification_metrics
from mobilebert_training.tasks.examples import Examples, encode
from mobilebert_training.tasks.labels import class_labels
from mobilebert_training.tasks.supervised import Outputs, SupervisedTask
from mobilebert_training.tasks.texts import TextExample

NAMES = ("0", "1")  # the second text follows the first; it does not


class NextSentencePrediction(SupervisedTask):
    """Pairs of texts with the label 0, the second follows the first, or 1.

    Args:
        training: at least one example, of two texts each.
        validation: maybe none.
        tokenizer: what `mobilebert.load_tokenizer` returns.
        max_length: tokens of a row; the longer text is cut.
        metric: the deciding one; None takes accuracy.

    Raises:
        InputError: a label is neither, or the metric is unknown.
    """

    head = "next-sentence-prediction"

    def __init__(
        self,
        training: Sequence[TextExample],
        validation: Sequence[TextExample],
        tokenizer: Any,
        *,
        max_length: int = 128,
        metric: str | None = None,
    ) -> None:
        self.config_changes = {}
        self._choose_metric(metric, ("accuracy", "f1_macro", "matthews"))
        self.classes = [class_labels(part, NAMES) for part in (training, validation)]
        self.training, self.validation = (
            Examples(
                **encode(tokenizer, [each.texts for each in part], max_length),
                labels={"labels": classes},
            )
            for part, classes in zip((training, validation), self.classes, strict=True)
        )

    def baseline(self) -> dict[str, float]:
        """The more frequent label, always."""
        if not len(self.validation):
            return {}
        seen, expected = self.classes
        return classification_metrics(np.full(len(expected), np.bincount(seen).argmax()), expected)

    def _measure(self, outputs: Outputs) -> dict[str, float]:
        predicted = np.stack(outputs["logits"]).argmax(axis=1)  # (N,)
        return classification_metrics(predicted, self.classes[1])

    def _describe(self, outputs: Outputs) -> list[dict[str, Any]]:
        return [{"label": int(each.argmax())} for each in outputs["logits"]]
