"""Opening a checkpoint: which format, which configuration, which tensors.

Rules: a folder holds one checkpoint, and what is ambiguous is refused, with one exception: weights
in both formats of PyTorch are one model, and safetensors is taken. Read next: `formats.py`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mobilebert_core.checkpoints.atomic import backups_of
from mobilebert_core.checkpoints.files import check_inside
from mobilebert_core.checkpoints.formats import FORMATS, Format, get_format
from mobilebert_core.checkpoints.names import Dropped, Place, canonical_tensors, notes_of
from mobilebert_core.checkpoints.store import TensorStore
from mobilebert_core.config import MobileBertConfig, field_names
from mobilebert_core.dialects import Dialect, read_json_object, unknown_keys
from mobilebert_core.errors import CheckpointError
from mobilebert_core.heads import head_of_architectures


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A model on disk.

    Attributes:
        config: its configuration.
        weights: its tensors under canonical names, read when asked for. They are those of all heads
            that the file has; whoever loads a head checks that its tensors are there.
        head: the head that the configuration file names, or None.
        format: the format's name.
        path: the folder with its configuration.
        origins: canonical name -> where in the files.
        dropped: what the files have beside these weights.
        unknown_settings: keys of the configuration file that mean nothing to a MobileBERT.
    """

    config: MobileBertConfig
    weights: TensorStore
    head: str | None
    format: str
    path: Path
    origins: Mapping[str, Place]
    dropped: tuple[Dropped, ...]
    unknown_settings: tuple[str, ...]

    @property
    def notes(self) -> tuple[str, ...]:
        """One sentence for each kind of tensor that was ignored."""
        return notes_of(self.dropped)


def open_checkpoint(
    source: str | Path, *, dialect: Dialect | None = None, format: str | None = None
) -> Checkpoint:
    """Open a checkpoint; its weights stay on disk until they are asked for.

    Args:
        source: a folder, or a weights file (or its index) with the configuration beside it.
        dialect: how to read the configuration; None detects it.
        format: name of the format; None detects it. A folder that holds
            both PyTorch formats is read as safetensors.

    Raises:
        CheckpointError: nothing there, an ambiguous folder, or a file that is damaged, unsafe or
            not a MobileBERT's. Nothing in the file is ever executed.
        ConfigError: the configuration is invalid or ambiguous.
    """
    source = Path(source)
    wanted = None if format is None else get_format(format)
    if source.is_dir():
        folder = source
        row, entry = _find_weights(source, wanted)
    elif source.is_file():
        folder = source.parent
        row, entry = wanted or _format_of_file(source), source
    else:
        raise CheckpointError(_absent(source))
    check_inside(entry, folder)
    config_path = _find_config(folder, row)
    config = MobileBertConfig.from_json_file(config_path, dialect)
    tensors = row.read(entry)
    found = canonical_tensors(tensors, row.naming(config).translate, config, entry)
    values = read_json_object(config_path)
    return Checkpoint(
        config,
        found.store,
        _head(values),
        row.name,
        config_path.parent,
        found.origins,
        found.dropped,
        unknown_keys(values, field_names()),
    )


def _absent(source: Path) -> str:
    message = f"{source} does not exist, expected a checkpoint's folder or weights file"
    backups = backups_of(source)
    if backups:
        names = ", ".join(str(backup) for backup in backups)
        message += f"; an interrupted save has left the earlier one as {names}: rename it back"
    return message


def _find_weights(folder: Path, wanted: Format | None) -> tuple[Format, Path]:
    rows = [wanted] if wanted else list(FORMATS.values())
    found = [
        (row, path)
        for row in rows
        for pattern in row.entries
        for path in sorted(folder.glob(pattern))
        if path.is_file()
    ]
    names = {row.name for row, _ in found}
    found = [(row, path) for row, path in found if not names & set(row.yields_to)]
    if not found:
        patterns = ", ".join(pattern for row in rows for pattern in row.entries)
        raise CheckpointError(f"{folder} holds no weights; looked for {patterns}")
    if len(found) > 1:
        candidates = ", ".join(f"{path.name} ({row.name})" for row, path in found)
        raise CheckpointError(
            f"{folder} holds several checkpoints: {candidates}; expected one. Give the path of one "
            "of the files, or format= if the formats differ"
        )
    return found[0]


def _format_of_file(path: Path) -> Format:
    fitting = {
        suffix: row
        for row in FORMATS.values()
        for suffix in row.suffixes
        if path.name.endswith(suffix)
    }
    if fitting:  # the longest decides: *.weights.h5 is not any *.h5
        return fitting[max(fitting, key=len)]
    endings = ", ".join(suffix for row in FORMATS.values() for suffix in row.suffixes)
    raise CheckpointError(
        f"{path} is of no known format, expected a name that ends with one of {endings}; "
        "give format= or the folder"
    )


def _find_config(folder: Path, row: Format) -> Path:
    # A folder that a library has written may itself stand in the checkpoint's folder.
    places = (folder, folder.parent) if row.folders else (folder,)
    for place in places:
        for name in row.config_names:
            if (place / name).is_file():
                check_inside(place / name, place)
                return place / name
    raise CheckpointError(
        f"{folder} holds no configuration; looked for {' and '.join(row.config_names)} "
        "beside the weights"
    )


def _head(values: Mapping[str, Any]) -> str | None:
    architectures = values.get("architectures")
    if not isinstance(architectures, list):
        return None
    head = head_of_architectures(name for name in architectures if isinstance(name, str))
    return None if head is None else head.name
