"""Files of transformers' TensorFlow models: `tf_model.h5`, as Keras 2 stores a model's layers.

A name is that of the layer, of the model, which is arbitrary, and of the variable, e.g.
`qa_outputs/tf_mobile_bert_for_question_answering/qa_outputs/kernel:0`. Attributes list them once
more, and readers go by these. Read next: `h5_files.py`, `google_tf1.py`.
"""

from collections.abc import Mapping
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from mobilebert_core.checkpoints.h5_files import new_h5_file, write_tensors
from mobilebert_core.checkpoints.name_tables import Endings, Table, expand, inverted
from mobilebert_core.checkpoints.names import FileName, Naming, Place, Translation
from mobilebert_core.checkpoints.store import StoredTensor
from mobilebert_core.config import MobileBertConfig

FILE = "tf_model.h5"

_ENDINGS: Endings = {
    "variable": ((".weight", "/weight:0", False),),
    "embedding": ((".weight", "/embeddings:0", False),),
    "bias": ((".bias", "/bias:0", False),),
    "dense": ((".weight", "/kernel:0", True), (".bias", "/bias:0", False)),
    "layer_norm": ((".weight", "/gamma:0", False), (".bias", "/beta:0", False)),
    "no_norm": ((".weight", "/weight:0", False), (".bias", "/bias:0", False)),
}


# The norms of the encoder are of the configuration's kind: `norm` stands for it.
_TABLE: Table = (
    (
        "mobilebert.embeddings.",
        "mobilebert/embeddings/",
        (
            ("word_embeddings", "word_embeddings", "variable"),
            ("position_embeddings", "position_embeddings", "embedding"),
            ("token_type_embeddings", "token_type_embeddings", "embedding"),
            ("embedding_transformation", "embedding_transformation", "dense"),
            ("LayerNorm", "LayerNorm", "norm"),
        ),
    ),
    (
        "mobilebert.encoder.layer.{layer}.",
        "mobilebert/encoder/layer_._{layer}/",
        (
            ("attention.self.{projection}", "attention/self/{projection}", "dense"),
            ("attention.output.dense", "attention/output/dense", "dense"),
            ("attention.output.LayerNorm", "attention/output/LayerNorm", "norm"),
            ("bottleneck.{branch}.dense", "bottleneck/{branch}/dense", "dense"),
            ("bottleneck.{branch}.LayerNorm", "bottleneck/{branch}/LayerNorm", "norm"),
            ("ffn.{network}.intermediate.dense", "ffn.{network}/intermediate/dense", "dense"),
            ("ffn.{network}.output.dense", "ffn.{network}/output/dense", "dense"),
            ("ffn.{network}.output.LayerNorm", "ffn.{network}/output/LayerNorm", "norm"),
            ("intermediate.dense", "intermediate/dense", "dense"),
            ("output.dense", "output/dense", "dense"),
            ("output.LayerNorm", "output/LayerNorm", "norm"),
            ("output.bottleneck.dense", "output/bottleneck/dense", "dense"),
            ("output.bottleneck.LayerNorm", "output/bottleneck/LayerNorm", "norm"),
        ),
    ),
    ("mobilebert.", "mobilebert/", (("pooler.dense", "pooler/dense", "dense"),)),
    (
        "cls.",
        "predictions___cls/",
        (
            ("predictions.dense", "predictions/dense", "variable"),
            ("predictions.decoder", "predictions/decoder", "variable"),
            ("predictions", "predictions", "bias"),
        ),
    ),
    (
        "cls.predictions.transform.",
        "predictions___cls/predictions/transform/",
        (("dense", "dense", "dense"), ("LayerNorm", "LayerNorm", "layer_norm")),
    ),
    (
        "cls.",
        "seq_relationship___cls/",
        (("seq_relationship", "seq_relationship", "dense"),),
    ),
    ("", "", (("classifier", "classifier", "dense"), ("qa_outputs", "qa_outputs", "dense"))),
)

_COPIES = ("cls.predictions.decoder.weight",)
_MODEL = "tf_mobile_bert"  # any name will do
_KERAS = "2.15.0"  # the last release of Keras before 3, whose layout this is
_MAX_ATTRIBUTE = 64512  # bytes; HDF5 has 64 KiB for all attributes of an object


def variable_translation(config: MobileBertConfig) -> Translation:
    """The names of the variables without layer and model, e.g. `qa_outputs/kernel:0`.

    transformers stored TensorFlow models under such names in `model.safetensors` too.
    """
    return inverted(_variables(config))


def _variables(config: MobileBertConfig) -> dict[str, Place]:
    return expand(_TABLE, {**_ENDINGS, "norm": _ENDINGS[config.normalization_type]}, config)


def hf_tf_h5_naming(config: MobileBertConfig) -> Naming:
    """The names in the files of transformers' TensorFlow models."""
    places = _variables(config)
    meaning = inverted(places)

    def place(name: str, head: str) -> Place:
        variable, transposed = places[name].name, places[name].transposed
        layer = variable.split("/")[0]
        return Place(f"{layer}/{_MODEL}/{variable}", transposed)

    def translate(name: str) -> FileName:
        return meaning("/".join(name.split("/")[2:]))

    return Naming(place, translate, _COPIES)


def write_hf_tf_h5(folder: Path, tensors: Mapping[str, StoredTensor], limit: int | None) -> None:
    """Write tensors into a folder, one at a time.

    Args:
        folder: an existing folder without weights.
        tensors: name in the file -> tensor.
        limit: not used; there is one file.
    """
    layers: dict[str, list[str]] = {}
    for name in tensors:
        layer, variable = name.split("/", 1)
        layers.setdefault(layer, []).append(variable)
    with new_h5_file(folder / FILE) as file:
        write_tensors(file, tensors)
        file.attrs["backend"] = np.bytes_("tensorflow")
        file.attrs["keras_version"] = np.bytes_(_KERAS)
        _list_names(file, "layer_names", list(layers))
        for layer, variables in layers.items():
            _list_names(file[layer], "weight_names", variables)


def _list_names(group: Any, attribute: str, names: list[str]) -> None:
    """Set an attribute; a list too long for one goes to attributes that are counted from 0."""
    encoded = np.array([name.encode() for name in names])
    if encoded.nbytes <= _MAX_ATTRIBUTE:
        group.attrs[attribute] = encoded
        return
    step = _MAX_ATTRIBUTE // encoded.itemsize
    for number, start in zip(count(), range(0, len(encoded), step), strict=False):
        group.attrs[f"{attribute}{number}"] = encoded[start : start + step]
