"""Train a masked language model with flax.nnx and optax, paying only for the tokens to be named.

`pretrain_torch.py` and `pretrain_keras.py` do the same and meet the same losses. Data, model and
command line are in `pretraining.py`; what is JAX's own is here.

B batch  S sequence  P prediction positions
"""

from typing import Any

import numpy as np
import optax
from flax import nnx
from pretraining import run
from rich.console import Console
from rich.progress import track


@nnx.jit
def train_step(model: Any, optimizer: nnx.Optimizer, batch: dict[str, np.ndarray]) -> Any:
    """Compiled at its first call; changes model and optimiser in place."""

    def loss_of(model: Any) -> Any:
        return model(**batch).loss

    loss, gradients = nnx.value_and_grad(loss_of)(model)
    optimizer.update(model, gradients)
    return loss


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
    # AdamW is the same everywhere but for its defaults (here eps=1e-8, weight_decay=1e-4) and for
    # where Keras adds epsilon; as small as 1e-10 it makes no difference. Every parameter decays.
    update = optax.adamw(learning_rate, b1=0.9, b2=0.999, eps=1e-10, weight_decay=0.01)
    optimizer = nnx.Optimizer(model, update, wrt=nnx.Param)
    losses = []
    model.train()  # `create` and `load` give a model in evaluation mode
    step_on = nnx.cached_partial(train_step, model, optimizer)  # their parts are looked up once
    steps = range(len(batches["labels"]))
    for step in track(steps, "Training", console=Console(stderr=True), disable=quiet):
        batch = {name: each[step] for name, each in batches.items()}
        losses.append(float(step_on(batch)))
    return losses


if __name__ == "__main__":
    run("jax", train)
