"""Saving a checkpoint: configuration and weights of one head, all of it or nothing."""

import errno
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from mobilebert_core import schema
from mobilebert_core.checkpoints.atomic import replace_folder
from mobilebert_core.checkpoints.formats import (
    MANIFEST,
    Format,
    belongs_to_checkpoint,
    get_format,
)
from mobilebert_core.checkpoints.names import tensors_to_write
from mobilebert_core.checkpoints.orbax_format import METADATA
from mobilebert_core.checkpoints.store import DTYPES, Array, StoredTensor, stored_tensors
from mobilebert_core.config import MobileBertConfig
from mobilebert_core.errors import CheckpointError, brief, raise_faults
from mobilebert_core.heads import get_head

_NOT_REPLACEABLE = (errno.EBUSY, errno.EXDEV, errno.EACCES, errno.EPERM, errno.EROFS)


def save_checkpoint(
    folder: str | Path,
    config: MobileBertConfig,
    weights: Mapping[str, Array],
    head: str,
    *,
    format: str = "safetensors",
    max_shard_size: int | None = None,
    extra_files: Callable[[Path], None] | None = None,
    overwrite: bool = False,
) -> Path:
    """Write a checkpoint in any of the formats.

    The folder is replaced in one step, so that an interrupted save leaves the earlier checkpoint. A
    checkpoint of the same format that was in the folder goes; other files in it stay.

    Args:
        folder: where to; made if need be.
        config: the configuration.
        weights: exactly the owned tensors of the head, by canonical name. The base model's may lack
            the pooler.
        head: name of the head.
        format: name of the format; `mobilebert_core.checkpoints.formats` lists them.
        max_shard_size: most bytes of a weights file; None writes a single one.
        extra_files: called with the folder before it becomes visible, to add e.g. a tokenizer.
        overwrite: also delete a checkpoint of another format, which could not be told from the new
            one.

    Returns:
        The folder.

    Raises:
        CheckpointError: the weights are not the head's, the format is unknown or has no shards, the
            folder cannot be written, or it holds a checkpoint of another format.
        ConfigError: no head has this name, or the format cannot express the configuration.
        MissingDependencyError: the format needs a package that is not installed.
    """
    folder, row = as_folder(folder), get_format(format)
    _check_shard_size(row, max_shard_size)
    _check_destination(folder, row, overwrite)
    tensors = stored_tensors(weights)
    dtype = _check(config, tensors, head)
    values = _config_values(config, head, dtype, row)
    named = tensors_to_write(tensors, row.naming(config), config, head)

    def fill(staging: Path) -> None:
        text = json.dumps(values, indent=2, sort_keys=True)
        (staging / row.config_names[0]).write_text(text + "\n", encoding="utf-8")
        row.write(staging, named, max_shard_size)
        if extra_files is not None:
            extra_files(staging)

    try:
        replace_folder(folder, fill, replaces=belongs_to_checkpoint)
    except (OSError, SafetensorError) as error:
        hint = ""
        if isinstance(error, OSError) and error.errno in _NOT_REPLACEABLE:
            hint = (
                "; a folder is replaced as a whole, so a mount point or another's folder needs a "
                "new folder inside it"
            )
        raise CheckpointError(
            f"{folder} could not be written, nothing changed: {error}{hint}"
        ) from error
    return folder


def config_of_folder(config: MobileBertConfig, head: str) -> MobileBertConfig:
    """The configuration that the folder of a head holds.

    transformers takes the number of question answering's outputs, start and end, from there.
    """
    return config.replace(num_labels=2) if head == "question-answering" else config


def as_folder(folder: object) -> Path:
    """The path of a folder to write, which need not exist; `~` is the home folder.

    Raises:
        CheckpointError: it is no path, or none that the system can have.
    """
    if not isinstance(folder, str | Path) or not str(folder):
        raise CheckpointError(f"folder is {brief(folder)}, expected the path of a folder to write")
    try:
        path = Path(folder).expanduser()
        path.resolve().exists()
    except (OSError, RuntimeError, ValueError) as error:  # no such user, too long, a null byte
        raise CheckpointError(
            f"{brief(str(folder))} is no possible folder ({error}); give another path"
        ) from error
    return path


def _check_shard_size(row: Format, size: object) -> None:
    if size is None:
        return
    if type(size) is not int or size < 1:
        raise CheckpointError(f"max_shard_size is {size!r}, expected a number of bytes")
    if not row.sharded:
        raise CheckpointError(
            f"The format {row.name} keeps its weights in one file; leave out max_shard_size"
        )


def _check_destination(folder: Path, own: Format, overwrite: bool) -> None:
    """Refuse to delete what this save does not write again, e.g. Google's original files."""
    if (folder / METADATA).is_file():
        raise CheckpointError(
            f"{folder} is a folder of Orbax itself, expected one to put a checkpoint into; save "
            "into another folder"
        )
    kept = own.config_names[0]
    others = sorted(
        path.name
        for path in (folder.iterdir() if folder.is_dir() else ())
        if belongs_to_checkpoint(path) and not own.owns(path) and path.name not in (kept, MANIFEST)
    )
    if others and not overwrite:
        raise CheckpointError(
            f"{folder} holds a checkpoint of another format ({', '.join(others)}), which saving "
            "would delete; save into another folder, or pass overwrite=True"
        )


def _check(config: MobileBertConfig, tensors: Mapping[str, StoredTensor], head: str) -> str:
    """Check that the weights are the head's; the name of their widest dtype."""
    shapes = {name: tensor.shape for name, tensor in tensors.items()}
    pooled = head != "base" or schema.has_pooler(config, shapes)
    specs = schema.tensors(config, head, add_pooling_layer=pooled)
    schema.validate(specs, shapes, "the weights to save")
    faults = [
        f"{name} is {tensor.dtype}, expected one of {', '.join(DTYPES)}"
        for name, tensor in tensors.items()
        if tensor.dtype not in DTYPES
    ]
    raise_faults(CheckpointError, "The weights cannot be saved", faults)
    found = {tensor.dtype for tensor in tensors.values()}
    return max(found, key=lambda dtype: DTYPES[dtype].itemsize)


def _config_values(config: MobileBertConfig, head: str, dtype: str, row: Format) -> dict[str, Any]:
    """The configuration file; Google's code keeps keys that it does not know."""
    values = config_of_folder(config, head).to_dict(row.dialect)
    values["architectures"] = [get_head(head).class_name]
    if row.dialect == "transformers":
        values["dtype"] = values["torch_dtype"] = dtype  # transformers 5 and 4
    return values
