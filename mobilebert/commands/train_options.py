"""The options of `mobilebert train`, in the panels that its help shows.

Rules: an option that is not given is None and the library's default holds; names are those of
`mobilebert_training.training.train` and `TrainingSettings`. Those of the files are in
`train_data_options.py`. Read next: `train.py`.
"""

from pathlib import Path
from typing import Annotated

import typer

from mobilebert.commands.train_choices import (
    Dtype,
    Head,
    Optimizer,
    Parallel,
    Schedule,
    Strategy,
)

_MODEL, _LENGTH = "Model", "How long"
_UPDATES, _TEACHER, _RUN, _SHOWN = "Updates", "Teacher", "The run", "What is shown"


WhatHead = Annotated[
    Head,
    typer.Argument(metavar="HEAD", help=f"What to train: {', '.join(Head)}.", show_default=False),
]

Model = Annotated[
    str | None,
    typer.Option(
        metavar="SOURCE",
        rich_help_panel=_MODEL,
        help="What to start from: a folder, a packaged name or a hub id.  [default: "
        "mobilebert-nano]",
        show_default=False,
    ),
]
Config = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        rich_help_panel=_MODEL,
        help="Instead, fresh weights: of a preset (nano, tiny, opt, teacher) or a JSON file.",
    ),
]
Tokenizer = Annotated[
    str | None,
    typer.Option(
        metavar="SOURCE", rich_help_panel=_MODEL, help="[default: the model's]", show_default=False
    ),
]
Epochs = Annotated[
    float | None,
    typer.Option(
        rich_help_panel=_LENGTH,
        help="Passes over the examples.  [default: 5; of running text 10]",
        show_default=False,
    ),
]
Steps = Annotated[
    int | None, typer.Option(min=1, rich_help_panel=_LENGTH, help="Or: how many updates.")
]
Patience = Annotated[
    int | None,
    typer.Option(
        min=1,
        rich_help_panel=_LENGTH,
        help="End after so many evaluations without a better metric.",
    ),
]
BatchSize = Annotated[
    int | None,
    typer.Option(
        min=1,
        rich_help_panel=_UPDATES,
        help="Rows of an update, of all processes together.  [default: 32; of running text 64]",
        show_default=False,
    ),
]
MicroBatches = Annotated[
    int | None,
    typer.Option(
        min=1, rich_help_panel=_UPDATES, help="Cut them into so many parts, to save memory."
    ),
]
LearningRate = Annotated[
    float | None,
    typer.Option(
        rich_help_panel=_UPDATES,
        help="Its peak.  [default: 1e-4 with AdamW, 2e-3 with LAMB]",
        show_default=False,
    ),
]
GivenOptimizer = Annotated[
    Optimizer | None,
    typer.Option(
        rich_help_panel=_UPDATES, help="[default: adamw; of running text lamb]", show_default=False
    ),
]
GivenSchedule = Annotated[
    Schedule | None,
    typer.Option(rich_help_panel=_UPDATES, help="After the warm-up.  [default: linear]"),
]
Warmup = Annotated[
    float | None,
    typer.Option(rich_help_panel=_UPDATES, help="Fraction of the steps.  [default: 0.1]"),
]
WeightDecay = Annotated[
    float | None,
    typer.Option(rich_help_panel=_UPDATES, help="Of kernels and embeddings.  [default: 0.01]"),
]
ClipNorm = Annotated[
    float | None,
    typer.Option(
        rich_help_panel=_UPDATES, help="Longest gradient; 0: as long as it is.  [default: 1]"
    ),
]
GivenDtype = Annotated[
    Dtype | None,
    typer.Option(
        rich_help_panel=_UPDATES, help="Of products; parameters stay float32.  [default: float32]"
    ),
]
Seed = Annotated[
    int | None,
    typer.Option(
        rich_help_panel=_UPDATES, help="Of order, masks, dropout and fresh weights.  [default: 0]"
    ),
]
Teacher = Annotated[
    str | None,
    typer.Option(
        metavar="SOURCE",
        rich_help_panel=_TEACHER,
        help="A model to learn from, for masked-lm and pretraining.",
    ),
]
GivenStrategy = Annotated[
    Strategy | None,
    typer.Option(
        rich_help_panel=_TEACHER,
        help="Layer by layer, all layers first, all at once, or predictions alone.  [default: "
        "progressive]",
        show_default=False,
    ),
]
TransferFraction = Annotated[
    float | None,
    typer.Option(
        rich_help_panel=_TEACHER,
        help="Of the steps, spent on layers (progressive, joint).  [default: 0.4]",
    ),
]
Distillation = Annotated[
    float | None,
    typer.Option(
        rich_help_panel=_TEACHER,
        help="Weight of the teacher's predictions against the labels.  [default: 0.5]",
    ),
]
Output = Annotated[
    Path,
    typer.Option(
        metavar="FOLDER",
        rich_help_panel=_RUN,
        help="Of the run: a new one, or that of a run to go on with. The result is in its model/.",
    ),
]
EvaluateEvery = Annotated[
    int | None,
    typer.Option(
        min=0,
        rich_help_panel=_RUN,
        help="Steps between evaluations.  [default: an epoch; of running text 500]",
        show_default=False,
    ),
]
SaveEvery = Annotated[
    int | None,
    typer.Option(
        min=0,
        rich_help_panel=_RUN,
        help="Steps between checkpoints.  [default: as evaluations, 500 at most]",
        show_default=False,
    ),
]
Keep = Annotated[
    int | None,
    typer.Option(min=1, rich_help_panel=_RUN, help="How many checkpoints stay.  [default: 2]"),
]
GivenParallel = Annotated[
    Parallel,
    typer.Option(
        rich_help_panel=_RUN,
        help="Under torchrun: each process has the model (ddp) or a part of it (fsdp).",
    ),
]
Device = Annotated[
    str | None,
    typer.Option(
        rich_help_panel=_RUN, help="E.g. cuda.  [default: a GPU where there is one]",
        show_default=False,
    ),
]  # fmt: skip
Backend = Annotated[str, typer.Option(rich_help_panel=_RUN, help="Whose trainer; torch has one.")]
AsJson = Annotated[
    bool, typer.Option("--json", rich_help_panel=_SHOWN, help="Print the result as JSON.")
]
Tensorboard = Annotated[
    bool,
    typer.Option("--tensorboard/--no-tensorboard", rich_help_panel=_SHOWN,
                 help="Also log for TensorBoard, in FOLDER/tensorboard."),
]  # fmt: skip
Plot = Annotated[
    bool,
    typer.Option("--plot/--no-plot", rich_help_panel=_SHOWN,
                 help="Draw FOLDER/learning_curve.png at the end."),
]  # fmt: skip
