"""What all readers share: the text of a file, and one error for its faults.

A line number counts from 1, as editors do. Read next: `tables.py`.
"""

import gzip
import zlib
from pathlib import Path

from mobilebert_core.errors import InputError, raise_faults

MOST_FAULTS = 10


class Faults:
    """Collects what is wrong with a file.

    Args:
        path: the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.found: list[str] = []

    def add(self, line: int, fault: str) -> None:
        """Note a fault of a line; the tenth one ends the reading.

        Raises:
            InputError: there are ten.
        """
        self.add_at(f"line {line}", fault)

    def add_at(self, place: str, fault: str) -> None:
        """Note a fault at a place that has a name rather than a line.

        Raises:
            InputError: there are ten.
        """
        self.found.append(f"{place}: {fault}")
        if len(self.found) == MOST_FAULTS:
            self.found.append(f"reading stopped after {MOST_FAULTS} faults")
            self.finish()

    def finish(self) -> None:
        """End the reading.

        Raises:
            InputError: there are faults.
        """
        raise_faults(InputError, f"{self.path} cannot be used", self.found)


def read_text(path: Path, encoding: str = "utf-8") -> str:
    """The whole text of a file, line ends as they are; `.gz` is decompressed.

    Args:
        path: the file.
        encoding: a name that Python knows; a byte order mark of UTF-8 is left out.

    Raises:
        InputError: the file cannot be read, or a line is not of this encoding.
    """
    other = ', or say which encoding it has, e.g. encoding="latin-1"'
    return decode(read_bytes(path), str(path), encoding, other)


def decode(data: bytes, name: str, encoding: str = "utf-8", other: str = "") -> str:
    """The text of bytes.

    Args:
        data: of a whole file.
        name: of the file, for errors.
        encoding: as of `read_text`.
        other: what else than saving it as UTF-8 can be done.

    Raises:
        InputError: as of `read_text`.
    """
    try:
        return data.decode("utf-8-sig" if encoding.lower() in ("utf-8", "utf8") else encoding)
    except LookupError:
        raise InputError(
            f'encoding={encoding!r} is unknown; give one that Python knows, e.g. "utf-8"'
        ) from None
    except UnicodeDecodeError as error:
        # The codec counts from behind a byte order mark; the object it reports is what it read.
        line = error.object.count(b"\n", 0, error.start) + 1
        column = error.start - error.object.rfind(b"\n", 0, error.start)
        raise InputError(
            f"{name} cannot be used: line {line}: byte {column} is "
            f"0x{error.object[error.start]:02x}, no {encoding} ({error.reason}); save the file as "
            f"UTF-8{other}"
        ) from error


def read_lines(path: Path, encoding: str = "utf-8") -> list[str]:
    r"""The lines of a file without their ends, `\n` or `\r\n`; no other character ends one.

    Raises:
        InputError: as of `read_text`.
    """
    return split_lines(read_text(path, encoding))


def split_lines(text: str) -> list[str]:
    """The lines of a text without their ends."""
    lines = text.split("\n")
    if lines[-1] == "":
        lines.pop()
    return [line.removesuffix("\r") for line in lines]


def read_bytes(path: Path) -> bytes:
    """What is in a file; `.gz` is decompressed.

    Raises:
        InputError: the file is absent or damaged.
    """
    try:
        data = path.read_bytes()
        return gzip.decompress(data) if path.suffix.lower() == ".gz" else data
    except FileNotFoundError:
        raise InputError(
            f"There is no file {path}; expected a file of training data in {path.absolute().parent}"
        ) from None
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(
            f"{path} cannot be decompressed ({error}); expected a whole gzip file, copy it again"
        ) from error
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from error
