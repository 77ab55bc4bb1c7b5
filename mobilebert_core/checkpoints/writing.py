"""Saving a checkpoint: configuration and weights of one head, all of it or nothing."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError

from mobilebert_core import schema
from mobilebert_core.checkpoints.atomic import replace_folder
from mobilebert_core.checkpoints.formats import FORMATS, Write, get_format, is_checkpoint_file
from mobilebert_core.checkpoints.names import to_hugging_face
from mobilebert_core.checkpoints.store import DTYPES, Array, TensorStore
from mobilebert_core.config import MobileBertConfig
from mobilebert_core.errors import CheckpointError, raise_faults
from mobilebert_core.heads import get_head


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
    """Write a checkpoint that this library and transformers can open.

    The folder is replaced in one step, so that an interrupted save leaves the earlier checkpoint. A
    checkpoint of the same format that was in the folder goes; other files in it stay.

    Args:
        folder: where to; made if need be.
        config: the configuration.
        weights: exactly the owned tensors of the head, by canonical name. The base model's may lack
            the pooler.
        head: name of the head.
        format: `safetensors`.
        max_shard_size: most bytes of a weights file; None writes a single one.
        extra_files: called with the folder before it becomes visible, to add e.g. a tokenizer.
        overwrite: also delete a checkpoint of another format, which could not be told from the new
            one.

    Returns:
        The folder.

    Raises:
        CheckpointError: the weights are not the head's, the format cannot be written, the folder
            cannot, or it holds a checkpoint of another format.
        ConfigError: no head has this name.
    """
    folder, write = Path(folder), _writer(format)
    limited = max_shard_size is not None
    if limited and (not isinstance(max_shard_size, int) or max_shard_size < 1):
        raise CheckpointError(f"max_shard_size is {max_shard_size!r}, expected a number of bytes")
    if not overwrite:
        _check_other_formats(folder, format)
    dtype = _check(config, weights, head)
    names = {name: to_hugging_face(name, head) for name in weights}

    def fill(staging: Path) -> None:
        text = json.dumps(_config_values(config, head, dtype), indent=2, sort_keys=True)
        (staging / "config.json").write_text(text + "\n", encoding="utf-8")
        write(staging, weights, names, max_shard_size)
        if extra_files is not None:
            extra_files(staging)

    try:
        replace_folder(folder, fill, replaces=is_checkpoint_file)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(
            f"{folder} could not be written, nothing changed: {error}; a folder is replaced as a "
            "whole, so a mount point or another's folder needs a new folder inside it"
        ) from error
    return folder


def _writer(format: str) -> Write:
    write = get_format(format).write
    if write is None:
        writable = ", ".join(row.name for row in FORMATS.values() if row.write is not None)
        raise CheckpointError(f"The format {format!r} is only read; expected one of {writable}")
    return write


def _check_other_formats(folder: Path, format: str) -> None:
    """Refuse to delete what this save does not write again, e.g. Google's original files."""
    own = get_format(format)
    files = folder.iterdir() if folder.is_dir() else ()
    names = sorted(path.name for path in files if not path.is_dir())
    others = [
        name
        for name in names
        if is_checkpoint_file(name) and not own.owns(name) and name != "config.json"
    ]
    if others:
        raise CheckpointError(
            f"{folder} holds a checkpoint of another format ({', '.join(others)}), which saving "
            "would delete; save into another folder, or pass overwrite=True"
        )


def _check(config: MobileBertConfig, weights: Mapping[str, Array], head: str) -> str:
    """Check that the weights are the head's; the name of their widest dtype."""
    shapes: dict[str, tuple[int, ...]] = {}
    dtypes: dict[str, np.dtype[Any]] = {}
    for name in weights:
        if isinstance(weights, TensorStore):
            shapes[name], dtypes[name] = weights.shape(name), weights.dtype(name)
        else:
            shapes[name], dtypes[name] = weights[name].shape, weights[name].dtype
    pooled = head != "base" or schema.has_pooler(config, shapes)
    specs = schema.tensors(config, head, add_pooling_layer=pooled)
    schema.validate(specs, shapes, "the weights to save")
    faults = [
        f"{name} is {dtype}, expected one of {', '.join(DTYPES)}"
        for name, dtype in dtypes.items()
        if dtype not in DTYPES.values()
    ]
    raise_faults(CheckpointError, "The weights cannot be saved", faults)
    return max(dtypes.values(), key=lambda dtype: dtype.itemsize).name


def _config_values(config: MobileBertConfig, head: str, dtype: str) -> dict[str, Any]:
    if head == "question-answering":  # transformers takes the number of its two outputs from here
        config = config.replace(num_labels=2)
    values = config.to_dict()
    values["architectures"] = [get_head(head).class_name]
    values["dtype"] = values["torch_dtype"] = dtype  # transformers 5 and 4
    return values
