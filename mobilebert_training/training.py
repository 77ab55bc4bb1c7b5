"""`train`: from files to a trained model, in one call; the command `mobilebert train` is this.

    files -> task            tokenizer, open_task or PretrainingTask
    source or config -> model        fresh head, teacher's embeddings
    both -> RunFolder, Trainer -> TrainingResult

Rules: nothing is written before everything that is given is known to be right; no framework is
imported here, but by the trainer that the backend's name leads to. Read next:
`training_options.py`, `models.py`, `run_folder.py`.
"""

import importlib
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mobilebert_core import registry
from mobilebert_core.config import MobileBertConfig
from mobilebert_core.errors import (
    BackendError,
    InputError,
    MobileBertWarning,
)
from mobilebert_training.corpus import read_corpus
from mobilebert_training.models import Start, make_models, open_start
from mobilebert_training.run_description import (
    describe_files,
    describe_options,
    describe_tokenizer,
    list_files,
)
from mobilebert_training.run_folder import RunFolder
from mobilebert_training.settings import TrainingSettings
from mobilebert_training.task import Task
from mobilebert_training.tasks.heads import OPENINGS
from mobilebert_training.tasks.opening import Files, open_task
from mobilebert_training.tasks.pretraining import PretrainingTask
from mobilebert_training.tasks.supervised import SupervisedTask
from mobilebert_training.training_options import (
    check_head,
    choose_settings,
    choose_transfer,
    sort_options,
)
from mobilebert_training.transfer import TransferSettings, plan_stages

TRAINERS = {"torch": "mobilebert_torch.training.starting"}
"""Module of each backend that has a trainer, which offers `Trainer` and `open_processes`."""

Listener = Callable[[Mapping[str, Any]], None]


@dataclass(frozen=True)
class TrainingResult:
    """How a run ended.

    Attributes:
        run: its folder.
        model: the folder of the result, for `mobilebert.load`.
        head: what was trained.
        step: the last update.
        steps: how many were planned.
        resumed_from: the step that this call began with; `step` when nothing was left to do.
        metric: the name of the metric that decides which model is kept.
        metrics: of the best evaluation; empty without validation data.
        best_step: when it was.
        stopped_early: whether patience ended the run.
        baseline: the metrics of always saying what is most frequent in the training examples;
            empty for running text.
    """

    run: Path
    model: Path
    head: str
    step: int
    steps: int
    resumed_from: int
    metric: str
    metrics: dict[str, float]
    best_step: int
    stopped_early: bool
    baseline: dict[str, float]

    def to_dict(self) -> dict[str, Any]:
        """As JSON holds it."""
        return {**asdict(self), "run": str(self.run), "model": str(self.model)}


def train(
    head: str,
    train_files: Files,
    output: str | Path,
    *,
    validation_files: Files | None = None,
    model: str | Path | None = None,
    config: str | Path | MobileBertConfig | None = None,
    tokenizer: Any = None,
    backend: str = "torch",
    epochs: float | None = None,
    steps: int | None = None,
    teacher: str | Path | None = None,
    transfer: str | TransferSettings | None = None,
    parallel: str = "ddp",
    device: str | None = None,
    listeners: Sequence[Listener] = (),
    **options: Any,
) -> TrainingResult:
    """Train a model on files; called again with the same arguments, a run goes on where it was.

    Args:
        head: what to train: `masked-lm` or `pretraining` on running text, or a task head on
            labelled examples.
        train_files: a file or several; for sequence classification also a text file for each label,
            e.g. `{"negative": "rt.neg", "positive": "rt.pos"}`. Running text is .txt, .gz or .zip.
        output: the folder of the run; the result is in its folder `model`.
        validation_files: likewise. None splits a tenth of labelled examples off; of running text
            nothing.
        model: what to start from, a folder, a packaged name or a hub id; None is the packaged
            `mobilebert-nano`, unless there is a
        config: for fresh weights: the name of a preset, which takes the tokenizer's vocabulary
            size, a JSON file or a `mobilebert.Config`.
        tokenizer: as of `load_tokenizer`, or a source for it; None is the model's own.
        backend: whose trainer; `torch` has one.
        epochs: passes over the examples, rounded up to whole steps; by default 5, on running text
            10; or
        steps: how many updates.
        teacher: a model to learn from, for `masked-lm` and `pretraining`, with
        transfer: how: `progressive`, `joint`, `auxiliary`, `distillation` or `TransferSettings`.
        parallel: under torchrun `ddp`, every process has the model, or `fsdp`, each a part of it.
        device: e.g. `cuda`; None takes a GPU where there is one.
        listeners: told every line of the log, and first how far the run is.
        options: fields of `TrainingSettings`, e.g. `learning_rate`, and options of the task: those
            of `open_task`, or of `PretrainingTask`, whose length is called `max_length` here.

    Raises:
        InputError: a file is malformed, an option unknown, or `output` holds another run.
        ConfigError: a setting or a configuration is invalid, or the parts do not fit together.
        CheckpointError: a model or a checkpoint of the run is absent or damaged.
        BackendError: the backend has no trainer or cannot be used.
    """
    check_head(head)
    trainer = _find_trainer(backend)
    own, of_task = sort_options(head, options)
    start = open_start(model, config, tokenizer, own.get("seed", 0))
    task = _open_task(head, train_files, validation_files, start, of_task)
    # Now rather than after the training: it needs the packages that the metrics need.
    baseline = task.baseline() if isinstance(task, SupervisedTask) and task.validation else {}
    settings = choose_settings(head, len(task), epochs, steps, own, measured=_measures(task))
    how = choose_transfer(head, teacher, transfer)
    plan_stages(how, settings.steps, start.config.num_hidden_layers)
    description = {
        "head": head,
        **settings.to_dict(),
        **describe_options(of_task),
        "train_files": describe_files(train_files),
        "validation_files": describe_files(validation_files),
        "tokenizer": describe_tokenizer(start.tokenizer),
        "transfer": None if how is None else asdict(how),
    }
    folder = RunFolder(Path(output))
    processes = trainer.open_processes(parallel, device)
    try:
        processes.check_parts(settings.batch_size, settings.micro_batches)
        with _quiet(bool(folder.steps())):
            models = make_models(
                start, task, teacher, how, backend=backend, device=processes.device
            )
        if processes.is_first:
            folder.begin({**description, **models.description})
        processes.wait()
        done = (folder.steps() or [0])[-1]
        _announce(listeners if processes.is_first else (), folder, settings, task, done)
        found = trainer.Trainer(
            models.student,
            task,
            settings,
            folder,
            tokenizer=start.tokenizer,
            teacher=models.teacher,
            transfer=how,
            processes=processes,
            listeners=listeners,
        ).train()
    finally:
        processes.close()
    return TrainingResult(
        run=folder.path,
        model=folder.model_path,
        head=head,
        step=found.step,
        steps=settings.steps,
        resumed_from=done,
        metric=task.metric,
        metrics=found.metrics,
        best_step=found.best_step,
        stopped_early=found.stopped_early,
        baseline=baseline if found.metrics else {},
    )


def _find_trainer(backend: str) -> Any:
    """The module of a backend's trainer."""
    name = registry.find(backend).name
    if name not in TRAINERS:
        raise BackendError(
            f"The backend {name} has no trainer, expected one of {', '.join(TRAINERS)}; a model "
            "that one of them trained is loaded in every backend"
        )
    registry.get(name)
    return importlib.import_module(TRAINERS[name])


def _open_task(
    head: str,
    train_files: Files,
    validation_files: Files | None,
    start: Start,
    options: Mapping[str, Any],
) -> Task:
    """The examples of a run, in rows that the model has positions for."""
    longest = start.config.max_position_embeddings
    usual = OPENINGS[head].max_length if head in OPENINGS else 128
    length = options.get("max_length", min(usual, longest))
    if not 1 < length <= longest:
        raise InputError(f"max_length is {length}, expected from 2 to {longest}, as the model has")
    rest = {name: value for name, value in options.items() if name != "max_length"}
    if head in OPENINGS:
        return open_task(
            head,
            train_files,
            validation_files,
            start.tokenizer,
            max_length=length,
            seed=start.seed,
            **rest,
        )
    training = read_corpus(list_files(train_files), start.tokenizer)
    validation = None
    if validation_files is not None:
        validation = read_corpus(list_files(validation_files), start.tokenizer)
    return PretrainingTask(head, training, validation, start.tokenizer, length=length, **rest)


def _measures(task: Task) -> bool:
    """Whether there is something to measure on."""
    if isinstance(task, PretrainingTask):
        return task.validation is not None
    return isinstance(task, SupervisedTask) and len(task.validation) > 0


@contextmanager
def _quiet(wanted: bool) -> Iterator[None]:
    """No notes on fresh weights where a run goes on: its own replace them."""
    with warnings.catch_warnings():
        if wanted:
            warnings.simplefilter("ignore", MobileBertWarning)
        yield


def _announce(
    listeners: Sequence[Listener],
    folder: RunFolder,
    settings: TrainingSettings,
    task: Task,
    done: int,
) -> None:
    """Tell listeners what begins; the trainer tells them the rest."""
    for listener in listeners:
        listener(
            {
                "event": "begin",
                "folder": str(folder.path),
                "step": done,
                "steps": settings.steps,
                "batch_size": settings.batch_size,
                "examples": len(task),
                "labels": list(task.config_changes.get("id2label", {}).values()),
            }
        )
