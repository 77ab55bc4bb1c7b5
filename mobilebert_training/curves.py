"""`learning_curve`: the log of a run as a picture.

Rules: what was logged is drawn as it is, thin; the thick line is its running mean, begun anew in
each stage. Colours are Okabe and Ito's, told apart by everyone. Read next: `run_folder.py`.

N logged steps
"""

from collections.abc import Mapping, Sequence
from importlib import import_module
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from mobilebert_core.errors import CheckpointError, InputError, MissingDependencyError
from mobilebert_training.run_folder import RunFolder
from mobilebert_training.task import Array

PICTURE = "learning_curve.png"

_TRAINING, _VALIDATION, _STAGE = "#0072B2", "#D55E00", "#777777"
_COLOURS = ("#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#D55E00", "#0072B2")
_MARKS = "osD^vP"
_WIDE_RANGE = 4.0  # losses that differ by such a factor are drawn on a logarithmic scale
_FEW = 30  # points: with fewer, a mean hides more than it shows
_REDUNDANT = ("loss", "perplexity")  # have a panel of their own, and say the same

Row = Mapping[str, Any]


def learning_curve(folder: str | Path) -> Path:
    """Draw the loss over the steps, and the metrics of the evaluations below it.

    Args:
        folder: of a run, finished or not.

    Returns:
        The picture, `learning_curve.png` in the folder.

    Raises:
        InputError: the folder has no log.
        CheckpointError: the picture cannot be written.
        MissingDependencyError: matplotlib is not installed.
    """
    rows = RunFolder(Path(folder)).log()
    steps = [row for row in rows if "loss" in row]
    evaluations = [row for row in rows if "metrics" in row]
    if not steps and not evaluations:
        raise InputError(f"{folder} has no log of a run; expected the --output of a training run")
    figure = _new_figure(7.2, 5.4 if _metric_names(evaluations) else 3.6)
    names = _metric_names(evaluations)
    panels = figure.subplots(1 + bool(names), 1, sharex=True, squeeze=False)[:, 0]
    _draw_loss(panels[0], steps, evaluations)
    if names:
        _draw_metrics(panels[1], evaluations, names)
    for axes in panels:
        _mark_stages(axes, steps, named=axes is panels[0])
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    panels[-1].set_xlabel("step")
    panels[-1].set_xlim(left=0)
    panels[-1].xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    path = Path(folder) / PICTURE
    try:
        figure.savefig(path, dpi=150)
    except OSError as error:
        raise CheckpointError(f"The picture {path} cannot be written: {error}") from error
    return path


def _new_figure(width: float, height: float) -> Any:
    """A figure that no window and no other figure knows of."""
    try:
        figures = import_module("matplotlib.figure")
        canvases = import_module("matplotlib.backends.backend_agg")
    except ImportError as error:
        raise MissingDependencyError(
            'A learning curve needs matplotlib; type: pip install "mobilebert[train]"'
        ) from error
    figure = figures.Figure(figsize=(width, height), layout="constrained")
    canvases.FigureCanvasAgg(figure)
    return figure


def _metric_names(evaluations: Sequence[Row]) -> list[str]:
    found = dict.fromkeys(name for row in evaluations for name in row["metrics"])
    return [name for name in found if name not in _REDUNDANT]


def _draw_loss(axes: Any, steps: Sequence[Row], evaluations: Sequence[Row]) -> None:
    """Losses of training, one curve a stage, and of validation."""
    values = []
    for number, (_, rows) in enumerate(groupby(steps, key=lambda row: row.get("stage"))):
        several = list(rows)
        places = [row["step"] for row in several]
        losses = np.array([row["loss"] for row in several], np.float64)  # (N,)
        values += [losses]
        label = "training" if number == 0 else None
        if len(losses) < _FEW:
            axes.plot(places, losses, color=_TRAINING, marker=".", label=label)
        else:
            axes.plot(places, losses, color=_TRAINING, alpha=0.25, linewidth=0.8)
            axes.plot(places, _running_mean(losses), color=_TRAINING, linewidth=1.8, label=label)
    measured = [row for row in evaluations if "loss" in row["metrics"]]
    if measured:
        losses = np.array([row["metrics"]["loss"] for row in measured], np.float64)  # (N,)
        values += [losses]
        places = [row["step"] for row in measured]
        axes.plot(places, losses, color=_VALIDATION, marker="o", markersize=4, label="validation")
    together = np.concatenate(values) if values else np.ones(1)
    if together.min() > 0 and together.max() / together.min() > _WIDE_RANGE:
        axes.set_yscale("log")
        axes.set_ylabel("loss (logarithmic)")
    else:
        axes.set_ylabel("loss")
    axes.legend(frameon=False)


def _draw_metrics(axes: Any, evaluations: Sequence[Row], names: Sequence[str]) -> None:
    for number, name in enumerate(names):
        measured = [row for row in evaluations if name in row["metrics"]]
        axes.plot(
            [row["step"] for row in measured],
            [row["metrics"][name] for row in measured],
            color=_COLOURS[number % len(_COLOURS)],
            marker=_MARKS[number % len(_MARKS)],
            markersize=4,
            label=name.replace("_", " "),
        )
    axes.set_ylabel("metrics on validation data")
    axes.legend(frameon=False)


def _mark_stages(axes: Any, steps: Sequence[Row], *, named: bool) -> None:
    """A line where a stage ends, and its name; nothing where there is one stage alone."""
    stages = [(name, list(rows)) for name, rows in groupby(steps, key=lambda row: row.get("stage"))]
    if len(stages) < 2:
        return
    start = 0
    for name, rows in stages:
        if start:
            axes.axvline(start, color=_STAGE, linewidth=0.8, linestyle="--")
        if named:
            axes.annotate(
                name,
                (start, 1),
                xycoords=("data", "axes fraction"),
                xytext=(0, 3),
                textcoords="offset points",
                rotation=30 if len(stages) > 3 else 0,
                verticalalignment="bottom",
                fontsize="small",
                color=_STAGE,
            )
        start = rows[-1]["step"]


def _running_mean(values: Array) -> Array:
    """The mean of each value and those before it, the older the less; (N,) -> (N,)."""
    kept = 1 - 2 / (1 + max(5, len(values) // 25))
    means, total, weight = np.empty_like(values), 0.0, 0.0
    for place, value in enumerate(values):
        total, weight = kept * total + value, kept * weight + 1
        means[place] = total / weight
    return means
