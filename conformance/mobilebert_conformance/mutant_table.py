"""The mutants, by the clause that must reject them. A new check brings a mutant that it kills.

Rules: a defect is one that somebody has made, or could make, while porting the model; it changes
nothing else. Weights move numbers around where a line of code would: two blocks of a kernel in the
wrong order are a concatenation in the wrong order.
"""

from dataclasses import replace
from typing import Any

import ml_dtypes
import numpy as np

from mobilebert_conformance import generator
from mobilebert_conformance.mutants import Array, Fields, Mutant, Weights
from mobilebert_core.backend import Feature
from mobilebert_core.config import MobileBertConfig

Config = MobileBertConfig

TRANSFORMATION = "mobilebert.embeddings.embedding_transformation.weight"
WORDS = "mobilebert.embeddings.word_embeddings.weight"
GRADIENTS = frozenset({Feature.GRADIENTS})


def _blocks(order: tuple[int | None, ...]) -> Any:
    """Weights whose trigram reads its three blocks in another order; None leaves one out."""

    def change(config: Config, weights: Weights, dtype: str) -> Weights:
        parts = np.split(weights[TRANSFORMATION], 3, axis=1)
        kept = [np.zeros_like(parts[0]) if each is None else parts[each] for each in order]
        return weights | {TRANSFORMATION: np.concatenate(kept, axis=1)}

    return change


def _scaled(ending: str, factor: float) -> Any:
    """Weights whose names end so, times a factor."""

    def change(config: Config, weights: Weights, dtype: str) -> Weights:
        return {
            name: each * factor if name.endswith(ending) else each for name, each in weights.items()
        }

    return change


def _scale_by_hidden_size(config: Config, weights: Weights, dtype: str) -> Weights:
    factor = np.sqrt(config.attention_head_size / config.hidden_size)
    return _times_query(weights, factor)


def _scale_slightly_off(config: Config, weights: Weights, dtype: str) -> Weights:
    return _times_query(weights, 1 + 1e-4)


def _times_query(weights: Weights, factor: float) -> Weights:
    return {
        name: each * factor if ".self.query." in name else each for name, each in weights.items()
    }


def _interleaved_heads(config: Config, weights: Weights, dtype: str) -> Weights:
    """Channels dealt out to the heads in turn instead of in blocks."""
    width, heads = config.true_hidden_size, config.num_attention_heads
    order = np.arange(width).reshape(-1, heads).T.reshape(-1)
    changed = dict(weights)
    for name, each in weights.items():
        if ".attention.self." in name:
            changed[name] = each[order]
        if name.endswith(".attention.output.dense.weight"):
            changed[name] = each[:, order]
    return changed


def _exchanged(one: str, other: str) -> Any:
    """Weights of two modules exchanged."""

    def change(config: Config, weights: Weights, dtype: str) -> Weights:
        def partner(name: str) -> str:
            if one in name:
                return name.replace(one, other)
            return name.replace(other, one)

        return {name: weights[partner(name)] for name in weights}

    return change


def _shared_from_input(config: Config, weights: Weights, dtype: str) -> Weights:
    """Query and key read the input bottleneck instead of their own."""
    return {
        name: weights[name.replace(".bottleneck.attention.", ".bottleneck.input.")]
        for name in weights
    }


def _tied_block_order(config: Config, weights: Weights, dtype: str) -> Weights:
    """The extra block before the tied one: the head's hidden channels change places."""
    extra = config.hidden_size - config.embedding_size
    order = np.roll(np.arange(config.hidden_size), -extra)
    parts = ("dense.weight", "dense.bias", "LayerNorm.weight", "LayerNorm.bias")
    names = [f"cls.predictions.transform.{part}" for part in parts]
    return weights | {name: weights[name][order] for name in names}


def _last_norm_bias_only(config: Config, weights: Weights, dtype: str) -> Weights:
    name = f"mobilebert.encoder.layer.{config.num_hidden_layers - 1}.output.LayerNorm.bias"
    return weights | {name: np.zeros_like(weights[name])}


def _ignores_a_tensor(config: Config, weights: Weights, dtype: str) -> Weights:
    name = "mobilebert.encoder.layer.0.attention.self.value.bias"
    return weights | {name: np.zeros_like(weights[name])}


def _rounded(dtype: str, through: Any) -> Any:
    """Weights that go through a narrower dtype when the model computes in `dtype`."""

    def change(config: Config, weights: Weights, given: str) -> Weights:
        if given != dtype:
            return weights
        return {name: each.astype(through).astype(each.dtype) for name, each in weights.items()}

    return change


def _config(**changes: Any) -> Any:
    return lambda config: config.replace(**changes)


def _one_network_fewer(config: Config) -> Config:
    return config.replace(num_feedforward_networks=config.num_feedforward_networks - 1)


def _without(name: str) -> Any:
    return lambda inputs: {key: each for key, each in inputs.items() if key != name}


def _attend_where_masked_whole(inputs: Fields) -> Fields:
    """A fully masked row attends by its scores, as with a bias of -10000."""
    mask = np.array(inputs["attention_mask"])
    mask[~mask.any(axis=-1)] = 1
    return inputs | {"attention_mask": mask}


def _positions_from_one(inputs: Fields) -> Fields:
    ids = np.asarray(inputs["input_ids"])
    return inputs | {"position_ids": np.broadcast_to(np.arange(1, ids.shape[-1] + 1), ids.shape)}


def _token_types_of_one(inputs: Fields) -> Fields:
    return {"token_type_ids": np.ones(np.shape(inputs["input_ids"]), np.int64)} | inputs


def _last_token_masked(inputs: Fields) -> Fields:
    mask = np.ones(np.shape(inputs["input_ids"]), np.int64)
    mask[..., -1] = 0
    return {"attention_mask": mask} | inputs


def _last_key_leaks(inputs: Fields) -> Fields:
    mask = np.array(inputs.get("attention_mask", np.ones(np.shape(inputs["input_ids"]))))
    mask[..., -1] = 1
    return inputs | {"attention_mask": mask}


def _narrow_ids_misread(inputs: Fields) -> Fields:
    ids = np.asarray(inputs["input_ids"])
    return inputs | {"input_ids": ids // 2} if ids.dtype == np.int32 else inputs


def _field(name: str, change: Any) -> Any:
    """One output field changed, where it is there."""

    def outputs(fields: Fields, inputs: Fields, labels: Fields) -> Fields:
        return fields | {name: change(fields[name])} if name in fields else fields

    return outputs


def _start_and_end_exchanged(fields: Fields, inputs: Fields, labels: Fields) -> Fields:
    return fields | {"start_logits": fields["end_logits"], "end_logits": fields["start_logits"]}


def _mean_over_all(fields: Fields, inputs: Fields, labels: Fields) -> Fields:
    """The loss divided by all tokens instead of those with a label."""
    share = float((np.asarray(labels["labels"]) != -100).mean())
    return fields | {"loss": fields["loss"] * share}


def _noisy(fields: Fields, inputs: Fields, labels: Fields) -> Fields:
    """Dropout that nobody switched off."""
    _CALLS.append(len(_CALLS))
    noise = 1 + 1e-9 * generator.normal(len(_CALLS), "dropout", (1,))[0]
    return {name: _times(each, noise) for name, each in fields.items()}


_CALLS: list[int] = []


def _times(value: Any, factor: float) -> Any:
    if isinstance(value, tuple):
        return tuple(each * factor for each in value)
    return value * factor


def _batch_statistics(fields: Fields, inputs: Fields, labels: Fields) -> Fields:
    """Rows see the mean over the batch."""
    return {name: each + 1e-3 * each.mean(axis=0) for name, each in fields.items()}


def _first_row_apart(fields: Fields, inputs: Fields, labels: Fields) -> Fields:
    """The first row of a batch is treated otherwise than the others."""
    return {
        name: np.concatenate([each[:1] * (1.001 if len(each) > 1 else 1), each[1:]])
        for name, each in fields.items()
    }


def _nan(fields: Fields, inputs: Fields, labels: Fields) -> Fields:
    states = np.array(fields["last_hidden_state"])
    states[-1] = np.nan
    return fields | {"last_hidden_state": states}


def _missing(name: str) -> Any:
    return lambda weights: {key: each for key, each in weights.items() if key != name}


def _half_precision(weights: Weights) -> Weights:
    return {name: each.astype(np.float16).astype(each.dtype) for name, each in weights.items()}


def _kernels_transposed(weights: Weights) -> Weights:
    return {
        name: np.ascontiguousarray(each.T) if each.ndim == 2 and len(set(each.shape)) == 1 else each
        for name, each in weights.items()
    }


def _gradient(name: str, factor: float) -> Any:
    return lambda gradients: gradients | {name: gradients[name] * factor}


def _all_gradients(factor: float) -> Any:
    return lambda gradients: {name: each * factor for name, each in gradients.items()}


def _double_rounding(fields: Fields, inputs: Fields, labels: Fields) -> Fields:
    def twice(array: Array) -> Array:
        wide = np.asarray(array)
        return wide.astype(ml_dtypes.bfloat16).astype(wide.dtype)

    return {
        name: tuple(twice(each) for each in value) if isinstance(value, tuple) else twice(value)
        for name, value in fields.items()
    }


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
    _mutant("trigram neighbours swapped", "F2", "4.1", "locality", weights=_blocks((2, 1, 0))),
    _mutant("trigram without next token", "F2", "4.1", "locality", weights=_blocks((None, 1, 2))),
    _mutant("trigram sees padding", "F2", "4.1", "locality", variant="small/masked_trigram",
            config=_config(trigram_padding="faithful")),
    _mutant("positions from one", "F4", "4.1", "locality", inputs=_positions_from_one),
    _mutant("token types ignored", "F4", "4.1", "locality", inputs=_without("token_type_ids")),
    _mutant("transformation without bias", "F3", "4.1", "locality",
            weights=_scaled("embedding_transformation.bias", 0.0)),
    _mutant("embedding norm bias dropped", "F4", "4.1", "locality",
            weights=_scaled("embeddings.LayerNorm.bias", 0.0)),
)  # fmt: skip

_LAYERS = (
    _mutant("mask ignored", "F7", "1.2", "semantics", inputs=_without("attention_mask")),
    _mutant("fully masked row attends by scores", "F7", "1.2", "semantics",
            inputs=_attend_where_masked_whole),
    _mutant("scale by hidden size", "F6", "1.2", "semantics", weights=_scale_by_hidden_size),
    _mutant("scale off by 1e-4", "F6", "1.2", "semantics", weights=_scale_slightly_off),
    _mutant("heads interleaved", "F6", "1.2", "semantics", weights=_interleaved_heads),
    _mutant("query and key from the input bottleneck", "F5", "4.2", "locality",
            weights=_shared_from_input),
    _mutant("value bias dropped", "F6", "4.2", "locality", weights=_scaled(".value.bias", 0.0)),
    _mutant("attention output without bias", "F8", "4.2", "locality",
            weights=_scaled(".attention.output.dense.bias", 0.0)),
    _mutant("one feed-forward network fewer", "F9", "4.2", "locality", config=_one_network_fewer),
    _mutant("feed-forward networks in another order", "F9", "4.2", "locality",
            weights=_exchanged(".ffn.0.", ".ffn.1.")),
    _mutant("NoNorm bias dropped", "F11", "4.2", "locality", weights=_last_norm_bias_only),
    _mutant("LayerNorm instead of NoNorm", "F11", "4.2", "locality",
            config=_config(normalization_type="layer_norm")),
    _mutant("LayerNorm epsilon fixed", "F11", "4.2", "locality", variant="small/layer_norm",
            config=_config(layer_norm_eps=1e-5)),
    _mutant("tanh form of gelu", "F12", "4.2", "locality", variant="small/gelu",
            config=_config(hidden_act="gelu_tanh")),
    _mutant("way out of the bottleneck without bias", "F10", "4.2", "locality",
            weights=_scaled(".output.bottleneck.dense.bias", 0.0)),
)  # fmt: skip

_HEADS = (
    _mutant("pooler left out", "F13", "4.3", "locality",
            config=_config(classifier_activation=False)),
    _mutant("tied block after the extra one", "F14", "1.3", "semantics", "masked-lm",
            weights=_tied_block_order),
    _mutant("extra vocabulary block dropped", "F14", "1.3", "semantics", "masked-lm",
            weights=_scaled("cls.predictions.dense.weight", 0.0)),
    _mutant("prediction bias dropped", "F14", "1.3", "semantics", "masked-lm",
            weights=_scaled("cls.predictions.bias", 0.0)),
    _mutant("next sentence logits exchanged", "F15", "1.3", "semantics",
            "next-sentence-prediction", outputs=_field("logits", lambda each: each[:, ::-1])),
    _mutant("classes in another order", "F16", "1.3", "semantics", "sequence-classification",
            outputs=_field("logits", lambda each: each[:, ::-1])),
    _mutant("choices by column", "F17", "1.3", "semantics", "multiple-choice",
            outputs=_field("logits", lambda each: each.reshape(each.shape[::-1]).T)),
    _mutant("token logits shifted by one", "F18", "1.3", "semantics", "token-classification",
            outputs=_field("logits", lambda each: np.roll(each, 1, axis=1))),
    _mutant("start and end exchanged", "F19", "1.3", "semantics", "question-answering",
            outputs=_start_and_end_exchanged),
)  # fmt: skip

_LOSSES = (
    _mutant("ignored labels counted", "F20", "1.4", "semantics", "masked-lm",
            labels=lambda labels, inputs: {"labels": np.maximum(labels["labels"], 0)}),
    _mutant("mean over ignored labels too", "F20", "1.4", "semantics", "token-classification",
            outputs=_mean_over_all),
    _mutant("answers outside the text counted", "F20", "1.4", "semantics", "question-answering",
            labels=lambda labels, inputs: {
                name: np.clip(each, 0, np.shape(inputs["input_ids"])[1] - 1)
                for name, each in labels.items()}),
    _mutant("span losses summed", "F20", "1.4", "semantics", "question-answering",
            outputs=_field("loss", lambda each: each * 2)),
    _mutant("regression loss halved", "F20", "1.4", "semantics", "sequence-classification",
            variant="small/regression_of_one", outputs=_field("loss", lambda each: each / 2)),
    _mutant("no label gives zero", "F20", "1.6", "nothing_counts", "masked-lm",
            variant="small/nothing_counts",
            outputs=_field("loss", lambda each: np.nan_to_num(each, nan=0.0))),
)  # fmt: skip

_OUTPUTS = (
    _mutant("hidden states without the embeddings", "F21", "1.1", "semantics",
            outputs=_field("hidden_states", lambda each: each[1:])),
    _mutant("hidden states one layer late", "F21", "1.1", "semantics",
            outputs=_field("hidden_states", lambda each: (*each[1:], each[-1]))),
    _mutant("attentions of one layer for all", "F21", "1.2", "semantics",
            outputs=_field("attentions", lambda each: each[:1] * len(each))),
    _mutant("attentions left out", "F21", "1.5", "semantics",
            outputs=lambda fields, inputs, labels: {
                name: each for name, each in fields.items() if name != "attentions"}),
    _mutant("NaN where masked", "F7", "1.1", "semantics", outputs=_nan),
)  # fmt: skip

_NUMBERS = (
    _mutant("float64 computed in float32", "F22", "1.1", "semantics", needs=_FLOAT64_FLOAT32,
            dtype=lambda dtype, precision: ("float32", precision)),
    _mutant("float32 products of bfloat16 weights", "F22", "2.1", "precision",
            needs=frozenset({Feature.FLOAT32}),
            weights=_rounded("float32", ml_dtypes.bfloat16)),
    _mutant("bfloat16 products of 8-bit weights", "F22", "2.2", "precision",
            needs=frozenset({Feature.BFLOAT16}),
            weights=_rounded("bfloat16", ml_dtypes.float8_e4m3fn)),
    _mutant("reproducible mode in float32", "F22", "3.1", "reproducible",
            needs=frozenset({Feature.REPRODUCIBLE, Feature.FLOAT32}),
            dtype=lambda dtype, precision: ("float32", None)),
    _mutant("reproducible mode rounded twice", "F22", "3.2", "reproducible",
            needs=frozenset({Feature.REPRODUCIBLE}), outputs=_double_rounding),
)  # fmt: skip

_WEIGHTS = (
    _mutant("weights kept in half precision", "F22", "5.1", "weights", stored=_half_precision),
    _mutant("kernels handed back transposed", "F22", "5.1", "weights", stored=_kernels_transposed),
    _mutant("a tensor not handed back", "F22", "8.1", "schema", stored=_missing(WORDS)),
    _mutant("a weight that is never read", "F6", "8.3", "sensitivity", variant="tiny/default",
            weights=_ignores_a_tensor),
    _mutant("tied embeddings get half their gradient", "F14", "6.1", "gradients", "masked-lm",
            needs=GRADIENTS, gradients=_gradient(WORDS, 0.5)),
    _mutant("a bias gets no gradient", "F9", "6.1", "gradients", "masked-lm", needs=GRADIENTS,
            gradients=_gradient("mobilebert.encoder.layer.0.ffn.0.output.dense.bias", 0.0)),
    _mutant("a gradient not handed back", "F22", "8.2", "gradients", "masked-lm", needs=GRADIENTS,
            gradients=_missing(WORDS)),
    _mutant("gradients off by 1e-4 in SGD", "F20", "6.2", "training", "masked-lm",
            variant="tiny/default", needs=GRADIENTS, gradients=_all_gradients(1 + 1e-4)),
    _mutant("a gradient's sign wrong in AdamW", "F20", "6.3", "training", "masked-lm",
            variant="tiny/default", needs=GRADIENTS,
            gradients=_gradient("cls.predictions.bias", -1.0)),
)  # fmt: skip

_INVARIANTS = (
    _mutant("rows see the batch", "F21", "7.1", "invariants", outputs=_batch_statistics),
    _mutant("the first row is treated apart", "F21", "7.2", "invariants",
            outputs=_first_row_apart),
    _mutant("int32 ids misread", "F1", "7.3", "invariants", inputs=_narrow_ids_misread),
    _mutant("token types default to one", "F4", "7.4", "invariants", inputs=_token_types_of_one),
    _mutant("the default mask hides the last token", "F7", "7.5", "invariants",
            inputs=_last_token_masked),
    _mutant("the last key leaks through the mask", "F7", "7.6", "invariants",
            inputs=_last_key_leaks),
    _mutant("dropout left on", "F21", "7.7", "invariants", outputs=_noisy),
    _mutant("claims a dtype that it lacks", "F22", "10.1", "features", "masked-lm",
            variant="small/claims", claims=frozenset({Feature.FLOAT16})),
)  # fmt: skip

MUTANTS: dict[str, Mutant] = {
    mutant.name: mutant
    for group in (
        _EMBEDDINGS, _LAYERS, _HEADS, _LOSSES, _OUTPUTS, _NUMBERS, _WEIGHTS, _INVARIANTS,
    )
    for mutant in group
}  # fmt: skip
