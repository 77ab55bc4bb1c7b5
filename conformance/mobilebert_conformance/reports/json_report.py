"""The report for programs: everything a run holds, and a summary.

Rules: valid JSON, so that infinite and undefined numbers are the strings `inf`, `-inf` and `nan`,
as in records files; `version` grows when a field changes its meaning or goes.
"""

import dataclasses
import json
import math
from typing import Any

from mobilebert_conformance.records import Record, Run, by_head_and_backend
from mobilebert_conformance.reports import summary

VERSION = 1


def render(run: Run) -> str:
    """The whole report."""
    return json.dumps(as_dict(run), indent=1, allow_nan=False) + "\n"


def as_dict(run: Run) -> dict[str, Any]:
    """The report as dictionaries and lists of what JSON knows.

    `summary.heads` and `summary.clauses` hold the worst record of each backend, with `index`, its
    place in `records`; the empty head stands for clauses that concern no single one.
    """
    verdict = summary.verdict(run)
    fields = {each.name: getattr(run, each.name) for each in dataclasses.fields(run)}
    for name in ("participants", "records", "skips"):
        del fields[name]
    report = {
        "version": VERSION,
        "verdict": dataclasses.asdict(verdict),
        "run": fields,
        "summary": _summary(run),
        "participants": [dataclasses.asdict(each) for each in run.participants],
        "records": [_record(each) for each in run.records],
        "skips": [dataclasses.asdict(each) for each in run.skips],
    }
    found: dict[str, Any] = writable(report)
    return found


def writable(value: Any) -> Any:
    """A value with every number that JSON does not know as a string."""
    if isinstance(value, dict):
        return {str(name): writable(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [writable(each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def _record(record: Record) -> dict[str, Any]:
    derived = {"ratio": record.ratio, "passed": record.passed, "reason": record.reason}
    return dataclasses.asdict(record) | derived


def _summary(run: Run) -> dict[str, Any]:
    index = {id(record): number for number, record in enumerate(run.records)}

    def nested(cells: dict[tuple[str, str], Record]) -> dict[str, dict[str, Any]]:
        found: dict[str, dict[str, Any]] = {}
        for (row, backend), record in cells.items():
            cell = {"ratio": record.ratio, "passed": record.passed, "index": index[id(record)]}
            found.setdefault(row, {})[backend] = cell
        return found

    return {
        "comparisons": len(run.records),
        "values": summary.values_compared(run),
        "failures": len(run.failures),
        "skips": len(run.skips),
        "heads": nested(by_head_and_backend(run.records)),
        "clauses": nested(summary.by_clause_and_backend(run.records)),
        "mutants": {
            name: {backend: summary.killer(record) for backend, record in row.items()}
            for name, row in summary.mutants(run).items()
        },
    }
