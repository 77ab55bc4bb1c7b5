"""The result of a run in a terminal: tables, then the verdict as the last line.

Rules: every list has a bound and says how much it leaves out; the files of `FORMATS` leave nothing
out. Read next: `live.py` for the display before the end.
"""

from collections import Counter
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from mobilebert_conformance.records import Participant, Record, Run, by_head_and_backend
from mobilebert_conformance.reports import summary
from mobilebert_conformance.reports.live import LiveTable
from mobilebert_conformance.reports.tables import (
    LEGEND,
    heat_cell,
    heat_map,
    new_table,
    plain,
    state_text,
)
from mobilebert_conformance.reports.wording import (
    clause_text,
    duration,
    error_text,
    one_line,
    plural,
    where_text,
)

__all__ = ["LiveTable", "print_result"]

_LOG_LINES = 15


def print_result(run: Run, console: Console, *, limit: int = 10) -> None:
    """Print all that a person wants to know about a run.

    Args:
        run: what is shown.
        console: where to print.
        limit: how many failures of a clause, notes and kinds of skips are named.
    """
    source = run.source or "the suite's own cases"
    title = f"Conformance of {source}, {run.profile} profile: worst error over its limit"
    cells = by_head_and_backend(run.records)
    names = summary.backends(run)
    _print_table(title, heat_map(summary.heads(run), names, cells), console)
    console.print(plain(f"{LEGEND}\n", "dim"), soft_wrap=True)
    _print_participants(run.participants, console)
    _print_worst(run, console)
    _print_mutants(run, console)
    _print_notes(run, console, limit)
    _print_skips(run, console, limit)
    _print_failures(run, console, limit)
    _print_extent(run, console)
    verdict = summary.verdict(run)
    style = "bold green" if verdict.conforms else "bold red"
    text = one_line(f"{verdict.word.upper()}: {verdict.text}")
    console.print(plain(text, style), soft_wrap=True)


def _print_table(title: str, table: Table, console: Console) -> None:
    console.print(plain(one_line(title), "bold"), soft_wrap=True)
    console.print(table)


def _print_participants(participants: Sequence[Participant], console: Console) -> None:
    table = new_table("backend", "state", "checks", "time", "versions", numbers=["checks", "time"])
    for each in participants:
        versions = ", ".join(f"{name} {version}" for name, version in each.versions.items())
        table.add_row(
            plain(each.backend, "bold"),
            state_text(each),
            plain(f"{each.finished}/{each.planned}"),
            plain(duration(each.seconds)),
            plain(versions),
        )
    _print_table("Backends", table, console)
    for each in participants:
        if each.message:
            _print_message(each, console)


def _print_message(participant: Participant, console: Console) -> None:
    """How to install what is absent, the end of the log of what is broken."""
    lines = participant.message.strip().splitlines()
    heading = f"{participant.backend} is {participant.state}:"
    if len(lines) == 1:
        console.print(plain(f"{heading} {lines[0]}"), soft_wrap=True)
        return
    left_out = len(lines) - _LOG_LINES
    console.print(plain(heading), soft_wrap=True)
    if left_out > 0:
        console.print(plain(f"  ({plural(left_out, 'line')} before)", "dim"))
    for line in lines[-_LOG_LINES:]:
        console.print(plain(f"  {line}"), soft_wrap=True)
    console.print()


def _print_worst(run: Run, console: Console) -> None:
    found = summary.worst_by_clause(run.records)
    columns = ("clause", "ratio", "error", "limit", "where", "quantity")
    table = new_table(*columns, numbers=["ratio", "error", "limit"])
    for clause, record in found.items():
        table.add_row(
            plain(clause_text(clause)),
            heat_cell(record),
            plain(error_text(record.error)),
            plain(error_text(record.limit)),
            plain(where_text(record)),
            plain(record.quantity),
        )
    if found:
        _print_table("The worst of each clause", table, console)


def _print_mutants(run: Run, console: Console) -> None:
    found = summary.mutants(run)
    if not found:
        return
    names = [name for name in summary.backends(run) if any(name in row for row in found.values())]
    faults = sum(not record.passed for row in found.values() for record in row.values())
    outcome = plural(faults, "FAULT") if faults else "all rejected"
    table = new_table("mutant", *names)
    for mutant, row in found.items():
        table.add_row(plain(mutant), *(_killer(row.get(name)) for name in names))
    _print_table(f"Mutants and what rejects them: {outcome}", table, console)


def _killer(record: Record | None) -> Text:
    if record is None:
        return plain("-", "dim")
    return plain(summary.killer(record), "" if record.passed else "bold red")


def _print_list(title: str, lines: Sequence[str], console: Console, limit: int) -> None:
    if not lines:
        return
    console.print(plain(title, "bold"), soft_wrap=True)
    for line in lines[:limit]:
        console.print(plain(f"  {one_line(line)}"), soft_wrap=True)
    if len(lines) > limit:
        console.print(plain(f"  and {len(lines) - limit:,} more", "dim"))
    console.print()


def _print_notes(run: Run, console: Console, limit: int) -> None:
    lines = [
        f"{where_text(record)}: {record.quantity}: {record.note}"
        for record in summary.bit_notes(run)
    ]
    _print_list("Reproducible mode: bits that differ", lines, console, limit)


def _print_skips(run: Run, console: Console, limit: int) -> None:
    counts = Counter((each.backend, each.clause, each.reason) for each in run.skips)
    lines = [
        f"{backend}, clause {clause_text(clause)}: {reason} ({plural(count, 'check')})"
        for (backend, clause, reason), count in counts.most_common()
    ]
    _print_list("Checks that do not apply", lines, console, limit)


def _print_failures(run: Run, console: Console, limit: int) -> None:
    for clause, groups in summary.failures_by_clause(run).items():
        lines = []
        for group in groups:
            more = f" (and {group.count - 1} more)" * (group.count > 1)
            record = group.first
            lines.append(f"{where_text(record)}: {record.quantity}: {record.reason}{more}")
        failed = plural(sum(group.count for group in groups), "comparison")
        title = f"Clause {clause_text(clause)}: {failed} failed in {plural(len(groups), 'check')}"
        _print_list(title, lines, console, limit)


def _print_extent(run: Run, console: Console) -> None:
    facts = (
        plural(len(run.records), "comparison"),
        plural(summary.values_compared(run), "value"),
        plural(len(run.failures), "failure"),
        f"{plural(len(run.skips), 'check')} skipped",
        duration(run.seconds),
    )
    console.print(plain(", ".join(facts)), soft_wrap=True)
