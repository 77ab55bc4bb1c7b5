"""What mutants do to a model: the defects themselves, as changes of what goes in or comes out.

A function here either is such a change or makes one. Weights move numbers around where a line of
code would: two blocks of a kernel in the wrong order are a concatenation in the wrong order. Read
next: `mutant_table.py`, which names them and says what must reject them.
"""

import itertools
from typing import Any

import ml_dtypes
import numpy as np

from mobilebert_conformance import generator
from mobilebert_conformance.mutants import Array, Fields, Weights
from mobilebert_core.config import MobileBertConfig

Config = MobileBertConfig

TRANSFORMATION = "mobilebert.embeddings.embedding_transformation.weight"
WORDS = "mobilebert.embeddings.word_embeddings.weight"


def blocks(order: tuple[int | None, ...]) -> Any:
    """Weights whose trigram reads its three blocks in another order; None leaves one out."""

    def change(config: Config, weights: Weights, dtype: str) -> Weights:
        parts = np.split(weights[TRANSFORMATION], 3, axis=1)
        kept = [np.zeros_like(parts[0]) if each is None else parts[each] for each in order]
        return weights | {TRANSFORMATION: np.concatenate(kept, axis=1)}

    return change


def scaled(ending: str, factor: float) -> Any:
    """Weights whose names end so, times a factor."""

    def change(config: Config, weights: Weights, dtype: str) -> Weights:
        return {
            name: each * factor if name.endswith(ending) else each for name, each in weights.items()
        }

    return change


def scale_by_hidden_size(config: Config, weights: Weights, dtype: str) -> Weights:
    """Scores divided by sqrt(H) instead of sqrt(D)."""
    factor = np.sqrt(config.attention_head_size / config.hidden_size)
    return times_query(weights, factor)


def scale_slightly_off(config: Config, weights: Weights, dtype: str) -> Weights:
    """Scores off by one part in ten thousand."""
    return times_query(weights, 1 + 1e-4)


def times_query(weights: Weights, factor: float) -> Weights:
    """Queries times a factor."""
    return {
        name: each * factor if ".self.query." in name else each for name, each in weights.items()
    }


def interleaved_heads(config: Config, weights: Weights, dtype: str) -> Weights:
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


def exchanged(one: str, other: str) -> Any:
    """Weights of two modules exchanged."""

    def change(config: Config, weights: Weights, dtype: str) -> Weights:
        def partner(name: str) -> str:
            if one in name:
                return name.replace(one, other)
            return name.replace(other, one)

        return {name: weights[partner(name)] for name in weights}

    return change


def shared_from_input(config: Config, weights: Weights, dtype: str) -> Weights:
    """Query and key read the input bottleneck instead of their own."""
    return {
        name: weights[name.replace(".bottleneck.attention.", ".bottleneck.input.")]
        for name in weights
    }


def tied_block_order(config: Config, weights: Weights, dtype: str) -> Weights:
    """The extra block before the tied one: the head's hidden channels change places."""
    extra = config.hidden_size - config.embedding_size
    order = np.roll(np.arange(config.hidden_size), -extra)
    parts = ("dense.weight", "dense.bias", "LayerNorm.weight", "LayerNorm.bias")
    names = [f"cls.predictions.transform.{part}" for part in parts]
    return weights | {name: weights[name][order] for name in names}


def last_norm_bias_only(config: Config, weights: Weights, dtype: str) -> Weights:
    """The last norm of the last layer without its bias."""
    name = f"mobilebert.encoder.layer.{config.num_hidden_layers - 1}.output.LayerNorm.bias"
    return weights | {name: np.zeros_like(weights[name])}


def ignores_a_tensor(config: Config, weights: Weights, dtype: str) -> Weights:
    """One bias that the model does not read."""
    name = "mobilebert.encoder.layer.0.attention.self.value.bias"
    return weights | {name: np.zeros_like(weights[name])}


def rounded(dtype: str, through: Any) -> Any:
    """Weights that go through a narrower dtype when the model computes in `dtype`."""

    def change(config: Config, weights: Weights, given: str) -> Weights:
        if given != dtype:
            return weights
        return {name: each.astype(through).astype(each.dtype) for name, each in weights.items()}

    return change


def config(**changes: Any) -> Any:
    """A configuration with some fields changed."""
    return lambda config: config.replace(**changes)


def one_network_fewer(config: Config) -> Config:
    """A layer with one feed-forward network less."""
    return config.replace(num_feedforward_networks=config.num_feedforward_networks - 1)


def without(name: str) -> Any:
    """Inputs of which one is ignored."""
    return lambda inputs: {key: each for key, each in inputs.items() if key != name}


def attend_where_masked_whole(inputs: Fields) -> Fields:
    """A fully masked row attends by its scores, as with a bias of -10000."""
    mask = np.array(inputs["attention_mask"])
    mask[~mask.any(axis=-1)] = 1
    return inputs | {"attention_mask": mask}


def positions_from_one(inputs: Fields) -> Fields:
    """Positions counted from 1."""
    ids = np.asarray(inputs["input_ids"])
    return inputs | {"position_ids": np.broadcast_to(np.arange(1, ids.shape[-1] + 1), ids.shape)}


def token_types_of_one(inputs: Fields) -> Fields:
    """Token types that default to 1."""
    return {"token_type_ids": np.ones(np.shape(inputs["input_ids"]), np.int64)} | inputs


def last_token_masked(inputs: Fields) -> Fields:
    """A default mask that hides the last token."""
    mask = np.ones(np.shape(inputs["input_ids"]), np.int64)
    mask[..., -1] = 0
    return {"attention_mask": mask} | inputs


def last_key_leaks(inputs: Fields) -> Fields:
    """A mask that does not hide the last token."""
    mask = np.array(inputs.get("attention_mask", np.ones(np.shape(inputs["input_ids"]))))
    mask[..., -1] = 1
    return inputs | {"attention_mask": mask}


def narrow_ids_misread(inputs: Fields) -> Fields:
    """Ids that are read otherwise when they are int32."""
    ids = np.asarray(inputs["input_ids"])
    return inputs | {"input_ids": ids // 2} if ids.dtype == np.int32 else inputs


def field(name: str, change: Any) -> Any:
    """One output field changed, where it is there."""

    def outputs(fields: Fields, inputs: Fields, labels: Fields) -> Fields:
        return fields | {name: change(fields[name])} if name in fields else fields

    return outputs


def start_and_end_exchanged(fields: Fields, inputs: Fields, labels: Fields) -> Fields:
    """Start logits in the place of end logits."""
    return fields | {"start_logits": fields["end_logits"], "end_logits": fields["start_logits"]}


def mean_over_all(fields: Fields, inputs: Fields, labels: Fields) -> Fields:
    """The loss divided by all tokens instead of those with a label."""
    share = float((np.asarray(labels["labels"]) != -100).mean())
    return fields | {"loss": fields["loss"] * share}


def noisy(fields: Fields, inputs: Fields, labels: Fields) -> Fields:
    """Dropout that nobody switched off."""
    noise = 1 + 1e-9 * generator.normal(next(_CALLS), "dropout", (1,))[0]
    return {name: times(each, noise) for name, each in fields.items()}


_CALLS = itertools.count(1)


def times(value: Any, factor: float) -> Any:
    """An array, or each of several, times a factor."""
    if isinstance(value, tuple):
        return tuple(each * factor for each in value)
    return value * factor


def batch_statistics(fields: Fields, inputs: Fields, labels: Fields) -> Fields:
    """Rows see the mean over the batch."""
    return {name: each + 1e-3 * each.mean(axis=0) for name, each in fields.items()}


def first_row_apart(fields: Fields, inputs: Fields, labels: Fields) -> Fields:
    """The first row of a batch is treated otherwise than the others."""
    return {
        name: np.concatenate([each[:1] * (1.001 if len(each) > 1 else 1), each[1:]])
        for name, each in fields.items()
    }


def nan(fields: Fields, inputs: Fields, labels: Fields) -> Fields:
    """NaN in the last row."""
    states = np.array(fields["last_hidden_state"])
    states[-1] = np.nan
    return fields | {"last_hidden_state": states}


def missing(name: str) -> Any:
    """One tensor left out."""
    return lambda weights: {key: each for key, each in weights.items() if key != name}


def half_precision(weights: Weights) -> Weights:
    """Values that went through float16."""
    return {name: each.astype(np.float16).astype(each.dtype) for name, each in weights.items()}


def kernels_transposed(weights: Weights) -> Weights:
    """Square kernels transposed, which no shape tells."""
    return {
        name: np.ascontiguousarray(each.T) if each.ndim == 2 and len(set(each.shape)) == 1 else each
        for name, each in weights.items()
    }


def query_and_key_exchanged(weights: Weights) -> Weights:
    """A table of names with two rows in each other's place."""
    other = {".query.": ".key.", ".key.": ".query."}

    def source(name: str) -> str:
        found = next((part for part in other if part in name), None)
        return name if found is None else name.replace(found, other[found])

    return {name: weights[source(name)] for name in weights}


def gradient(name: str, factor: float) -> Any:
    """One gradient times a factor."""
    return lambda gradients: gradients | {name: gradients[name] * factor}


def all_gradients(factor: float) -> Any:
    """Every gradient times a factor."""
    return lambda gradients: {name: each * factor for name, each in gradients.items()}


def double_rounding(fields: Fields, inputs: Fields, labels: Fields) -> Fields:
    """Outputs that were rounded to bfloat16 before."""

    def twice(array: Array) -> Array:
        wide = np.asarray(array)
        return wide.astype(ml_dtypes.bfloat16).astype(wide.dtype)

    return {
        name: tuple(twice(each) for each in value) if isinstance(value, tuple) else twice(value)
        for name, value in fields.items()
    }
