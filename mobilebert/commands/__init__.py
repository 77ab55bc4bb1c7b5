"""The commands of `mobilebert`, one module each: options and tables; the work is in core.

Rules: a module offers `command`, which `mobilebert.cli` registers; heavy imports are inside it, so
that `--help` is quick; text that is not ours goes through `plain`, for `[torch]` is rich's markup.
"""

import json
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import Annotated, Any

import typer
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text


class Dialect(StrEnum):
    """The dialects of a configuration file, as `mobilebert_core.dialects` has them."""

    TRANSFORMERS = "transformers"
    GOOGLE = "google"


Source = Annotated[
    str,
    typer.Argument(
        help="A folder, a weights file, a packaged name such as mobilebert-nano, or a hub id, "
        "which is downloaded."
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print everything as JSON instead of tables.")]
GivenFormat = Annotated[
    str | None, typer.Option("--format", help="Which format to read when a folder holds several.")
]
GivenDialect = Annotated[
    Dialect | None,
    typer.Option("--dialect", help="How to read a configuration that does not say it."),
]

_WIDTH_OF_PIPES = 160  # a file or a pipe has no width, and names broken in two cannot be searched


def show_error(error: Exception) -> None:
    """One message on standard error."""
    message = Text.assemble(("Error: ", "bold red"), str(error))
    Console(stderr=True).print(message, soft_wrap=True)


def note(told: str) -> None:
    """One remark on standard error."""
    text = Text.assemble(("Note: ", "bold yellow"), told)
    Console(stderr=True).print(text, soft_wrap=True)


@contextmanager
def show_warnings() -> Iterator[None]:
    """Show the library's own warnings as notes on standard error, without file and line."""
    from mobilebert_core.errors import MobileBertWarning

    usual = warnings.showwarning

    def show(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
        if issubclass(category, MobileBertWarning):
            note(str(message))
        else:
            usual(message, category, *where, **more)

    with warnings.catch_warnings():
        warnings.simplefilter("always", MobileBertWarning)
        warnings.showwarning = show
        yield


def console() -> Console:
    """Standard output."""
    found = Console()
    return found if found.is_terminal else Console(width=_WIDTH_OF_PIPES)


def new_table(title: str, *columns: str, numbers: tuple[str, ...] = ()) -> Table:
    """An empty table; `numbers` names the columns that are aligned to the right."""
    table = Table(title=title, title_justify="left", box=box.SIMPLE, pad_edge=False)
    for column in columns:
        table.add_column(column, justify="right" if column in numbers else "left", overflow="fold")
    return table


def plain(text: object, style: str = "") -> Text:
    """Text that rich prints as it is."""
    return Text(str(text), style)


def print_json(values: Any) -> None:
    """Values as JSON on standard output, and nothing else."""
    typer.echo(json.dumps(values, indent=2, allow_nan=False))
