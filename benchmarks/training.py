"""How long does a step of masked-lm training take, next to transformers?

A step is forward, backward and AdamW on one batch, 15 % of whose tokens have a label. Transformers
computes logits for all tokens; this library does too, or, with `mobilebert.labelled_positions`, for
those with a label. Every subject is a process of its own that waits for its turn, so that a slow
minute hits all of them; all load the same checkpoint, and their losses are compared. Dropout acts.
All keep the memory that they free, which helps JAX most.

B batch  S sequence  P prediction positions
"""

import fnmatch
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from inference_process import LIMITS, foreign_seconds
from rich.console import Console
from rich.progress import track
from rich.table import Table
from typer import Option

import mobilebert
from mobilebert_training.masking import positions_per_row

HEAD = "masked-lm"
REQUIRED = 0.65  # of transformers' time
SAME_LOSS = 1e-5  # relative difference of the losses before training
LEARNING_RATE = 1e-4
THREADS = os.cpu_count() or 1
# What is freed stays with the process (glibc): a step of JAX would wait for 1 GB of fresh pages.
MEMORY = {
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": "100000000000",
}
REST = 0.2  # seconds before a turn: threads spin after the one before
LEAST = 3  # turns
BASELINE = "transformers"

Arrays = dict[str, np.ndarray[Any, Any]]
# A step of training, and the loss in evaluation mode, before any step.
Trainer = tuple[Callable[[], Any], float]


def make_batch(rows: int, length: int) -> Arrays:
    """Ids of ordinary words and labels, (B, S), of which 15 % of each row count."""
    generator = np.random.default_rng(0)
    ids = generator.integers(1000, 30000, (rows, length))
    # As BERT's masks are: the same number in each row.
    ranks = generator.random(ids.shape).argsort(axis=1).argsort(axis=1)
    is_labelled = ranks < positions_per_row(length)
    return {"input_ids": ids, "labels": np.where(is_labelled, ids, -100)}


def only_labelled(batch: Arrays) -> Arrays:
    """The same batch with (B, P) labels and where they are."""
    return batch | mobilebert.labelled_positions(batch["labels"])


def torch_trainer(model: Any, batch: Arrays) -> Trainer:
    """A PyTorch loop; the optimizer is what the `Trainer` of transformers takes by default."""
    import torch

    torch.set_num_threads(THREADS)
    tensors = {name: torch.from_numpy(each) for name, each in batch.items()}
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, fused=True)

    def step() -> None:
        loss = model(**tensors).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loss.item()

    with torch.no_grad():
        before = model.eval()(**tensors).loss.item()
    model.train()
    return step, before


def transformers(folder: Path, batch: Arrays) -> Trainer:
    """Transformers 5 in PyTorch, as it comes."""
    from transformers import MobileBertForMaskedLM

    return torch_trainer(MobileBertForMaskedLM.from_pretrained(folder), batch)


def torch(folder: Path, batch: Arrays) -> Trainer:
    """This library in PyTorch."""
    return torch_trainer(mobilebert.load(folder, backend="torch"), batch)


def tensorflow(folder: Path, batch: Arrays, *, jit_compile: bool) -> Trainer:
    """This library in TensorFlow: what `fit` does with a batch."""
    import keras

    model = mobilebert.load(folder, backend="tf")
    before = float(model(**batch).loss)
    model.compile(optimizer=keras.optimizers.AdamW(LEARNING_RATE), jit_compile=jit_compile)
    return lambda: model.train_on_batch(batch), before


def jax(folder: Path, batch: Arrays) -> Trainer:
    """This library in JAX, with optax."""
    import optax
    from flax import nnx

    model = mobilebert.load(folder, backend="jax")
    before = float(model(**batch).loss)
    model.train()
    optimizer = nnx.Optimizer(model, optax.adamw(LEARNING_RATE), wrt=nnx.Param)

    @nnx.jit
    def step(model: Any, optimizer: nnx.Optimizer, batch: Arrays) -> Any:
        loss, gradients = nnx.value_and_grad(lambda model: model(**batch).loss)(model)
        optimizer.update(model, gradients)
        return loss

    step_on = nnx.cached_partial(step, model, optimizer)  # their parts are looked up once
    return lambda: step_on(batch).block_until_ready(), before


SUBJECTS: Mapping[str, Callable[[Path, Arrays], Trainer]] = {
    BASELINE: transformers,
    "torch full": torch,
    "torch labelled": lambda folder, batch: torch(folder, only_labelled(batch)),
    "tf labelled": lambda folder, batch: tensorflow(
        folder, only_labelled(batch), jit_compile=False
    ),
    "tf labelled XLA": lambda folder, batch: tensorflow(
        folder, only_labelled(batch), jit_compile=True
    ),
    "jax labelled": lambda folder, batch: jax(folder, only_labelled(batch)),
}
_prepared: dict[str, Callable[[], Any]] = {}  # the step of the subject whose process this is


def prepare(name: str, folder: Path, rows: int, length: int) -> dict[str, float]:
    """Load the model and take a first step, in the subject's process."""
    step, before = SUBJECTS[name](folder, make_batch(rows, length))
    _prepared["step"] = step
    return {"loss": before, "first": timed_step()}


def timed_step() -> float:
    """Seconds of one step, in the subject's process."""
    started = time.perf_counter()
    _prepared["step"]()
    return time.perf_counter() - started


def measure(names: list[str], folder: Path, shape: tuple[int, int], seconds: float) -> list[Any]:
    """A row for each subject: its loss, its first step and all later ones."""
    end = time.monotonic() + seconds
    console = Console(stderr=True)
    context = get_context("spawn")  # a forked process would share the thread pools of this one
    processes = {name: ProcessPoolExecutor(1, mp_context=context) for name in names}
    found: dict[str, Any] = {}
    try:
        for name in track(names, "Loading", console=console):
            first = processes[name].submit(prepare, name, folder, *shape).result()
            processes[name].submit(timed_step).result()  # warm: some compile again for a second
            found[name] = {"name": name, **first, "seconds": []}
        with console.status("Taking turns"):
            while len(found[names[0]]["seconds"]) < LEAST or time.monotonic() < end:
                for name in names:
                    time.sleep(REST)
                    found[name]["seconds"].append(processes[name].submit(timed_step).result())
    finally:
        for process in processes.values():
            process.shutdown(cancel_futures=True)
    return list(found.values())


def summarise(rows: list[Any]) -> bool:
    """Add medians, ratios and deviations of the loss; whether all that is required is met.

    Each framework's fastest way to train on labelled positions counts.
    """
    baseline = next((row for row in rows if row["name"] == BASELINE), rows[0])
    best: dict[str, float] = {}
    for row in rows:
        row["median"] = statistics.median(row["seconds"])
        row["ratio"] = row["median"] / statistics.median(baseline["seconds"])
        row["deviation"] = abs(row["loss"] / baseline["loss"] - 1)
        if "labelled" in row["name"]:
            framework = row["name"].split()[0]
            best[framework] = min(row["ratio"], best.get(framework, row["ratio"]))
    same = all(row["deviation"] <= SAME_LOSS for row in rows)
    return same and all(ratio <= REQUIRED for ratio in best.values())


def show(title: str, rows: list[Any]) -> None:
    """Print the table."""
    table = Table(title=title, title_justify="left")
    for column in ("subject", "first s", "median s", "fastest s", "ratio", "turns", "off by"):
        justify = "left" if column == "subject" else "right"
        table.add_column(column, justify=justify, no_wrap=True)
    for row in rows:
        times = (row["first"], row["median"], min(row["seconds"]))
        figures = (f"{row['ratio']:.3f}", str(len(row["seconds"])), f"{row['deviation']:.0e}")
        table.add_row(row["name"], *(f"{each:.2f}" for each in times), *figures)
    Console().print(table)
    print(f"Required of each framework's fastest labelled step: a ratio of at most {REQUIRED}")
    print(f"and of losses before training: off by at most {SAME_LOSS:.0e}.")


def main(
    minutes: Annotated[float, Option(min=0, help="About so long; 0 for 3 turns.")] = 10,
    layers: Annotated[int, Option(min=1, help="Of the model.")] = 24,
    rows: Annotated[int, Option(min=1, help="Texts of the batch.")] = 8,
    length: Annotated[int, Option(min=1, help="Tokens of a text.")] = 128,
    subjects: Annotated[str, Option(help="A pattern, e.g. 't*'; ratios are to the first.")] = "*",
    as_json: Annotated[bool, Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Time a step of masked-lm training: at most 0.65 of transformers', on labelled positions.

    Example: python benchmarks/training.py --minutes 15 --subjects 't*'
    """
    names = [name for name in SUBJECTS if fnmatch.fnmatch(name, subjects)]
    if not names:
        raise typer.BadParameter(f"none of {', '.join(SUBJECTS)}", param_hint="--subjects")
    for name in LIMITS:  # subjects take all cores, and the processor only
        os.environ.pop(name, None)
    os.environ |= {"CUDA_VISIBLE_DEVICES": "", "JAX_PLATFORMS": "cpu", "TF_CPP_MIN_LOG_LEVEL": "3"}
    os.environ |= MEMORY  # for all alike
    others, started = foreign_seconds(), time.monotonic()
    with tempfile.TemporaryDirectory(prefix="mobilebert-benchmark-") as folder:
        config = mobilebert.Config(num_hidden_layers=layers)
        mobilebert.save(mobilebert.create(config, HEAD, "numpy", seed=0), folder)
        measured = measure(names, Path(folder), (rows, length), 60 * minutes)
    busy = (foreign_seconds() - others) / (time.monotonic() - started) / THREADS
    met = summarise(measured)
    if as_json:
        print(json.dumps({"required": REQUIRED, "busy": busy, "rows": measured, "met": met}))
    else:
        positions = only_labelled(make_batch(rows, length))["labels"].shape
        show(f"A step, {layers} layers, {rows} x {length}, P = {positions[1]}", measured)
        print(f"Others used {busy:.1%} of the machine. Requirements {'met' if met else 'MISSED'}.")
    raise typer.Exit(0 if met else 1)


if __name__ == "__main__":
    typer.run(main)
