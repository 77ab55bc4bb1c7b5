"""Multiple choice: which of several texts goes on, or answers, best.

Read next: `choices.py`.

N examples  C choices
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from mobilebert_core.errors import InputError
from mobilebert_training.tasks.choices import ChoiceExample
from mobilebert_training.tasks.examples import Array, Examples, encode
from mobilebert_training.tasks.supervised import Outputs, SupervisedTask


class MultipleChoice(SupervisedTask):
    """Texts with choices; a row of the model is `[CLS] text [SEP] choice [SEP]`.

    Args:
        training: at least one example, all with the same number of choices.
        validation: maybe none; likewise.
        tokenizer: what `mobilebert.load_tokenizer` returns.
        max_length: tokens of a row; the longer of text and choice is cut.
        metric: the deciding one, accuracy or loss; None takes accuracy.

    Raises:
        InputError: numbers of choices differ, or the metric is unknown.
    """

    head = "multiple-choice"

    def __init__(
        self,
        training: Sequence[ChoiceExample],
        validation: Sequence[ChoiceExample],
        tokenizer: Any,
        *,
        max_length: int = 128,
        metric: str | None = None,
    ) -> None:
        self.config_changes = {}
        self._choose_metric(metric, ("accuracy",))
        self.right = [
            np.array([each.label for each in part], np.int64) for part in (training, validation)
        ]
        self.training, self.validation = (
            Examples(
                **encode(tokenizer, _rows(part), max_length),
                labels={"labels": right},
                choices=_count(part),
            )
            for part, right in zip((training, validation), self.right, strict=True)
        )

    def baseline(self) -> dict[str, float]:
        """The place where the right choice stands most often, always."""
        if not len(self.validation):
            return {}
        seen, expected = self.right
        return _score(np.full(len(expected), np.bincount(seen).argmax()), expected)

    def _measure(self, outputs: Outputs) -> dict[str, float]:
        return _score(np.stack(outputs["logits"]).argmax(axis=1), self.right[1])

    def _describe(self, outputs: Outputs) -> list[dict[str, Any]]:
        return [{"choice": int(each.argmax())} for each in outputs["logits"]]


def _score(predicted: Array, expected: Array) -> dict[str, float]:
    return {"accuracy": float((predicted == expected).mean())}


def _rows(examples: Sequence[ChoiceExample]) -> list[tuple[str, str]]:
    return [(each.text, choice) for each in examples for choice in each.choices]


def _count(examples: Sequence[ChoiceExample]) -> int:
    """C, which all examples share."""
    for each in examples:
        if len(each.choices) != len(examples[0].choices):
            raise InputError(
                f"{each.path}, line {each.line} has {len(each.choices)} choices, expected "
                f"{len(examples[0].choices)} as {examples[0].path} has"
            )
    return len(examples[0].choices) if examples else 1
