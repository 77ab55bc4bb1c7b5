"""What a user sees of a run while it goes on: a progress bar, or lines where there is no terminal.

Rules: a listener is called with every line of the log, first with how far the run is (`event` is
`begin`); it changes nothing in the run. Read next: `curves.py`, `tensorboard_log.py`.
"""

import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.text import Text

_SECONDS_BETWEEN_LINES = 10.0
_MOST_LABELS = 12


class ShowProgress:
    """A listener that shows a run on a console; a context, which takes the bar away at its end.

    Args:
        console: where; by default standard error.
        seconds: where there is no terminal, at most one line in so many seconds, evaluations aside.
    """

    def __init__(
        self, console: Console | None = None, *, seconds: float = _SECONDS_BETWEEN_LINES
    ) -> None:
        self.console = console or Console(stderr=True)
        self.seconds, self.last_line = seconds, -float("inf")
        self.steps = self.batch_size = 0
        self.bar_task: TaskID | None = None
        self.bar = Progress(
            TextColumn("{task.fields[stage]}"),
            BarColumn(),
            TextColumn("step {task.completed:,.0f}/{task.total:,.0f}"),
            TextColumn("{task.fields[told]}"),
            TimeRemainingColumn(),
            console=self.console,
            transient=True,
            disable=not self.console.is_terminal,
        )

    def __enter__(self) -> Self:
        """The listener itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Take the bar away."""
        self.bar.stop()

    def __call__(self, row: Mapping[str, Any]) -> None:
        """Show a line of the log."""
        if row.get("event") == "begin":
            self._begin(row)
        elif "metrics" in row:
            numbers = "  ".join(f"{name} {value:.4g}" for name, value in row["metrics"].items())
            self._print(f"step {row['step']:,}: {numbers}", "green")
        elif "loss" in row:
            self._step(row)

    def _begin(self, row: Mapping[str, Any]) -> None:
        self.steps, self.batch_size = row["steps"], row["batch_size"]
        step, folder = row["step"], row["folder"]
        if not step:
            rows = (
                f"{row['examples']:,} examples, {self.batch_size} in each of {self.steps:,} steps"
            )
            self._print(f"Training in {folder}: {rows}")
            if row.get("labels"):
                self._print(f"{len(row['labels'])} labels: {_some(row['labels'])}")
        elif step == self.steps:
            self._print(f"The run in {folder} is finished: all {step:,} steps are done")
        else:
            self._print(f"The run in {folder} goes on from step {step:,} of {self.steps:,}")
        if step < self.steps and not self.bar.disable:
            self.bar.start()
            self.bar_task = self.bar.add_task(
                "", total=self.steps, completed=step, stage="training", told=""
            )

    def _step(self, row: Mapping[str, Any]) -> None:
        pace = row.get("steps_per_second", 0.0)
        told = (
            f"loss {row['loss']:.4f}  learning rate {row['learning_rate']:.1e}  "
            f"{pace * self.batch_size:,.0f} rows/s"
        )
        if self.bar_task is not None:
            self.bar.update(
                self.bar_task, completed=row["step"], stage=row.get("stage", ""), told=told
            )
            return
        now, last = time.monotonic(), row["step"] == self.steps
        if last or now - self.last_line >= self.seconds:
            self.last_line = now
            left = f"  {_duration((self.steps - row['step']) / pace)} left" if pace else ""
            self._print(f"step {row['step']:,}/{self.steps:,}  {told}" + left * (not last))

    def _print(self, text: str, style: str = "") -> None:
        self.console.print(Text(text, style), soft_wrap=True)


def _some(names: Sequence[str]) -> str:
    """The first of many names."""
    more = ", ..." * (len(names) > _MOST_LABELS)
    return ", ".join(names[:_MOST_LABELS]) + more


def _duration(seconds: float) -> str:
    """Hours, minutes and seconds, e.g. 1:02:03."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
