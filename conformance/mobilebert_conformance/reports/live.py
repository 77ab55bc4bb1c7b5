"""The display while a run goes on: a live table in a terminal, a line now and then in a log."""

import time
from collections.abc import Callable, Sequence
from types import TracebackType

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table

from mobilebert_conformance.records import Participant, Record, worst
from mobilebert_conformance.reports.tables import (
    LEGEND,
    heat_cell,
    heat_map,
    new_table,
    plain,
    progress_text,
    state_text,
)
from mobilebert_conformance.reports.wording import cell_text, clause_text, one_line
from mobilebert_core.heads import HEADS

_ENDED = ("conforms", "deviates", "absent", "broken")


class LiveTable:
    """Heads by backends, the worst error over its limit so far, and how far each backend is.

    A context manager. What is no terminal gets a plain line for each backend that ends, and one on
    the whole progress every `interval` seconds.

    Args:
        backends: the first columns; others join when they are heard of.
        heads: the first rows; others join likewise.
        console: where to show it; standard error unless given.
        interval: seconds between the lines of a log.
        clock: the time in seconds, for tests.
    """

    def __init__(
        self,
        backends: Sequence[str],
        heads: Sequence[str] = tuple(HEADS),
        *,
        console: Console | None = None,
        interval: float = 30.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._console = console or Console(stderr=True)
        self._interval, self._clock = interval, clock
        self._heads = dict.fromkeys(heads)
        self._participants = {name: Participant(backend=name, state="waiting") for name in backends}
        self._heard = dict.fromkeys(backends, clock())  # when a participant last said its seconds
        self._current = dict.fromkeys(backends, "")
        self._cells: dict[tuple[str, str], Record] = {}
        self._worst: dict[str, Record] = {}
        self._next_line = clock() + interval
        self._live: Live | None = None

    def __enter__(self) -> "LiveTable":
        if self._console.is_terminal and not self._console.is_dumb_terminal:
            self._live = Live(
                get_renderable=self._render,
                console=self._console,
                refresh_per_second=4,
                transient=True,  # the result shows the same table again, complete
            )
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def update(self, participant: Participant) -> None:
        """Take the new state of a backend."""
        name = participant.backend
        before = self._participants.get(name)
        self._current.setdefault(name, "")
        self._heard[name] = self._clock()
        self._participants[name] = participant
        ended = participant.state in _ENDED and (not before or before.state != participant.state)
        if ended and self._live is None:
            self._print(self._line_of(participant))
        self._print_now_and_then()

    def add(self, record: Record) -> None:
        """Take a new comparison."""
        name = record.backend
        if name not in self._participants:
            self.update(Participant(backend=name, state="running"))
        self._heads.setdefault(record.head)
        self._current[name] = " ".join(
            part for part in (clause_text(record.clause), record.case, record.dtype) if part
        )
        cell = (record.head, name)
        self._cells[cell] = _worse(self._cells.get(cell), record)
        self._worst[name] = _worse(self._worst.get(name), record)
        self._print_now_and_then()

    def _print_now_and_then(self) -> None:
        now = self._clock()
        if self._live is None and now >= self._next_line:
            self._next_line = now + self._interval
            parts = [self._line_of(each) for each in self._participants.values()]
            self._print("; ".join(parts))

    def _print(self, line: str) -> None:
        self._console.print(plain(f"conformance: {line}"), soft_wrap=True)

    def _line_of(self, participant: Participant) -> str:
        name, state = participant.backend, participant.state
        if state in ("waiting", "absent"):
            return f"{name} {state}"
        record = self._worst.get(name)
        ratio = f", worst {cell_text(record)}" if record is not None else ""
        progress = progress_text(participant, self._seconds(participant))
        return one_line(f"{name} {state} {progress}{ratio}")

    def _seconds(self, participant: Participant) -> float:
        """A running backend's time goes on between two messages."""
        if participant.state != "running":
            return participant.seconds
        return participant.seconds + self._clock() - self._heard[participant.backend]

    def _render(self) -> Group:
        """Runs in rich's thread, so that it takes copies of what may grow meanwhile."""
        participants = list(self._participants.values())
        names = [each.backend for each in participants]
        heads = [head for head in list(self._heads) if head] + [""] * ("" in self._heads)
        table = heat_map(heads, names, dict(self._cells))
        title, legend = plain("Worst error over its limit so far", "bold"), plain(LEGEND, "dim")
        return Group(title, table, legend, self._progress(participants))

    def _progress(self, participants: Sequence[Participant]) -> Table:
        table = new_table("backend", "state", "checks", "worst", "now", numbers=["worst"])
        for each in participants:
            now = self._current[each.backend] if each.state == "running" else ""
            table.add_row(
                plain(each.backend),
                state_text(each),
                plain(progress_text(each, self._seconds(each))),
                heat_cell(self._worst.get(each.backend)),
                plain(one_line(now), "dim"),
            )
        return table


def _worse(known: Record | None, record: Record) -> Record:
    """The worse of two; the earlier one if they are equal."""
    found = worst([record] if known is None else [known, record])
    return record if found is None else found
