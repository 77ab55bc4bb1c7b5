"""Time and peak memory of converting the full model, from every format to every other.

Each pair is a fresh process: convert a tiny checkpoint (so that imports are not counted), note the
resident memory, reset the peak, convert the full one, read the peak. Reading back what was written
is part of every conversion and counted. Exit code 1 when the requirement is missed: 10 seconds, and
3 times the weights in memory.
"""

import gc
import json
import multiprocessing
import shutil
import tempfile
import time
from itertools import product
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table
from subjects import STATUS, make, memory, reset_peak, tiny_config

from mobilebert_core.checkpoints import open_checkpoint
from mobilebert_core.checkpoints.formats import FORMATS
from mobilebert_core.config import MobileBertConfig
from mobilebert_core.conversion import convert

REQUIRED_SECONDS, REQUIRED_RATIO = 10.0, 3.0


def measure(source: str, to: str, folder: str) -> dict[str, Any]:
    """One conversion in this process, which must be fresh."""
    work = Path(folder) / "work"
    convert(Path(folder) / "tiny" / source, work / "tiny", to=to)
    gc.collect()
    before = memory("VmRSS")
    was_reset = reset_peak()
    start = time.perf_counter()
    convert(Path(folder) / "full" / source, work / "full", to=to)
    seconds = time.perf_counter() - start
    peak = memory("VmHWM") - before
    shutil.rmtree(work)
    return {"from": source, "to": to, "seconds": seconds, "peak": peak, "reset": was_reset}


def rows_of(formats: list[str], runs: int) -> tuple[int, list[dict[str, Any]]]:
    """Bytes of the weights, and the slowest and the largest of the runs for each pair."""
    # A forked process would start with the memory of this one.
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory(prefix="mobilebert-benchmark-") as folder:
        for size, config in (("tiny", tiny_config()), ("full", MobileBertConfig())):
            first = make(Path(folder) / size / "safetensors", config)
            for name in formats:
                if name != "safetensors":
                    convert(first, Path(folder) / size / name, to=name)
        weights = open_checkpoint(first).weights
        rows = []
        for source, to in track(list(product(formats, repeat=2)), "Converting"):
            measured = []
            for _ in range(runs):
                with context.Pool(1) as pool:
                    measured.append(pool.apply(measure, (source, to, folder)))
            worst = {key: max(run[key] for run in measured) for key in ("seconds", "peak")}
            reset = all(run["reset"] for run in measured)
            rows.append({"from": source, "to": to, **worst, "peak_was_reset": reset})
        return sum(weights.nbytes(name) for name in weights), rows


def show(title: str, formats: list[str], cells: dict[tuple[str, str], str]) -> None:
    """Print a table: a row for each format that is read, a column for each that is written."""
    table = Table(title=title, title_justify="left")
    table.add_column("from \\ to")
    for name in formats:
        table.add_column(name, justify="right")
    for source in formats:
        table.add_row(source, *(cells[source, to] for to in formats))
    Console(width=None if Console().is_terminal else 140).print(table)


def main(
    format: Annotated[
        list[str] | None, typer.Option(help="Convert between these only; may be repeated.")
    ] = None,
    runs: Annotated[int, typer.Option(min=1, help="Fresh processes for each pair.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """Convert the full model between all formats: under 10 s, and 3 times its size in memory.

    Example: python benchmarks/convert.py --format safetensors --format hf-tf-h5 --runs 3
    """
    if not STATUS.exists():
        raise typer.BadParameter(f"{STATUS} is needed, which only Linux has.", param_hint="system")
    formats = format or list(FORMATS)
    size, rows = rows_of(formats, runs)
    slowest = max(row["seconds"] for row in rows)
    ratio = max(row["peak"] for row in rows) / size
    was_reset = all(row["peak_was_reset"] for row in rows)
    met = slowest < REQUIRED_SECONDS and ratio < REQUIRED_RATIO and was_reset
    if as_json:
        print(json.dumps({"weights": size, "rows": rows, "met": met}, indent=2))
    else:
        pairs = {(row["from"], row["to"]): row for row in rows}
        seconds = {pair: f"{row['seconds']:.2f}" for pair, row in pairs.items()}
        ratios = {pair: f"{row['peak'] / size:.2f}" for pair, row in pairs.items()}
        show("Seconds, verified", formats, seconds)
        show(f"Peak memory over {size / 1e6:.1f} MB of weights", formats, ratios)
        print(f"slowest {slowest:.2f} s (required: less than {REQUIRED_SECONDS:.0f})")
        print(f"largest {ratio:.2f} (required: less than {REQUIRED_RATIO:.0f})")
        if not was_reset:
            print("The peak of memory cannot be reset here: the figure is a lower bound.")
    raise typer.Exit(0 if met else 1)


if __name__ == "__main__":
    typer.run(main)
