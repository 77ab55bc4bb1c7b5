"""PyTorch's `pytorch_model.bin`, written without PyTorch: one file, or several beside an index.

Rules: the archive is what `torch.save` makes of a state dict, except for what no reader needs (the
pickle's memo, a random id); every storage starts at a multiple of 64 bytes, so that it can be
mapped; one tensor is in memory at a time. Read next: `torch_bin.py`, which reads it.
"""

import pickle
import struct
import zipfile
from collections.abc import Mapping
from math import prod
from pathlib import Path

from mobilebert_core.checkpoints.sharding import write_sharded
from mobilebert_core.checkpoints.store import StoredTensor, raw_bytes

_FOLDER = "archive/"
_ALIGNMENT = 64
_HEADER_SIZE = 30  # of a member, without its name; zipfile adds to it beyond 2 GB
_STORAGES = {
    "float64": "DoubleStorage",
    "float32": "FloatStorage",
    "float16": "HalfStorage",
    "bfloat16": "BFloat16Storage",
}

# The instructions of Python's pickle, protocol 2, of which a state dict is made.
_PROTOCOL, _STOP = b"\x80\x02", b"."
_MARK, _TUPLE, _ITEMS = b"(", b"t", b"u"  # the last two gather what follows the mark
_CALL, _PERSISTENT = b"R", b"Q"
_FALSE, _EMPTY_TUPLE = b"\x89", b")"
_ORDERED_DICT = b"ccollections\nOrderedDict\n" + _EMPTY_TUPLE + _CALL
_REBUILD_TENSOR = b"ctorch._utils\n_rebuild_tensor_v2\n"


def write_torch_bin(folder: Path, tensors: Mapping[str, StoredTensor], limit: int | None) -> None:
    """Write tensors into a folder, one at a time.

    Args:
        folder: an existing folder without weights.
        tensors: name in the file -> tensor.
        limit: most bytes of a file, see `write_sharded`.
    """
    write_sharded(folder, "pytorch_model", ".bin", tensors, limit, _write_file)


def _write_file(path: Path, tensors: Mapping[str, StoredTensor]) -> None:
    with path.open("wb") as file, zipfile.ZipFile(file, "w") as archive:

        def add(name: str, size: int) -> zipfile.ZipInfo:
            """The header of the next member, padded so that its content is aligned."""
            info = zipfile.ZipInfo(_FOLDER + name)
            info.file_size = size
            info.extra = _padding(file.tell() + _HEADER_SIZE + len(info.filename))
            return info

        for name, content in (("data.pkl", _state_dict(tensors)), ("byteorder", b"little")):
            archive.writestr(add(name, len(content)), content)
        for key, tensor in enumerate(tensors.values()):
            with archive.open(add(f"data/{key}", tensor.nbytes), "w") as member:
                member.write(raw_bytes(tensor.read()).data)
        archive.writestr(add("version", 2), b"3\n")


def _padding(end: int) -> bytes:
    """An extra field, as PyTorch writes it, for a header that ends at `end` without it."""
    size = -(end + 4) % _ALIGNMENT
    return b"FB" + struct.pack("<H", size) + b"Z" * size


def _state_dict(tensors: Mapping[str, StoredTensor]) -> bytes:
    """The pickle: an OrderedDict of tensors, whose storages have the keys 0, 1, ..."""
    items = b"".join(
        _text(name) + _tensor(tensor, str(key))
        for key, (name, tensor) in enumerate(tensors.items())
    )
    return _PROTOCOL + _ORDERED_DICT + _MARK + items + _ITEMS + _STOP


def _tensor(tensor: StoredTensor, key: str) -> bytes:
    """A call of PyTorch's function that makes a tensor of a storage."""
    strides = [
        prod(max(size, 1) for size in tensor.shape[axis:])
        for axis in range(1, len(tensor.shape) + 1)
    ]
    storage = (
        _text("storage")
        + f"ctorch\n{_STORAGES[tensor.dtype]}\n".encode()
        + _text(key)
        + _text("cpu")
        + _integer(prod(tensor.shape))
    )
    arguments = (
        _tuple(storage)
        + _PERSISTENT
        + _integer(0)  # its first number in the storage
        + _tuple(b"".join(map(_integer, tensor.shape)))
        + _tuple(b"".join(map(_integer, strides)))
        + _FALSE  # needs no gradient
        + _ORDERED_DICT  # has no hooks
    )
    return _REBUILD_TENSOR + _tuple(arguments) + _CALL


def _tuple(items: bytes) -> bytes:
    return _MARK + items + _TUPLE


def _text(value: str) -> bytes:
    data = value.encode()
    return b"X" + struct.pack("<I", len(data)) + data


def _integer(value: int) -> bytes:
    return pickle.dumps(value, protocol=2)[len(_PROTOCOL) : -len(_STOP)]
