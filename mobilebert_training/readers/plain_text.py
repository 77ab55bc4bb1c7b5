"""Plain text: one text a line. Read next: `records.py`."""

from pathlib import Path

from mobilebert_core.errors import InputError
from mobilebert_training.readers.files import read_lines
from mobilebert_training.readers.records import Record


def read_plain_text(path: Path, encoding: str = "utf-8") -> list[Record]:
    """The lines of a file as field `text`, without spaces around them; blank ones are left out.

    Raises:
        InputError: the file has no lines, or is no text.
    """
    lines = enumerate(read_lines(path, encoding), 1)
    records = [
        Record(path, number, {"text": line.strip()}) for number, line in lines if line.strip()
    ]
    if not records:
        raise InputError(f"{path} has no lines; expected a text on each")
    return records
