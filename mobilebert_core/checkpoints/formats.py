"""The table of formats: one row each, read by opening and saving alike.

A format is found by the names of its files, never by trying. Read next: `reading.py`, `writing.py`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from mobilebert_core.checkpoints.flax_msgpack import read_flax_msgpack, write_flax_msgpack
from mobilebert_core.checkpoints.flax_naming import flax_naming
from mobilebert_core.checkpoints.google_tf1 import google_naming
from mobilebert_core.checkpoints.h5_files import read_h5
from mobilebert_core.checkpoints.hf_tf_h5 import hf_tf_h5_naming, write_hf_tf_h5
from mobilebert_core.checkpoints.keras_weights import keras_naming, write_keras_weights
from mobilebert_core.checkpoints.names import Naming, hugging_face_naming
from mobilebert_core.checkpoints.npz import read_npz, write_npz
from mobilebert_core.checkpoints.orbax_format import read_orbax, write_orbax
from mobilebert_core.checkpoints.safetensors_format import (
    read_safetensors,
    safetensors_naming,
    write_safetensors,
)
from mobilebert_core.checkpoints.store import StoredTensor
from mobilebert_core.checkpoints.tensor_bundle import read_bundle
from mobilebert_core.checkpoints.tensor_bundle_writing import write_bundle
from mobilebert_core.checkpoints.torch_bin import read_torch_bin
from mobilebert_core.checkpoints.torch_bin_writing import write_torch_bin
from mobilebert_core.config import MobileBertConfig
from mobilebert_core.dialects import Dialect
from mobilebert_core.errors import CheckpointError

Tensors = Mapping[str, StoredTensor]

MANIFEST = "mobilebert-manifest.json"  # digests of the weights beside it, which change with them


@dataclass(frozen=True)
class Format:
    """One way to keep a checkpoint on disk.

    Attributes:
        name: what users type.
        entries: patterns of the files that one opens, by which a folder is recognized.
        suffixes: ends of names by which a file given directly is recognized.
        read: reads an entry file: tensors by their names in the file.
        write: writes such tensors into a folder; the number is the most bytes of a file, or None.
        naming: what those names stand for.
        others: patterns of further files that belong to a checkpoint of this format.
        config_names: names of the configuration file, the usual one first.
        folders: names of folders inside the checkpoint's that belong to it.
        sharded: whether the tensors may be spread over several files.
        dialect: how the configuration is written.
        yields_to: formats that are taken instead when a folder holds both.
    """

    name: str
    entries: tuple[str, ...]
    suffixes: tuple[str, ...]
    read: Callable[[Path], dict[str, StoredTensor]]
    write: Callable[[Path, Tensors, int | None], None]
    naming: Callable[[MobileBertConfig], Naming]
    others: tuple[str, ...] = ()
    config_names: tuple[str, ...] = ("config.json",)
    folders: tuple[str, ...] = ()
    sharded: bool = False
    dialect: Dialect = "transformers"
    yields_to: tuple[str, ...] = ()

    def owns(self, path: Path) -> bool:
        """Whether a file or folder holds weights of this format, or belongs to them."""
        if path.is_dir():  # of this name, and with the file by which the format is recognized
            entries = (path.parent / each for each in self.entries if "/" in each)
            return path.name in self.folders and any(map(Path.is_file, entries))
        return any(fnmatchcase(path.name, pattern) for pattern in self.entries + self.others)


_TABLE = (
    Format(
        "safetensors",
        entries=("model.safetensors", "model.safetensors.index.json"),
        suffixes=(".safetensors", ".safetensors.index.json"),
        others=("model-*-of-*.safetensors",),
        config_names=("config.json", "bert_config.json"),
        read=read_safetensors,
        write=write_safetensors,
        naming=safetensors_naming,
        sharded=True,
    ),
    Format(
        "torch-bin",
        entries=("pytorch_model.bin", "pytorch_model.bin.index.json"),
        suffixes=(".bin", ".bin.index.json"),
        others=("pytorch_model-*-of-*.bin",),
        config_names=("config.json", "bert_config.json"),
        read=read_torch_bin,
        write=write_torch_bin,
        naming=hugging_face_naming,
        sharded=True,
        # Model folders on the hub often have both, written from one model by one program.
        yields_to=("safetensors",),
    ),
    Format(
        "hf-tf-h5",
        entries=("tf_model.h5",),
        suffixes=(".h5",),
        read=read_h5,
        write=write_hf_tf_h5,
        naming=hf_tf_h5_naming,
    ),
    Format(
        "google-tf1",
        entries=("*.ckpt*.index",),
        suffixes=(".index",),
        others=("*.ckpt*.data-*-of-*", "*.ckpt*.meta", "checkpoint"),
        config_names=("bert_config.json", "config.json"),
        read=read_bundle,
        write=write_bundle,
        naming=google_naming,
        dialect="google",
    ),
    Format(
        "flax-msgpack",
        entries=("flax_model.msgpack",),
        suffixes=(".msgpack",),
        read=read_flax_msgpack,
        write=write_flax_msgpack,
        naming=flax_naming,
    ),
    Format(
        "orbax",
        entries=("orbax/_METADATA", "_METADATA"),
        suffixes=("_METADATA",),
        read=read_orbax,
        write=write_orbax,
        naming=flax_naming,
        folders=("orbax",),
    ),
    Format(
        "keras-weights",
        entries=("model.weights.h5",),
        suffixes=(".weights.h5",),
        read=read_h5,
        write=write_keras_weights,
        naming=keras_naming,
    ),
    Format(
        "npz",
        entries=("weights.npz",),
        suffixes=(".npz",),
        read=read_npz,
        write=write_npz,
        naming=hugging_face_naming,
    ),
)

FORMATS: dict[str, Format] = {row.name: row for row in _TABLE}


def get_format(name: str) -> Format:
    """The row of one format.

    Raises:
        CheckpointError: no format has this name; the message lists all.
    """
    if name not in FORMATS:
        raise CheckpointError(f"No format is called {name!r}; expected one of {', '.join(FORMATS)}")
    return FORMATS[name]


def belongs_to_checkpoint(path: Path) -> bool:
    """Whether a file or folder is a checkpoint's configuration, weights or manifest."""
    if path.name == MANIFEST:
        return True
    return any(path.name in row.config_names or row.owns(path) for row in _TABLE)
