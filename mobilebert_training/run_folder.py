"""The folder of a run: what it is, how far it is, and what it needs to go on.

    run.json                      what was asked for; another run is refused here
    log.jsonl                     a line for each logged step and evaluation
    checkpoints/step-00000100/    arrays.safetensors and state.json, which has the digest
    model/                        the result: a checkpoint folder like any other

Rules: a checkpoint appears whole or not at all, and is read only if its digest is right. The log
is cut to the checkpoint that a run goes on from. Nothing that failed deletes what was there.
"""

import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from mobilebert_core.checkpoints.atomic import replace_folder
from mobilebert_core.errors import CheckpointError, InputError, brief

Array = np.ndarray[Any, np.dtype[Any]]

_ARRAYS, _STATE, _RUN, _LOG = "arrays.safetensors", "state.json", "run.json", "log.jsonl"


@dataclass(frozen=True)
class Saved:
    """A checkpoint of a run.

    Attributes:
        step: how many updates had been made.
        arrays: parameters and the optimiser's state, by name.
        state: whatever else a run must know.
    """

    step: int
    arrays: dict[str, Array]
    state: dict[str, Any]


class RunFolder:
    """Reads and writes the folder of a run.

    Args:
        path: where it is; made when it is first written.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)

    @property
    def model_path(self) -> Path:
        """Where the result is saved."""
        return self.path / "model"

    def begin(self, description: Mapping[str, Any]) -> None:
        """Write what the run is, or check that the folder holds this very run.

        Args:
            description: JSON values: settings, files with their digests, the model it starts from.

        Raises:
            InputError: the folder holds another run, or something else.
            CheckpointError: it cannot be written.
        """
        file = self.path / _RUN
        if not file.exists():
            if self.path.exists() and not self._is_empty():
                raise InputError(
                    f"{self.path} is there and holds no run; give a new or an empty folder"
                )
            with self.writing(f"folder {self.path}"):
                self.path.mkdir(parents=True, exist_ok=True)
                _replace_text(file, _to_text(description))
            return
        found = _read_json(file)
        expected = json.loads(json.dumps(description))
        names = sorted(found.keys() | expected.keys())
        faults = [
            f"{name} was {brief(found.get(name))}, now {brief(expected.get(name))}"
            for name in names
            if found.get(name) != expected.get(name)
        ]
        if faults:
            lines = "\n".join(f"  - {fault}" for fault in faults)
            raise InputError(
                f"{self.path} holds another run:\n{lines}\n"
                "Give the same options to go on with it, or another folder for a new run"
            )

    def save(self, step: int, arrays: Mapping[str, Array], state: Mapping[str, Any]) -> Path:
        """Write a checkpoint; an earlier one of this step is replaced.

        Raises:
            CheckpointError: it cannot be written, e.g. as the disk is full; what was there stays.
        """
        folder = self._folder(step)

        def fill(staging: Path) -> None:
            save_file({name: np.ascontiguousarray(each) for name, each in arrays.items()},
                      staging / _ARRAYS)  # fmt: skip
            values = {"step": step, "sha256": _digest(staging / _ARRAYS), **state}
            (staging / _STATE).write_text(_to_text(values), encoding="utf-8")

        with self.writing(f"checkpoint {folder}"):
            replace_folder(folder, fill, lambda path: True)
        return folder

    @contextmanager
    def writing(self, what: str) -> Iterator[None]:
        """Where writing fails, say what is left and what to do.

        Args:
            what: is written, for the message.

        Raises:
            CheckpointError: it cannot be written, e.g. as the disk is full.
        """
        try:
            yield
        except (OSError, SafetensorError, CheckpointError) as error:
            steps = self.steps()
            start = f"the checkpoint of step {steps[-1]}, which is whole" if steps else "the start"
            raise CheckpointError(
                f"The {what} cannot be written: {error}. Make room, then give the same command "
                f"again: the run goes on from {start}"
            ) from error

    def thin_out(self, keep: int) -> None:
        """Delete all but the newest checkpoints."""
        for step in self.steps()[:-keep]:
            shutil.rmtree(self._folder(step), ignore_errors=True)

    def steps(self) -> list[int]:
        """Of which steps there are checkpoints, ascending."""
        names = [path.name for path in (self.path / "checkpoints").glob("step-*")]
        return sorted(int(name[5:]) for name in names if name[5:].isdigit())

    def load(self) -> Saved | None:
        """The newest checkpoint, or None.

        Raises:
            CheckpointError: it is damaged; the message says from which step one could go on.
        """
        steps = self.steps()
        if not steps:
            return None
        folder = self._folder(steps[-1])
        try:
            state = _read_json(folder / _STATE)
            digest = _digest(folder / _ARRAYS)
            if state.get("sha256") != digest or state.get("step") != steps[-1]:
                raise CheckpointError(f"{_ARRAYS} has another digest than {_STATE} says")
            arrays = load_file(folder / _ARRAYS)
        except (OSError, SafetensorError, CheckpointError, InputError) as error:
            earlier = f"the one of step {steps[-2]}" if len(steps) > 1 else "the beginning"
            raise CheckpointError(
                f"The checkpoint {folder} is damaged: {error}. Delete this folder to go on from "
                f"{earlier}"
            ) from error
        return Saved(steps[-1], arrays, state)

    def cut_log(self, step: int) -> None:
        """Forget what was logged after a step: it will come again.

        Raises:
            CheckpointError: the shorter log cannot be written; the longer one stays.
        """
        file = self.path / _LOG
        if not file.exists():
            return
        kept = [row for row in self.log() if row["step"] <= step]
        with self.writing(f"log {file}"):
            _replace_text(file, "".join(f"{json.dumps(row)}\n" for row in kept))

    def append_log(self, row: Mapping[str, Any]) -> None:
        """Add a line to the log.

        Raises:
            CheckpointError: it cannot be written, e.g. as the disk is full.
        """
        file = self.path / _LOG
        with self.writing(f"log {file}"), file.open("a", encoding="utf-8") as stream:
            stream.write(f"{json.dumps(row)}\n")

    def log(self) -> list[dict[str, Any]]:
        """The lines of the log; one that a killed run has left half is not among them."""
        file = self.path / _LOG
        rows = []
        for line in file.read_bytes().splitlines() if file.exists() else ():
            try:
                rows.append(json.loads(line))
            except ValueError:
                continue
        return rows

    def _is_empty(self) -> bool:
        """A folder with nothing in it but what a run has left that was killed as it began."""
        return self.path.is_dir() and {each.name for each in self.path.iterdir()} <= {_new(_RUN)}

    def _folder(self, step: int) -> Path:
        return self.path / "checkpoints" / f"step-{step:08d}"


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _to_text(values: Mapping[str, Any]) -> str:
    return json.dumps(values, indent=2) + "\n"


def _new(name: str) -> str:
    return f"{name}.new"


def _replace_text(path: Path, text: str) -> None:
    """Write a file beside the old one, then give it its name: a killed run leaves one of them."""
    temporary = path.with_name(_new(path.name))
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read: {error}") from error
    if not isinstance(values, dict):
        raise InputError(f"{path} holds a {type(values).__name__}, expected a JSON object")
    return values
