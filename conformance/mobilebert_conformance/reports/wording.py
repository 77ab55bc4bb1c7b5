"""How every report words a number, a record and a run.

Rules: a ratio is an error over its limit, above 1 is a fault; a number that rounds to 1 says on
which side it is; text from outside passes through `visible`, for it may hold anything. Read next:
`summary.py` for what is counted.
"""

import math
import re

from mobilebert_conformance.records import Record

LAWS = {
    "1": "semantics",
    "2": "precision",
    "3": "reproducible mode",
    "4": "locality",
    "5": "exactness",
    "6": "gradients and training",
    "7": "invariants",
    "8": "non-vacuity",
    "9": "mutants",
    "10": "claims",
    "11": "golden vectors",
    "12": "together",
}
ALL_HEADS = "all heads"
NEAR = 0.5  # of its limit: from here on a word says so, not only a colour

# What neither XML nor a terminal may see: control characters but tab and line feed, halves of
# surrogate pairs, and what Unicode says is no character.
_HIDDEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


def visible(text: str) -> str:
    r"""Text with its control characters spelled out, e.g. `\x1b`; carriage returns become lines."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n")
    return _HIDDEN.sub(lambda found: ascii(found.group())[1:-1], lines)


def one_line(text: str) -> str:
    """Visible text with every run of white space made one space."""
    return " ".join(visible(text).split())


def level(record: Record) -> str:
    """How a record stands: `fault`, `over`, `near`, `below`, or `met` where there is no number."""
    if not record.passed:
        over = not record.fault and record.ratio is not None and record.ratio > 1
        return "over" if over and record.compared else "fault"
    if record.ratio is None:
        return "met"
    return "near" if record.ratio >= NEAR else "below"


def heat(record: Record) -> int:
    """A step of 0 ... 8 by decades of the ratio.

    Below 1e-5 is 0, 0.1 is 5, near the limit is 6, above it 7, ten times above it or a fault 8.
    """
    standing = level(record)
    if standing == "fault":
        return 8
    if not record.ratio:
        return 0
    if standing == "over":
        return 7 if record.ratio < 10 else 8
    if standing == "near":
        return 6
    return max(0, min(5, 6 + math.floor(math.log10(record.ratio))))


def ratio_text(ratio: float) -> str:
    """A ratio in at most seven characters."""
    if not math.isfinite(ratio) or ratio == 0:
        return f"{ratio:.0f}"
    if ratio < 0.001 or ratio >= 1000:
        return f"{ratio:.1e}"
    text = f"{ratio:.3f}" if ratio < 10 else f"{ratio:.1f}"
    if float(text) == 1 and ratio != 1:
        return "<1" if ratio < 1 else ">1"
    return text


def cell_text(record: Record | None) -> str:
    """A record in one cell of a table; colour is never the only sign of a fault."""
    if record is None:
        return "-"
    standing = level(record)
    if standing in ("fault", "met"):
        return "FAULT" if standing == "fault" else "met"
    sign = {"over": "FAIL ", "near": "near "}.get(standing, "")
    return sign + ratio_text(record.ratio or 0.0)


def error_text(value: float | None) -> str:
    """An error or a limit."""
    if value is None:
        return ""
    return "0" if value == 0 else f"{value:.2e}"


def clause_text(clause: str) -> str:
    """A clause with the name of its law, e.g. `1.2 semantics`."""
    name = LAWS.get(clause.split(".")[0], "")
    return f"{clause} {name}".strip()


def head_text(head: str) -> str:
    """A head's name, or what stands for no single one."""
    return head or ALL_HEADS


def where_text(record: Record) -> str:
    """Where a record was made: backend, head, case and dtype."""
    parts = (record.backend, head_text(record.head), record.case, record.dtype)
    return ", ".join(part for part in parts if part)


def tooltip(record: Record) -> str:
    """Everything about a record, one fact a line."""
    lines = [
        f"clause {clause_text(record.clause)}",
        where_text(record),
        record.quantity,
        "" if record.error is None else f"error {error_text(record.error)}",
        "" if record.limit is None else f"limit {error_text(record.limit)}",
        "" if record.ratio is None else f"error / limit {ratio_text(record.ratio)}",
        f"{record.compared:,} values compared",
        record.reason,
        record.note,
    ]
    return "\n".join(line for line in lines if line)


def plural(count: int, noun: str) -> str:
    """A count and its noun, e.g. `1 failure`, `2,000 failures`."""
    return f"{count:,} {noun}" + "s" * (count != 1)


def duration(seconds: float) -> str:
    """Seconds as minutes and seconds, e.g. `2:05`, or hours before them."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
