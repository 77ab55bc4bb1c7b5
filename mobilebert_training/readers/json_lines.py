"""JSON lines: one object a line. Read next: `records.py`."""

import json
from pathlib import Path
from typing import Any

from mobilebert_core.errors import InputError
from mobilebert_training.readers.files import Faults, read_lines
from mobilebert_training.readers.records import Record


def read_json_lines(path: Path, encoding: str = "utf-8") -> list[Record]:
    """The objects of a file; blank lines are left out.

    Raises:
        InputError: a line is no JSON object, the file has none, or is no text.
    """
    faults = Faults(path)
    records = []
    for number, line in enumerate(read_lines(path, encoding), 1):
        if not line.strip():
            continue
        try:
            value: Any = json.loads(line)
        except (ValueError, RecursionError) as error:
            faults.add(number, f"no JSON: {_reason(error)}")
            continue
        if isinstance(value, dict):
            records.append(Record(path, number, value))
        else:
            faults.add(number, f"a JSON {type(value).__name__}, expected an object: {{...}}")
    faults.finish()
    if not records:
        raise InputError(f"{path} has no lines; expected a JSON object for each example")
    return records


def _reason(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg} at column {error.colno}"
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    return "it holds a number of too many digits"
