"""What a run is, as JSON: two runs with equal descriptions compute the same numbers.

Rules: files and models are told by name and digest, so that another path to the same file is the
same run, and another file of the same path is not. Read next: `run_folder.py`, which compares.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mobilebert_core.errors import InputError
from mobilebert_training.task import Array
from mobilebert_training.tasks.opening import Files


def describe_files(files: Files | None) -> list[str]:
    """Name and digest of each file, and its label where it belongs to one.

    Raises:
        InputError: a file cannot be read.
    """
    if files is None:
        return []
    if isinstance(files, Mapping):
        return [f"{label}={describe_file(path)}" for label, path in files.items()]
    return [describe_file(each) for each in list_files(files)]


def list_files(files: Files | None) -> list[Path]:
    """All files, in their order."""
    if files is None:
        return []
    if isinstance(files, str | Path):
        return [Path(files)]
    return [Path(each) for each in (files.values() if isinstance(files, Mapping) else files)]


def describe_file(path: str | Path) -> str:
    """Name and digest of a file.

    Raises:
        InputError: it cannot be read.
    """
    try:
        with Path(path).open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error}") from error
    return f"{Path(path).name} sha256:{digest}"


def describe_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options of a task; a file of labels by its digest."""
    values = {name: value for name, value in options.items() if value is not None}
    labels = values.get("labels")
    if isinstance(labels, str | Path):
        values["labels"] = describe_file(labels)
    return {name: list(each) if isinstance(each, tuple) else each for name, each in values.items()}


def describe_tokenizer(tokenizer: Any) -> str:
    """Size and digest of a vocabulary."""
    pieces = sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])
    text = "\n".join(f"{number} {piece}" for piece, number in pieces)
    return f"{len(pieces)} pieces sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def describe_weights(weights: Mapping[str, Array]) -> str:
    """A digest of all names and values."""
    digest = hashlib.sha256()
    for name in sorted(weights):
        values = np.ascontiguousarray(weights[name])
        digest.update(f"{name} {values.dtype} {values.shape}\n".encode())
        digest.update(values.reshape(-1).view(np.uint8).data)
    return f"sha256:{digest.hexdigest()}"
