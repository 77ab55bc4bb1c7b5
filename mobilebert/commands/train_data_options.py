"""The options of `mobilebert train` that say what the files are and where things stand in them.

The rules are those of `train_options.py`.
"""

from typing import Annotated

import typer

from mobilebert.commands.train_choices import Format, ProblemType

_DATA = "Data"

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
Header = Annotated[
    bool | None,
    typer.Option(
        "--header/--no-header",
        rich_help_panel=_DATA,
        help="Whether a table's first row names its columns.  [default: if it has a usual name, or "
        "one of those below]",
        show_default=False,
    ),
]
Quoted = Annotated[
    bool | None,
    typer.Option(
        "--quoted/--no-quoted",
        rich_help_panel=_DATA,
        help="Whether fields of a table may stand in quotation marks.  [default: in .csv only]",
        show_default=False,
    ),
]
Encoding = Annotated[
    str | None,
    typer.Option(rich_help_panel=_DATA, help="Of labelled files, e.g. latin-1.  [default: utf-8]"),
]
Text = Annotated[
    str | None,
    typer.Option(
        metavar="COLUMN",
        rich_help_panel=_DATA,
        help="Name or number (from 0) of the text's column.  [default: text, sentence, premise, "
        "question, ...; without a header the first]",
        show_default=False,
    ),
]
TextPair = Annotated[
    str | None,
    typer.Option(
        metavar="COLUMN",
        rich_help_panel=_DATA,
        help="Of the second text's.  [default: text_pair, sentence2, hypothesis, ... where --text "
        "is not given]",
        show_default=False,
    ),
]
Label = Annotated[
    str | None,
    typer.Option(
        metavar="COLUMN",
        rich_help_panel=_DATA,
        help="Of the label's.  [default: label, score, target, class, ...; without a header the "
        "one after the text]",
        show_default=False,
    ),
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
    typer.Option(rich_help_panel=_DATA, help="What decides which model is kept, e.g. f1_micro."),
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
        help="From which probability on a label holds where texts have several: for the metric; "
        "`mobilebert predict` takes it too.  [default: 0.5]",
        show_default=False,
    ),
]
