"""How long the first call of the default model takes in backends that compile, and the next ones.

Each run is a fresh process: build the model of 24 layers, then time the first and the later calls
of inference and of gradients. The first call includes tracing, compilation and the computation
itself. Nothing else may run beside it. Exit code 1 when a first call takes too long.
"""

import json
import multiprocessing
import statistics
import time
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from mobilebert_core import registry
from mobilebert_core.config import MobileBertConfig
from mobilebert_core.loading import create

REQUIRED_SECONDS = 30.0
HEAD = "masked-lm"
SHAPE = (1, 128)
REPEATS = 5
WAYS = {"tf": ("call", "call, XLA", "gradients"), "jax": ("call", "gradients")}


def measure(backend: str, way: str) -> dict[str, float]:
    """First and later seconds of one way to use a model, in this process, which must be fresh."""
    chosen = registry.get(backend)
    start = time.perf_counter()
    model = create(MobileBertConfig(), HEAD, backend)
    building = time.perf_counter() - start
    batch = {"input_ids": np.random.default_rng(0).integers(0, 30522, SHAPE)}
    if way == "call, XLA":
        model.compile(jit_compile=True)

    def use() -> None:
        if way == "gradients":
            chosen.loss_and_gradients(model, batch, batch["input_ids"])
        else:
            chosen.run(model, batch)

    seconds = []
    for _ in range(1 + REPEATS):
        start = time.perf_counter()
        use()
        seconds.append(time.perf_counter() - start)
    return {
        "building": building,
        "first": seconds[0],
        "second": seconds[1],
        "later": statistics.median(seconds[1:]),
    }


def rows_of(backends: list[str], runs: int) -> list[dict[str, Any]]:
    """One row for each backend and way, medians of the runs; the slowest first call counts."""
    # A forked process would start with the frameworks of this one.
    context = multiprocessing.get_context("spawn")
    rows = []
    for backend in backends:
        for way in WAYS[backend]:
            results = []
            for _ in range(runs):
                with context.Pool(1) as pool:
                    results.append(pool.apply(measure, (backend, way)))
            row = {key: statistics.median(each[key] for each in results) for key in results[0]}
            slowest = max(each["first"] for each in results)
            rows.append({"backend": backend, "way": way, **row, "met": slowest < REQUIRED_SECONDS})
    return rows


def show(rows: list[dict[str, Any]]) -> None:
    """Print the table."""
    table = Table(title=f"Seconds of the {HEAD} model of 24 layers, {SHAPE[0]} x {SHAPE[1]}")
    columns = ("building", "first", "second", "later")
    for column in ("backend", "way", *columns, ""):
        table.add_column(column, justify="left" if column in ("backend", "way") else "right")
    for row in rows:
        values = (f"{row[column]:.2f}" for column in columns)
        table.add_row(row["backend"], row["way"], *values, "met" if row["met"] else "MISSED")
    Console().print(table)
    print(f"Required of a first call: less than {REQUIRED_SECONDS:.0f} s.")


def main(
    backend: Annotated[
        list[str] | None, typer.Option(help="Measure this backend only; may be repeated.")
    ] = None,
    runs: Annotated[int, typer.Option(min=1, help="Fresh processes for each row.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Measure compilation: a first call takes less than 30 seconds.

    Example: python benchmarks/compile_time.py --backend jax --runs 3
    """
    names = backend or [name for name in registry.usable_names() if name in WAYS]
    unknown = sorted(set(names) - set(WAYS))
    if unknown:
        raise typer.BadParameter(
            f"{', '.join(unknown)}; those that compile are {', '.join(WAYS)}",
            param_hint="--backend",
        )
    rows = rows_of(names, runs)
    if as_json:
        print(json.dumps({"required": REQUIRED_SECONDS, "rows": rows}, indent=2))
    else:
        show(rows)
    raise typer.Exit(0 if all(row["met"] for row in rows) else 1)


if __name__ == "__main__":
    typer.run(main)
