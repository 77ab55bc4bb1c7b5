"""Peak memory and time of loading the full model in each installed backend.

Each run is a fresh process: import the framework, load a tiny model (so that what a framework does
once is not counted), note the resident memory, reset the peak, load the full checkpoint, read the
peak. The checkpoint's mapped pages are resident memory too and are counted. Exit code 1 when the
requirement is missed.

Where the peak cannot be reset, an earlier one may hide a part of the loading: the row says so, and
the requirement counts as missed. Systems other than Linux have no such reading, and the script
refuses. Read next: `subjects.py`.
"""

import gc
import json
import multiprocessing
import statistics
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from subjects import HEAD, STATUS, make, memory, reset_peak, tiny_config

from mobilebert_core import registry
from mobilebert_core.checkpoints import open_checkpoint
from mobilebert_core.config import MobileBertConfig
from mobilebert_core.loading import load

REQUIRED_RATIO = {"numpy": 2.2, "torch": 2.2}
REQUIRED_RATIO_OF_OTHERS = 2.5


def measure(backend: str, tiny: str, full: str) -> dict[str, Any]:
    """One loading in this process, which must be fresh."""
    load(tiny, HEAD, backend, dtype="float32")
    gc.collect()
    before = memory("VmRSS")
    was_reset = reset_peak()
    start = time.perf_counter()
    model = load(full, HEAD, backend, dtype="float32")
    seconds = time.perf_counter() - start
    peak, after = memory("VmHWM"), memory("VmRSS")
    del model
    return {
        "seconds": seconds,
        "before": before,
        "peak": peak - before,
        "held": after - before,
        "peak_was_reset": was_reset,
    }


def rows_of(backends: list[str], runs: int) -> tuple[int, list[dict[str, Any]]]:
    """Bytes of the weights, and one row a backend; the backends take turns."""
    # A forked process would start with the memory of this one.
    context = multiprocessing.get_context("spawn")
    results: dict[str, list[dict[str, Any]]] = {name: [] for name in backends}
    with tempfile.TemporaryDirectory(prefix="mobilebert-benchmark-") as folder:
        tiny = make(Path(folder) / "tiny", tiny_config())
        full = make(Path(folder) / "full", MobileBertConfig())
        weights = open_checkpoint(full).weights
        size = sum(weights.nbytes(name) for name in weights)
        for _ in range(runs):
            for name in backends:
                with context.Pool(1) as pool:
                    results[name].append(pool.apply(measure, (name, tiny, full)))
    return size, [summary(name, size, measured) for name, measured in results.items()]


def summary(backend: str, size: int, measured: list[dict[str, Any]]) -> dict[str, Any]:
    """Medians of the runs; the largest ratio is the one that counts."""
    peak_was_reset = all(run["peak_was_reset"] for run in measured)
    ratio = max(run["peak"] for run in measured) / size
    required = REQUIRED_RATIO.get(backend, REQUIRED_RATIO_OF_OTHERS)
    return {
        "backend": backend,
        "seconds": statistics.median(run["seconds"] for run in measured),
        "before": statistics.median(run["before"] for run in measured),
        "peak": statistics.median(run["peak"] for run in measured),
        "held": statistics.median(run["held"] for run in measured),
        "largest_ratio": ratio,
        "peak_was_reset": peak_was_reset,
        "required": required,
        "met": ratio < required and peak_was_reset,
    }


def show(size: int, rows: list[dict[str, Any]], runs: int) -> None:
    """Print the table."""
    title = f"Loading {size / 1e6:.1f} MB of float32 weights, {runs} runs each, memory in MB"
    table = Table(title=title)
    columns = ("before", "peak", "held")
    for column in ("backend", "seconds", *columns, "largest peak / weights", ""):
        table.add_column(column, justify="left" if column == "backend" else "right")
    for row in rows:
        verdict = f"{'met' if row['met'] else 'MISSED'} (less than {row['required']})"
        if not row["peak_was_reset"]:
            verdict = "unknown: the peak cannot be reset here"
        sizes = (f"{row[column] / 1e6:.1f}" for column in columns)
        ratio = f"{row['largest_ratio']:.2f}"
        table.add_row(row["backend"], f"{row['seconds']:.2f}", *sizes, ratio, verdict)
    Console().print(table)
    print(
        "before: resident with the framework and a tiny model; peak and held: above that, while "
        "loading and with the model loaded."
    )


def main(
    backend: Annotated[
        list[str] | None, typer.Option(help="Measure this backend only; may be repeated.")
    ] = None,
    runs: Annotated[int, typer.Option(min=1, help="Fresh processes for each backend.")] = 3,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Measure the memory of loading, at its peak at most 2.2 (tf, jax: 2.5) times the weights.

    Example: python benchmarks/load_memory.py --backend torch --runs 5
    """
    if not STATUS.exists():
        raise typer.BadParameter(f"{STATUS} is needed, which only Linux has.", param_hint="system")
    size, rows = rows_of(backend or list(registry.usable_names()), runs)
    if as_json:
        values = {"weights": size, "rows": rows}
        print(json.dumps(values, indent=2))
    else:
        show(size, rows, runs)
    raise typer.Exit(0 if all(row["met"] for row in rows) else 1)


if __name__ == "__main__":
    typer.run(main)
