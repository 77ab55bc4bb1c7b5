"""`mobilebert convert`: a checkpoint in another format."""

import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich import filesize
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from mobilebert.commands import (
    AsJson,
    GivenDialect,
    GivenFormat,
    Source,
    console,
    new_table,
    plain,
    print_json,
    show_warnings,
)

if TYPE_CHECKING:
    from mobilebert_core.conversion import Progress as Report
    from mobilebert_core.conversion_report import Conversion


_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9}


class _Format(StrEnum):
    SAFETENSORS = "safetensors"
    TORCH_BIN = "torch-bin"
    HF_TF_H5 = "hf-tf-h5"
    GOOGLE_TF1 = "google-tf1"
    FLAX_MSGPACK = "flax-msgpack"
    ORBAX = "orbax"
    KERAS_WEIGHTS = "keras-weights"
    NPZ = "npz"


def _bytes(text: str) -> int:
    """The number that `500MB` means."""
    found = re.fullmatch(r"(\d+)\s*([KMG]?)B?", text.strip(), re.IGNORECASE)
    if found is None or not int(found[1]):
        raise typer.BadParameter(f"{text!r} is no size; expected one such as 500MB")
    return int(found[1]) * _UNITS[found[2].upper()]


def command(
    source: Source,
    destination: Annotated[str, typer.Argument(help="A folder that does not exist yet.")],
    to: Annotated[_Format, typer.Option(help="The format to write.")] = _Format.SAFETENSORS,
    dtype: Annotated[
        str | None,
        typer.Option(help="float64, float32, bfloat16 or float16; by default each keeps its own."),
    ] = None,
    head: Annotated[
        str | None,
        typer.Option(help="Another head, e.g. base; one that the source lacks gets fresh weights."),
    ] = None,
    num_labels: Annotated[
        int | None, typer.Option(min=1, help="Number of labels of a fresh classifier.")
    ] = None,
    ignore_mismatched_sizes: Annotated[
        bool,
        typer.Option(
            "--ignore-mismatched-sizes",
            help="Give a classifier for another number of labels fresh weights.",
        ),
    ] = False,
    seed: Annotated[int, typer.Option(help="Of fresh weights.")] = 0,
    max_shard_size: Annotated[
        int | None,
        typer.Option(
            parser=_bytes,
            metavar="<size>",
            help="Most bytes of a weights file, e.g. 500MB (safetensors, torch-bin).",
        ),
    ] = None,
    manifest: Annotated[
        bool,
        typer.Option(
            "--manifest", help="Also write mobilebert-manifest.json: the SHA-256 of every tensor."
        ),
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Replace a checkpoint in the destination.")
    ] = False,
    tensors: Annotated[
        bool, typer.Option("--tensors", help="List every tensor: both names, and what changed.")
    ] = False,
    as_json: AsJson = False,
    format: GivenFormat = None,
    dialect: GivenDialect = None,
) -> None:
    """Write a checkpoint in another format, bit by bit the same weights.

    Formats: *safetensors*, *torch-bin* (pytorch_model.bin), *hf-tf-h5* (tf_model.h5 of
    transformers 4), *google-tf1* (Google's original code), *flax-msgpack* and *orbax* (JAX),
    *keras-weights* (model.weights.h5 of this library's Keras models), *npz* (NumPy). All are read
    as well; the source's is found by its files.

    The configuration is translated, the tokenizer's files come along, and what was written is read
    back and compared before the destination appears. An interrupted conversion leaves nothing.

    For example:

    - `mobilebert convert my-model my-model-tf --to hf-tf-h5`
    - `mobilebert convert bert.ckpt.index my-model`: from Google's original code
    - `mobilebert convert my-model small --dtype bfloat16 --manifest`
    - `mobilebert convert my-model classifier --head sequence-classification --num-labels 3`
    """
    from mobilebert_core.conversion import convert

    changes: dict[str, Any] = {} if num_labels is None else {"num_labels": num_labels}
    with show_warnings(), _bar() as report:
        found = convert(
            source,
            destination,
            to=to.value,
            dtype=dtype,
            head=head,
            seed=seed,
            ignore_mismatched_sizes=ignore_mismatched_sizes,
            max_shard_size=max_shard_size,
            manifest=manifest,
            force=force,
            format=format,
            dialect=None if dialect is None else dialect.value,
            progress=report,
            **changes,
        )
    if as_json:
        print_json(found.to_dict())
        return
    console().print(_summary(found))
    if found.dropped:
        console().print(_dropped(found))
    if tensors:
        console().print(_tensors(found))


@contextmanager
def _bar() -> "Iterator[Report]":
    """A bar on standard error for as long as something is being converted."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TimeRemainingColumn(),
    )
    errors = Console(stderr=True)
    with Progress(*columns, console=errors, transient=True, disable=not errors.is_terminal) as bar:
        tasks: dict[str, TaskID] = {}

        def report(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = bar.add_task(stage, total=total)
            bar.update(tasks[stage], completed=done)

        yield report


def _summary(found: "Conversion") -> Table:
    from mobilebert_core.tokenization.loading import FILES

    counts = Counter(change for row in found.tensors for change in row.changes)
    changes = ", ".join(f"{count} {change}" for change, count in counts.items())
    grid = Table.grid(padding=(0, 2))
    rows = {
        "from": f"{found.source} ({found.source_format})",
        "to": f"{found.destination} ({found.format})",
        "head": found.head,
        "tensors": f"{len(found.tensors)}, {filesize.decimal(found.nbytes)}, verified",
        "changes": changes or "none",
        "tokenizer": ", ".join(found.files) or "none in the source",
    }
    kept = [
        name for name in FILES if name not in found.files and (found.destination / name).exists()
    ]
    if kept:
        rows["tokenizer"] += f"; kept from before: {', '.join(kept)}"
    if found.dropped_settings:
        rows["left out of the configuration"] = ", ".join(found.dropped_settings)
    for name, value in rows.items():
        grid.add_row(plain(name, "bold"), plain(value))
    return grid


def _dropped(found: "Conversion") -> Table:
    kinds: dict[str, list[str]] = {}
    for each in found.dropped:
        kinds.setdefault(each.kind, []).append(each.name)
    table = new_table("Left out", "tensors", "why", "for example", numbers=("tensors",))
    for kind, names in kinds.items():
        table.add_row(plain(len(names)), plain(f"each a tensor {kind}"), plain(names[0]))
    return table


def _tensors(found: "Conversion") -> Table:
    table = new_table(
        f"{len(found.tensors)} tensors",
        "name in the source",
        "in the destination",
        "changes",
        "sha256",
    )
    for row in found.tensors:
        destination = "the same" if row.source == row.destination else row.destination
        cells = (row.source, destination, ", ".join(row.changes), row.sha256[:16])
        table.add_row(*map(plain, cells))
    return table
