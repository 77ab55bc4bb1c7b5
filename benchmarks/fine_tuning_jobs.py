"""The jobs of `fine_tuning.py`: one training, or the baselines of a task, and how all get done.

Each is done in a process of its own, on one thread, and its result goes to a file under a key that
says what was computed: an interrupted run goes on. Read next: `fine_tuning_data.py`.
"""

import hashlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from functools import cached_property
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from fine_tuning_data import RECIPES, recipe_of
from fine_tuning_text import SEED, Split
from rich.console import Console
from rich.progress import track

from mobilebert_training.run_description import describe_file

BASELINES = Path(__file__).with_name("fine_tuning_baselines.py")
NANO, RANDOM, MAJORITY = "nano", "random weights", "majority"
PRACTISED = "nano, practised"
DTYPE = "bfloat16"  # of products


@dataclass(frozen=True)
class Job:
    """What one process does: the baselines of a task, or one training.

    Attributes:
        task: a key of `RECIPES` or `PRACTICE`.
        kind: `NANO`, `PRACTISED`, `RANDOM` or `MAJORITY`, with which come all baselines.
        model: a source; fresh weights take its configuration.
        files: of each task, to train and to test on, for each fold.
        output: where runs and results go.
        budget: `quick` or `full`.
        digest: of the model's weights; of its configuration and vocabulary where none are taken.
        seed: of order, dropout and fresh weights.
        fold: which of the task's files.
    """

    task: str
    kind: str
    model: str
    files: Mapping[str, Sequence[Split]]
    output: Path
    budget: str
    digest: str
    seed: int = SEED
    fold: int = 0

    @property
    def split(self) -> Split:
        """The files to train and to test on."""
        return self.files[self.task][self.fold]

    @cached_property
    def key(self) -> str:
        """Names the result: jobs with equal keys compute the same."""
        recipe = recipe_of(self.task)
        parts = (recipe, self.task, self.kind, self.budget, self.digest, self.seed, DTYPE)
        read = [describe_file(file) for file in self.split]
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
        kind = PRACTISED if recipe_of(practice).practice else NANO
        return replace(self, task=practice, kind=kind, fold=0)

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

    recipe, (train_file, test_file) = RECIPES[job.task], job.split
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
    recipe, (train_file, test_file) = recipe_of(job.task), job.split
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
