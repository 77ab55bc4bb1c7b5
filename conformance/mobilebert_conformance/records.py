"""What a run leaves behind: one record for every quantity that was compared, as JSON Lines.

A worker writes a `start` line, a `record` line for each comparison, a `skip` line for each check
that does not apply, and an `end` line. A file without its end is the trace of a crash, and the run
fails. Infinite errors are written as strings, for JSON has none.
"""

import dataclasses
import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Record:
    """One comparison.

    Attributes:
        backend: name of the backend under test.
        clause: number of the clause that was checked, e.g. `1.2`.
        head: name of the head; empty where a clause concerns no single one.
        case: what was computed, e.g. `no_trigram`, `full` for the default 24 layers.
        dtype: what the backend computed in.
        quantity: what was compared, e.g. `hidden_states[3]`, `loss`, a tensor's name.
        error: by the metric of the clause; infinite where numbers do not even correspond; None
            where a clause is met or not, without a number.
        limit: what the error may be at most.
        compared: how many values were compared; none at all is a fault.
        fault: why the clause is not met, whatever the error; empty otherwise.
        note: a measured fact for people, e.g. how many values differ by one bit.
    """

    backend: str
    clause: str
    head: str = ""
    case: str = ""
    dtype: str = ""
    quantity: str = ""
    error: float | None = None
    limit: float | None = None
    compared: int = 0
    fault: str = ""
    note: str = ""

    @property
    def ratio(self) -> float | None:
        """The error over its limit: drift shows before it fails. None without a number."""
        if self.error is None or self.limit is None:
            return None
        if self.limit == 0:
            return 0.0 if self.error == 0 else math.inf
        return self.error / self.limit

    @property
    def passed(self) -> bool:
        """Whether the clause is met: something was compared, and nothing is beyond its limit."""
        if self.fault or self.compared < 1 or self.limit_is_void:
            return False
        return self.ratio is None or self.ratio <= 1  # False for NaN

    @property
    def limit_is_void(self) -> bool:
        """Whether there is an error and no limit that it could exceed."""
        if self.error is None:
            return False
        return self.limit is None or not math.isfinite(self.limit)

    @property
    def reason(self) -> str:
        """Why it did not pass, in a line; empty when it did."""
        if self.passed:
            return ""
        if self.fault:
            return self.fault
        if self.compared < 1:
            return "nothing was compared"
        if self.limit_is_void:
            return f"the limit is {self.limit}, which nothing exceeds"
        if self.error is not None and math.isnan(self.error):
            return "the error is not a number"
        return f"error {self.error:.2e} is above its limit {self.limit:.2e}"

    def __str__(self) -> str:
        where = ", ".join(each for each in (self.case, self.head, self.dtype) if each)
        text = f"clause {self.clause}: {self.backend}, {where}: {self.quantity}"
        return f"{text}: {self.reason}" if self.reason else text


@dataclass(frozen=True, kw_only=True)
class Skip:
    """A check that does not apply to a backend, and why."""

    backend: str
    clause: str
    head: str = ""
    case: str = ""
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class Participant:
    """How one backend took part in a run.

    Attributes:
        backend: its name; `together` for the test that imports all of them.
        state: `waiting`, `running`, `conforms`, `deviates`, `absent` (not installed) or `broken`
            (it does not import, its worker crashed, or its checks never ran).
        required: whether its absence fails the run.
        versions: version by name of the framework's packages.
        features: what it claims.
        planned: checks that were collected.
        finished: checks that ended.
        seconds: duration.
        message: what to know about the state, e.g. how to install it or the end of its log.
    """

    backend: str
    state: str
    required: bool = False
    versions: dict[str, str] = dataclasses.field(default_factory=dict)
    features: tuple[str, ...] = ()
    planned: int = 0
    finished: int = 0
    seconds: float = 0.0
    message: str = ""


@dataclass(frozen=True, kw_only=True)
class Run:
    """A whole run, for the reports.

    Attributes:
        profile: `quick` or `full`.
        source: the user's checkpoint, or empty for the suite's own cases.
        heads: those that were asked for; none for the checkpoint's own.
        started: UTC, ISO 8601.
        seconds: duration.
        platform: Python and machine, in words.
        exit_code: 0 conforms, 1 does not, 2 a required backend is absent.
    """

    profile: str
    source: str
    heads: tuple[str, ...]
    started: str
    seconds: float
    platform: str
    exit_code: int
    participants: tuple[Participant, ...]
    records: tuple[Record, ...]
    skips: tuple[Skip, ...]

    @property
    def failures(self) -> tuple[Record, ...]:
        """The records that did not pass."""
        return tuple(record for record in self.records if not record.passed)


def to_json(kind: str, value: Any) -> str:
    """One line of a records file."""
    fields = value if isinstance(value, dict) else dataclasses.asdict(value)
    return json.dumps({"kind": kind} | {name: _writable(each) for name, each in fields.items()})


def _writable(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def from_json(line: str) -> tuple[str, Any]:
    """The kind of a line and what it holds: a Record, a Skip or a dictionary."""
    values = json.loads(line)
    kind = values.pop("kind")
    if kind == "record":
        for name in ("error", "limit"):
            values[name] = None if values[name] is None else float(values[name])
        return kind, Record(**values)
    return kind, Skip(**values) if kind == "skip" else values


def read_lines(path: Path, start: int = 0) -> tuple[list[tuple[str, Any]], int]:
    """The complete lines of a growing file from an offset on, and the next offset."""
    with path.open("rb") as file:
        file.seek(start)
        data = file.read()
    whole = data[: data.rfind(b"\n") + 1]
    return [from_json(line) for line in whole.decode().splitlines()], start + len(whole)


def worst(records: Iterable[Record]) -> Record | None:
    """The record nearest to its limit or farthest beyond it; one with a fault comes first."""
    return max(records, key=_badness, default=None)


def _badness(record: Record) -> float:
    if record.fault or record.compared < 1 or record.limit_is_void or record.ratio != record.ratio:
        return math.inf
    return record.ratio or 0.0


def by_head_and_backend(records: Iterable[Record]) -> dict[tuple[str, str], Record]:
    """The worst record for each (head, backend)."""
    found: dict[tuple[str, str], list[Record]] = {}
    for record in records:
        found.setdefault((record.head, record.backend), []).append(record)
    rows: Iterator[tuple[tuple[str, str], Record | None]]
    rows = ((key, worst(each)) for key, each in found.items())
    return {key: record for key, record in rows if record is not None}
