"""What is in a checkpoint: the rows behind `mobilebert inspect`.

Rules: names, shapes and dtypes only, no tensor data is read and no framework is imported. Read
next: `checkpoints/store.py` for the lazy weights, `loading.py` for what a head may lack.
"""

import re
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import product
from math import prod
from pathlib import Path
from typing import Any

from mobilebert_core import schema
from mobilebert_core.checkpoints import Checkpoint
from mobilebert_core.config import MobileBertConfig
from mobilebert_core.dialects import Dialect
from mobilebert_core.errors import CheckpointError, MobileBertWarning
from mobilebert_core.fitting import fit_weights
from mobilebert_core.heads import HEADS
from mobilebert_core.loading import open_source

_INDEX = re.compile(r"\.(\d+)(?=\.)")


@dataclass(frozen=True)
class TensorRow:
    """One stored tensor, or several alike.

    Attributes:
        name: canonical name; of several, with their numbers as `layer.{0..23}`.
        shape: shape of one.
        dtype: name of the dtype.
        nbytes: bytes of all.
        count: how many there are.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    nbytes: int
    count: int = 1


@dataclass(frozen=True)
class HeadRow:
    """What a checkpoint has for one head.

    Attributes:
        name: name of the head.
        loads: whether `mobilebert.load(source, head=name)` gives a model.
        lacking: parts of that model that are not in the checkpoint, or not in its shape. Where the
            head loads, these get fresh weights.
    """

    name: str
    loads: bool
    lacking: tuple[str, ...]


@dataclass(frozen=True)
class Inspection:
    """Everything that can be told of a checkpoint without reading its values.

    Attributes:
        path: its folder.
        format: name of its format.
        head: the head that its configuration names, or None.
        config: its configuration.
        parameters: number of stored values by part, tied tensors counted once.
        heads: one row a head.
        tensors: all tensors, in the order of the computation.
        notes: what was ignored, one sentence each.
    """

    path: Path
    format: str
    head: str | None
    config: MobileBertConfig
    parameters: dict[str, int]
    heads: tuple[HeadRow, ...]
    tensors: tuple[TensorRow, ...]
    notes: tuple[str, ...]

    @property
    def dtypes(self) -> tuple[str, ...]:
        """The dtypes that occur, sorted."""
        return tuple(sorted({tensor.dtype for tensor in self.tensors}))

    @property
    def nbytes(self) -> int:
        """Bytes of all tensors together."""
        return sum(tensor.nbytes for tensor in self.tensors)

    def to_dict(self) -> dict[str, Any]:
        """The same as plain values, for JSON."""
        return {
            "path": str(self.path),
            "format": self.format,
            "head": self.head,
            "dtypes": list(self.dtypes),
            "bytes": self.nbytes,
            "parameters": self.parameters | {"total": sum(self.parameters.values())},
            "heads": {
                row.name: {"loads": row.loads, "lacking": list(row.lacking)} for row in self.heads
            },
            "config": self.config.to_dict(),
            "tensors": [
                {"name": row.name, "shape": row.shape, "dtype": row.dtype, "bytes": row.nbytes}
                for row in self.tensors
            ],
            "notes": list(self.notes),
        }


def inspect_checkpoint(
    source: str | Path | None = None, *, dialect: Dialect | None = None, format: str | None = None
) -> Inspection:
    """Look into a checkpoint.

    Args:
        source: a folder, a weights file, a packaged name or a hub id; None is the packaged model.
        dialect: forces how config.json is read, `transformers` or `google`.
        format: forces one of several checkpoint formats in the folder.

    Raises:
        CheckpointError: the source is absent, damaged or not a MobileBERT's.
        ConfigError: the configuration is invalid or ambiguous.
    """
    checkpoint = open_source(source, dialect=dialect, format=format)
    store = checkpoint.weights
    return Inspection(
        path=checkpoint.path,
        format=checkpoint.format,
        head=checkpoint.head,
        config=checkpoint.config,
        parameters=_parameters(checkpoint),
        heads=tuple(_head_row(checkpoint, head) for head in HEADS),
        tensors=tuple(
            TensorRow(name, store.shape(name), str(store.dtype(name)), store.nbytes(name))
            for name in store
        ),
        notes=checkpoint.notes,
    )


def _parameters(checkpoint: Checkpoint) -> dict[str, int]:
    parts = {
        name: spec.part
        for head in HEADS
        for name, spec in schema.owned_tensors(checkpoint.config, head).items()
    }
    counts: dict[str, int] = {}
    for name in checkpoint.weights:
        counts[parts[name]] = counts.get(parts[name], 0) + prod(checkpoint.weights.shape(name))
    return counts


def _head_row(checkpoint: Checkpoint, head: str) -> HeadRow:
    """Ask the loading code itself, so that the answer is what loading will do."""
    specs = schema.owned_tensors(checkpoint.config, head)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", MobileBertWarning)
            lacking = fit_weights(checkpoint, checkpoint.config, head).fresh
        loads = True
    except CheckpointError:
        store = checkpoint.weights
        lacking = frozenset(
            name
            for name, spec in specs.items()
            if name not in store or store.shape(name) != spec.shape
        )
        loads = False
    parts = dict.fromkeys(spec.part for name, spec in specs.items() if name in lacking)
    return HeadRow(head, loads, tuple(parts))


def collapse(rows: Iterable[TensorRow]) -> list[TensorRow]:
    """Tensors that differ in nothing but the numbers in their names, as one row.

    Example:
        >>> rows = [TensorRow(f"layer.{index}.bias", (4,), "float32", 16) for index in range(3)]
        >>> [(row.name, row.nbytes) for row in collapse(rows)]
        [('layer.{0..2}.bias', 48)]
    """
    groups: dict[tuple[str, tuple[int, ...], str], list[TensorRow]] = {}
    for row in rows:
        template = _INDEX.sub(".{}", row.name)
        groups.setdefault((template, row.shape, row.dtype), []).append(row)
    collapsed: list[TensorRow] = []
    for (template, _, _), members in groups.items():
        collapsed += _merged(template, members)
    return collapsed


def _merged(template: str, members: list[TensorRow]) -> list[TensorRow]:
    """One row for all members, or the members themselves where numbers are missing in between."""
    found = [tuple(map(int, _INDEX.findall(row.name))) for row in members]
    axes = [sorted(set(axis)) for axis in zip(*found, strict=True)]
    if sorted(found) != list(product(*axes)):
        return members  # a name with a gap in it would claim tensors that are not there
    name = template.format(*map(_numbers, axes))
    nbytes = sum(row.nbytes for row in members)
    return [replace(members[0], name=name, nbytes=nbytes, count=len(members))]


def _numbers(values: Sequence[int]) -> str:
    if len(values) == 1:
        return str(values[0])
    if values[-1] - values[0] == len(values) - 1:
        return f"{{{values[0]}..{values[-1]}}}"
    return f"{{{','.join(map(str, values))}}}"
