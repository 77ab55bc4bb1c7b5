"""How long `import mobilebert` takes in a fresh interpreter.

The statements take turns, so that a slow minute of the machine hits all of them; the first round
warms the file cache and is not counted. Exit code 1 when the requirement is missed.
"""

import json
import statistics
import subprocess
import sys
import time
from typing import Annotated, Any

import typer
from rich import box
from rich.console import Console
from rich.table import Table

REQUIRED_SECONDS = 0.3
IMPORT = "import mobilebert"
STATEMENTS = (
    "pass",
    "import numpy",
    IMPORT,
    "import mobilebert; mobilebert.load",
    "import mobilebert.cli",
)
FRAMEWORKS = ("torch", "tensorflow", "keras", "jax", "flax", "transformers")


def seconds_of(statement: str) -> float:
    """Wall time of one fresh interpreter, its own start included."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", statement], check=True)
    return time.perf_counter() - start


def imported_frameworks(statement: str) -> list[str]:
    """The frameworks that a statement imports."""
    code = f"import sys\n{statement}\nprint(*sys.modules.keys() & {set(FRAMEWORKS)})"
    result = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    )
    return sorted(result.stdout.split())


def measure(runs: int) -> list[dict[str, Any]]:
    """One row a statement."""
    times: dict[str, list[float]] = {statement: [] for statement in STATEMENTS}
    for run in range(runs + 1):
        for statement in STATEMENTS:
            seconds = seconds_of(statement)
            if run > 0:
                times[statement].append(seconds)
    bare = statistics.median(times["pass"])
    return [
        {
            "statement": statement,
            "median": statistics.median(values),
            "min": min(values),
            "max": max(values),
            "above_pass": statistics.median(values) - bare,
            "frameworks": imported_frameworks(statement),
        }
        for statement, values in times.items()
    ]


def show(rows: list[dict[str, Any]], runs: int) -> None:
    """Print the table."""
    table = Table(
        title=f"Seconds in a fresh interpreter, {runs} runs each", box=box.SIMPLE, pad_edge=False
    )
    table.add_column("statement", no_wrap=True)
    columns = ("median", "min", "max", "above_pass")
    for column in columns:
        table.add_column(column.replace("_", " "), justify="right")
    table.add_column("imports")
    for row in rows:
        numbers = (f"{row[column]:.3f}" for column in columns)
        table.add_row(row["statement"], *numbers, ", ".join(row["frameworks"]) or "none")
    Console().print(table)


def main(
    runs: Annotated[int, typer.Option(min=1, help="Counted runs of each statement.")] = 15,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Measure the start: `import mobilebert` must take less than 0.3 s and import no framework.

    Example: python benchmarks/startup.py --runs 30
    """
    rows = measure(runs)
    (imported,) = (row for row in rows if row["statement"] == IMPORT)
    met = imported["median"] < REQUIRED_SECONDS and not any(row["frameworks"] for row in rows)
    if as_json:
        print(json.dumps({"required": REQUIRED_SECONDS, "met": met, "rows": rows}, indent=2))
    else:
        show(rows, runs)
        print(
            f"{IMPORT}: {imported['median']:.3f} s, required less than {REQUIRED_SECONDS} s and no "
            f"framework: {'met' if met else 'MISSED'}"
        )
    raise typer.Exit(0 if met else 1)


if __name__ == "__main__":
    typer.run(main)
