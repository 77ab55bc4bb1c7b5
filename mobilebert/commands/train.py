"""`mobilebert train`: fine-tuning, pretraining and knowledge transfer, resumed by the same command.

Under torchrun every process runs this; the first one of all shows what happens.
"""

import logging
import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console
from rich.table import Table

from mobilebert.commands import console, plain, print_json, show_warnings
from mobilebert.commands import train_data_options as data
from mobilebert.commands import train_options as options
from mobilebert.commands.train_choices import Parallel
from mobilebert_core.errors import MissingDependencyError, MobileBertError, MobileBertWarning

if TYPE_CHECKING:
    from mobilebert_training.training import TrainingResult
    from mobilebert_training.transfer import TransferSettings

_TRANSFER = ("strategy", "transfer_fraction", "distillation")


def command(
    context: typer.Context,
    head: options.WhatHead,
    train: data.TrainFiles,
    output: options.Output,
    validation: data.ValidationFiles = None,
    validation_fraction: data.ValidationFraction = None,
    format: data.GivenFormat = None,
    header: data.Header = None,
    quoted: data.Quoted = None,
    encoding: data.Encoding = None,
    text: data.Text = None,
    text_pair: data.TextPair = None,
    label: data.Label = None,
    choices: data.Choices = None,
    labels: data.Labels = None,
    problem_type: data.GivenProblemType = None,
    metric: data.Metric = None,
    max_length: data.MaxLength = None,
    stride: data.Stride = None,
    threshold: data.Threshold = None,
    model: options.Model = None,
    config: options.Config = None,
    tokenizer: options.Tokenizer = None,
    epochs: options.Epochs = None,
    steps: options.Steps = None,
    patience: options.Patience = None,
    batch_size: options.BatchSize = None,
    micro_batches: options.MicroBatches = None,
    learning_rate: options.LearningRate = None,
    optimizer: options.GivenOptimizer = None,
    schedule: options.GivenSchedule = None,
    warmup: options.Warmup = None,
    weight_decay: options.WeightDecay = None,
    clip_norm: options.ClipNorm = None,
    dtype: options.GivenDtype = None,
    seed: options.Seed = None,
    teacher: options.Teacher = None,
    strategy: options.GivenStrategy = None,
    transfer_fraction: options.TransferFraction = None,
    distillation: options.Distillation = None,
    evaluate_every: options.EvaluateEvery = None,
    save_every: options.SaveEvery = None,
    keep: options.Keep = None,
    parallel: options.GivenParallel = Parallel.DDP,
    device: options.Device = None,
    backend: options.Backend = "torch",
    tensorboard: options.Tensorboard = True,
    plot: options.Plot = True,
    as_json: options.AsJson = False,
) -> None:
    """Train a model on files: fine-tune a head, pretrain on running text, or learn from a teacher.

    Labelled examples are read from tables (.tsv, .csv), JSON lines (.jsonl), CoNLL files of tags
    and SQuAD files (.json), running text from .txt, .gz and .zip, a paragraph a line. The defaults
    are the paper's. The best model by the validation metric is kept in *FOLDER*/model, for
    `mobilebert predict` and every backend.

    **The same command again goes on** from the last checkpoint, to the same bits as if it had never
    been stopped; other options are refused in this folder.

    For example:

    - `mobilebert train sequence-classification --train negative=rt.neg --train positive=rt.pos
      --output polarity`: sentences of two files, from the packaged model
    - `mobilebert train sequence-classification --train sts.csv --text a --text-pair b --label score
      --output similarity`: a number for two texts
    - `mobilebert train token-classification --train wnut.conll --validation dev.conll --output
      entities --epochs 10 --patience 3`
    - `mobilebert train question-answering --train squad.json --output answers`
    - `mobilebert train pretraining --config nano --tokenizer pieces --train a.txt --train b.zip
      --validation c.txt --output nano`: from nothing, with pieces of `mobilebert train-tokenizer`
    - the same with `--teacher big/model --strategy progressive`: a student of a larger one
    - `torchrun --nproc-per-node 4 -m mobilebert train ...`: with four processes
    """
    # The parameters above say what options there are; what was given is handed on by its name.
    given = {name: each for name, each in context.params.items() if each not in (None, (), [])}
    with show_warnings(), _only_the_first_speaks(), _interruptions_explained(output):
        found = _train(given)
        picture = _draw(output) if plot and _is_first() else None
    if not _is_first():
        return
    if as_json:
        print_json(found.to_dict())
    else:
        console().print(_summary(found, picture))


def _train(given: dict[str, Any]) -> "TrainingResult":
    """Train as the options say."""
    from mobilebert_training.reporting import ShowProgress
    from mobilebert_training.training import train

    for name in ("plot", "as_json"):
        given.pop(name)
    train_files, validation = given.pop("train"), given.pop("validation", None)
    if "labels" in given and not _is_file(given["labels"]):
        given["labels"] = [each.strip() for each in given["labels"].split(",")]
    how = _transfer({name: given.pop(name) for name in _TRANSFER if name in given})
    with ShowProgress() as progress:
        listeners: list[Any] = [progress]
        if given.pop("tensorboard"):
            listeners += _tensorboard(given["output"])
        return train(
            given.pop("head"),
            _files(train_files, "--train"),
            given.pop("output"),
            validation_files=None if validation is None else _files(validation, "--validation"),
            transfer=how,
            listeners=listeners,
            **given,
        )


def _is_file(text: str) -> bool:
    try:
        return Path(text).is_file()
    except OSError:  # many names are longer than a path may be
        return False


def _transfer(given: dict[str, Any]) -> "TransferSettings | None":
    """How a teacher is learnt from, where anything is said of it."""
    from mobilebert_training.transfer import TransferSettings

    return TransferSettings(**given) if given else None


def _files(given: Sequence[str], option: str) -> "list[str] | dict[str, str]":
    """Paths, or paths by label where each is LABEL=FILE."""
    labelled = [each.partition("=") for each in given if "=" in each and not Path(each).exists()]
    if not labelled:
        return list(given)
    found = {label: path for label, _, path in labelled}
    if len(found) != len(given):
        raise typer.BadParameter(
            "some are LABEL=FILE, some are not, or a label has two files; expected all, and one "
            "file for each",
            param_hint=option,
        )
    return found


def _is_first() -> bool:
    """Whether this is the process of a run that shows things."""
    return os.environ.get("RANK", "0") == "0"


@contextmanager
def _only_the_first_speaks() -> Iterator[None]:
    """Notes of a run in several processes once, and errors once for each machine."""
    if not _is_first():
        warnings.simplefilter("ignore", MobileBertWarning)
        logging.getLogger("mobilebert").setLevel(logging.ERROR)
    try:
        yield
    except MobileBertError as error:
        if os.environ.get("LOCAL_RANK", "0") == "0":
            raise
        raise typer.Exit(1) from error


@contextmanager
def _interruptions_explained(output: Path) -> Iterator[None]:
    """What to do after Ctrl-C or SIGTERM."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit) as stop:
        from mobilebert_training.run_folder import RunFolder

        if _is_first():
            steps = RunFolder(output).steps()
            where = f"step {steps[-1]:,}" if steps else "the beginning: there is no checkpoint yet"
            told = f"Stopped. The same command goes on from {where}"
            Console(stderr=True).print(plain(told, "bold yellow"), soft_wrap=True)
        code = stop.code if isinstance(stop, SystemExit) else 130
        raise typer.Exit(code if isinstance(code, int) else 1) from stop


def _tensorboard(output: str | Path) -> list[Any]:
    """The listener for TensorBoard, where it is installed."""
    from mobilebert_training.tensorboard_log import TensorboardLog

    try:
        return [TensorboardLog(output)]
    except MissingDependencyError as error:
        _note(f"{error}, or add --no-tensorboard")
        return []


def _draw(output: Path) -> Path | None:
    """The learning curve, where matplotlib is installed."""
    from mobilebert_training.curves import learning_curve

    try:
        return learning_curve(output)
    except MissingDependencyError as error:
        _note(f"{error}, or add --no-plot")
        return None


def _note(told: str) -> None:
    if _is_first():
        warnings.warn(told, MobileBertWarning, stacklevel=2)


def _summary(found: "TrainingResult", picture: Path | None) -> Table:
    """Where the result is, and how good."""
    grid = Table.grid(padding=(0, 2))
    ended = "stopped early" if found.stopped_early else "finished"
    if found.resumed_from == found.step:
        ended = "was finished already"
    elif found.resumed_from:
        ended += f", went on from step {found.resumed_from:,}"
    rows = {
        "model": str(found.model),
        "head": found.head,
        "steps": f"{found.step:,} of {found.steps:,}, {ended}",
    }
    if picture is not None:
        rows["learning curve"] = str(picture)
    if found.metrics:
        rows["best at"] = f"step {found.best_step:,}, by {found.metric}"
        for name, value in found.metrics.items():
            usual = found.baseline.get(name)
            told = "" if usual is None else f"  (always the most frequent: {usual:.4g})"
            rows[name] = f"{value:.4g}{told}"
    for name, cell in rows.items():
        grid.add_row(plain(name, "bold"), plain(cell))
    return grid
