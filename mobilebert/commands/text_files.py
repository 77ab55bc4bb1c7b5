"""Texts in and results out: a line is a line in every command, and a file is whole or as before."""

import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import IO

import typer

from mobilebert.commands import note
from mobilebert_core.errors import InputError


def text_lines(file: Path) -> Iterator[str]:
    r"""The lines of a file, or of standard input for `-`, without their ends, `\n` or `\r\n`.

    No other character ends a line, and a byte order mark is none of the text.

    Raises:
        InputError: it cannot be read, or a line is no UTF-8, by its number.
    """
    standard = str(file) == "-"
    if standard and sys.stdin.isatty():
        note("reading texts from the keyboard, one a line, until Ctrl-D")
    name = "standard input" if standard else str(file)
    number = 0
    try:
        source = nullcontext(typer.get_binary_stream("stdin")) if standard else file.open("rb")
        with source as stream:
            for number, line in enumerate(stream, 1):
                encoding = "utf-8-sig" if number == 1 else "utf-8"
                yield line.removesuffix(b"\n").removesuffix(b"\r").decode(encoding)
    except UnicodeDecodeError as error:
        raise InputError(
            f"{name} is no text in UTF-8: line {number}: {error}; convert it first"
        ) from error
    except OSError as error:
        raise InputError(f"{name} cannot be read: {error.strerror or error}") from error


@contextmanager
def written_at_once(path: Path) -> Iterator[IO[str]]:
    """A file to write text to, which takes its name when all is written; before, all is as it was.

    A pipe or a device is written to as it comes.

    Raises:
        InputError: it cannot be written, e.g. as the disk is full.
    """
    try:
        with _opened(path) as stream:
            yield stream
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror or error}") from error


def _opened(path: Path) -> AbstractContextManager[IO[str]]:
    from mobilebert_core.checkpoints.atomic import replaced_file  # with NumPy: not for --help

    if path.exists() and not path.is_file():
        return path.open("w", encoding="utf-8", newline="\n")
    return replaced_file(path, mode="x", encoding="utf-8", newline="\n")
