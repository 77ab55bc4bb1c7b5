"""The options of `mobilebert train`, in the panels that its help shows.

Rules: an option that is not given is None and the library's default holds; names are those of
`mobilebert_training.training.train` and `TrainingSettings`. Read next: `train.py`.
"""

from pathlib import Path
from typing import Annotated

import typer

from mobilebert.commands.train_choices import (
    Dtype,
    Format,
    Head,
    Optimizer,
    Parallel,
    ProblemType,
    Schedule,
    Strategy,
)

_DATA, _MODEL, _LENGTH = "Data", "Model", "How long"
_UPDATES, _TEACHER, _RUN, _SHOWN = "Updates", "Teacher", "The run", "What is shown"


WhatHead = Annotated[
    Head,
    typer.Argument(metavar="HEAD", help=f"What to train: {', '.join(Head)}.", show_default=False),
]

TrainFiles = Annotated[
    list[str],
    typer.Option(
        "--train",
        metavar="FILE",
        rich_help_panel=_DATA,
        help="What to learn from; may be given several times. LABEL=FILE is a text file of one "
        "label, an example a line.",
    ),
]
ValidationFiles = Annotated[
    list[str] | None,
    typer.Option(
        "--validation",
        metavar="FILE",
        rich_help_panel=_DATA,
        help="What to measure on.  [default: a tenth of labelled examples; of running text none]",
        show_default=False,
    ),
]
ValidationFraction = Annotated[
    float | None,
    typer.Option(
        min=0.0, rich_help_panel=_DATA, help="How much is split off without such a file; 0: none."
    ),
]
GivenFormat = Annotated[
    Format | None, typer.Option("--format", rich_help_panel=_DATA, help="[default: by the ending]")
]
Text = Annotated[
    str | None, typer.Option(metavar="COLUMN", rich_help_panel=_DATA, help="Of the text.")
]
TextPair = Annotated[
    str | None, typer.Option(metavar="COLUMN", rich_help_panel=_DATA, help="Of the second text.")
]
Label = Annotated[
    str | None, typer.Option(metavar="COLUMN", rich_help_panel=_DATA, help="Of the label.")
]
Choices = Annotated[
    list[str] | None,
    typer.Option(
        "--choice", metavar="COLUMN", rich_help_panel=_DATA, help="Of a choice; several times."
    ),
]
Labels = Annotated[
    str | None,
    typer.Option(
        metavar="NAMES",
        rich_help_panel=_DATA,
        help="Names of labels in the order of their ids: a file with one a line, or separated by "
        "commas.  [default: those that occur]",
        show_default=False,
    ),
]
GivenProblemType = Annotated[
    ProblemType | None,
    typer.Option(
        metavar="TYPE",
        rich_help_panel=_DATA,
        help=f"What a label is: {', '.join(ProblemType)}.  [default: found out]",
        show_default=False,
    ),
]
Metric = Annotated[
    str | None,
    typer.Option(rich_help_panel=_DATA, help="What decides which model is kept, e.g. f1."),
]
MaxLength = Annotated[
    int | None,
    typer.Option(
        min=2,
        rich_help_panel=_DATA,
        help="Tokens of a row.  [default: 128; of questions 384; at most the model's positions]",
        show_default=False,
    ),
]
Stride = Annotated[
    int | None,
    typer.Option(
        min=0,
        rich_help_panel=_DATA,
        help="Tokens that consecutive windows of a long paragraph share; of questions.  [default: "
        "128, or a third of a row]",
        show_default=False,
    ),
]
Threshold = Annotated[
    float | None,
    typer.Option(
        min=0,
        max=1,
        rich_help_panel=_DATA,
        help="From which probability a label counts as said when several hold.  [default: 0.5]",
        show_default=False,
    ),
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
