"""Tables: tab-separated (TSV) and comma-separated (CSV) values, with or without a header.

A TSV file has no quotes unless `quoted` says so: a quotation mark is text, and a line is a row. A
CSV file has: a quoted field may hold separators and line ends. Read next: `records.py`.
"""

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path

from mobilebert_core.errors import InputError
from mobilebert_training.readers.files import Faults, read_lines, read_text
from mobilebert_training.readers.records import Record

SEPARATORS = {"tsv": "\t", "csv": ","}
Row = tuple[int, list[str]]


def read_table(
    path: Path,
    separator: str,
    *,
    header: bool | None = None,
    known_names: Sequence[str] = (),
    quoted: bool | None = None,
    encoding: str = "utf-8",
) -> list[Record]:
    """The rows of a table; blank lines are left out.

    Args:
        path: the file, which may be `.gz`.
        separator: one character.
        header: whether the first row names the columns; None: if it has one of `known_names`.
        known_names: names that a header would have.
        quoted: whether fields may be quoted; None: unless the separator is a tab.
        encoding: of the file.

    Returns:
        Records with fields by name, or by number where there is no header.

    Raises:
        InputError: rows differ in their number of columns, a quotation never ends, a name stands
            twice in the header, the file has no rows, or is no text.
    """
    faults = Faults(path)
    quoted = separator != "\t" if quoted is None else quoted
    if quoted:
        rows = list(_quoted_rows(read_text(path, encoding), separator, faults))
    else:
        lines = enumerate(read_lines(path, encoding), 1)
        rows = [(number, line.split(separator)) for number, line in lines if line]
    names: list[str | int] = []
    if rows:
        known = {name.lower() for name in known_names}
        has_header = any(name.strip().lower() in known for name in rows[0][1])
        names = [*range(len(rows[0][1]))]
        if has_header if header is None else header:
            line, first = rows.pop(0)
            names = _header(line, first, faults)
    records = []
    for line, row in rows:
        if len(row) == len(names):
            records.append(Record(path, line, dict(zip(names, row, strict=True))))
        else:
            faults.add(line, f"{_count(len(row))}, expected {len(names)}{_hint(len(row), quoted)}")
    faults.finish()
    if not records:
        raise InputError(f"{path} has no rows; expected a table with a row for each example")
    return records


def _header(line: int, first: Sequence[str], faults: Faults) -> list[str | int]:
    names: list[str | int] = [name.strip() for name in first]
    for name in sorted({str(name) for name in names if names.count(name) > 1}):
        faults.add(line, f"the header names {name!r} twice; rename one, or pass header=False")
    return names


def _quoted_rows(text: str, separator: str, faults: Faults) -> Iterator[Row]:
    """Rows with the line that each begins on."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    begin = 1
    try:
        for row in reader:
            if row:
                yield begin, row
            begin = reader.line_num + 1
    except csv.Error as error:
        # What comes after a broken quotation cannot be told from what is inside it.
        faults.add(begin, f"{error}; quotation marks inside a quoted field are doubled")
        faults.finish()


def _count(columns: int) -> str:
    return f"{columns} column" + ("s" if columns != 1 else "")


def _hint(columns: int, quoted: bool) -> str:
    if columns == 1:
        return "; is the separator another one?"
    return "; a field that holds the separator must be quoted" if quoted else ""
