"""The commands of `mobilebert`, one module each: options and tables; the work is in core.

Rules: a module offers `command`, which `mobilebert.cli` registers; heavy imports are inside it, so
that `--help` is quick; text that is not ours goes through `plain`, for `[torch]` is rich's markup.
"""

import json
from typing import Any

import typer
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

_WIDTH_OF_PIPES = 160  # a file or a pipe has no width, and names broken in two cannot be searched


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
