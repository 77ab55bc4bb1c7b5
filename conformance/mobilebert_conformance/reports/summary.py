"""What the reports say about a run, as data: order, worst records, failures, mutants, the verdict.

Rules: nothing here prints; heads come in the order of the head table, clauses by their numbers,
everything else as the run has it. A run conforms only if its exit code and its records both say so.
Read next: `wording.py` for the words, `terminal.py` and `html.py` for two ways to show it.
"""

import re
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from typing import TypeVar

from mobilebert_conformance.records import Participant, Record, Run, worst
from mobilebert_conformance.reports.wording import plural, ratio_text, where_text
from mobilebert_core.heads import HEADS

Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True)
class FailureGroup:
    """The failures of one check: the first faulty quantity, and how many there are.

    Attributes:
        first: the first record that did not pass, in the order of the run.
        count: of the records that did not pass.
    """

    first: Record
    count: int


@dataclass(frozen=True)
class Verdict:
    """What a run came to.

    Attributes:
        conforms: whether every clause is met by every backend that was to be checked.
        word: `conforms`, `does not conform` or `incomplete`.
        text: why, in one line.
    """

    conforms: bool
    word: str
    text: str


def backends(run: Run) -> tuple[str, ...]:
    """All backends of a run: participants first, then any other that left a record or a skip."""
    names = [each.backend for each in run.participants]
    names += [record.backend for record in run.records] + [skip.backend for skip in run.skips]
    return tuple(dict.fromkeys(names))


def heads(run: Run) -> tuple[str, ...]:
    """Rows of a table: every head that was asked for or compared, and `""` for records without.

    A head without records is a row too: that nothing was compared has to be seen.
    """
    found = {record.head for record in run.records}
    known = tuple(name for name in HEADS if name in run.heads or name in found)
    unknown = tuple(sorted(found - {*HEADS, ""}))
    return (*known, *unknown, *([""] if "" in found else []))


def clauses(run: Run) -> tuple[str, ...]:
    """The clauses of records and skips, in the order of their numbers."""
    found = {record.clause for record in run.records} | {skip.clause for skip in run.skips}
    return tuple(sorted(found, key=clause_order))


def clause_order(clause: str) -> tuple[tuple[int, str], ...]:
    """A key that sorts clause 10.1 after 9.2."""
    parts = re.split(r"(\d+)", clause)
    return tuple((int(part) if part.isdecimal() else -1, part) for part in parts if part)


def worst_by(records: Iterable[Record], key: Callable[[Record], Key]) -> dict[Key, Record]:
    """The worst record for each key."""
    found: dict[Key, list[Record]] = {}
    for record in records:
        found.setdefault(key(record), []).append(record)
    cells = ((each, worst(some)) for each, some in found.items())
    return {each: cell for each, cell in cells if cell is not None}


def by_clause_and_backend(records: Iterable[Record]) -> dict[tuple[str, str], Record]:
    """The worst record for each (clause, backend)."""
    return worst_by(records, lambda record: (record.clause, record.backend))


def worst_by_clause(records: Iterable[Record]) -> dict[str, Record]:
    """The worst record for each clause, in the order of their numbers."""
    found = worst_by(records, lambda record: record.clause)
    return {clause: found[clause] for clause in sorted(found, key=clause_order)}


def failures_by_clause(run: Run) -> dict[str, list[FailureGroup]]:
    """The checks that failed for each clause, in the order of their numbers."""
    found: dict[tuple[str, ...], list[Record]] = {}
    for record in run.failures:
        key = (record.clause, record.backend, record.head, record.case, record.dtype)
        found.setdefault(key, []).append(record)
    groups: dict[str, list[FailureGroup]] = {}
    for (clause, *_), records in sorted(found.items(), key=lambda each: clause_order(each[0][0])):
        groups.setdefault(clause, []).append(FailureGroup(records[0], len(records)))
    return groups


def mutants(run: Run) -> dict[str, dict[str, Record]]:
    """For each broken model, by name, the worst record of each backend: passed means rejected."""
    records = [record for record in run.records if record.clause.split(".")[0] == "9"]
    found: dict[str, dict[str, Record]] = {}
    cells = worst_by(records, lambda record: (record.quantity, record.backend))
    for (name, backend), record in cells.items():
        found.setdefault(name, {})[backend] = record
    return found


def killer(record: Record) -> str:
    """Which clause rejected a mutant, from a note that may say more; or what went wrong."""
    if not record.passed:
        return f"FAULT: {record.reason}"
    named = re.match(r"clause (\S+)", record.note)
    return named.group(1) if named else record.note or "rejected"


def bit_notes(run: Run) -> list[Record]:
    """The records of clause 3 that count differing bits, the worst first."""
    found = [record for record in run.records if record.clause.split(".")[0] == "3" and record.note]
    return sorted(found, key=lambda record: (record.passed, -(record.ratio or 0.0)))


def values_compared(run: Run) -> int:
    """How many values were compared, over all records."""
    return sum(record.compared for record in run.records)


def unfinished(run: Run) -> list[Participant]:
    """The participants whose checks did not all run, although they were to."""
    return [
        each
        for each in run.participants
        if each.state in ("broken", "waiting", "running")
        or (each.state == "absent" and each.required)
    ]


def verdict(run: Run) -> Verdict:
    """The stricter of what the exit code and the records say."""
    if run.exit_code == 0 and run.records and not run.failures:
        return Verdict(True, "conforms", _extent(run))
    reasons = [
        f"{each.backend} is {'required and ' * each.required}{each.state}"
        for each in unfinished(run)
    ]
    if run.failures:
        names = dict.fromkeys(record.backend for record in run.failures)
        parts = f"{len(run.failures):,} of {plural(len(run.records), 'comparison')}"
        reasons.insert(0, f"{parts} failed ({', '.join(names)})")
    elif not run.records:
        reasons.append("nothing was compared")
    if not reasons:
        named = [each.backend for each in run.participants if each.state == "deviates"]
        reasons = [f"{name} deviates" for name in named] or [f"exit code {run.exit_code}"]
    incomplete = run.exit_code == 2 and not run.failures
    return Verdict(False, "incomplete" if incomplete else "does not conform", "; ".join(reasons))


def _extent(run: Run) -> str:
    names = [each.backend for each in run.participants if each.state == "conforms"]
    text = f"{plural(len(run.records), 'comparison')} of {plural(values_compared(run), 'value')}"
    nearest = worst(record for record in run.records if record.ratio is not None)
    if nearest is not None:
        ratio = ratio_text(nearest.ratio or 0.0)
        text += f"; the worst error is {ratio} of its limit ({where_text(nearest)})"
    return f"{', '.join(names)}: {text}" if names else text
