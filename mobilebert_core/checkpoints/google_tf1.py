"""Google's original checkpoints: TensorFlow 1 variables beside a `bert_config.json`.

The table has one row for each line of the mapping between the two naming schemes, and serves both
directions. Read next: `tensor_bundle.py` for the files.
"""

import re

from mobilebert_core.checkpoints.name_tables import Endings, Table, expand, inverted
from mobilebert_core.checkpoints.names import FileName, Naming
from mobilebert_core.config import MobileBertConfig

_ENDINGS: Endings = {
    "table": (("", "", False),),
    "transposed table": (("", "", True),),
    "dense": ((".weight", "/kernel", True), (".bias", "/bias", False)),
    "norm": ((".weight", "/gamma", False), (".bias", "/beta", False)),
    "output": ((".weight", "output_weights", False), (".bias", "output_bias", False)),
}

_TABLE: Table = (
    (
        "mobilebert.embeddings.",
        "bert/embeddings/",
        (
            ("word_embeddings.weight", "word_embeddings", "table"),
            ("position_embeddings.weight", "position_embeddings", "table"),
            ("token_type_embeddings.weight", "token_type_embeddings", "table"),
            ("embedding_transformation", "embedding_transformation", "dense"),
            ("LayerNorm", "{norm}", "norm"),
        ),
    ),
    (
        "mobilebert.encoder.layer.{layer}.",
        "bert/encoder/layer_{layer}/",
        (
            ("attention.self.{projection}", "attention/self/{projection}", "dense"),
            ("attention.output.dense", "attention/output/dense", "dense"),
            ("attention.output.LayerNorm", "attention/output/{norm}", "norm"),
            ("bottleneck.{branch}.dense", "bottleneck/{branch}/dense", "dense"),
            ("bottleneck.{branch}.LayerNorm", "bottleneck/{branch}/{norm}", "norm"),
            ("ffn.{network}.intermediate.dense", "ffn_layer_{network}/intermediate/dense", "dense"),
            ("ffn.{network}.output.dense", "ffn_layer_{network}/output/dense", "dense"),
            ("ffn.{network}.output.LayerNorm", "ffn_layer_{network}/output/{norm}", "norm"),
            ("intermediate.dense", "intermediate/dense", "dense"),
            ("output.dense", "output/dense", "dense"),
            ("output.LayerNorm", "output/{norm}", "norm"),
            ("output.bottleneck.dense", "output/bottleneck/dense", "dense"),
            ("output.bottleneck.LayerNorm", "output/bottleneck/{norm}", "norm"),
        ),
    ),
    ("mobilebert.", "bert/", (("pooler.dense", "pooler/dense", "dense"),)),
    (
        "cls.",
        "cls/",
        (
            ("predictions.transform.dense", "predictions/transform/dense", "dense"),
            ("predictions.transform.LayerNorm", "predictions/transform/LayerNorm", "norm"),
            ("predictions.dense.weight", "predictions/extra_output_weights", "transposed table"),
            ("predictions.bias", "predictions/output_bias", "table"),
            ("seq_relationship", "seq_relationship/", "output"),
        ),
    ),
    ("", "", (("classifier", "", "output"), ("qa_outputs", "cls/squad/", "output"))),
)

_IGNORED = (
    (re.compile(r".*/adam_[mv]"), "of the Adam optimizer (adam_m, adam_v)"),
    (re.compile(r"global_step"), "that counts training steps (global_step)"),
    (re.compile(r"teacher/.*"), "of the teacher that trained the model (teacher/*)"),
    (re.compile(r".*FakeQuant.*"), "of quantization-aware training (FakeQuant*)"),
)


def google_naming(config: MobileBertConfig) -> Naming:
    """The names of Google's code, whose norms tell by their name whether they normalize."""
    norm = "FakeLayerNorm" if config.normalization_type == "no_norm" else "LayerNorm"
    places = expand(_TABLE, _ENDINGS, config, norm=norm)
    meaning = inverted(places)

    def translate(name: str) -> FileName:
        for pattern, kind in _IGNORED:
            if pattern.fullmatch(name):
                return FileName(name, ignored=kind)
        return meaning(name)

    return Naming(lambda name, head: places[name], translate)
