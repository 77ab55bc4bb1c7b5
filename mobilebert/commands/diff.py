"""`mobilebert diff`: what differs between two checkpoints."""

from math import inf
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from mobilebert.commands import (
    AsJson,
    GivenFormat,
    Source,
    console,
    new_table,
    plain,
    print_json,
    show_error,
)
from mobilebert_core.errors import MobileBertError

if TYPE_CHECKING:
    from mobilebert_core.comparison import Comparison


def command(
    first: Source,
    second: Source,
    limit: Annotated[
        int, typer.Option(min=0, help="Show this many tensors that differ; 0 shows all.")
    ] = 20,
    format: GivenFormat = None,
    as_json: AsJson = False,
) -> None:
    """Compare two checkpoints tensor by tensor, across formats, the largest difference first.

    Tensors are compared bit by bit under their canonical names and layouts, so that a TensorFlow
    checkpoint can be held against the PyTorch one that it came from. The configuration counts too.
    Exit code 0: the same; 1: they differ; 2: they could not be compared.

    For example:

    - `mobilebert diff my-model my-model-tf`: is a conversion exact?
    - `mobilebert diff before after --limit 5`: what has training changed most?
    - `mobilebert diff a b --json`: for programs
    """
    from mobilebert_core.comparison import diff

    try:
        found = diff(first, second, format=format)
    except MobileBertError as error:
        show_error(error)
        raise typer.Exit(2) from error
    if as_json:
        print_json(found.to_dict())
    else:
        _show(found, limit)
    raise typer.Exit(0 if found.same else 1)


def _show(found: "Comparison", limit: int) -> None:
    if found.same:
        console().print(plain(f"The same: {found.compared} tensors, bit by bit.", "green"))
        return
    if found.settings:
        table = new_table("Configuration", "field", "first", "second")
        for name, values in found.settings.items():
            table.add_row(plain(name), *(plain(value) for value in values))
        console().print(table)
    if found.tensors:
        console().print(_tensors(found, limit))
    equal = found.compared - sum(row.kind in ("values", "dtype", "shape") for row in found.tensors)
    console().print(plain(f"{len(found.tensors)} tensors differ, {equal} are the same."))


def _tensors(found: "Comparison", limit: int) -> Table:
    shown = found.tensors[: limit or None]
    title = "Tensors that differ" + f", {len(shown)} of {len(found.tensors)}" * (
        len(shown) < len(found.tensors)
    )
    numbers = ("numbers", "largest", "relative")
    table = new_table(title, "name", "differs in", "first", "second", *numbers, numbers=numbers)
    for row in shown:
        distances = (
            "" if each == inf and row.first != row.second else f"{each:.3g}"
            for each in (row.largest, row.relative)
        )
        cells = (row.name, row.kind, row.first, row.second, f"{row.count:,}", *distances)
        table.add_row(*map(plain, cells))
    return table
