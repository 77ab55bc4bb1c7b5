"""What a conversion did: the rows behind `mobilebert convert` and its manifest."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import prod
from pathlib import Path
from typing import Any

from mobilebert_core.checkpoints import Checkpoint
from mobilebert_core.checkpoints.names import Dropped
from mobilebert_core.checkpoints.store import DTYPES
from mobilebert_core.fitting import FittedWeights

OTHER_HEAD = "of a head that this one does not have"


@dataclass(frozen=True)
class ConvertedTensor:
    """One tensor of a conversion.

    Attributes:
        name: canonical name.
        source: its name in the source; empty for a fresh one.
        destination: its name in the destination.
        shape: canonical shape.
        source_dtype: dtype in the source.
        dtype: dtype in the destination.
        transposed: whether source and destination hold it in different layouts.
        sha256: of its values in the canonical layout, little-endian: the same in every format.
    """

    name: str
    source: str
    destination: str
    shape: tuple[int, ...]
    source_dtype: str
    dtype: str
    transposed: bool
    sha256: str

    @property
    def changes(self) -> tuple[str, ...]:
        """What happened to it, in words."""
        if not self.source:
            return ("fresh",)
        happened = {
            "renamed": self.source != self.destination,
            "transposed": self.transposed,
            f"{self.source_dtype} to {self.dtype}": self.source_dtype != self.dtype,
        }
        return tuple(word for word, true in happened.items() if true)


@dataclass(frozen=True)
class Conversion:
    """What `convert` did.

    Attributes:
        source: the source's folder.
        source_format: the source's format.
        destination: the new folder.
        format: its format.
        head: its head.
        tensors: what it holds, in the order of the computation.
        dropped: what the source holds beside that.
        dropped_settings: keys of the source's configuration file that mean nothing to a MobileBERT.
        files: further files that came along: those of the tokenizer.
    """

    source: Path
    source_format: str
    destination: Path
    format: str
    head: str
    tensors: tuple[ConvertedTensor, ...]
    dropped: tuple[Dropped, ...]
    dropped_settings: tuple[str, ...]
    files: tuple[str, ...]

    @property
    def nbytes(self) -> int:
        """Bytes of all tensors in the destination."""
        return sum(DTYPES[each.dtype].itemsize * prod(each.shape) for each in self.tensors)

    def to_dict(self) -> dict[str, Any]:
        """The same as plain values, for JSON."""
        return {
            "source": str(self.source),
            "source_format": self.source_format,
            "destination": str(self.destination),
            "format": self.format,
            "head": self.head,
            "bytes": self.nbytes,
            "tensors": [asdict(each) | {"changes": each.changes} for each in self.tensors],
            "dropped": [asdict(each) for each in self.dropped],
            "dropped_settings": list(self.dropped_settings),
            "files": list(self.files),
        }


def tensor_rows(
    checkpoint: Checkpoint, weights: FittedWeights, written: Checkpoint, digests: Mapping[str, str]
) -> list[ConvertedTensor]:
    """One row for each tensor that was written.

    Args:
        checkpoint: the source.
        weights: what was taken from it, and what is fresh.
        written: the destination, opened again.
        digests: SHA-256 by canonical name.
    """
    rows = []
    for name in written.weights:
        stored, destination = weights.stored(name), written.origins[name]
        source = None if name in weights.fresh else checkpoint.origins[name]
        rows.append(
            ConvertedTensor(
                name=name,
                source="" if source is None else source.name,
                destination=destination.name,
                shape=stored.shape,
                source_dtype=stored.dtype,
                dtype=written.weights.stored(name).dtype,
                transposed=source is not None and source.transposed != destination.transposed,
                sha256=digests[name],
            )
        )
    return rows


def dropped_tensors(checkpoint: Checkpoint, weights: FittedWeights) -> tuple[Dropped, ...]:
    """What the source holds and the destination does not."""
    others = (Dropped(checkpoint.origins[name].name, OTHER_HEAD) for name in weights.dropped)
    return (*checkpoint.dropped, *others)


def write_manifest(
    path: Path, source_format: str, format: str, head: str, rows: list[ConvertedTensor]
) -> None:
    """Write what one needs to check a checkpoint, or to compare it with one of another format."""
    values = {
        "format": format,
        "source_format": source_format,
        "head": head,
        "tensors": {
            row.name: {
                "file_name": row.destination,
                "dtype": row.dtype,
                "shape": row.shape,
                "sha256": row.sha256,
            }
            for row in rows
        },
    }
    path.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
