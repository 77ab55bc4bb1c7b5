"""Train a masked language model with Keras' `fit`, paying only for the tokens to be named.

`pretrain_torch.py` and `pretrain_jax.py` do the same and meet the same losses. Data, model and
command line are in `pretraining.py`; what is Keras' own is here.

B batch  S sequence  P prediction positions
"""

from typing import Any

import keras
import numpy as np
import tensorflow as tf
from pretraining import run


class StepLosses(keras.callbacks.Callback):
    """Keeps the loss of every step; Keras itself shows the mean since the epoch began."""

    def __init__(self) -> None:
        super().__init__()
        self.losses: list[float] = []

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Begin the mean anew."""
        self.model.reset_metrics()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Keep the mean over this batch."""
        self.losses.append(float(logs["loss"]))


def train(
    model: Any, batches: dict[str, np.ndarray], learning_rate: float, quiet: bool
) -> list[float]:
    """One step for each batch; its losses.

    Args:
        model: changed in place.
        batches: `input_ids` (steps, B, S), `prediction_positions` and `labels` (steps, B, P).
        learning_rate: of AdamW.
        quiet: whether to show no progress.
    """
    # AdamW is the same everywhere but for its defaults (here epsilon=1e-7, weight_decay=0.004) and
    # for epsilon: Keras adds it before the correction for moments that start at zero, which makes
    # it 1 / sqrt(1 - beta_2**step) times as large, 32 times at the first step; the others add it
    # after. As small as 1e-10 it makes no difference. Every parameter decays.
    optimizer = keras.optimizers.AdamW(
        learning_rate, beta_1=0.9, beta_2=0.999, epsilon=1e-10, weight_decay=0.01
    )
    steps = StepLosses()
    model.compile(optimizer=optimizer)  # no loss: the model has its own, and labels are inputs
    data = tf.data.Dataset.from_tensor_slices(batches)
    model.fit(data, shuffle=False, callbacks=[steps], verbose=0 if quiet else "auto")
    return steps.losses


if __name__ == "__main__":
    run("tf", train)
