"""The mutants, by the clause that must reject them. A new check brings a mutant that it kills.

A defect is one that somebody has made, or could make, while porting the model; it changes nothing
else. Read next: `defects.py`.
"""

from dataclasses import replace
from typing import Any

import ml_dtypes
import numpy as np

from mobilebert_conformance import defects
from mobilebert_conformance.mutants import Mutant
from mobilebert_core.backend import Feature

GRADIENTS = frozenset({Feature.GRADIENTS})
_BASE = Mutant("", "F1", "1.1", "semantics", ("small/default", "base"))
_FLOAT64_FLOAT32 = frozenset({Feature.FLOAT64, Feature.FLOAT32})


def _mutant(
    name: str, violates: str, clause: str, check: str, head: str = "base", **how: Any
) -> Mutant:
    """A row: the case is the small default model unless `variant` says otherwise."""
    variant = how.pop("variant", "small/default")
    return replace(
        _BASE, name=name, violates=violates, clause=clause, check=check, case=(variant, head), **how
    )


_EMBEDDINGS = (
    _mutant(
        "trigram neighbours swapped", "F2", "4.1", "locality", weights=defects.blocks((2, 1, 0))
    ),
    _mutant(
        "trigram without next token", "F2", "4.1", "locality", weights=defects.blocks((None, 1, 2))
    ),
    _mutant(
        "trigram sees padding",
        "F2",
        "4.1",
        "locality",
        variant="small/masked_trigram",
        config=defects.config(trigram_padding="faithful"),
    ),
    _mutant("positions from one", "F4", "4.1", "locality", inputs=defects.positions_from_one),
    _mutant(
        "token types ignored", "F4", "4.1", "locality", inputs=defects.without("token_type_ids")
    ),
    _mutant(
        "transformation without bias",
        "F3",
        "4.1",
        "locality",
        weights=defects.scaled("embedding_transformation.bias", 0.0),
    ),
    _mutant(
        "embedding norm bias dropped",
        "F4",
        "4.1",
        "locality",
        weights=defects.scaled("embeddings.LayerNorm.bias", 0.0),
    ),
)

_LAYERS = (
    _mutant("mask ignored", "F7", "1.2", "semantics", inputs=defects.without("attention_mask")),
    _mutant(
        "fully masked row attends by scores",
        "F7",
        "1.2",
        "semantics",
        inputs=defects.attend_where_masked_whole,
    ),
    _mutant("scale by hidden size", "F6", "1.2", "semantics", weights=defects.scale_by_hidden_size),
    _mutant("scale off by 1e-4", "F6", "1.2", "semantics", weights=defects.scale_slightly_off),
    _mutant("heads interleaved", "F6", "1.2", "semantics", weights=defects.interleaved_heads),
    _mutant(
        "query and key from the input bottleneck",
        "F5",
        "4.2",
        "locality",
        weights=defects.shared_from_input,
    ),
    _mutant(
        "value bias dropped", "F6", "4.2", "locality", weights=defects.scaled(".value.bias", 0.0)
    ),
    _mutant(
        "attention output without bias",
        "F8",
        "4.2",
        "locality",
        weights=defects.scaled(".attention.output.dense.bias", 0.0),
    ),
    _mutant(
        "one feed-forward network fewer", "F9", "4.2", "locality", config=defects.one_network_fewer
    ),
    _mutant(
        "feed-forward networks in another order",
        "F9",
        "4.2",
        "locality",
        weights=defects.exchanged(".ffn.0.", ".ffn.1."),
    ),
    _mutant("NoNorm bias dropped", "F11", "4.2", "locality", weights=defects.last_norm_bias_only),
    _mutant(
        "LayerNorm instead of NoNorm",
        "F11",
        "4.2",
        "locality",
        config=defects.config(normalization_type="layer_norm"),
    ),
    _mutant(
        "LayerNorm epsilon fixed",
        "F11",
        "4.2",
        "locality",
        variant="small/layer_norm",
        config=defects.config(layer_norm_eps=1e-5),
    ),
    _mutant(
        "tanh form of gelu",
        "F12",
        "4.2",
        "locality",
        variant="small/gelu",
        config=defects.config(hidden_act="gelu_tanh"),
    ),
    _mutant(
        "way out of the bottleneck without bias",
        "F10",
        "4.2",
        "locality",
        weights=defects.scaled(".output.bottleneck.dense.bias", 0.0),
    ),
)

_HEADS = (
    _mutant(
        "pooler left out",
        "F13",
        "4.3",
        "locality",
        config=defects.config(classifier_activation=False),
    ),
    _mutant(
        "tied block after the extra one",
        "F14",
        "1.3",
        "semantics",
        "masked-lm",
        weights=defects.tied_block_order,
    ),
    _mutant(
        "extra vocabulary block dropped",
        "F14",
        "1.3",
        "semantics",
        "masked-lm",
        weights=defects.scaled("cls.predictions.dense.weight", 0.0),
    ),
    _mutant(
        "prediction bias dropped",
        "F14",
        "1.3",
        "semantics",
        "masked-lm",
        weights=defects.scaled("cls.predictions.bias", 0.0),
    ),
    _mutant(
        "next sentence logits exchanged",
        "F15",
        "1.3",
        "semantics",
        "next-sentence-prediction",
        outputs=defects.field("logits", lambda each: each[:, ::-1]),
    ),
    _mutant(
        "classes in another order",
        "F16",
        "1.3",
        "semantics",
        "sequence-classification",
        outputs=defects.field("logits", lambda each: each[:, ::-1]),
    ),
    _mutant(
        "choices by column",
        "F17",
        "1.3",
        "semantics",
        "multiple-choice",
        outputs=defects.field("logits", lambda each: each.reshape(each.shape[::-1]).T),
    ),
    _mutant(
        "token logits shifted by one",
        "F18",
        "1.3",
        "semantics",
        "token-classification",
        outputs=defects.field("logits", lambda each: np.roll(each, 1, axis=1)),
    ),
    _mutant(
        "start and end exchanged",
        "F19",
        "1.3",
        "semantics",
        "question-answering",
        outputs=defects.start_and_end_exchanged,
    ),
)

_LOSSES = (
    _mutant(
        "ignored labels counted",
        "F20",
        "1.4",
        "semantics",
        "masked-lm",
        labels=lambda labels, inputs: {"labels": np.maximum(labels["labels"], 0)},
    ),
    _mutant(
        "mean over ignored labels too",
        "F20",
        "1.4",
        "semantics",
        "token-classification",
        outputs=defects.mean_over_all,
    ),
    _mutant(
        "answers outside the text counted",
        "F20",
        "1.4",
        "semantics",
        "question-answering",
        labels=lambda labels, inputs: {
            name: np.clip(each, 0, np.shape(inputs["input_ids"])[1] - 1)
            for name, each in labels.items()
        },
    ),
    _mutant(
        "span losses summed",
        "F20",
        "1.4",
        "semantics",
        "question-answering",
        outputs=defects.field("loss", lambda each: each * 2),
    ),
    _mutant(
        "regression loss halved",
        "F20",
        "1.4",
        "semantics",
        "sequence-classification",
        variant="small/regression_of_one",
        outputs=defects.field("loss", lambda each: each / 2),
    ),
    _mutant(
        "no label gives zero",
        "F20",
        "1.6",
        "nothing_counts",
        "masked-lm",
        variant="small/nothing_counts",
        outputs=defects.field("loss", lambda each: np.nan_to_num(each, nan=0.0)),
    ),
)

_OUTPUTS = (
    _mutant(
        "hidden states without the embeddings",
        "F21",
        "1.1",
        "semantics",
        outputs=defects.field("hidden_states", lambda each: each[1:]),
        needs=frozenset({Feature.HIDDEN_STATES}),
    ),
    _mutant(
        "hidden states one layer late",
        "F21",
        "1.1",
        "semantics",
        outputs=defects.field("hidden_states", lambda each: (*each[1:], each[-1])),
        needs=frozenset({Feature.HIDDEN_STATES}),
    ),
    _mutant(
        "attentions of one layer for all",
        "F21",
        "1.2",
        "semantics",
        outputs=defects.field("attentions", lambda each: each[:1] * len(each)),
    ),
    _mutant(
        "attentions left out",
        "F21",
        "1.5",
        "semantics",
        outputs=lambda fields, inputs, labels: {
            name: each for name, each in fields.items() if name != "attentions"
        },
    ),
    _mutant("NaN where masked", "F7", "1.1", "semantics", outputs=defects.nan),
)

_NUMBERS = (
    _mutant(
        "float64 computed in float32",
        "F22",
        "1.1",
        "semantics",
        needs=_FLOAT64_FLOAT32,
        dtype=lambda dtype, precision: ("float32", precision),
    ),
    _mutant(
        "float32 products of bfloat16 weights",
        "F22",
        "2.1",
        "precision",
        needs=frozenset({Feature.FLOAT32}),
        weights=defects.rounded("float32", ml_dtypes.bfloat16),
    ),
    _mutant(
        "bfloat16 products of 8-bit weights",
        "F22",
        "2.2",
        "precision",
        needs=frozenset({Feature.BFLOAT16}),
        weights=defects.rounded("bfloat16", ml_dtypes.float8_e4m3fn),
    ),
    _mutant(
        "reproducible mode in float32",
        "F22",
        "3.1",
        "reproducible",
        needs=frozenset({Feature.REPRODUCIBLE, Feature.FLOAT32}),
        dtype=lambda dtype, precision: ("float32", None),
    ),
    _mutant(
        "reproducible mode rounded twice",
        "F22",
        "3.2",
        "reproducible",
        needs=frozenset({Feature.REPRODUCIBLE}),
        outputs=defects.double_rounding,
    ),
)

_WEIGHTS = (
    _mutant(
        "weights kept in half precision", "F22", "5.1", "weights", stored=defects.half_precision
    ),
    _mutant(
        "kernels handed back transposed", "F22", "5.1", "weights", stored=defects.kernels_transposed
    ),
    _mutant(
        "query and key exchanged in files",
        "F22",
        "5.4",
        "converted",
        stored=defects.query_and_key_exchanged,
    ),
    _mutant(
        "a tensor not handed back", "F22", "8.1", "schema", stored=defects.missing(defects.WORDS)
    ),
    _mutant(
        "a weight that is never read",
        "F6",
        "8.3",
        "sensitivity",
        variant="tiny/default",
        weights=defects.ignores_a_tensor,
    ),
    _mutant(
        "tied embeddings get half their gradient",
        "F14",
        "6.1",
        "gradients",
        "masked-lm",
        needs=GRADIENTS,
        gradients=defects.gradient(defects.WORDS, 0.5),
    ),
    _mutant(
        "a bias gets no gradient",
        "F9",
        "6.1",
        "gradients",
        "masked-lm",
        needs=GRADIENTS,
        gradients=defects.gradient("mobilebert.encoder.layer.0.ffn.0.output.dense.bias", 0.0),
    ),
    _mutant(
        "a gradient not handed back",
        "F22",
        "8.2",
        "gradients",
        "masked-lm",
        needs=GRADIENTS,
        gradients=defects.missing(defects.WORDS),
    ),
    _mutant(
        "gradients off by 1e-4 in SGD",
        "F20",
        "6.2",
        "training",
        "masked-lm",
        variant="tiny/default",
        needs=GRADIENTS,
        gradients=defects.all_gradients(1 + 1e-4),
    ),
    _mutant(
        "a gradient's sign wrong in AdamW",
        "F20",
        "6.3",
        "training",
        "masked-lm",
        variant="tiny/default",
        needs=GRADIENTS,
        gradients=defects.gradient("cls.predictions.bias", -1.0),
    ),
)

_INVARIANTS = (
    _mutant("rows see the batch", "F21", "7.1", "invariants", outputs=defects.batch_statistics),
    _mutant(
        "the first row is treated apart",
        "F21",
        "7.2",
        "invariants",
        outputs=defects.first_row_apart,
    ),
    _mutant("int32 ids misread", "F1", "7.3", "invariants", inputs=defects.narrow_ids_misread),
    _mutant(
        "token types default to one", "F4", "7.4", "invariants", inputs=defects.token_types_of_one
    ),
    _mutant(
        "the default mask hides the last token",
        "F7",
        "7.5",
        "invariants",
        inputs=defects.last_token_masked,
    ),
    _mutant(
        "the last key leaks through the mask",
        "F7",
        "7.6",
        "invariants",
        inputs=defects.last_key_leaks,
    ),
    _mutant("dropout left on", "F21", "7.7", "invariants", outputs=defects.noisy),
    _mutant(
        "claims a dtype that it lacks",
        "F22",
        "10.1",
        "features",
        "masked-lm",
        variant="small/claims",
        claims=frozenset({Feature.FLOAT16}),
    ),
)

_OPTIMIZED = (
    _mutant(
        "value bias lost in folding",
        "F8",
        "1.1",
        "semantics",
        variant="optimized/small/default",
        needs=frozenset({Feature.OPTIMIZED}),
        weights=defects.scaled("attention.self.value.bias", 0.0),
    ),
    _mutant(
        "optimised in name only",
        "F22",
        "10.1",
        "features",
        "masked-lm",
        variant="small/claims",
        needs=frozenset({Feature.OPTIMIZED}),
        optimizes=False,
    ),
)

MUTANTS: dict[str, Mutant] = {
    mutant.name: mutant
    for group in (
        _EMBEDDINGS,
        _LAYERS,
        _HEADS,
        _LOSSES,
        _OUTPUTS,
        _NUMBERS,
        _WEIGHTS,
        _INVARIANTS,
        _OPTIMIZED,
    )
    for mutant in group
}
