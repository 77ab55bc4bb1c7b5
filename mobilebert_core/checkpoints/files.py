"""Reading bytes that nobody has vouched for.

Rules: a file is mapped, never loaded whole; every read is checked against the bytes that are there;
whatever is wrong becomes one `CheckpointError` that names the file. Read next: `store.py`.
"""

import json
import mmap
import struct
from pathlib import Path
from typing import Any

from mobilebert_core.errors import CheckpointError

_LFS_POINTER = b"version https://git-lfs"


def damaged(path: Path, what: str) -> CheckpointError:
    """The error for a file whose content is not what its name says."""
    return CheckpointError(f"{path} is damaged or of another kind: {what}; get the file again")


def check_inside(path: Path, folder: Path) -> None:
    """Refuse a file of a checkpoint that is a symbolic link out of the checkpoint's folder.

    Links into the hub's download cache, from `snapshots/<commit>/` to `blobs/`, are as they should
    be.

    Raises:
        CheckpointError: the link leads elsewhere.
    """
    target, home = path.resolve(), folder.resolve()
    if not target.is_relative_to(home) and target.parent != home.parent.parent / "blobs":
        raise CheckpointError(
            f"{path} is a symbolic link out of its folder, to {target}; expected the file itself: "
            "if you trust it, copy it there"
        )


def map_file(path: Path) -> mmap.mmap:
    """The bytes of a file, mapped read-only.

    Raises:
        CheckpointError: the file cannot be read, is empty, is a Git LFS pointer, or a symbolic link
            out of its folder.
    """
    check_inside(path, path.parent)
    try:
        with path.open("rb") as file:
            data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise damaged(path, "it has 0 bytes") from error
    if data[: len(_LFS_POINTER)] == _LFS_POINTER:
        raise CheckpointError(
            f"{path} is a Git LFS pointer, expected the weights themselves; run 'git lfs pull'"
        )
    return data


def parse_json_object(text: bytes, path: Path) -> dict[str, Any]:
    """The JSON object in `text`; a key given twice is refused, for parsers differ on who wins.

    Raises:
        CheckpointError: `text`, which comes from `path`, is no such object.
    """
    try:
        values = json.loads(text, object_pairs_hook=_without_duplicates)
    except (ValueError, RecursionError) as error:
        raise damaged(path, f"no valid JSON ({error})") from error
    if not isinstance(values, dict):
        raise damaged(path, f"its JSON is a {type(values).__name__}, expected an object")
    return values


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"the key {next(key for key in keys if keys.count(key) > 1)!r} is twice")
    return values


class ByteReader:
    """A position in some bytes; reading beyond the end is a `CheckpointError`.

    Args:
        data: the bytes.
        path: the file they come from, for errors.
        position: where to start.
        end: where to stop; None means the end of `data`.
    """

    def __init__(
        self, data: bytes | mmap.mmap, path: Path, position: int = 0, end: int | None = None
    ) -> None:
        self._data = data
        self.path = path
        self.position = position
        self.end = len(data) if end is None else end

    def fail(self, what: str) -> CheckpointError:
        """The error for a fault just before the current position."""
        return damaged(self.path, f"{what} (at byte {self.position})")

    def skip(self, count: int) -> int:
        """Pass over `count` bytes and return where they start."""
        start = self.position
        if not 0 <= count <= self.end - start:
            raise self.fail(f"{count} bytes are announced and {self.end - start} are left")
        self.position += count
        return start

    def take(self, count: int) -> bytes:
        """The next `count` bytes."""
        start = self.skip(count)
        return self._data[start : start + count]

    def number(self, layout: str) -> Any:
        """The next number, in the notation of `struct`."""
        return struct.unpack(layout, self.take(struct.calcsize(layout)))[0]

    def line(self, limit: int = 200) -> str:
        """The text up to the next line feed, which is passed over."""
        end = self._data.find(b"\n", self.position, min(self.position + limit, self.end))
        if end < 0:
            raise self.fail("a name does not end")
        text = self.take(end - self.position + 1)[:-1]
        return text.decode("utf-8", "backslashreplace")

    def varint(self) -> int:
        """The next number in the variable-length notation of protocol buffers, 64 bits."""
        value = 0
        for shift in range(0, 70, 7):
            byte = self.take(1)[0]
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value & 0xFFFF_FFFF_FFFF_FFFF
        raise self.fail("a number of variable length does not end")
