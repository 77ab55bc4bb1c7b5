"""What a conformance run shows people and programs.

`FORMATS` lists the files that `write` makes; `terminal.py` shows a run while it goes on and at its
end. Every report is made from a `Run` alone. Read next: `summary.py`, which they share.
"""

from collections.abc import Callable
from pathlib import Path

from mobilebert_conformance.records import Run
from mobilebert_conformance.reports import html, json_report, junit, markdown
from mobilebert_core.checkpoints.atomic import replaced_file
from mobilebert_core.errors import MobileBertError

FORMATS: dict[str, tuple[str, Callable[[Run], str]]] = {
    "json": ("conformance.json", json_report.render),
    "html": ("conformance.html", html.render),
    "junit": ("conformance.xml", junit.render),
    "markdown": ("conformance.md", markdown.render),
}
"""The default file name and the renderer of each format, by its name."""


class ReportError(MobileBertError, ValueError):
    """A report cannot be written."""


def write(run: Run, format: str, path: Path) -> None:
    """Write a report, all of it or nothing.

    Args:
        run: what is reported.
        format: a name of `FORMATS`.
        path: the file; its folder is made if need be, a file of that name is replaced.

    Raises:
        ReportError: no format has this name, or the file cannot be written.
    """
    if format not in FORMATS:
        expected = ", ".join(FORMATS)
        raise ReportError(f"No report format is called {format!r}; expected one of {expected}")
    _, render = FORMATS[format]
    content = render(run).encode("utf-8", "backslashreplace")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replaced_file(path, mode="xb") as file:
            file.write(content)
    except OSError as error:
        raise ReportError(f"The {format} report cannot be written: {error}") from error
