"""The report for people: one HTML file with heat maps, a chart and every comparison.

Rules: no network, which the page's security policy forbids; the script is known by its hash, so
that no text of a run could ever run; the comparisons are JSON, which `report.js` shows, sorts and
filters. Read next: `html_tables.py`, `chart.py`, `report.css`.
"""

import base64
import hashlib
import json
from importlib.resources import files

from mobilebert_conformance.records import Record, Run, by_head_and_backend
from mobilebert_conformance.reports import chart, html_tables, summary
from mobilebert_conformance.reports.json_report import writable
from mobilebert_conformance.reports.markup import Markup, join, tag
from mobilebert_conformance.reports.wording import (
    ALL_HEADS,
    cell_text,
    clause_text,
    duration,
    head_text,
    heat,
    plural,
)

# In the order of the table; `report.js` knows these names.
COLUMNS = (
    "clause",
    "backend",
    "head",
    "case",
    "dtype",
    "quantity",
    "error",
    "limit",
    "ratio",
    "compared",
    "note",
)


def render(run: Run) -> str:
    """The whole page."""
    style, script = (_resource(name) for name in ("report.css", "report.js"))
    verdict = summary.verdict(run)
    head = join(
        Markup('<meta charset="utf-8">'),
        Markup('<meta name="viewport" content="width=device-width, initial-scale=1">'),
        Markup('<meta name="color-scheme" content="light dark">'),
        Markup(f'<meta http-equiv="Content-Security-Policy" content="{_policy(script)}">'),
        tag("title", f"MobileBERT conformance: {verdict.word}"),
        tag("style", style),
    )
    body = join(
        _header(run, verdict),
        tag("main", *_sections(run)),
        _dialog(),
        tag("script", _embedded(run), type="application/json", id="data"),
        tag("script", script),
    )
    page = tag("html", tag("head", head), tag("body", body), lang="en")
    return f"<!DOCTYPE html>\n{page}\n"


def _resource(name: str) -> Markup:
    """A file of this package, as it is."""
    return Markup(files(__package__).joinpath(name).read_text("utf-8"))


def _policy(script: str) -> str:
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"


def _header(run: Run, verdict: summary.Verdict) -> Markup:
    facts = {
        "checkpoint": run.source or "the suite's own cases",
        "profile": run.profile,
        "comparisons": f"{len(run.records):,}",
        "values compared": f"{summary.values_compared(run):,}",
        "failures": f"{len(run.failures):,}",
        "checks skipped": f"{len(run.skips):,}",
        "duration": duration(run.seconds),
        "started": run.started,
        "platform": run.platform,
    }
    items = [tag("div", tag("dt", name), tag("dd", value)) for name, value in facts.items()]
    sign = "✓" if verdict.conforms else "✗"
    badge = tag(
        "p",
        tag("span", sign, aria_hidden="true", class_="sign"),
        tag("strong", verdict.word[:1].upper() + verdict.word[1:]),
        tag("span", verdict.text),
        class_="verdict good" if verdict.conforms else "verdict bad",
    )
    return tag("header", tag("h1", "MobileBERT conformance"), badge, tag("dl", *items))


def _sections(run: Run) -> list[Markup]:
    names = summary.backends(run)
    found = [
        ("Failures", "The first faulty quantity of each check.", html_tables.failures(run)),
        ("Worst error over its limit", "Select a cell for its record.", _maps(run)),
        ("Backends", "", html_tables.participants(run.participants)),
        (
            "Locality",
            "The error of each layer alone, run on the backend's own input of that layer.",
            chart.locality(run.records, names),
        ),
        ("Reproducible mode", "How many values differ by a bit.", html_tables.bits(run)),
        ("Mutants", "Broken models, and which clause rejects each.", html_tables.mutants(run)),
        ("All comparisons", "", _comparisons(run)),
        ("Checks that do not apply", "", html_tables.skips(run)),
    ]
    return [
        tag("section", tag("h2", title), tag("p", hint, class_="quiet") if hint else "", content)
        for title, hint, content in found
        if content is not None
    ]


def _maps(run: Run) -> Markup:
    names, records = summary.backends(run), run.records
    places = {id(record): place for place, record in enumerate(records)}

    def indexed(cells: dict[tuple[str, str], Record]) -> dict[tuple[str, str], int]:
        return {key: places[id(record)] for key, record in cells.items()}

    by_head = indexed(by_head_and_backend(records))
    by_clause = indexed(summary.by_clause_and_backend(records))
    rows = summary.heads(run)
    maps = (
        html_tables.heat_map("head", rows, head_text, names, by_head, records),
        html_tables.heat_map(
            "clause", summary.clauses(run), clause_text, names, by_clause, records
        ),
    )
    return join(tag("div", *maps, class_="maps"), html_tables.legend())


def _comparisons(run: Run) -> Markup:
    """The table that the script fills."""
    field = tag(
        "label",
        "Filter ",
        Markup(
            '<input type="search" id="filter" autocomplete="off" '
            'placeholder="words that all occur, e.g. torch masked-lm 1.2">'
        ),
    )
    box = tag("label", Markup('<input type="checkbox" id="failed"> failures only'))
    count = tag("output", plural(len(run.records), "comparison"), id="count")
    headings = [
        tag("th", tag("button", name, type="button"), scope="col", data_column=name)
        for name in ("error / limit" if each == "ratio" else each for each in COLUMNS)
    ]
    made = tag("table", tag("thead", tag("tr", *headings)), tag("tbody"), id="records")
    return join(
        tag("div", field, box, count, class_="tools"),
        tag("div", made, class_="scroll"),
        tag("p", tag("button", "Show more", type="button", id="more", hidden="hidden")),
        tag("noscript", tag("p", "This table needs JavaScript; the JSON report holds the same.")),
    )


def _dialog() -> Markup:
    close = tag("button", "Close", type="submit")
    show = tag("button", "Show all of this backend and head", type="button", id="show-cell")
    form = tag("form", show, close, method="dialog")
    parts = (tag("h2", "", id="details-title"), tag("dl", id="details-facts"), form)
    return tag("dialog", *parts, id="details", aria_labelledby="details-title")


def _embedded(run: Run) -> Markup:
    """The comparisons as JSON that can end neither its element nor begin a comment."""
    rows = [_row(record) for record in run.records]
    values = {"columns": COLUMNS, "allHeads": ALL_HEADS, "rows": rows}
    text = json.dumps(writable(values), separators=(",", ":"), allow_nan=False)
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))


def _row(record: Record) -> list[object]:
    """The columns, then whether it passed, the step of its colour, words for its ratio, why not."""
    values = [getattr(record, name) for name in COLUMNS]
    return [*values, int(record.passed), heat(record), cell_text(record), record.reason]
