"""The report for a README or a job summary, in GitHub's Markdown; compact.

Rules: text from outside is escaped, for a quantity may hold a pipe and a note anything.
"""

import html
import re
from collections.abc import Iterable, Sequence

from mobilebert_conformance.records import Participant, Record, Run, by_head_and_backend
from mobilebert_conformance.reports import summary
from mobilebert_conformance.reports.wording import (
    cell_text,
    clause_text,
    duration,
    head_text,
    level,
    one_line,
    plural,
    where_text,
)

_FAILURES, _COUNTS = 50, 10  # what a summary has room for; the other reports hold all
_SPECIAL = re.compile(r"([\\`*\[\]|~#$]|(?<!\w)_|_(?!\w))")


def render(run: Run) -> str:
    """The whole report."""
    verdict = summary.verdict(run)
    parts = [
        f"## MobileBERT conformance: {verdict.word}",
        escape(verdict.text),
        _setting(run),
        "### Worst error over its limit",
        _heat_map(run),
        "Above 1 a limit is exceeded; from 0.5 on it is near; `-`: nothing was compared.",
        "### Backends",
        _participants(run.participants),
        *_failures(run),
        *_mutants(run),
        *_bits(run),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def escape(text: str) -> str:
    """One line of text that Markdown and HTML show as it is."""
    return _SPECIAL.sub(r"\\\1", html.escape(one_line(text), quote=False))


def _table(heading: Sequence[str], rows: Iterable[Sequence[str]], numbers: bool = False) -> str:
    """A table of cells that are escaped already; `numbers` aligns all but the first right."""
    rule = ["---", *(["--:" if numbers else "---"] * (len(heading) - 1))]
    return "\n".join("| " + " | ".join(row) + " |" for row in (heading, rule, *rows))


def _cell(record: Record | None) -> str:
    text = html.escape(cell_text(record))
    return f"**{text}**" if record is not None and level(record) in ("over", "fault") else text


def _setting(run: Run) -> str:
    source = f"`{run.source}`" if _is_plain(run.source) else escape(run.source)
    facts = [
        f"{escape(run.profile)} profile",
        f"checkpoint {source}" if run.source else "the suite's own cases",
        plural(len(run.records), "comparison"),
        plural(summary.values_compared(run), "value"),
        plural(len(run.skips), "skip"),
        duration(run.seconds),
        escape(run.platform),
        escape(run.started),
    ]
    return " · ".join(fact for fact in facts if fact)


def _is_plain(text: str) -> bool:
    return re.fullmatch(r"[\w./ :@+-]+", text) is not None


def _heat_map(run: Run) -> str:
    names = summary.backends(run)
    cells = by_head_and_backend(run.records)
    rows = (
        [escape(head_text(head)), *(_cell(cells.get((head, name))) for name in names)]
        for head in summary.heads(run)
    )
    return _table(["head", *map(escape, names)], rows, numbers=True)


def _participants(participants: Iterable[Participant]) -> str:
    rows = (
        [
            escape(each.backend),
            each.state + " (required)" * each.required,
            f"{each.finished}/{each.planned}",
            duration(each.seconds),
            escape(", ".join(f"{name} {version}" for name, version in each.versions.items())),
            escape(_end(each.message)),
        ]
        for each in participants
    )
    return _table(["backend", "state", "checks", "time", "versions", "message"], rows)


def _end(message: str) -> str:
    """The last line of a message: of a log, the line that says what went wrong."""
    lines = message.strip().splitlines()
    return lines[-1] if lines else ""


def _failures(run: Run) -> list[str]:
    groups = [group for some in summary.failures_by_clause(run).values() for group in some]
    if not groups:
        return []
    rows = (
        [
            escape(clause_text(group.first.clause)),
            escape(where_text(group.first)),
            escape(group.first.quantity) + f" and {group.count - 1} more" * (group.count > 1),
            escape(group.first.reason),
        ]
        for group in groups[:_FAILURES]
    )
    table = _table(["clause", "where", "first faulty quantity", "reason"], rows)
    rest = len(groups) - _FAILURES
    return ["### Failures", table, f"and {plural(rest, 'more check')}" if rest > 0 else ""]


def _mutants(run: Run) -> list[str]:
    found = summary.mutants(run)
    if not found:
        return []
    names = [name for name in summary.backends(run) if any(name in row for row in found.values())]
    rows = (
        [escape(mutant), *(_killer(row.get(name)) for name in names)]
        for mutant, row in found.items()
    )
    return ["### Mutants and what rejects them", _table(["mutant", *map(escape, names)], rows)]


def _killer(record: Record | None) -> str:
    if record is None:
        return "-"
    text = escape(summary.killer(record))
    return text if record.passed else f"**{text}**"


def _bits(run: Run) -> list[str]:
    found = summary.bit_notes(run)
    if not found:
        return []
    lines = [
        f"- {escape(where_text(record))}: {escape(record.quantity)}: {escape(record.note)}"
        for record in found[:_COUNTS]
    ]
    rest = len(found) - _COUNTS
    return [
        "### Reproducible mode, bits that differ",
        "\n".join(lines),
        f"and {plural(rest, 'more count')}" if rest > 0 else "",
    ]
