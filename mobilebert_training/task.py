"""What the trainer asks of a task: rows of training examples, and a measurement.

A task holds its examples, already encoded, and knows no framework: `batch` gives the arrays that a
model is called with, `evaluate` is handed a function that runs the model. Everything is a function
of its arguments, so that a resumed run, and one of several processes, sees the same numbers.
Read next: `settings.py`, then `mobilebert_torch/training/trainer.py`.

B batch  C choices  S sequence  P prediction positions
"""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np

from mobilebert_core.outputs import Output

Array = np.ndarray[Any, np.dtype[Any]]
Run = Callable[[Mapping[str, Array]], Output[Array]]


class Task(Protocol):
    """Examples of one head and their measure.

    Attributes:
        head: name of the head that is trained.
        config_changes: fields of the configuration that the examples ask for, e.g. `id2label`.
        metric: the key of `evaluate`'s result that decides which checkpoint is best.
        higher_is_better: whether it does so by being large.
    """

    head: str
    config_changes: Mapping[str, Any]
    metric: str
    higher_is_better: bool

    def __len__(self) -> int:
        """How many training examples there are."""

    def batch(self, indices: Array, key: tuple[int, ...]) -> dict[str, Array]:
        """Inputs and labels of some training examples, padded to the longest of them.

        Args:
            indices: (B,) integers, which examples.
            key: integers that name this draw, (seed, step): whatever is random in the batch is a
                function of it and of the example's place in the batch.

        Returns:
            Arrays by the names that a model takes: `input_ids`, `attention_mask`,
            `token_type_ids`, and the head's labels; the first axis is B.
        """

    def evaluate(self, run: Run) -> dict[str, float]:
        """The metrics on the validation examples; empty when there are none.

        Args:
            run: calls the model in evaluation mode, NumPy in, NumPy out; labels in the mapping give
                the output a loss.
        """
