"""Small configurations, random weights, inputs and labels for tests: all dimensions differ."""

import math
from typing import Any

import numpy as np

from mobilebert_core.config import MobileBertConfig
from mobilebert_core.heads import HEADS
from mobilebert_core.initialization import standard_normal
from mobilebert_core.schema import owned_tensors

Array = np.ndarray[Any, np.dtype[Any]]

SMALL: dict[str, Any] = {
    "vocab_size": 61,
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "intermediate_size": 20,
    "max_position_embeddings": 19,
    "type_vocab_size": 4,
    "embedding_size": 10,
    "intra_bottleneck_size": 12,
    "num_labels": 5,
}

# What differs from SMALL; every flag of the model has a row.
VARIANTS: dict[str, dict[str, Any]] = {
    "default": {},
    "layer_norm": {"normalization_type": "layer_norm", "layer_norm_eps": 1e-3},
    "no_bottleneck": {"use_bottleneck": False},
    "bottleneck_attention": {"use_bottleneck_attention": True},
    "tiny": {
        "use_bottleneck_attention": True,
        "key_query_shared_bottleneck": False,
        "num_feedforward_networks": 2,
    },
    "unshared_full_width": {"key_query_shared_bottleneck": False, "intra_bottleneck_size": 24},
    "no_trigram": {"trigram_input": False},
    "no_transformation": {"trigram_input": False, "embedding_size": 24},
    "full_width_embeddings": {"embedding_size": 24},
    "gelu": {"hidden_act": "gelu"},
    "gelu_tanh": {"hidden_act": "gelu_tanh"},
    "one_feed_forward": {"num_feedforward_networks": 1},
    "no_classifier_activation": {"classifier_activation": False},
    "bert_like": {
        "use_bottleneck": False,
        "trigram_input": False,
        "embedding_size": 24,
        "normalization_type": "layer_norm",
        "num_feedforward_networks": 1,
        "hidden_act": "gelu",
    },
    "no_padding_token": {"pad_token_id": None},
}

# Variants that transformers cannot build.
OWN_VARIANTS: dict[str, dict[str, Any]] = {
    "teacher": {
        "key_query_shared_bottleneck": False,
        "normalization_type": "layer_norm",
        "num_feedforward_networks": 1,
        "hidden_act": "gelu_tanh",
    },
    "masked_trigram": {"trigram_padding": "masked"},
}


def small_config(**changes: Any) -> MobileBertConfig:
    """A small configuration with some fields changed."""
    return MobileBertConfig(**(SMALL | changes))


def tiny_config() -> MobileBertConfig:
    """One layer, for tests that write many files."""
    return MobileBertConfig(
        vocab_size=31,
        hidden_size=12,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=9,
        max_position_embeddings=8,
        embedding_size=5,
        intra_bottleneck_size=6,
        num_feedforward_networks=1,
    )


def scale_and_center(name: str, shape: tuple[int, ...]) -> tuple[float, float]:
    """Standard deviation and mean of a random test tensor, by canonical name.

    Chosen so that a signal keeps its size through 24 layers and that attention is neither uniform
    nor all on one token: elsewhere a wrong model would be hard to tell from a right one.
    """
    if len(shape) > 1:
        sharpen = 10.0 if ".self.query." in name or ".self.key." in name else 1.0
        return 0.6 * sharpen / math.sqrt(shape[-1]), 0.0
    return 0.2, 0.9 if name.endswith("LayerNorm.weight") else 0.0


def random_weights(config: MobileBertConfig, head: str, seed: int = 1) -> dict[str, Array]:
    """Float64 weights, none zero or one."""
    weights = {}
    for name, spec in owned_tensors(config, head).items():
        deviation, mean = scale_and_center(name, spec.shape)
        values = standard_normal(seed, name, 0, math.prod(spec.shape)).reshape(spec.shape)
        weights[name] = mean + deviation * values
    return weights


def reordered_weights(
    config: MobileBertConfig, weights: dict[str, Array], seed: int
) -> dict[str, Array]:
    """Weights of the same function whose products sum in another order.

    The units of every feed-forward network and the channels within every attention head change
    places.
    """
    generator = np.random.default_rng(seed)
    changed = dict(weights)
    heads = (config.num_attention_heads, -1)
    for name in weights:
        stem, found, _ = name.partition(".intermediate.dense.weight")
        if found:
            order = generator.permutation(config.intermediate_size)
            for part in ("weight", "bias"):
                unit = f"{stem}.intermediate.dense.{part}"
                changed[unit] = weights[unit][order]
            second = f"{stem}.output.dense.weight"
            changed[second] = weights[second][:, order]
        stem, found, _ = name.partition(".self.query.weight")
        if found:
            channels = np.arange(config.true_hidden_size).reshape(heads)
            order = generator.permuted(channels, axis=1).reshape(-1)
            for part in ("query.weight", "query.bias", "key.weight", "key.bias"):
                changed[f"{stem}.self.{part}"] = weights[f"{stem}.self.{part}"][order]
            order = generator.permuted(channels, axis=1).reshape(-1)
            for part in ("value.weight", "value.bias"):
                changed[f"{stem}.self.{part}"] = weights[f"{stem}.self.{part}"][order]
            after = f"{stem}.output.dense.weight"
            changed[after] = weights[after][:, order]
    return changed


def random_batch(config: MobileBertConfig, head: str, seed: int = 2) -> dict[str, Array]:
    """Ids, token types and a mask with a full, a padded and a fully masked row."""
    generator = np.random.default_rng(seed)
    shape = (3, 4, 11) if HEADS[head].choices else (3, 11)
    mask = np.ones(shape, np.int64)
    mask[1, ..., 7:] = 0
    mask[2] = 0
    return {
        "input_ids": generator.integers(0, config.vocab_size, shape),
        "token_type_ids": generator.integers(0, config.type_vocab_size, shape),
        "attention_mask": mask,
    }


def random_labels(
    config: MobileBertConfig, head: str, batch: dict[str, Array], seed: int = 3
) -> dict[str, Array]:
    """Labels of a head, ignored ones and clamped positions included."""
    generator = np.random.default_rng(seed)
    shape = batch["input_ids"].shape
    rows = shape[0]

    def tokens(classes: int) -> Array:
        labels = generator.integers(0, classes, shape)
        labels[0, 2:5] = -100
        return labels

    if head == "pretraining":
        return {
            "labels": tokens(config.vocab_size),
            "next_sentence_label": generator.integers(0, 2, rows),
        }
    if head == "masked-lm":
        return {"labels": tokens(config.vocab_size)}
    if head == "next-sentence-prediction":
        return {"labels": np.array([1, 0, -100])}
    if head == "sequence-classification":
        return {"labels": generator.integers(0, config.num_labels, rows)}
    if head == "multiple-choice":
        return {"labels": generator.integers(0, shape[1], rows)}
    if head == "token-classification":
        return {"labels": tokens(config.num_labels)}
    if head == "question-answering":
        # -3 is clamped to 0, 40 to the length, which counts nothing.
        return {"start_positions": np.array([-3, 5, 40]), "end_positions": np.array([6, 2, 1])}
    return {}
