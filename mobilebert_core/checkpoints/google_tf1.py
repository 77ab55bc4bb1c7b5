"""Google's original checkpoints: TensorFlow 1 variables beside a `bert_config.json`.

The table has one row for each line of the mapping between the two naming schemes; `google_names`
turns it into the names of one configuration, for use in both directions.
"""

import re
from collections.abc import Iterator
from itertools import product

from mobilebert_core.checkpoints.names import UNKNOWN, FileName, Translation
from mobilebert_core.config import MobileBertConfig

# Kind of a row -> (end of the canonical name, end of Google's name, whether transposed).
_ENDINGS: dict[str, tuple[tuple[str, str, bool], ...]] = {
    "table": (("", "", False),),
    "transposed table": (("", "", True),),
    "dense": ((".weight", "/kernel", True), (".bias", "/bias", False)),
    "norm": ((".weight", "/gamma", False), (".bias", "/beta", False)),
    "output": ((".weight", "output_weights", False), (".bias", "output_bias", False)),
}


# Part of the model: start of the canonical names, start of Google's, and the rows.
_Rows = tuple[tuple[str, str, str], ...]
_TABLE: tuple[tuple[str, str, _Rows], ...] = (
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


def google_names(config: MobileBertConfig) -> dict[str, tuple[str, bool]]:
    """Canonical name -> Google's name, and whether Google stores the transpose.

    The names are those of every part that the table knows; a model has some of them.
    """
    names: dict[str, tuple[str, bool]] = {}
    for start, google_start, rows in _TABLE:
        for row, google_row, kind in rows:
            pattern, google_pattern = start + row, google_start + google_row
            for fields in _placeholders(pattern, config):
                name, google = pattern.format(**fields), google_pattern.format(**fields)
                for ending, google_ending, transposed in _ENDINGS[kind]:
                    names[name + ending] = (google + google_ending, transposed)
    return names


def google_translation(config: MobileBertConfig) -> Translation:
    """The translation of Google's names."""
    meanings = {
        google: FileName(canonical, transposed)
        for canonical, (google, transposed) in google_names(config).items()
    }

    def translate(name: str) -> FileName:
        for pattern, kind in _IGNORED:
            if pattern.fullmatch(name):
                return FileName(name, ignored=kind)
        return meanings.get(name, UNKNOWN)

    return translate


def _placeholders(pattern: str, config: MobileBertConfig) -> Iterator[dict[str, object]]:
    """All ways to fill the placeholders that a row has."""
    choices: dict[str, tuple[object, ...]] = {
        "layer": tuple(range(config.num_hidden_layers)),
        "network": tuple(range(config.num_feedforward_networks - 1)),
        "projection": ("query", "key", "value"),
        "branch": ("input", "attention"),
    }
    used = [name for name in choices if f"{{{name}}}" in pattern]
    norm = "FakeLayerNorm" if config.normalization_type == "no_norm" else "LayerNorm"
    for values in product(*(choices[name] for name in used)):
        yield {"norm": norm} | dict(zip(used, values, strict=True))
