"""A subject of `inference.py` as a process of its own: starts it, asks it, keeps what it answered.

A subject that fails keeps what it has measured, answers nothing more, and says why in `fault`. Read
next: `inference_worker.py`, which runs in the process.
"""

import contextlib
import json
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
SCRIPT = Path(__file__).with_name("inference_worker.py")
LIMITS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "XLA_FLAGS")


def environment(scratch: Path, *, other: bool) -> dict[str, str]:
    """Variables for a subject: all cores, no compiled code of earlier runs."""
    found = {name: value for name, value in os.environ.items() if name not in LIMITS}
    found |= {"TF_CPP_MIN_LOG_LEVEL": "3", "TORCHINDUCTOR_CACHE_DIR": str(scratch / "inductor")}
    if other:  # without this library installed, and with the Keras of transformers 4
        found |= {"TF_USE_LEGACY_KERAS": "1", "PYTHONPATH": str(ROOT)}
    return found


class Subject:
    """A subject's process.

    Args:
        name: of `SUBJECTS`.
        folder: of the checkpoint; compiled code goes next to it.
        python: an interpreter of its own; None for this one.
    """

    def __init__(self, name: str, folder: Path, python: str | None = None) -> None:
        self.name = name
        self.fault = ""
        self.results: dict[str, Any] = {"times": {}, "first": {}}
        self.errors = tempfile.TemporaryFile("w+")  # noqa: SIM115, it lives as long as the process
        self.process = subprocess.Popen(
            [python or sys.executable, str(SCRIPT), name, str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
            env=environment(folder.parent, other=python is not None),
        )
        self.results |= self._read()  # its time of loading and its versions

    def ask(self, **request: Any) -> dict[str, Any]:
        """The answer to one request; empty once the process has failed."""
        if self.fault:
            return {}
        with contextlib.suppress(BrokenPipeError):
            print(json.dumps(request), file=self.process.stdin, flush=True)
        return self._read()

    def _read(self) -> dict[str, Any]:
        line = self.process.stdout.readline()
        if line:
            return dict(json.loads(line))
        self.fault = last_words(self.errors, self.process.wait())
        return {}

    def close(self) -> None:
        """End the process."""
        with contextlib.suppress(BrokenPipeError):  # of a request that it did not live to read
            self.process.stdin.close()
        self.process.wait()
        self.errors.close()


def last_words(errors: Any, status: int) -> str:
    """Why a process ended: its signal, or the last line that it wrote."""
    if status < 0:
        return f"killed by signal {-status}"
    errors.seek(0)
    lines = errors.read().strip().splitlines()
    return lines[-1] if lines else f"exit code {status}"


def foreign_seconds() -> float:
    """Processor time of the machine but for this process and its ended children.

    The difference of two values is what others used: OpenMP's barriers make subjects many times
    slower when another process holds a core, other thread pools hardly, so that turns do not help.
    """
    fields = Path("/proc/stat").read_text().splitlines()[0].split()[1:9]
    user, nice, system, _, _, interrupts, soft, stolen = (int(each) for each in fields)
    total = (user + nice + system + interrupts + soft + stolen) / os.sysconf("SC_CLK_TCK")
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return total - sum(each.ru_utime + each.ru_stime for each in usages)
