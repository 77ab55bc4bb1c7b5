"""`mobilebert inspect`: what is in a checkpoint."""

import re
from typing import TYPE_CHECKING, Annotated

import typer
from rich import filesize
from rich.table import Table

from mobilebert.commands import (
    AsJson,
    GivenDialect,
    GivenFormat,
    console,
    new_table,
    plain,
    print_json,
)

if TYPE_CHECKING:
    from mobilebert_core.inspection import HeadRow, Inspection


# A layer with its number or numbers, or else the first word or two.
_GROUP = re.compile(r"(mobilebert\.encoder\.layer\.(?:\d+|\{.*?\})|mobilebert\.\w+|\w+)\.(.+)")


def command(
    source: Annotated[
        str | None,
        typer.Argument(
            help="A folder, a weights file, a packaged name or a hub id.  [default: the packaged "
            "mobilebert-nano]",
            show_default=False,
        ),
    ] = None,
    tensors: Annotated[
        bool, typer.Option("--tensors", help="List every tensor, not one row for those alike.")
    ] = False,
    as_json: AsJson = False,
    format: GivenFormat = None,
    dialect: GivenDialect = None,
) -> None:
    """Show the configuration, heads, sizes and tensors of a checkpoint.

    Values are not read, except to compare tensors that a file holds twice; no framework is needed.

    For example:

    - `mobilebert inspect`: the packaged model
    - `mobilebert inspect my-model`: a folder, tensors alike in one row
    - `mobilebert inspect my-model/model.safetensors --tensors`: a file, every tensor in its own row
    - `mobilebert inspect bert.ckpt.index --dialect google`: a checkpoint of Google's code
    - `mobilebert inspect my-model --json`: for programs
    """
    from mobilebert_core.inspection import inspect_checkpoint

    found = inspect_checkpoint(
        source, dialect=None if dialect is None else dialect.value, format=format
    )
    if as_json:
        print_json(found.to_dict())
        return
    shown = _every_tensor(found) if tensors else _tensors_alike(found)
    for table in (_summary(found), _config(found), _heads(found), _parameters(found), shown):
        console().print(table)


def _summary(found: "Inspection") -> Table:
    grid = Table.grid(padding=(0, 2))
    total = sum(found.parameters.values())
    rows = {
        "checkpoint": found.path,
        "format": found.format,
        "head": found.head or "not named",
        "dtype": ", ".join(found.dtypes),
        "size": f"{total:,} parameters, {filesize.decimal(found.nbytes)}",
    }
    for name, value in rows.items():
        grid.add_row(plain(name, "bold"), plain(value))
    for note in found.notes:
        grid.add_row(plain("note", "bold yellow"), plain(note))
    return grid


def _config(found: "Inspection") -> Table:
    defaults = type(found.config)().to_dict()
    table = new_table("Configuration", "field", "value", "default")
    table.columns[0].no_wrap = True
    for name, value in found.config.to_dict().items():
        if name in ("label2id", "model_type"):  # id2label says the first, the format the second
            continue
        default = defaults.get(name)
        differs = value != default
        shown = plain(value, "bold" if differs else "")
        table.add_row(plain(name), shown, plain(default if differs else "", "dim"))
    return table


def _heads(found: "Inspection") -> Table:
    table = new_table("Heads", "head", "can be loaded")
    for row in found.heads:
        table.add_row(plain(row.name), plain(*_verdict(row)))
    return table


def _verdict(row: "HeadRow") -> tuple[str, str]:
    parts = ", ".join(row.lacking)
    if not row.loads:
        return f"no: {parts} incomplete or of another shape", "red"
    if row.lacking:
        return f"to be trained: fresh weights for {parts}", "yellow"
    return "yes", "green"


def _parameters(found: "Inspection") -> Table:
    numbers = ("parameters", "share")
    table = new_table("Parameters", "part", *numbers, numbers=numbers)
    total = sum(found.parameters.values())
    for part, count in found.parameters.items():
        table.add_row(plain(part), f"{count:,}", f"{count / total:.1%}")
    return table


def _tensors_alike(found: "Inspection") -> Table:
    """One row for tensors that differ in their numbers alone, grouped by where they belong."""
    from mobilebert_core.inspection import collapse

    title = f"{len(found.tensors)} tensors, those alike in one row (--tensors lists each)"
    numbers = ("count", "size")
    table = new_table(title, "name", "shape", "dtype", *numbers, numbers=numbers)
    group = ""
    for row in collapse(found.tensors):
        module, name = _split(row.name)
        if module != group:
            table.add_row(plain(module, "bold"))
            group = module
        size = filesize.decimal(row.nbytes)
        table.add_row(plain(name), plain(row.shape), plain(row.dtype), str(row.count), size)
    return table


def _split(name: str) -> tuple[str, str]:
    """Where a tensor belongs, e.g. `mobilebert.encoder.layer.{0..23}`, and the rest of its name."""
    found = _GROUP.match(name)
    assert found is not None
    return found[1], found[2]


def _every_tensor(found: "Inspection") -> Table:
    title = f"{len(found.tensors)} tensors"
    table = new_table(title, "name", "shape", "dtype", "size", numbers=("size",))
    for row in found.tensors:
        size = filesize.decimal(row.nbytes)
        table.add_row(plain(row.name), plain(row.shape), plain(row.dtype), size)
    return table
