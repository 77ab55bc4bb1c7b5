"""`SupervisedTask`: what the tasks of all heads share, the protocol of `mobilebert_training.task`.

Rules: everything is encoded once, when the task is made; a batch is a function of the indices; the
validation examples are run sorted by length. Read next: `sequence_classification.py`.

N examples  B batch  S sequence
"""

import difflib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from mobilebert_core.errors import InputError
from mobilebert_core.input_checks import IGNORED_LABEL
from mobilebert_training.task import Run
from mobilebert_training.tasks.examples import Array, Examples, chunks

VALIDATION_ROWS = 64  # rows of a validation batch
Outputs = dict[str, list[Array]]


class SupervisedTask(ABC):
    """Examples of one head and their measure.

    Attributes:
        head: name of the head that is trained.
        config_changes: fields of the configuration that the examples ask for.
        metric: the key of `evaluate`'s result that decides which checkpoint is best.
        higher_is_better: whether it does so by being large.
        training: the training examples.
        validation: the validation examples, maybe none.
    """

    head: str
    config_changes: Mapping[str, Any]
    metric: str
    higher_is_better: bool
    training: Examples
    validation: Examples

    output_fields: ClassVar[tuple[str, ...]] = ("logits",)
    outputs_by_token: ClassVar[bool] = False

    def __len__(self) -> int:
        return len(self.training)

    def batch(self, indices: Array, key: tuple[int, ...]) -> dict[str, Array]:
        """Inputs and labels of some training examples, filled up to the longest of them.

        Args:
            indices: (B,) integers, which examples.
            key: names the draw; nothing is random here.
        """
        return self.training.batch(indices)

    def evaluate(self, run: Run) -> dict[str, float]:
        """The metrics on the validation examples, and their mean `loss` where the model tells it.

        Args:
            run: calls the model in evaluation mode, NumPy in, NumPy out.

        Returns:
            Numbers by name; empty when there are no validation examples.
        """
        if not len(self.validation):
            return {}
        outputs, loss = run_examples(
            self.validation, run, self.output_fields, by_token=self.outputs_by_token
        )
        return {**({} if loss is None else {"loss": loss}), **self._measure(outputs)}

    def predict(self, run: Run) -> list[dict[str, Any]]:
        """What the model says of each validation example, in words that JSON can hold.

        Args:
            run: as for `evaluate`.
        """
        if not len(self.validation):
            return []
        outputs, _ = run_examples(
            self.validation, run, self.output_fields, by_token=self.outputs_by_token
        )
        return self._describe(outputs)

    @abstractmethod
    def baseline(self) -> dict[str, float]:
        """The metrics of always saying what is most frequent in the training examples."""

    @abstractmethod
    def _measure(self, outputs: Outputs) -> dict[str, float]:
        """The metrics of outputs for all validation examples."""

    @abstractmethod
    def _describe(self, outputs: Outputs) -> list[dict[str, Any]]:
        """The predictions behind the outputs."""

    def _choose_metric(self, wanted: str | None, names: tuple[str, ...]) -> None:
        """Set `metric` and `higher_is_better`; without a wish, the first of the names.

        Raises:
            InputError: the task has no such metric.
        """
        self.metric = names[0] if wanted is None else wanted
        self.higher_is_better = self.metric != "loss"
        known = [*names, "loss"]
        if self.metric not in known:
            close = difflib.get_close_matches(self.metric, known, n=1)
            hint = f"did you mean {close[0]!r}? E" if close else "e"
            raise InputError(
                f"metric={self.metric!r} is none of this task; {hint}xpected one of "
                f"{', '.join(known)}"
            )


def run_examples(
    examples: Examples, run: Run, fields: tuple[str, ...], *, by_token: bool
) -> tuple[Outputs, float | None]:
    """The model's outputs for all examples, in their order.

    Args:
        examples: at least one.
        run: calls the model.
        fields: names of the outputs that are wanted.
        by_token: whether the second axis of an output is S; padding is cut off.

    Returns:
        For each field N arrays in float64; the mean loss over what counts, or None where the
        outputs have no loss.
    """
    lengths = examples.lengths()
    order = np.argsort(lengths, kind="stable")  # (N,)
    outputs: Outputs = {name: [np.empty(0)] * len(examples) for name in fields}
    total, counted, has_loss = 0.0, 0, True
    for indices in chunks(order.tolist(), max(1, VALIDATION_ROWS // max(1, examples.choices))):
        batch = examples.batch(indices)
        output = run(batch)
        for name in fields:
            values = np.asarray(output[name]).astype(np.float64)
            for row, index in enumerate(indices):
                outputs[name][index] = values[row, : lengths[index]] if by_token else values[row]
        loss, count = output.get("loss"), _count(examples, batch)
        has_loss = has_loss and loss is not None
        if loss is not None and count:
            total, counted = total + float(loss) * count, counted + count
    return outputs, total / counted if has_loss and counted else None


def _count(examples: Examples, batch: Mapping[str, Array]) -> int:
    """Over how many things the loss of a batch is a mean."""
    for name, labels in examples.labels.items():
        if isinstance(labels, tuple):
            return int((batch[name] != IGNORED_LABEL).sum())
    return len(batch["input_ids"])
