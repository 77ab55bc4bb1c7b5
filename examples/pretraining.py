"""What `pretrain_torch.py`, `pretrain_keras.py` and `pretrain_jax.py` share: all but training.

A text becomes rows of tokens, of which some are hidden; a small fresh model learns to name them. It
computes logits for hidden tokens only: `mobilebert.labelled_positions` says where they are.

B batch  S sequence  N rows  P prediction positions
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from typer import Option

import mobilebert

Arrays = dict[str, np.ndarray]
# Model, batches of inputs and labels by name (steps, B, ...), learning rate, quiet; gives losses.
Train = Callable[[Any, Arrays, float, bool], list[float]]

SAMPLE = Path(__file__).resolve().parents[1] / "tests" / "data" / "corpus" / "war_of_the_worlds.txt"
RESULT = """Loss: {first_loss:.3f} in the first ten steps, {last_loss:.3f} in the last ten
Loss of {rows} other rows: {loss_before:.3f} before, {loss_after:.3f} after
Loaded in NumPy: {loss_in_numpy:.3f}"""

# Trains in seconds. Without dropout, losses can be compared.
SMALL = {
    "embedding_size": 32,
    "hidden_size": 64,
    "intra_bottleneck_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_feedforward_networks": 2,
    "attention_probs_dropout_prob": 0.0,
}


def read_rows(file: Path, tokenizer: Any, length: int) -> np.ndarray:
    """The whole text as rows of equally many tokens (N, S): no padding, one shape."""
    lines = file.read_text(encoding="utf-8").splitlines()
    parts = tokenizer(lines, add_special_tokens=False, verbose=False)["input_ids"]
    tokens = np.concatenate([np.asarray(part, np.int64) for part in parts])
    inner = length - 2
    rows = tokens[: len(tokens) // inner * inner].reshape(-1, inner)
    ends = ((0, 0), (1, 1))
    tags = ((0, 0), (tokenizer.cls_token_id, tokenizer.sep_token_id))
    return np.pad(rows, ends, constant_values=tags)  # (N, S)


def hide_tokens(rows: np.ndarray, tokenizer: Any, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Ids and labels (N, S): 15 % of the tokens are to be named, and 80 % of these are hidden.

    A tenth of them stays, a tenth becomes any token: section 3.1 of the BERT paper.
    """
    generator = np.random.default_rng(seed)
    ordinary = (rows != tokenizer.cls_token_id) & (rows != tokenizer.sep_token_id)
    chosen = ordinary & (generator.random(rows.shape) < 0.15)
    fate = generator.random(rows.shape)
    others = generator.integers(0, len(tokenizer), rows.shape)
    shown = np.where(fate < 0.8, tokenizer.mask_token_id, np.where(fate < 0.9, others, rows))
    return np.where(chosen, shown, rows), np.where(chosen, rows, -100)


def draw_batches(num_rows: int, steps: int, batch_size: int, seed: int) -> np.ndarray:
    """Numbers of rows (steps, B): all rows in a new order, again and again."""
    generator = np.random.default_rng(seed)
    epochs = -(-steps * batch_size // num_rows)
    rows = np.concatenate([generator.permutation(num_rows) for _ in range(epochs)])
    return rows[: steps * batch_size].reshape(steps, batch_size)


def loss_of(model: Any, batch: Arrays) -> float:
    """The loss of a model of any backend in evaluation mode: NumPy in, NumPy out."""
    inputs = {name: each for name, each in batch.items() if name != "labels"}
    run = mobilebert.get_backend(model.backend_name).run
    return float(run(model, inputs, labels=batch["labels"]).loss)


def run(backend: str, train: Train) -> None:
    """The command line of the example for one backend."""

    def main(
        data: Annotated[Path, Option(help="Text, a paragraph a line.")] = SAMPLE,
        save: Annotated[Path, Option(help="Folder for it.")] = Path(f"pretrained-{backend}"),
        layers: Annotated[int, Option(min=1, help="Of the model.")] = SMALL["num_hidden_layers"],
        steps: Annotated[int, Option(min=1, help="Batches to train on.")] = 60,
        batch_size: Annotated[int, Option(min=1, help="Rows in a batch.")] = 16,
        learning_rate: Annotated[float, Option(help="Of AdamW.")] = 2e-3,
        length: Annotated[int, Option(min=3, help="Tokens in a row.")] = 32,
        seed: Annotated[int, Option(help="Of weights, hidden tokens and order.")] = 0,
        as_json: Annotated[bool, Option("--json", help="Print JSON instead of text.")] = False,
    ) -> None:
        """Train a small masked language model from fresh weights.

        A fifth of the text is kept apart. The saved folder is loaded again in another backend,
        NumPy, which has to find the same loss there.
        """
        tokenizer = mobilebert.load_tokenizer()
        rows = read_rows(data, tokenizer, length)
        ids, labels = hide_tokens(rows, tokenizer, seed)
        kept = len(rows) // 5
        others = {"input_ids": ids[:kept], **mobilebert.labelled_positions(labels[:kept])}
        order = kept + draw_batches(len(rows) - kept, steps, batch_size, seed)
        # For all steps at once: (steps, B, P), one shape, which frameworks compile once.
        batches = {"input_ids": ids[order], **mobilebert.labelled_positions(labels[order])}

        sizes = {"vocab_size": len(tokenizer), "num_hidden_layers": layers}
        config = mobilebert.Config(**SMALL | sizes)
        model = mobilebert.create(config, "masked-lm", backend, seed=seed)
        before = loss_of(model, others)
        losses = train(model, batches, learning_rate, as_json)
        after = loss_of(model, others)
        mobilebert.save(model, save, tokenizer=tokenizer)
        result = {
            "first_loss": float(np.mean(losses[:10])),
            "last_loss": float(np.mean(losses[-10:])),
            "rows": kept,
            "loss_before": before,
            "loss_after": after,
            "loss_in_numpy": loss_of(mobilebert.load(save, backend="numpy"), others),
        }
        print(json.dumps({"losses": losses} | result) if as_json else RESULT.format(**result))

    typer.run(main)
