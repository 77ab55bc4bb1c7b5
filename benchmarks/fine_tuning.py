"""Does every head learn, and is `mobilebert-nano` a better start than random weights?

Nine tasks are trained from nano and from fresh weights of the same configuration, with identical
settings, and measured once, at the end, on examples that training has not seen. Where one text must
be found in another, nano is also trained with practice: before the task, on questions that running
text asks itself, without a label; there this is what decides. Random weights get no practice.
The most frequent answer and bags of words stand beside them. Results are appended to a file: an
interrupted run goes on. Exit code 1: on some task nano is not clearly better than random weights
and than the most frequent answer.
Read next: `fine_tuning_data.py`, `fine_tuning_practice.py`, `fine_tuning_baselines.py`.
"""

import hashlib
import json
import math
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from functools import cached_property
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from fine_tuning_data import RECIPES, SEED, Split, names_like, prepare_task, recipe_of
from rich.console import Console
from rich.progress import track
from rich.table import Table
from typer import Option

from mobilebert_training.run_description import describe_file

BASELINES = Path(__file__).with_name("fine_tuning_baselines.py")
DEFAULT = "mobilebert-nano"
NANO, RANDOM, MAJORITY, WORDS = "nano", "random weights", "majority", "bag of words"
PRACTISED = "nano, practised"
DTYPE = "bfloat16"  # of products
CLEARLY = 0.02  # better than random weights and than the most frequent answer, at least
RESULTS = "results.jsonl"


@dataclass(frozen=True)
class Job:
    """What one process does: the baselines of a task, or one training.

    Attributes:
        task: a key of `RECIPES` or `PRACTICE`.
        kind: `NANO`, `PRACTISED`, `RANDOM` or `MAJORITY`, with which come all baselines.
        model: a source; fresh weights take its configuration.
        files: of each task, to train and to test on.
        output: where runs and results go.
        budget: `quick` or `full`.
        digest: of the model's weights; of its configuration and vocabulary where none are taken.
        seed: of order, dropout and fresh weights.
    """

    task: str
    kind: str
    model: str
    files: Mapping[str, Split]
    output: Path
    budget: str
    digest: str
    seed: int = SEED

    @cached_property
    def key(self) -> str:
        """Names the result: jobs with equal keys compute the same."""
        recipe = recipe_of(self.task)
        parts = (recipe, self.task, self.kind, self.budget, self.digest, self.seed, DTYPE)
        read = [describe_file(file) for file in self.files[self.task]]
        if self.kind == MAJORITY:
            read.append(describe_file(BASELINES))
        before = self.before.key if self.before else ""
        text = " ".join(map(str, (*parts, *read, before)))
        plain = text.replace(str(recipe.files), recipe.files.__name__)  # no address in memory
        return hashlib.sha256(plain.encode()).hexdigest()[:8]

    @property
    def before(self) -> "Job | None":
        """What must be done first: the practice."""
        practice = recipe_of(self.task).practice if self.kind == PRACTISED else ""
        if not practice:
            return None
        return replace(
            self, task=practice, kind=PRACTISED if recipe_of(practice).practice else NANO
        )

    @property
    def chain(self) -> list["Job"]:
        """What must be done before, in order, and the job."""
        return [*(self.before.chain if self.before else ()), self]

    @property
    def folder(self) -> Path:
        """Of the run."""
        return self.output / f"{self.task}-{self.kind}-{self.key}".lower().replace(" ", "-")


def work(job: Job) -> dict[str, Any]:
    """Do a job, in a process of its own, on one thread."""
    started = time.perf_counter()
    found = measure_baselines(job) if job.kind == MAJORITY else train_model(job)
    return {
        "key": job.key,
        "task": job.task,
        "kind": job.kind,
        "seconds": time.perf_counter() - started,
        **found,
    }


def measure_baselines(job: Job) -> dict[str, Any]:
    """The most frequent answer, and what bags of words learn."""
    from fine_tuning_baselines import bag_of_words

    import mobilebert
    from mobilebert_training.tasks.opening import open_task

    recipe, (train_file, test_file) = RECIPES[job.task], job.files[job.task]
    task = open_task(
        recipe.head,
        train_file,
        test_file,
        mobilebert.load_tokenizer(job.model),
        max_length=recipe.max_length,
        **recipe.options,
    )
    baselines = {MAJORITY: task.baseline(), **bag_of_words(job.task, train_file, test_file)}
    return {"baselines": baselines, "trained_on": len(task), "tested_on": len(task.validation)}


def train_model(job: Job) -> dict[str, Any]:
    """Train from nano or from random weights, and measure once."""
    import torch

    import mobilebert
    from mobilebert_core.errors import TrainingError
    from mobilebert_core.loading import open_source
    from mobilebert_training.training import train

    torch.set_num_threads(1)
    recipe, (train_file, test_file) = recipe_of(job.task), job.files[job.task]
    start: dict[str, Any] = {"model": job.before.folder / "model" if job.before else job.model}
    if job.kind == RANDOM:
        tokenizer = mobilebert.load_tokenizer(job.model)
        start = {"config": open_source(job.model).config, "tokenizer": tokenizer}
    try:
        result = train(
            recipe.head,
            train_file,
            job.folder,
            validation_files=test_file,
            epochs=recipe.epochs[job.budget],
            batch_size=recipe.batch_size,
            learning_rate=recipe.learning_rate,
            max_length=recipe.max_length,
            dtype=DTYPE,
            seed=job.seed,
            evaluate_every=0,  # only at the end: what is tested on chooses nothing
            keep=1,
            **start,
            **recipe.options,
        )
    except TrainingError:  # diverged: a result like any other, without a figure
        return {"metrics": {}, "steps": 0, "model": ""}
    model = result.model.relative_to(job.output)
    return {"metrics": result.metrics, "steps": result.steps, "model": str(model)}


def read_results(file: Path) -> dict[str, Any]:
    """Results by their keys; a line that an interrupted run has left half is not among them."""
    found = {}
    for line in file.read_text(encoding="utf-8").splitlines() if file.exists() else ():
        try:
            row = json.loads(line)
        except ValueError:
            continue
        found[row["key"]] = row
    return found


def submitted(jobs: Sequence[Job], pool: ProcessPoolExecutor) -> Iterator[Future[Any]]:
    """Jobs that are done, in rounds: what others need begins first, and they after its round."""
    needed = {job.before.key for job in jobs if job.before}
    for size in sorted({len(job.chain) for job in jobs}):
        part = [job for job in jobs if len(job.chain) == size]
        part.sort(key=lambda job: job.key not in needed)
        yield from as_completed([pool.submit(work, job) for job in part])


def run_jobs(jobs: Sequence[Job], file: Path, processes: int) -> list[Any]:
    """The results of all jobs; those that are in the file already are not done again.

    Steps and seconds are of a job and of what had to be done before it.

    Raises:
        SystemExit: some failed, when all others are done.
    """
    found = read_results(file)
    needed = {each.key: each for job in jobs for each in job.chain}  # what others need comes early
    left = [job for job in needed.values() if job.key not in found]
    failed: list[Any] = []
    context = get_context("spawn")  # a forked process would share the thread pools of this one
    with ProcessPoolExecutor(processes, mp_context=context) as pool:
        done = submitted(left, pool)
        for future in track(done, "Tasks", len(left), console=Console(stderr=True)):
            if future.exception() is not None:
                failed.append(future.exception())
                continue
            row = future.result()
            found[row["key"]] = row
            with file.open("a", encoding="utf-8") as stream:
                stream.write(f"\n{json.dumps(row)}\n")  # on a line of its own, come what may
    if failed:
        told = "\n".join(f"- {type(each).__name__}: {each}" for each in failed)
        raise SystemExit(f"These failed, all others are kept:\n{told}")
    return [
        {
            **found[job.key],
            "seconds": sum(found[each.key]["seconds"] for each in job.chain),
            "steps": sum(found[each.key].get("steps", 0) for each in job.chain),
        }
        for job in jobs
    ]


def summarise(results: Sequence[Any]) -> list[dict[str, Any]]:
    """A row for each task and metric."""
    rows = []
    for task in dict.fromkeys(row["task"] for row in results):
        by_kind = {row["kind"]: row for row in results if row["task"] == task}
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
        first = row["task"] if row["decides"] else ""
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
    files = {
        each: prepare_task(each, data.absolute(), output.absolute() / "files", budget)
        for name in names
        for each in with_practice(name)
    }
    jobs = [
        Job(name, kind, model, files, output.absolute(), budget, digest, seed)
        for name in names
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
