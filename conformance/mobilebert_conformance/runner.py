"""Runs the suite: each backend in an interpreter of its own, watched through its records.

A backend that is absent is told, one that is required and absent or that does not import fails the
run, and a worker that ends without its last line has crashed. Read next: `plugin.py`.
"""

import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from mobilebert_conformance.records import Participant, Record, Run, Skip, read_lines
from mobilebert_core import registry
from mobilebert_core.heads import HEADS

TOGETHER = "together"
_POLL_SECONDS = 0.2
_STALL_SECONDS = 1800.0
_LOG_LINES, _LOG_WIDTH = 25, 200


@dataclass(frozen=True, kw_only=True)
class Options:
    """What to run.

    Attributes:
        backends: names; none takes every backend that is installed.
        required: names whose absence fails the run, as that of `backends` does.
        heads: names; none takes all, or the checkpoint's own.
        dtypes: of those below float64; none takes all that a backend claims.
        source: the user's checkpoint: folder, file or hub id.
        quick: every head, variant and input once.
        jobs: how many backends at a time.
    """

    backends: tuple[str, ...] = ()
    required: tuple[str, ...] = ()
    heads: tuple[str, ...] = ()
    dtypes: tuple[str, ...] = ()
    source: str | None = None
    quick: bool = False
    jobs: int = 2


class Watcher(Protocol):
    """Sees a run as it goes on."""

    def update(self, participant: Participant) -> None:
        """A participant has changed."""
        ...

    def add(self, record: Record) -> None:
        """Something was compared."""
        ...


class Worker:
    """One backend's pytest, and what it has written so far."""

    def __init__(self, participant: Participant, arguments: Sequence[str], folder: Path) -> None:
        self.participant = replace(participant, state="running")
        self.records: list[Record] = []
        self.skips: list[Skip] = []
        self._path = folder / f"{participant.backend}.jsonl"
        self._log = folder / f"{participant.backend}.log"
        self._offset = 0
        self._ended = False
        self._broken = ""
        self._started = self._heard = time.monotonic()
        command = [sys.executable, "-m", "pytest", *arguments, "--records", str(self._path)]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                command, cwd=folder, env=_environment(), stdout=log, stderr=subprocess.STDOUT
            )

    def poll(self) -> list[Record]:
        """The records since the last call; the participant is brought up to date."""
        code = self._process.poll()
        fresh: list[Record] = []
        if self._path.exists():
            lines, self._offset = read_lines(self._path, self._offset)
            if lines:
                self._heard = time.monotonic()
            for kind, value in lines:
                self._take(kind, value, fresh)
        self.records += fresh
        seconds = time.monotonic() - self._started
        self.participant = replace(self.participant, seconds=seconds)
        if code is not None:
            self.participant = self._verdict(code)
        return fresh

    def _take(self, kind: str, value: Any, fresh: list[Record]) -> None:
        if kind == "record":
            fresh.append(value)
        elif kind == "skip":
            self.skips.append(value)
        elif kind == "broken":
            self._broken = value["message"]
        elif kind == "start":
            self.participant = replace(
                self.participant,
                planned=value["planned"],
                features=tuple(value["features"]),
                versions=value["versions"],
            )
        elif kind == "test":
            self.participant = replace(self.participant, finished=value["finished"])
        elif kind == "end":
            self._ended = True
            self.participant = replace(self.participant, finished=value["finished"])

    def _verdict(self, code: int) -> Participant:
        """What the worker's end means; whatever is not clearly well is not well."""
        found = self.participant
        if self._broken:
            return replace(found, state="broken", message=self._broken)
        faults = []
        if not self._ended or code not in (0, 1):
            faults.append(f"the worker ended with code {code} after {found.finished} checks")
        elif found.finished != found.planned or not found.planned:
            faults.append(f"{found.finished} of {found.planned} checks ended")
        if not self.records:
            faults.append("nothing was compared")
        elif found.required and not any(each.clause.startswith("1.") for each in self.records):
            faults.append("it is required, and law 1 was not checked: float64 is not claimed")
        failed = sum(not record.passed for record in self.records)
        if not faults and (failed > 0) == (code == 1):
            return replace(found, state="deviates" if failed else "conforms")
        if not faults:
            faults.append(f"{failed} comparisons failed, but the worker ended with code {code}")
        return replace(found, state="broken", message="; ".join(faults) + "\n" + self._log_end())

    def _log_end(self) -> str:
        """The last lines, or those from a crash of the interpreter on."""
        lines = self._log.read_text(errors="replace").splitlines()
        crashes = [place for place, line in enumerate(lines) if "Fatal Python error" in line]
        start = crashes[-1] if crashes else max(0, len(lines) - _LOG_LINES)
        return "\n".join(line[:_LOG_WIDTH] for line in lines[start : start + _LOG_LINES])

    @property
    def stalled(self) -> bool:
        """Whether nothing has been heard of it for longer than any check takes."""
        return time.monotonic() - self._heard > _STALL_SECONDS

    def stop(self) -> None:
        """End the process, if it still runs."""
        if self._process.poll() is None:
            self._process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(10)
            self._process.kill()


def _environment() -> dict[str, str]:
    """The caller's, with one thread a worker: backends run side by side and are small."""
    quiet = {"OMP_NUM_THREADS": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    # The caller's settings of pytest would select tests; JAX needs its own word for float64.
    given = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    return {**quiet, **given, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "JAX_ENABLE_X64": "1"}


def run(options: Options, watcher: Watcher | None = None) -> Run:
    """Run the suite.

    Args:
        options: what to run.
        watcher: sees it go on.

    Returns:
        Everything that was found. Its exit code is 0 when all conform, 1 when one deviates, is
        broken, or compared nothing, 2 when a required backend is absent.

    Raises:
        UnknownBackendError: a name is no backend's.
    """
    started, begun = datetime.now(UTC).isoformat(timespec="seconds"), time.monotonic()
    waiting = participants(options)
    done: list[Participant] = [each for each in waiting if each.state != "waiting"]
    records: list[Record] = []
    skips: list[Skip] = []
    for each in done:
        _tell(watcher, each)
    with tempfile.TemporaryDirectory(prefix="mobilebert-conformance-") as folder:
        queue = [each for each in waiting if each.state == "waiting"]
        for worker in _finished_workers(queue, options, Path(folder), watcher):
            done.append(worker.participant)
            records += worker.records
            skips += worker.skips
    return Run(
        profile="quick" if options.quick else "full",
        source=options.source or "",
        heads=options.heads or (() if options.source else tuple(HEADS)),
        started=started,
        seconds=time.monotonic() - begun,
        platform=f"Python {platform.python_version()}, {platform.system()} {platform.machine()}",
        exit_code=_exit_code(done, records),
        participants=tuple(sorted(done, key=lambda each: _position(each, waiting))),
        records=tuple(records),
        skips=tuple(skips),
    )


def participants(options: Options) -> list[Participant]:
    """Every backend that is asked for, required or installed, and how it stands before the run.

    Raises:
        UnknownBackendError: a name is no backend's.
    """
    known = registry.backends()
    asked = [_canonical(name) for name in (*options.backends, *options.required)]
    names = asked if options.backends else [*known, *asked]
    required = {_canonical(name) for name in (*options.required, *options.backends)}
    found = []
    for name in dict.fromkeys(names):
        status = known[name]
        state = "waiting" if status.installed else "absent" if status.missing else "broken"
        found.append(
            Participant(
                backend=name,
                state=state,
                required=name in required,
                versions=status.versions,
                message=status.install,
            )
        )
    ready = [each.backend for each in found if each.state == "waiting"]
    if len(ready) > 1 and options.source is None:
        found.append(Participant(backend=TOGETHER, state="waiting"))
    return found


def _canonical(name: str) -> str:
    """The name of a backend, for a name, an alias, or a backend that cannot be used."""
    if name in registry.backends():
        return name
    return registry.find(name).name


def _arguments(name: str, ready: Sequence[str], options: Options, folder: Path) -> list[str]:
    """What pytest is called with."""
    suite = ["--pyargs", "mobilebert_conformance.suite", "-p", "mobilebert_conformance.plugin"]
    settings = Path(__file__).with_name("pytest.ini")
    fixed = ["-c", str(settings), "--rootdir", str(folder), "-q", "-p", "no:cacheprovider"]
    if name == TOGETHER:
        return [*suite, *fixed, "--together", ",".join(ready)]
    chosen = ["--backend", name, "--references", str(folder / "references")]
    chosen += ["--quick"] if options.quick else []
    chosen += [part for head in options.heads for part in ("--head", head)]
    chosen += [part for dtype in options.dtypes for part in ("--dtype", dtype)]
    chosen += [] if options.source is None else ["--source", _absolute(options.source)]
    return [*suite, *fixed, *chosen]


def _absolute(source: str) -> str:
    """A path that holds in the worker's folder; a hub id as it is."""
    return str(Path(source).resolve()) if Path(source).exists() else source


def _finished_workers(
    queue: list[Participant], options: Options, folder: Path, watcher: Watcher | None
) -> Iterator[Worker]:
    """Starts workers, a few at a time, and yields each when it has ended."""
    ready = [each.backend for each in queue if each.backend != TOGETHER]
    running: list[Worker] = []
    try:
        while queue or running:
            while queue and len(running) < max(1, options.jobs):
                participant = queue.pop(0)
                arguments = _arguments(participant.backend, ready, options, folder)
                running.append(Worker(participant, arguments, folder))
            time.sleep(_POLL_SECONDS)
            for worker in list(running):
                if worker.stalled:
                    worker.stop()
                for record in worker.poll():
                    if watcher is not None:
                        watcher.add(record)
                _tell(watcher, worker.participant)
                if worker.participant.state != "running":
                    running.remove(worker)
                    yield worker
    finally:
        for worker in running:
            worker.stop()


def _tell(watcher: Watcher | None, participant: Participant) -> None:
    if watcher is not None:
        watcher.update(participant)


def _position(participant: Participant, order: list[Participant]) -> int:
    return [each.backend for each in order].index(participant.backend)


def _exit_code(done: Sequence[Participant], records: Sequence[Record]) -> int:
    if any(each.state == "absent" and each.required for each in done):
        return 2
    ran = [each for each in done if each.state != "absent"]
    well = ran and records and all(each.state == "conforms" for each in ran)
    return 0 if well else 1
