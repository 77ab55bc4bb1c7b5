"""The tables of the HTML report, made without JavaScript: heat maps, backends, failures, mutants.

Rules: a cell of a heat map is a button that names its record by place; the script shows the rest.
Without the script the number and the tooltip remain. Read next: `html.py` for the page.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

from mobilebert_conformance.records import Participant, Record, Run
from mobilebert_conformance.reports import summary
from mobilebert_conformance.reports.markup import Markup, join, tag
from mobilebert_conformance.reports.wording import (
    cell_text,
    clause_text,
    duration,
    head_text,
    heat,
    plural,
    tooltip,
    where_text,
)

_FAILURES = 200  # the table of all comparisons holds the others
_STEPS = ("0", "1e-5", "1e-4", "0.001", "0.01", "0.1", "0.5", "1", "10")


def table(columns: Iterable[str], rows: Iterable[Sequence[str]], class_: str = "") -> Markup:
    """A table whose rows have a heading each; cells that are no `td` or `th` yet become one."""
    heading = tag("tr", *(tag("th", column, scope="col") for column in columns))
    body = [tag("tr", _row_heading(first), *map(_cell, rest)) for first, *rest in rows]
    made = tag("table", tag("thead", heading), tag("tbody", *body), class_=class_ or None)
    return tag("div", made, class_="scroll")


def _row_heading(content: str) -> Markup:
    return tag("th", content, scope="row")


def _cell(content: str) -> Markup:
    if isinstance(content, Markup) and content.startswith("<td"):
        return content
    return tag("td", content)


def number(content: str) -> Markup:
    """A cell that is aligned to the right."""
    return tag("td", content, class_="number")


def heat_map(
    corner: str,
    rows: Sequence[str],
    name_of: Callable[[str], str],
    columns: Sequence[str],
    cells: Mapping[tuple[str, str], int],
    records: Sequence[Record],
) -> Markup:
    """Rows by backends, the worst record in each cell.

    Args:
        corner: what the rows are.
        rows: their keys.
        name_of: words for a row.
        columns: the backends.
        cells: for (row, backend) the place of a record.
        records: all of a run.
    """
    body = (
        [
            name_of(row),
            *(_heat_cell(cells.get((row, column)), records) for column in columns),
        ]
        for row in rows
    )
    return table([corner, *columns], body, "heat-map")


def _heat_cell(place: int | None, records: Sequence[Record]) -> Markup:
    if place is None:
        return tag("td", "–", class_="heat empty", title="nothing was compared")
    record = records[place]
    button = tag(
        "button", cell_text(record), type="button", title=tooltip(record), data_record=place
    )
    return tag("td", button, class_=f"heat heat-{heat(record)}")


def legend() -> Markup:
    """The colours of the heat maps and what they mean."""
    steps = [tag("span", text, class_=f"heat heat-{step}") for step, text in enumerate(_STEPS)]
    words = "error / limit; near from 0.5, FAIL above 1, FAULT: no valid number; – nothing compared"
    return tag("p", tag("span", *steps, class_="steps"), join(words), class_="legend")


def participants(each_of: Sequence[Participant]) -> Markup:
    """How every backend took part, with its message below its state."""
    rows = (
        [
            each.backend,
            join(_state(each), _message(each.message)),
            number(f"{each.finished:,}/{each.planned:,}"),
            number(duration(each.seconds)),
            ", ".join(f"{name} {version}" for name, version in each.versions.items()),
            ", ".join(each.features),
        ]
        for each in each_of
    )
    return table(["backend", "state", "checks", "time", "versions", "features"], rows)


def _state(participant: Participant) -> Markup:
    state = participant.state
    known = state if state in ("conforms", "deviates", "broken", "absent") else "other"
    required = " (required)" * (participant.required and known != "conforms")
    return tag("span", state + required, class_=f"state {known}")


def _message(message: str) -> Markup:
    text = message.strip()
    if "\n" not in text:
        return tag("div", text, class_="message") if text else join()
    lines = plural(len(text.splitlines()), "line")
    log = tag("pre", text, tabindex=0)
    return tag("details", tag("summary", f"end of the log, {lines}"), log)


def failures(run: Run) -> Markup | None:
    """The checks that failed, by clause, with the first faulty quantity of each."""
    groups = [group for some in summary.failures_by_clause(run).values() for group in some]
    if not groups:
        return None
    rows = (
        [
            clause_text(group.first.clause),
            where_text(group.first),
            group.first.quantity,
            number(f"+{group.count - 1:,}" if group.count > 1 else ""),
            group.first.reason,
        ]
        for group in groups[:_FAILURES]
    )
    columns = ["clause", "where", "first faulty quantity", "more", "reason"]
    rest = len(groups) - _FAILURES
    note = f"{plural(rest, 'more check')} failed: see all comparisons." if rest > 0 else ""
    return join(table(columns, rows, "failures"), tag("p", note, class_="quiet"))


def mutants(run: Run) -> Markup | None:
    """Which clause rejected each broken model, by backend."""
    found = summary.mutants(run)
    if not found:
        return None
    names = [name for name in summary.backends(run) if any(name in row for row in found.values())]
    rows = ([mutant, *(_killer(row.get(name)) for name in names)] for mutant, row in found.items())
    return table(["mutant", *names], rows, "mutants")


def _killer(record: Record | None) -> Markup:
    if record is None:
        return tag("td", "–", class_="empty", title="not tried")
    state = "rejected" if record.passed else "survived"
    return tag("td", summary.killer(record), class_=state, title=tooltip(record))


def bits(run: Run) -> Markup | None:
    """How many values of the reproducible mode differ."""
    found = summary.bit_notes(run)
    if not found:
        return None
    rows = (
        [
            record.backend,
            head_text(record.head),
            record.case,
            record.quantity,
            number(f"{record.compared:,}"),
            tag("td", cell_text(record), class_=f"number heat heat-{heat(record)}"),
            record.note,
        ]
        for record in found
    )
    columns = ["backend", "head", "case", "quantity", "compared", "error / limit", "bits"]
    return tag("div", table(columns, rows), class_="tall", tabindex=0)


def skips(run: Run) -> Markup | None:
    """What does not apply, and why; equal reasons once."""
    if not run.skips:
        return None
    counts = Counter((each.backend, each.clause, each.reason) for each in run.skips)
    rows = (
        [backend, clause_text(clause), number(f"{count:,}"), reason]
        for (backend, clause, reason), count in counts.most_common()
    )
    return table(["backend", "clause", "checks", "reason"], rows)
