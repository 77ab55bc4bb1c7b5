"""Does every head learn, and is `mobilebert-nano` a better start than random weights?

Nine tasks are trained from nano and from fresh weights of the same configuration, with identical
settings, and measured once, at the end, on examples that training has not seen; small sets in
folds, so that each example is tested on once. Where one text must be found in another, nano is also
trained with practice: before the task, on questions that running text asks itself, without a label;
there this is what decides. Random weights get no practice. The most frequent answer and bags of
words stand beside them. Results are appended to a file: an interrupted run goes on. Exit code 1: on
some task nano is not clearly better than random weights and than the most frequent answer.
Read next: `fine_tuning_jobs.py`, `fine_tuning_data.py`.
"""

import hashlib
import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from fine_tuning_data import RECIPES, names_like, prepare_task, recipe_of
from fine_tuning_jobs import MAJORITY, NANO, PRACTISED, RANDOM, Job, run_jobs
from fine_tuning_text import SEED
from rich.console import Console
from rich.table import Table
from typer import Option

DEFAULT = "mobilebert-nano"
WORDS = "bag of words"
CLEARLY = 0.02  # better than random weights and than the most frequent answer, at least
RESULTS = "results.jsonl"
SUMMED = ("steps", "seconds", "tested_on")  # over folds


def of_all_folds(parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """One result of all folds: the mean of each figure; none where a training diverged."""
    names = parts[0].get("baselines", ())
    return {
        **parts[0],
        "metrics": means([part.get("metrics", {}) for part in parts]),
        "baselines": {name: means([part["baselines"][name] for part in parts]) for name in names},
        "folds": len(parts),
        **{name: sum(part.get(name, 0) for part in parts) for name in SUMMED},
    }


def means(values: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The mean of each figure that all have."""
    shared = [name for name in values[0] if all(name in each for each in values)]
    return {name: sum(each[name] for each in values) / len(values) for name in shared}


def summarise(results: Sequence[Any]) -> list[dict[str, Any]]:
    """A row for each task and metric."""
    rows = []
    for task in dict.fromkeys(row["task"] for row in results):
        own = [row for row in results if row["task"] == task]
        by_kind = {
            kind: of_all_folds([row for row in own if row["kind"] == kind])
            for kind in dict.fromkeys(row["kind"] for row in own)
        }
        baselines = by_kind[MAJORITY]["baselines"]
        deciding = PRACTISED if PRACTISED in by_kind else NANO
        for place, metric in enumerate(RECIPES[task].metrics):
            values = {name: each.get(metric) for name, each in baselines.items()}
            trained = [kind for kind in (RANDOM, NANO, PRACTISED) if kind in by_kind]
            # None: training diverged, which any figure is better than.
            values |= {kind: by_kind[kind]["metrics"].get(metric) for kind in trained}
            reached = -math.inf if values[deciding] is None else values[deciding]
            others = [each for each in (values[RANDOM], values[MAJORITY]) if each is not None]
            clearly = reached >= CLEARLY + max(others)
            rows.append(
                {
                    "task": task,
                    "metric": metric,
                    **values,
                    "decides": place == 0,
                    "learns": clearly,
                    "beats bag of words": reached > values[WORDS],
                    "steps": by_kind[deciding]["steps"],
                    "seconds": by_kind[deciding]["seconds"],
                    "trained_on": by_kind[MAJORITY]["trained_on"],
                    "tested_on": by_kind[MAJORITY]["tested_on"],
                    "folds": by_kind[MAJORITY]["folds"],
                    "model": by_kind[deciding]["model"],
                }
            )
    return rows


def with_practice(task: str) -> Iterator[str]:
    """A task and what is trained on before it."""
    while task:
        yield task
        task = recipe_of(task).practice


def show(rows: Sequence[Any]) -> None:
    """Print the table, and the baselines that only some tasks have below it."""
    table = Table(title="Fine-tuning, in percent", title_justify="left")
    columns = (
        "task",
        "metric",
        MAJORITY,
        WORDS,
        RANDOM,
        NANO,
        PRACTISED,
        "train rows",
        "test rows",
        "steps",
        "s",
    )
    for column in columns:
        table.add_column(column, justify="left" if column in ("task", "metric") else "right")
    for row in rows:
        values = [
            "" if name not in row else "diverged" if row[name] is None else f"{100 * row[name]:.1f}"
            for name in (MAJORITY, WORDS, RANDOM, NANO, PRACTISED)
        ]
        sizes = [f"{row[name]:,}" for name in ("trained_on", "tested_on", "steps")]
        folds = f", {row['folds']} folds" if row["folds"] > 1 else ""
        first = row["task"] + folds if row["decides"] else ""
        table.add_row(first, row["metric"], *values, *sizes, f"{row['seconds']:.0f}")
    Console(width=None if Console().is_terminal else 120).print(table)
    for row in rows:
        if "with capitals" in row and row["decides"]:
            value = 100 * row["with capitals"]
            print(
                f"{row['task']}: bag of words that sees capitals, which nano does not: {value:.1f}"
            )
        if row["decides"] and not row["learns"]:
            print(f"{row['task']}: nano is NOT clearly better than random weights and majority")


def main(
    data: Annotated[Path, Option(help="The folder of data sets.", exists=True)],
    output: Annotated[Path, Option(help="Where results and models go, and are taken up again.")],
    task: Annotated[list[str] | None, Option(help="Part of a name; may be repeated.")] = None,
    model: Annotated[str, Option(help="What is fine-tuned.")] = DEFAULT,
    budget: Annotated[Literal["quick", "full"], Option(help="How long is trained.")] = "quick",
    parallel: Annotated[int, Option(min=1, help="Processes, of one thread each.")] = 2,
    seed: Annotated[int, Option(help="Of order, dropout and fresh weights.")] = SEED,
    as_json: Annotated[bool, Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Fine-tune from nano and from random weights, next to simple baselines.

    Example: python benchmarks/fine_tuning.py --data DATA --output RUNS --task polarity
    """
    import mobilebert
    from mobilebert_core.loading import open_source
    from mobilebert_training.run_description import describe_tokenizer, describe_weights

    os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    names = list(names_like(task or ()))
    if not names:
        raise typer.BadParameter(f"none of {', '.join(RECIPES)}", param_hint="--task")
    output.mkdir(parents=True, exist_ok=True)
    source = open_source(model)
    pieces = describe_tokenizer(mobilebert.load_tokenizer(model))
    shape = hashlib.sha256(
        json.dumps([pieces, source.config.to_dict()], sort_keys=True).encode()
    ).hexdigest()
    weights = describe_weights(source.weights)
    digests = {PRACTISED: weights, NANO: weights, RANDOM: shape, MAJORITY: shape}
    prepared = dict.fromkeys(each for name in names for each in with_practice(name))
    files = {
        each: prepare_task(each, data.absolute(), output.absolute() / "files", budget)
        for each in prepared
    }
    jobs = [
        Job(name, kind, model, files, output.absolute(), budget, digest, seed, fold)
        for name in names
        for fold in range(len(files[name]))
        for kind, digest in digests.items()
        if kind != PRACTISED or RECIPES[name].practice
    ]
    rows = summarise(run_jobs(jobs, output / RESULTS, parallel))
    met = all(row["learns"] for row in rows if row["decides"])
    if as_json:
        print(json.dumps({"clearly": CLEARLY, "rows": rows, "met": met}, indent=2))
    else:
        show(rows)
    raise typer.Exit(0 if met else 1)


if __name__ == "__main__":
    typer.run(main)
