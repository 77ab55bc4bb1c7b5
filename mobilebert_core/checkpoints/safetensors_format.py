"""The safetensors format: one `model.safetensors`, or several beside an index.

The safetensors library checks the header and writes the files. What it leaves to its callers is
here: a key given twice, shapes beyond NumPy, dtypes that are none of weights. Tensors are read
through a mapping of our own, so that what has been read does not stay resident.
"""

import mmap
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from mobilebert_core.checkpoints.files import damaged, map_file, parse_json_object
from mobilebert_core.checkpoints.hf_tf_h5 import variable_translation
from mobilebert_core.checkpoints.names import FileName, Naming, hugging_face_naming
from mobilebert_core.checkpoints.sharding import read_sharded, write_sharded
from mobilebert_core.checkpoints.store import StoredTensor, check_shape, mapped_tensor
from mobilebert_core.config import MobileBertConfig

_DTYPE_NAMES = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}


def read_safetensors(path: Path) -> dict[str, StoredTensor]:
    """The tensors of a file, or of the files of an index.

    Raises:
        CheckpointError: a file is damaged or missing.
    """
    return read_sharded(path, _read_file)


def _read_file(path: Path) -> dict[str, StoredTensor]:
    data = map_file(path)
    try:
        with safe_open(path, framework="numpy") as file:  # checks bounds, overlaps and sizes
            names = list(file.keys())
    except (SafetensorError, OSError, ValueError) as error:
        raise damaged(path, str(error)) from error
    start = 8 + int.from_bytes(data[:8], "little")
    header = parse_json_object(data[8:start], path)
    return {name: _stored_tensor(path, data, name, header[name], start) for name in names}


def _stored_tensor(
    path: Path, data: mmap.mmap, name: str, entry: dict[str, Any], start: int
) -> StoredTensor:
    shape = check_shape(path, name, tuple(entry["shape"]))
    dtype = _DTYPE_NAMES.get(entry["dtype"], entry["dtype"])
    return mapped_tensor(data, shape, dtype, start + entry["data_offsets"][0])


def safetensors_naming(config: MobileBertConfig) -> Naming:
    """PyTorch's names; transformers 4 wrote TensorFlow's too, which are told by their slashes."""
    pytorch = hugging_face_naming(config)
    tensorflow = cache(lambda: variable_translation(config))  # made only for such a file

    def translate(name: str) -> FileName:
        return tensorflow()(name) if "/" in name else pytorch.translate(name)

    return Naming(pytorch.place, translate)


def write_safetensors(folder: Path, tensors: Mapping[str, StoredTensor], limit: int | None) -> None:
    """Write tensors into a folder, one file at a time.

    Args:
        folder: an existing folder without weights.
        tensors: name in the file -> tensor.
        limit: most bytes of a file; None writes a single one.
    """

    def write(path: Path, members: Mapping[str, StoredTensor]) -> None:
        arrays = {name: np.asarray(tensor.read(), order="C") for name, tensor in members.items()}
        # transformers refuses a file whose metadata do not name a format.
        save_file(arrays, path, metadata={"format": "pt"})

    write_sharded(folder, "model", ".safetensors", tensors, limit, write)
