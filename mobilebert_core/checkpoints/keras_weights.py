"""Our own Keras models' weights: `model.weights.h5`, as `save_weights` and `load_weights` have it.

Keras names a variable by the attributes that lead to it in alphabetical order, once: `mobilebert`
is first met in a model's own list `layers`. Members of a list go by their class, the second of a
class with `_1`. Neither Keras nor TensorFlow is needed. Read next: `h5_files.py`, `google_tf1.py`.
"""

from collections.abc import Mapping
from pathlib import Path

from mobilebert_core.checkpoints.h5_files import new_h5_file, write_tensors
from mobilebert_core.checkpoints.name_tables import Endings, Table, expand, inverted
from mobilebert_core.checkpoints.names import FileName, Naming, Place
from mobilebert_core.checkpoints.store import StoredTensor
from mobilebert_core.config import MobileBertConfig

FILE = "model.weights.h5"

_ENDINGS: Endings = {
    "table": (("", "/vars/0", False),),
    "transposed table": (("", "/vars/0", True),),
    "dense": ((".weight", "/vars/0", True), (".bias", "/vars/1", False)),
    "norm": ((".weight", "/vars/0", False), (".bias", "/vars/1", False)),
}

_TABLE: Table = (
    (
        "mobilebert.embeddings.",
        "{backbone}embeddings/",
        (
            ("word_embeddings.weight", "word_embeddings", "table"),
            ("position_embeddings.weight", "position_embeddings", "table"),
            ("token_type_embeddings.weight", "token_type_embeddings", "table"),
            ("embedding_transformation", "embedding_transformation", "dense"),
            ("LayerNorm", "LayerNorm", "norm"),
        ),
    ),
    (
        "mobilebert.encoder.layer.{layer}.",
        "{backbone}encoder/layer/layer_{layer}/",
        (
            ("attention.self.{projection}", "attention/self/{projection}", "dense"),
            ("attention.output.dense", "attention/output_layer/dense", "dense"),
            ("attention.output.LayerNorm", "attention/output_layer/LayerNorm", "norm"),
            ("bottleneck.input.dense", "bottleneck/input_layer/dense", "dense"),
            ("bottleneck.input.LayerNorm", "bottleneck/input_layer/LayerNorm", "norm"),
            ("bottleneck.attention.dense", "bottleneck/attention/dense", "dense"),
            ("bottleneck.attention.LayerNorm", "bottleneck/attention/LayerNorm", "norm"),
            ("intermediate.dense", "intermediate/dense", "dense"),
            ("output.dense", "output_layer/dense", "dense"),
            ("output.LayerNorm", "output_layer/LayerNorm", "norm"),
            ("output.bottleneck.dense", "output_layer/bottleneck/dense", "dense"),
            ("output.bottleneck.LayerNorm", "output_layer/bottleneck/LayerNorm", "norm"),
        ),
    ),
    (
        "mobilebert.encoder.layer.{layer}.ffn.{network}.",
        "{backbone}encoder/layer/layer_{layer}/ffn/feed_forward_{network}/",
        (
            ("intermediate.dense", "intermediate/dense", "dense"),
            ("output.dense", "output_layer/dense", "dense"),
            ("output.LayerNorm", "output_layer/LayerNorm", "norm"),
        ),
    ),
    ("mobilebert.", "{pooler_owner}", (("pooler.dense", "pooler/dense", "dense"),)),
    (
        "cls.",
        "cls/",
        (
            ("predictions.transform.dense", "predictions/transform/dense", "dense"),
            ("predictions.transform.LayerNorm", "predictions/transform/LayerNorm", "norm"),
            ("predictions.dense.weight", "predictions/dense", "transposed table"),
            ("predictions.bias", "predictions", "table"),
            ("seq_relationship", "seq_relationship", "dense"),
        ),
    ),
    ("", "", (("classifier", "classifier", "dense"), ("qa_outputs", "layers/linear", "dense"))),
)

_FIRST_OF_A_CLASS = {"/layer_0/": "/layer/", "/feed_forward_0/": "/feed_forward/"}
# The base model is its own backbone, and has reached two of its three parts before `layers`.
_BASE = {"backbone": "", "pooler_owner": "layers/"}
_WITH_HEAD = {"backbone": "layers/backbone/", "pooler_owner": "layers/backbone/"}
_OPTIMIZER = "optimizer/"


def keras_naming(config: MobileBertConfig) -> Naming:
    """The names in the files of the eight Keras models; those of the base model differ."""
    base, with_head = _places(config, _BASE), _places(config, _WITH_HEAD)
    translations = inverted(base), inverted(with_head)

    def place(name: str, head: str) -> Place:
        return (base if head == "base" else with_head)[name]

    def translate(name: str) -> FileName:
        if name.startswith(_OPTIMIZER):
            return FileName(name, ignored="of the optimizer (optimizer/*)")
        of_base, of_others = (meaning(name) for meaning in translations)
        return of_base if of_base.canonical else of_others

    return Naming(place, translate)


def _places(config: MobileBertConfig, words: Mapping[str, str]) -> dict[str, Place]:
    places = expand(_TABLE, _ENDINGS, config, **words)
    return {name: Place(_unnumbered(at.name), at.transposed) for name, at in places.items()}


def _unnumbered(name: str) -> str:
    for numbered, first in _FIRST_OF_A_CLASS.items():
        name = name.replace(numbered, first)
    return name


def write_keras_weights(
    folder: Path, tensors: Mapping[str, StoredTensor], limit: int | None
) -> None:
    """Write tensors into a folder, one at a time.

    Args:
        folder: an existing folder without weights.
        tensors: name in the file -> tensor.
        limit: not used; there is one file.
    """
    with new_h5_file(folder / FILE) as file:
        write_tensors(file, tensors)
