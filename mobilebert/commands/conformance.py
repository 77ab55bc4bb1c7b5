"""`mobilebert conformance`: do all backends compute the same? A table, heads x backends."""

import importlib.util
import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from mobilebert.commands import console, plain
from mobilebert_core.heads import HEADS

_Head = StrEnum("_Head", {name: name for name in HEADS})  # type: ignore[misc]


class _Dtype(StrEnum):
    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"


def command(
    source: Annotated[
        str | None,
        typer.Argument(
            metavar="[SOURCE]",
            help="Your own checkpoint: a folder, a weights file, a packaged name or a "
            "hub id. "
            "[default: the suite's own cases]",
            show_default=False,
        ),
    ] = None,
    backend: Annotated[
        list[str] | None,
        typer.Option(help="This backend only; may be given several times.  [default: all]"),
    ] = None,
    require: Annotated[
        list[str] | None,
        typer.Option(help="Exit with code 2 when this backend is not installed; repeatable."),
    ] = None,
    head: Annotated[
        list[_Head] | None,
        typer.Option(help="This head only; repeatable.  [default: all, or the checkpoint's own]"),
    ] = None,
    dtype: Annotated[
        list[_Dtype] | None,
        typer.Option(
            help="Besides float64 this dtype only; repeatable.  [default: all that are claimed]"
        ),
    ] = None,
    quick: Annotated[
        bool,
        typer.Option(
            "--quick", help="Every head, variant and input once: minutes, not half an hour."
        ),
    ] = False,
    report: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FORMAT[=PATH]",
            help="Also write a report: json, html, junit or markdown; repeatable.",
        ),
    ] = None,
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Backends at a time.  [default: one a processor]")
    ] = None,
) -> None:
    """Hold every installed backend to the specification, each in an interpreter of its own.

    Each cell of the table is the worst error over its limit for a head and a backend: drift shows
    before it fails. Ends with 0 when all conform, with 1 when one does not, and with 2 when a
    required backend is absent.

    For example:

    - `mobilebert conformance --quick`: all that is installed, in minutes
    - `mobilebert conformance my-model --require torch --report junit`: a gate for a checkpoint
    - `mobilebert conformance --backend tf --head masked-lm`: one backend, one head, everything
    - `mobilebert conformance --report html --report json=results/run.json`: to look at and to keep
    """
    _require_packages()
    from mobilebert_conformance.reports import FORMATS, write
    from mobilebert_conformance.reports.live import LiveTable
    from mobilebert_conformance.reports.terminal import print_result
    from mobilebert_conformance.runner import Options, participants, run

    files = [_report_file(each, FORMATS) for each in report or ()]
    options = Options(
        backends=tuple(backend or ()),
        required=tuple(require or ()),
        heads=tuple(each.value for each in head or ()),
        dtypes=tuple(each.value for each in dtype or ()),
        source=source,
        quick=quick,
        jobs=jobs or os.cpu_count() or 1,
    )
    names = [each.backend for each in participants(options)]
    rows = options.heads or (() if source else tuple(HEADS))  # a checkpoint has its own
    with LiveTable(names, rows) as table:
        result = run(options, table)
    print_result(result, console())
    for format, path in files:
        write(result, format, path)
        console().print(plain(f"Wrote {path}"), soft_wrap=True)
    if result.exit_code:
        raise typer.Exit(result.exit_code)


def _require_packages() -> None:
    """Say what to install before anything else is said."""
    from mobilebert_core.errors import MissingDependencyError

    missing = [name for name in ("pytest", "hypothesis") if importlib.util.find_spec(name) is None]
    if missing:
        raise MissingDependencyError(
            f"The conformance suite needs {' and '.join(missing)}, which is not installed; type: "
            'pip install "mobilebert[conformance]"'
        )


def _report_file(text: str, formats: Any) -> tuple[str, Path]:
    """The format and the path of `FORMAT[=PATH]`."""
    format, _, path = text.partition("=")
    if format not in formats:
        raise typer.BadParameter(
            f"{format!r} is no format; expected one of {', '.join(formats)}", param_hint="--report"
        )
    return format, Path(path or formats[format][0])
