"""Fine-tune a sentence classifier in JAX, with flax.nnx and optax: was the film liked?

`fine_tune_torch.py` and `fine_tune_keras.py` do the same and meet the same losses: fresh weights,
the order of the sentences and the optimiser are the same, and dropout is off. What is JAX's own
is in `train`.

B batch  S sequence  N sentences
"""

import json
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import optax
import typer
from flax import nnx
from rich.console import Console
from rich.progress import track
from typer import Option

import mobilebert

Arrays = dict[str, np.ndarray]

SAMPLE = Path(__file__).resolve().parents[1] / "tests" / "data" / "sentence_polarity"
FILES = ("rt-polarity.neg", "rt-polarity.pos")  # the sentences of label 0 and of label 1
LABELS = {0: "negative", 1: "positive"}
RESULT = """Loss: {first_loss:.3f} in the first ten steps, {last_loss:.3f} in the last ten
Accuracy on {sentences} other sentences: {accuracy_before:.1%} before, {accuracy_after:.1%} after
Loaded in NumPy: {same_predictions} predictions the same, logits within {logit_difference:.0e}"""

# Trains in seconds. The usual initializer_range of 0.02 is for long pretraining: such layers hardly
# change what they read, and the loss stays at log 2. From 0.05, with a learning rate of 2e-3, it
# takes about 40 batches to get away from there. Without dropout, losses can be compared.
SMALL = mobilebert.Config(
    embedding_size=64,
    hidden_size=128,
    intra_bottleneck_size=64,
    intermediate_size=128,
    num_hidden_layers=2,
    num_feedforward_networks=2,
    initializer_range=0.05,
    attention_probs_dropout_prob=0.0,
    id2label=LABELS,
)


def read_data(folder: Path, tokenizer: Any, length: int, seed: int) -> tuple[Arrays, np.ndarray]:
    """Inputs (N, S) and labels (N,) of all sentences, shuffled; one length means one shape."""
    texts = [(folder / name).read_text(encoding="utf-8").splitlines() for name in FILES]
    labels = np.repeat([0, 1], [len(lines) for lines in texts])
    inputs = tokenizer(
        texts[0] + texts[1],
        padding="max_length",
        truncation=True,
        max_length=length,
        return_tensors="np",
    )
    order = np.random.default_rng(seed).permutation(len(labels))
    return {name: each[order] for name, each in inputs.items()}, labels[order]


def draw_batches(num_rows: int, steps: int, batch_size: int, seed: int) -> np.ndarray:
    """Numbers of rows (steps, B): all rows in a new order, again and again."""
    generator = np.random.default_rng(seed)
    epochs = -(-steps * batch_size // num_rows)
    rows = np.concatenate([generator.permutation(num_rows) for _ in range(epochs)])
    return rows[: steps * batch_size].reshape(steps, batch_size)


def predict(model: Any, inputs: Arrays) -> np.ndarray:
    """Logits (N, 2) of a model of any backend, without dropout: NumPy in, NumPy out."""
    run = mobilebert.get_backend(model.backend_name).run
    starts = range(0, len(inputs["input_ids"]), 64)
    batches = [{name: each[i : i + 64] for name, each in inputs.items()} for i in starts]
    return np.concatenate([run(model, batch).logits for batch in batches])


@nnx.jit
def train_step(model: Any, optimizer: nnx.Optimizer, inputs: Arrays, labels: np.ndarray) -> Any:
    """Compiled at its first call; changes model and optimiser in place."""

    def loss_of(model: Any) -> Any:
        return model(**inputs, labels=labels).loss

    loss, gradients = nnx.value_and_grad(loss_of)(model)
    optimizer.update(model, gradients)
    return loss


def train(
    model: Any, inputs: Arrays, labels: np.ndarray, learning_rate: float, quiet: bool
) -> list[float]:
    """One step for each batch of inputs (steps, B, S) and labels (steps, B); its losses."""
    # AdamW is the same everywhere but for its defaults (here eps=1e-8, weight_decay=1e-4) and for
    # where Keras adds epsilon; as small as 1e-10 it makes no difference. Every parameter decays.
    update = optax.adamw(learning_rate, b1=0.9, b2=0.999, eps=1e-10, weight_decay=0.01)
    optimizer = nnx.Optimizer(model, update, wrt=nnx.Param)
    losses = []
    model.train()  # `create` and `load` give a model in evaluation mode
    step_on = nnx.cached_partial(train_step, model, optimizer)  # their parts are looked up once
    for step in track(range(len(labels)), "Training", console=Console(stderr=True), disable=quiet):
        batch = {name: each[step] for name, each in inputs.items()}
        losses.append(float(step_on(batch, labels[step])))
    return losses


def main(
    data: Annotated[Path, Option(help=f"Folder with {FILES[0]} and {FILES[1]}.")] = SAMPLE,
    source: Annotated[str | None, Option(help="Model folder or hub id; none: small, new.")] = None,
    save: Annotated[Path, Option(help="Folder for the result.")] = Path("polarity-jax"),
    steps: Annotated[int, Option(min=1, help="Batches to train on.")] = 60,
    batch_size: Annotated[int, Option(min=1, help="Sentences in a batch.")] = 16,
    learning_rate: Annotated[float, Option(help="Of AdamW; pretrained models like 5e-5.")] = 2e-3,
    length: Annotated[int, Option(min=3, help="Tokens a sentence is cut or padded to.")] = 32,
    seed: Annotated[int, Option(help="Of fresh weights and of the order of sentences.")] = 0,
    as_json: Annotated[bool, Option("--json", help="Print JSON instead of text.")] = False,
) -> None:
    """Fine-tune a sentence classifier in JAX, with flax.nnx and optax.

    A fifth of the sentences is kept apart for measuring accuracy. The saved folder is loaded again
    in another backend, NumPy, which has to predict the same.

    Example: python examples/fine_tune_jax.py --data rt-polaritydata --steps 500 --batch-size 32
    """
    tokenizer = mobilebert.load_tokenizer(source or "mobilebert-uncased")
    inputs, labels = read_data(data, tokenizer, length, seed)
    kept = len(labels) // 5
    validation = {name: each[:kept] for name, each in inputs.items()}
    batches = kept + draw_batches(len(labels) - kept, steps, batch_size, seed)
    training = {name: each[batches] for name, each in inputs.items()}  # (steps, B, S)

    head = "sequence-classification"
    if source is None:
        model = mobilebert.create(SMALL, head, "jax", seed=seed)
    else:  # what was trained for something else gets a fresh classifier, and a warning says so
        model = mobilebert.load(source, head, "jax", seed=seed, id2label=LABELS)
    before = predict(model, validation)
    losses = train(model, training, labels[batches], learning_rate, quiet=as_json)
    after = predict(model, validation)

    mobilebert.save(model, save, tokenizer=tokenizer)
    elsewhere = predict(mobilebert.load(save, backend="numpy"), validation)
    result = {
        "first_loss": np.mean(losses[:10]),
        "last_loss": np.mean(losses[-10:]),
        "sentences": kept,
        "accuracy_before": np.mean(before.argmax(-1) == labels[:kept]),
        "accuracy_after": np.mean(after.argmax(-1) == labels[:kept]),
        "same_predictions": int(np.sum(elsewhere.argmax(-1) == after.argmax(-1))),
        "logit_difference": float(np.abs(elsewhere - after).max()),
    }
    print(json.dumps({"losses": losses} | result) if as_json else RESULT.format(**result))


if __name__ == "__main__":
    typer.run(main)
