"""`mobilebert demo`: what the packaged models say, and every head in every backend, compared."""

import math
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from mobilebert.commands import console, new_table, plain, print_json
from mobilebert_core import packaged

if TYPE_CHECKING:
    from mobilebert_core.demonstration import Measurement, Participant
    from mobilebert_core.showcase import Saying


class _Dtype(StrEnum):
    FLOAT64 = "float64"
    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"


def command(
    backend: Annotated[
        list[str] | None,
        typer.Option(help="Run this backend only; may be given several times.  [default: all]"),
    ] = None,
    dtype: Annotated[_Dtype, typer.Option(help="What the models compute in.")] = _Dtype.FLOAT32,
    layers: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Take a model of full width with this many layers and random weights.  "
            "[default: the packaged mobilebert-nano]",
            show_default=False,
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of weights that are random.")] = 0,
    folder: Annotated[
        Path | None,
        typer.Option(help="With --layers: make the checkpoint in this empty folder and keep it."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Run the packaged model: every head in every installed backend, on real sentences, compared.

    First shows what the packaged models say of a few sentences. Then loads mobilebert-nano in each
    backend, and measures how far each is from NumPy in float64 and how long a call takes. Ends with
    exit code 1 when something fails or deviates too much.

    For example:

    - `mobilebert demo`: everything that is installed, in float32
    - `mobilebert demo --backend torch --dtype bfloat16`: one backend, another dtype
    - `mobilebert demo --layers 24`: of the size of the published model, with random weights
    - `mobilebert demo --layers 2 --folder demo-model`: such a checkpoint that stays there
    - `mobilebert demo --json`: for programs
    """
    from mobilebert_core import demonstration
    from mobilebert_core.heads import HEADS

    _check_folder(folder, layers)
    sayings = _showcase(quiet=as_json) if layers is None else []
    with (
        _quiet_frameworks() as stream,
        _progress(stream) as progress,
        _checkpoint_folder(folder, layers) as path,
    ):
        task = progress.add_task("Importing the frameworks", total=None)

        def announce(step: str) -> None:
            progress.update(task, description=step)

        found = demonstration.participants(backend or (), dtype.value)
        running = [each.name for each in found if not each.absence]
        progress.update(task, total=len(HEADS) * len(running))
        if layers is not None:
            announce(f"Making a checkpoint of {layers} layers")
            demonstration.make_checkpoint(path, demonstration.demonstration_config(layers), seed)
        results = []
        for result in demonstration.demonstrate(
            path, running, dtype=dtype.value, seed=seed, announce=announce
        ):
            results.append(result)
            progress.advance(task)
    setting = {"model": _model(layers), "layers": layers, "dtype": dtype.value, "seed": seed}
    if as_json:
        said = {"showcase": [asdict(each) for each in sayings]} if layers is None else {}
        print_json(_as_dict(setting, found, results) | said)
    else:
        _print(setting, found, results, folder)
    if not _passed(found, results):
        raise typer.Exit(1)


def _check_folder(folder: Path | None, layers: int | None) -> None:
    if folder is None:
        return
    if layers is None:
        raise typer.BadParameter(
            "The packaged model is kept already; give --layers for a checkpoint to be made.",
            param_hint="--folder",
        )
    if folder.exists() and (folder.is_file() or any(folder.iterdir())):
        raise typer.BadParameter(f"{folder} is there and not empty.", param_hint="--folder")


def _showcase(*, quiet: bool) -> "list[Saying]":
    """What the packaged models say, in a table unless it is to be quiet."""
    from mobilebert_core.showcase import showcase

    sayings = list(showcase())
    if not quiet:
        table = new_table("What the packaged models say", "model", "text", "answer")
        before = ""
        for each in sayings:
            name = each.model if each.model != before else ""
            table.add_row(plain(name, "bold"), plain(each.text), plain(each.said, "green"))
            before = each.model
        console().print(table)
    return sayings


def _model(layers: int | None) -> str:
    """What the table is about."""
    if layers is None:
        return packaged.DEFAULT
    return f"random weights, {layers} layer{'s' * (layers > 1)}"


@contextmanager
def _quiet_frameworks() -> Iterator[TextIO]:
    """Standard error for the progress display alone.

    Frameworks write log lines there past Python, in the middle of the display. They wait in a file,
    which is shown when something goes wrong.
    """
    try:
        number = sys.stderr.fileno()
    except OSError:  # no file: a program or a test holds the stream, and nothing can write past it
        yield sys.stderr
        return
    with tempfile.TemporaryFile() as log, os.fdopen(os.dup(number), "w") as own:
        sys.stderr.flush()
        os.dup2(log.fileno(), number)
        try:
            yield own
        except BaseException:
            log.seek(0)
            own.write(log.read().decode(errors="replace"))
            raise
        finally:
            sys.stderr.flush()
            own.flush()
            os.dup2(own.fileno(), number)


def _progress(stream: TextIO) -> Progress:
    """On standard error, so that standard output holds the result alone."""
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=Console(file=stream),
        transient=True,
    )


@contextmanager
def _checkpoint_folder(folder: Path | None, layers: int | None) -> Iterator[Path]:
    """The packaged model; or a folder to keep, or one that goes at the end."""
    if layers is None or folder is not None:
        yield packaged.default() if folder is None else folder
        return
    with tempfile.TemporaryDirectory(prefix="mobilebert-demo-") as temporary:
        yield Path(temporary) / "checkpoint"


def _passed(found: "list[Participant]", results: "list[Measurement]") -> bool:
    return not any(each.broken for each in found) and not any(each.fault for each in results)


def _as_dict(
    setting: dict[str, Any], found: "list[Participant]", results: "list[Measurement]"
) -> dict[str, Any]:
    from mobilebert_core.demonstration import LIMITS

    rows = [asdict(result) for result in results]
    for row in rows:
        if row["deviation"] is not None and not math.isfinite(row["deviation"]):
            row["deviation"] = None  # JSON has no infinity; the fault says it
    return setting | {
        "reference": "numpy in float64",
        "limit": LIMITS[setting["dtype"]],
        "passed": _passed(found, results),
        "absent": {each.name: each.absence for each in found if each.absence},
        "results": rows,
    }


def _print(
    setting: dict[str, Any],
    found: "list[Participant]",
    results: "list[Measurement]",
    folder: Path | None,
) -> None:
    from mobilebert_core.demonstration import LIMITS

    limit = LIMITS[setting["dtype"]]
    table = new_table(
        f"Largest deviation and time of a call: {setting['model']}, {setting['dtype']}, "
        f"seed {setting['seed']}",
        "head",
    )
    for each in found:
        note = f"\n{each.absence}" if each.absence else ""
        table.add_column(Text.assemble(each.name, (note, "dim")), justify="right", overflow="fold")
    cells = {(result.head, result.backend): result for result in results}
    for head in dict.fromkeys(result.head for result in results):
        table.add_row(head, *(_cell(cells.get((head, each.name))) for each in found))
    output = console()
    output.print(table)
    output.print(plain(_explanation(limit, setting["layers"]), "dim"))
    for result in results:
        if result.fault:
            fault = f"{result.backend}, {result.head}: {result.fault}"
            output.print(plain(fault, "red"), soft_wrap=True)
    if folder is not None:
        hint = f"The checkpoint is in {folder}; try: mobilebert inspect {folder}"
        output.print(plain(hint), soft_wrap=True)


def _cell(result: "Measurement | None") -> Text:
    if result is None:
        return plain("-", "dim")
    if result.deviation is None:
        return plain("failed", "red")
    text = f"{result.deviation:.1e} {result.milliseconds:8.1f} ms"
    return plain(text, "red" if result.fault else "")


def _explanation(limit: float, layers: int | None) -> str:
    deviation = (
        "Deviation: rms of the difference from the NumPy backend in float64 over the rms of its "
        "values, the worst channel of hidden states and the worst row of anything else; above "
        f"{limit:.0e} is a fault, in red. "
    )
    milliseconds = (
        "Milliseconds: median of up to 3 calls after the first, NumPy in and NumPy out; other "
        "programs disturb it. "
    )
    if layers is None:
        return (
            f"{deviation}{milliseconds}Heads that the model was not trained for have random "
            "classifiers. Models of the published size, with random weights: --layers 24."
        )
    return (
        f"{deviation}On 24 layers rounding alone gives up to 2e-5 in float32, 3e-14 in float64 and "
        f"0.3 in bfloat16. {milliseconds}The weights are random: what the model says means nothing."
    )
