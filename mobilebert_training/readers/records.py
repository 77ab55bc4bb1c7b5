"""Records with named fields, which tables and JSON lines have in common, and how fields are chosen.

Read next: `tables.py`, `json_lines.py`.
"""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mobilebert_core.errors import InputError


@dataclass(frozen=True)
class Record:
    """One line of a table, or one JSON object.

    Attributes:
        path: the file it is from.
        line: its line there.
        fields: values by the names of columns; by numbers where the table has no header.
    """

    path: Path
    line: int
    fields: Mapping[str | int, Any]

    @property
    def place(self) -> str:
        """Where it stands, for an error."""
        return f"{self.path}, line {self.line}"


def find_field(
    records: Sequence[Record], wanted: str | int | None, usual: Sequence[str], role: str
) -> str | int | None:
    """The name of a field, as the records have it.

    Args:
        records: of one file.
        wanted: a name, or a number from 0; None takes the first of the usual names.
        usual: names that are looked for without being asked; capitals do not matter.
        role: what the field is for, e.g. `"text"`.

    Returns:
        None when no name is wanted and none of the usual ones is there.

    Raises:
        InputError: the field is not there; the message says which are.
    """
    names = field_names(records)
    if wanted is None:
        by_lower = {str(name).lower(): name for name in names}
        return next((by_lower[name] for name in usual if name in by_lower), None)
    if wanted in names:
        return wanted
    number = _number(wanted)
    if number is not None and number < len(names):
        return names[number]
    close = difflib.get_close_matches(str(wanted), [str(name) for name in names], n=1, cutoff=0.5)
    hint = f"did you mean {close[0]!r}? I" if close else "i"
    raise InputError(
        f"{records[0].path} has no column {wanted!r} for {role}; {hint}t has "
        f"{', '.join(map(repr, names))}"
    )


def field_names(records: Sequence[Record]) -> list[str | int]:
    """The names of all fields, in order of appearance."""
    return list(dict.fromkeys(name for record in records for name in record.fields))


def _number(wanted: str | int) -> int | None:
    text = str(wanted)
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None
