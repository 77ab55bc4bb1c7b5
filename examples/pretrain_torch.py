"""Train a masked language model in PyTorch, paying only for the tokens that are to be named.

`pretrain_keras.py` and `pretrain_jax.py` do the same and meet the same losses. Data, model and
command line are in `pretraining.py`; what is PyTorch's own is here.

B batch  S sequence  P prediction positions
"""

from typing import Any

import numpy as np
import torch
from pretraining import run
from rich.console import Console
from rich.progress import track


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
    # AdamW is the same everywhere but for its defaults (here eps=1e-8, weight_decay=0.01) and for
    # where Keras adds epsilon; as small as 1e-10 it makes no difference. Every parameter decays.
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=learning_rate, betas=(0.9, 0.999), eps=1e-10, weight_decay=0.01
    )
    losses = []
    model.train()  # `create` and `load` give a model in evaluation mode
    steps = range(len(batches["labels"]))
    for step in track(steps, "Training", console=Console(stderr=True), disable=quiet):
        batch = {name: torch.from_numpy(each[step]) for name, each in batches.items()}
        loss = model(**batch).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


if __name__ == "__main__":
    run("torch", train)
