"""A listener that logs for TensorBoard, and never the same step twice.

    tensorboard --logdir FOLDER/tensorboard

Rules: a run that goes on from a checkpoint copies what was logged up to it into a new file, times
and all, and deletes the old one, so that steps that are made again are logged once. The files are
TFRecords of TensorBoard's own messages; TensorFlow is not needed. Read next: `reporting.py`.
"""

import struct
import time
from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import IO, Any

from mobilebert_core.checkpoints.crc32c import masked_crc32c
from mobilebert_core.errors import CheckpointError, MissingDependencyError

FOLDER = "tensorboard"
_TRAINING = ("loss", "learning_rate", "gradient_norm", "steps_per_second")
_FILES = "events.out.tfevents.*"


class TensorboardLog:
    """A listener that writes into the folder `tensorboard` of a run.

    Args:
        run: the folder of the run.

    Raises:
        MissingDependencyError: tensorboard is not installed.
    """

    def __init__(self, run: str | Path) -> None:
        try:
            self.events: Any = import_module("tensorboard.compat.proto.event_pb2")
            self.summaries: Any = import_module("tensorboard.compat.proto.summary_pb2")
        except ImportError as error:
            raise MissingDependencyError(
                'Logs for TensorBoard need tensorboard; type: pip install "mobilebert[train]"'
            ) from error
        self.folder = Path(run) / FOLDER
        self.file: Path | None = None

    def __call__(self, row: Mapping[str, Any]) -> None:
        """Log what a line of the log says.

        Raises:
            CheckpointError: it cannot be written, e.g. as the disk is full.
        """
        try:
            if row.get("event") == "begin":
                self.file = self._begin(row["step"])
            elif self.file is not None:
                event = self._event(row)
                with self.file.open("ab") as stream:
                    _write_record(stream, event)
        except OSError as error:
            raise CheckpointError(
                f"The log for TensorBoard in {self.folder} cannot be written: {error}. Make room, "
                "then give the same command again, or one with --no-tensorboard"
            ) from error

    def _begin(self, step: int) -> Path:
        """A file with what was logged up to a step, in place of all others."""
        self.folder.mkdir(exist_ok=True)
        old = sorted(self.folder.glob(_FILES))
        file = self.folder / f"events.out.tfevents.{time.time_ns()}"
        partial = self.folder / "partial"  # a name that TensorBoard does not read
        with partial.open("wb") as stream:
            first = self.events.Event(wall_time=time.time(), file_version="brain.Event:2")
            _write_record(stream, first.SerializeToString())
            for record in (each for path in old for each in _read_records(path)):
                event = self.events.Event.FromString(record)
                if event.step <= step and event.HasField("summary"):
                    _write_record(stream, record)
        partial.replace(file)
        for path in old:
            path.unlink()
        return file

    def _event(self, row: Mapping[str, Any]) -> bytes:
        """A message with the numbers of a row."""
        numbers = {f"training/{name}": row[name] for name in _TRAINING if name in row}
        numbers |= {f"validation/{name}": each for name, each in row.get("metrics", {}).items()}
        values = [
            self.summaries.Summary.Value(tag=name, simple_value=number)
            for name, number in numbers.items()
        ]
        event = self.events.Event(
            wall_time=time.time(), step=row["step"], summary=self.summaries.Summary(value=values)
        )
        message: bytes = event.SerializeToString()
        return message


def _write_record(stream: IO[bytes], message: bytes) -> None:
    """Length, its checksum, the message, its checksum."""
    length = struct.pack("<Q", len(message))
    parts = (length, _checksum(length), message, _checksum(message))
    stream.write(b"".join(parts))


def _checksum(data: bytes) -> bytes:
    return struct.pack("<I", masked_crc32c(data))


def _read_records(path: Path) -> Iterator[bytes]:
    """The messages of a file; one that a killed run has left half ends it."""
    content, place = path.read_bytes(), 0
    while place + 12 <= len(content):
        (size,) = struct.unpack_from("<Q", content, place)
        message = content[place + 12 : place + 12 + size]
        checksum = content[place + 12 + size : place + 16 + size]
        if len(message) < size or _checksum(message) != checksum:
            return
        yield message
        place += 16 + size
