"""Weights, inputs and labels of the suite: random, all dimensions different, none zero or one.

Weights keep a signal's size through 24 layers and attention neither uniform nor all on one token:
elsewhere a wrong model would be hard to tell from a right one. All comes from `generator.py`.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from mobilebert_conformance import generator
from mobilebert_core.config import MobileBertConfig
from mobilebert_core.heads import HEADS
from mobilebert_core.schema import owned_tensors

Array = np.ndarray[Any, np.dtype[Any]]

WEIGHTS_SEED, INPUTS_SEED, LABELS_SEED = 1, 2, 3


def scale_and_center(
    config: MobileBertConfig, name: str, shape: tuple[int, ...]
) -> tuple[float, float]:
    """Standard deviation and mean of a random tensor, by canonical name."""
    if len(shape) > 1:
        attends = ".self.query." in name or ".self.key." in name
        return 0.6 * (_sharpness(config) if attends else 1.0) / math.sqrt(shape[-1]), 0.0
    return 0.2, 0.9 if name.endswith("LayerNorm.weight") else 0.0


def _sharpness(config: MobileBertConfig) -> float:
    """How much larger kernels of query and key are: NoNorm leaves what a bottleneck gives small."""
    if config.normalization_type == "layer_norm":
        return 3.5
    bottled = config.use_bottleneck_attention or config.key_query_shared_bottleneck
    return 20.0 if config.use_bottleneck and bottled else 10.0


def random_tensor(
    config: MobileBertConfig, name: str, shape: tuple[int, ...], seed: int = WEIGHTS_SEED
) -> Array:
    """One float64 tensor that is exactly representable in float32."""
    deviation, mean = scale_and_center(config, name, shape)
    values = mean + deviation * generator.normal(seed, name, shape)
    return values.astype(np.float32).astype(np.float64)


def random_weights(
    config: MobileBertConfig, head: str, seed: int = WEIGHTS_SEED
) -> dict[str, Array]:
    """Canonical float64 weights of a model."""
    specs = owned_tensors(config, head)
    return {name: random_tensor(config, name, spec.shape, seed) for name, spec in specs.items()}


def reordered_weights(
    config: MobileBertConfig, weights: Mapping[str, Array], seed: int
) -> dict[str, Array]:
    """Weights of the same function whose products sum in another order.

    The units of every feed-forward network and the channels within every attention head change
    places.
    """
    changed = dict(weights)
    width, heads = config.true_hidden_size, config.num_attention_heads

    def within_heads(name: str) -> Array:
        rows = np.arange(width).reshape(heads, -1)
        orders = [
            row[generator.permutation(seed, f"{name}.{index}", len(row))]
            for index, row in enumerate(rows)
        ]
        return np.concatenate(orders)

    for name in weights:
        stem, found, _ = name.partition(".intermediate.dense.weight")
        if found:
            order = generator.permutation(seed, name, config.intermediate_size)
            for unit in (f"{stem}.intermediate.dense.weight", f"{stem}.intermediate.dense.bias"):
                changed[unit] = weights[unit][order]
            second = f"{stem}.output.dense.weight"
            changed[second] = weights[second][:, order]
        stem, found, _ = name.partition(".self.query.weight")
        if found:
            order = within_heads(f"{stem}.query")
            for part in ("query.weight", "query.bias", "key.weight", "key.bias"):
                changed[f"{stem}.self.{part}"] = weights[f"{stem}.self.{part}"][order]
            order = within_heads(f"{stem}.value")
            for part in ("value.weight", "value.bias"):
                changed[f"{stem}.self.{part}"] = weights[f"{stem}.self.{part}"][order]
            after = f"{stem}.output.dense.weight"
            changed[after] = weights[after][:, order]
    return changed


def random_inputs(
    config: MobileBertConfig,
    head: str,
    *,
    rows: int = 3,
    length: int | None = None,
    seed: int = INPUTS_SEED,
) -> dict[str, Array]:
    """Ids, token types and a mask whose second row is padded and whose third attends nowhere."""
    length = min(11, config.max_position_embeddings) if length is None else length
    shape = (rows, 4, length) if HEADS[head].choices else (rows, length)
    mask = np.ones(shape, np.int64)
    mask[1:2, ..., -(length // 3) or length :] = 0
    mask[2:3] = 0
    return {
        "input_ids": generator.integers(seed, "input_ids", shape, config.vocab_size),
        "token_type_ids": generator.integers(seed, "token_type_ids", shape, config.type_vocab_size),
        "attention_mask": mask,
    }


def random_labels(
    config: MobileBertConfig, head: str, shape: tuple[int, ...], seed: int = LABELS_SEED
) -> dict[str, Array]:
    """Labels for inputs of a shape: ignored ones, and answers outside the text, among them."""
    rows, length = shape[0], shape[-1]

    def classes(name: str, labelled: tuple[int, ...], limit: int) -> Array:
        return generator.integers(seed, name, labelled, limit)

    def tokens(limit: int) -> Array:
        labels = classes("labels", shape, limit)
        labels[0, 2:5] = -100
        return labels

    def next_sentence(name: str) -> Array:
        labels = classes(name, (rows,), 2)
        labels[2:3] = -100
        return labels

    made: dict[str, Any] = {
        "base": lambda: {},
        "pretraining": lambda: {
            "labels": tokens(config.vocab_size),
            "next_sentence_label": next_sentence("next_sentence_label"),
        },
        "masked-lm": lambda: {"labels": tokens(config.vocab_size)},
        "next-sentence-prediction": lambda: {"labels": next_sentence("labels")},
        "sequence-classification": lambda: {"labels": _class_labels(config, rows, seed)},
        "multiple-choice": lambda: {"labels": classes("labels", (rows,), shape[1])},
        "token-classification": lambda: {"labels": tokens(config.num_labels)},
        "question-answering": lambda: {  # -3 is clamped to 0; beyond the length nothing counts
            "start_positions": np.resize([-3, length // 2, length + 29], rows),
            "end_positions": np.resize([length - 1, 2 % length, 1 % length], rows),
        },
    }
    labels: dict[str, Array] = made[head]()
    return labels


def _class_labels(config: MobileBertConfig, rows: int, seed: int) -> Array:
    """Labels of the kind that the problem type asks for."""
    count = config.num_labels
    if config.problem_type == "multi_label_classification":
        return generator.integers(seed, "labels", (rows, count), 2).astype(np.float64)
    if config.problem_type == "regression" or (config.problem_type is None and count == 1):
        return generator.normal(seed, "labels", (rows, count))
    return generator.integers(seed, "labels", (rows,), count)
