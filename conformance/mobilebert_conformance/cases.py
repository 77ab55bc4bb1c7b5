"""What is computed: configurations, inputs and labels.

`small/...` cases have every dimension different and two layers; `full/...` is the default
configuration of 24 layers; `checkpoint/...` is the user's own. A plan is the list of cases of one
run: quick takes every head, every variant and every kind of input once, full takes every head with
every variant.
"""

import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from typing import Any

import numpy as np

from mobilebert_conformance import generator
from mobilebert_conformance.weights import (
    Array,
    random_inputs,
    random_labels,
    random_weights,
)
from mobilebert_core.config import MobileBertConfig
from mobilebert_core.folding import reason_not_to_fold
from mobilebert_core.heads import HEADS
from mobilebert_core.schema import TensorSpec, has_pooler, owned_tensors

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
    "dropout": {
        "hidden_dropout_prob": 0.3,
        "attention_probs_dropout_prob": 0.2,
        "classifier_dropout": 0.4,
    },
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
ALL_VARIANTS = VARIANTS | OWN_VARIANTS

_OPTIMIZED = "optimized/"

FULL_LABELS = 5  # of the default configuration: enough to tell them apart


def small_config(head: str = "base", **changes: Any) -> MobileBertConfig:
    """The small configuration with some fields changed.

    Question answering has two outputs, and a folder of such a model says so.
    """
    labels = {"num_labels": 2} if head == "question-answering" else {}
    return MobileBertConfig(**(SMALL | labels | changes))


def tiny_config(**changes: Any) -> MobileBertConfig:
    """One layer and a few hundred weights: where tensors are perturbed one by one."""
    sizes: dict[str, Any] = {
        "vocab_size": 13,
        "hidden_size": 8,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 5,
        "max_position_embeddings": 7,
        "type_vocab_size": 3,
        "embedding_size": 3,
        "intra_bottleneck_size": 4,
        "num_feedforward_networks": 2,
        "num_labels": 6,
    }
    return MobileBertConfig(**(sizes | changes))


@dataclass(frozen=True, eq=False)
class Case:
    """One computation.

    Attributes:
        name: of the configuration and of what is special about the inputs.
        head: name of the head.
        config: the configuration.
        inputs: by name.
        labels: by name; empty for a head without loss.
        make_weights: canonical float64 weights, made when they are needed.
        heavy: whether it takes seconds: fewer checks, references shared between workers.
        optimize: whether the backend folds its weights; the oracle never does.
    """

    name: str
    head: str
    config: MobileBertConfig
    inputs: Mapping[str, Any]
    labels: Mapping[str, Any]
    make_weights: Callable[[], Mapping[str, Array]] = field(repr=False)
    heavy: bool = False
    optimize: bool = False

    @property
    def key(self) -> str:
        """Unique in a run."""
        return f"{self.name}/{self.head}"

    @cached_property
    def identity(self) -> str:
        """The key and what stands behind it: configuration, arrays and weights.

        An optimised case has that of the plain one: the same is expected.
        """
        found = zlib.crc32(repr(self.config).encode())
        for arrays in (self.inputs, self.labels, self.make_weights()):
            for name in sorted(arrays):
                data = np.ascontiguousarray(arrays[name])
                found = zlib.crc32(f"{name}{data.dtype}{data.shape}".encode(), found)
                found = zlib.crc32(data.tobytes(), found)
        return f"{self.key.removeprefix(_OPTIMIZED)}/{found:08x}"

    @cached_property
    def specs(self) -> dict[str, TensorSpec]:
        """The tensors that the schema promises; a base model may have no pooler."""
        pooled = self.head != "base" or has_pooler(self.config, self.make_weights())
        return owned_tensors(self.config, self.head, add_pooling_layer=pooled)

    @property
    def shape(self) -> tuple[int, ...]:
        """(B, S) or (B, C, S)."""
        ids = self.inputs.get("input_ids")
        return np.shape(self.inputs["inputs_embeds"])[:-1] if ids is None else np.shape(ids)


def make_case(
    name: str,
    head: str,
    config: MobileBertConfig,
    *,
    inputs: Mapping[str, Any] | None = None,
    labels: Mapping[str, Any] | None = None,
    weights: Callable[[], Mapping[str, Array]] | None = None,
    heavy: bool = False,
) -> Case:
    """A case with random inputs, labels and weights where none are given."""
    inputs = random_inputs(config, head) if inputs is None else inputs
    ids = inputs.get("input_ids")
    shape = np.shape(inputs["inputs_embeds"])[:-1] if ids is None else np.shape(ids)
    labels = random_labels(config, head, shape) if labels is None else labels
    make_weights = weights or lru_cache(1)(lambda: frozen(random_weights(config, head)))
    return Case(name, head, config, inputs, labels, make_weights, heavy)


def frozen(arrays: dict[str, Array]) -> dict[str, Array]:
    """Arrays that nobody can change: the oracle computes with the same ones."""
    for array in arrays.values():
        array.flags.writeable = False
    return arrays


def variant_cases(head: str, variants: Mapping[str, dict[str, Any]] = ALL_VARIANTS) -> list[Case]:
    """One head with each variant."""
    return [
        make_case(f"small/{name}", head, small_config(head, **changes))
        for name, changes in variants.items()
    ]


def full_case(head: str) -> Case:
    """One head on the default 24 layers."""
    labels = 2 if head == "question-answering" else FULL_LABELS
    return make_case("full", head, MobileBertConfig(num_labels=labels), heavy=True)


def optimized(cases: Iterable[Case]) -> list[Case]:
    """The same for models with folded weights, where the configuration can be folded."""
    return [
        replace(case, name=f"{_OPTIMIZED}{case.name}", optimize=True)
        for case in cases
        if not reason_not_to_fold(case.config)
    ]


def extreme_case(head: str) -> Case:
    """Norms with scales that are zero, tiny, huge and negative; folding must not lose any."""
    config = small_config(head, num_hidden_layers=3)

    def weights() -> dict[str, Array]:
        made = random_weights(config, head)
        for name in sorted(made):
            if ".encoder." in name and name.endswith("LayerNorm.weight"):
                places = generator.integers(11, name, (4,), made[name].size)
                made[name][places[0]] *= 1e-16
                made[name][places[1]] *= 1e6
                made[name][places[2]] *= -1
                made[name][places[3]] = 0
        return made

    return make_case(
        "small/extreme_scales", head, config, weights=lru_cache(1)(lambda: frozen(weights()))
    )


def input_cases() -> list[Case]:
    """Every kind of input on the small default model."""
    config = small_config()
    longest = config.max_position_embeddings

    def case(name: str, head: str, **given: Any) -> Case:
        return make_case(f"small/{name}", head, config, inputs=given)

    def ids(length: int, rows: int = 2, name: str = "input_ids", limit: int = 61) -> Array:
        return generator.integers(7, name, (rows, length), limit)

    causal = np.tril(np.ones((9, 9), np.int64))[None, None]  # (1, 1, S, S)
    by_head = generator.integers(7, "attention_mask", (2, 3, 9, 9), 3) > 0  # (B, A, S, S)
    embeds = generator.normal(7, "inputs_embeds", (2, 7, config.embedding_size))
    positions = ids(7, name="position_ids", limit=longest)
    return [
        case("one_token", "question-answering", input_ids=ids(1)),
        case("one_token", "base", input_ids=ids(1), attention_mask=np.array([[1], [0]])),
        case("two_tokens", "token-classification", input_ids=ids(2)),
        case("longest", "masked-lm", **random_inputs(config, "masked-lm", length=longest)),
        case("unpadded", "sequence-classification", input_ids=ids(10)),
        case("mask_of_ones", "base", input_ids=ids(10), attention_mask=np.ones((2, 10), bool)),
        case("causal_mask", "masked-lm", input_ids=ids(9), attention_mask=causal),
        case("mask_by_head", "base", input_ids=ids(9), attention_mask=by_head),
        case("positions", "base", input_ids=ids(7), position_ids=positions),
        case("inputs_embeds", "token-classification", inputs_embeds=embeds),
        *(_positions_case(config, head) for head in HEADS if HEADS[head].positions),
    ]


def _positions_case(config: MobileBertConfig, head: str) -> Case:
    """Logits at chosen positions only; the last one twice."""
    inputs = random_inputs(config, head)
    chosen = np.array([[4, 0, 10, 10], [1, 2, 3, 3], [0, 9, 5, 5]])  # (B, P)
    labels = random_labels(config, head, (3, 4))
    return make_case(
        "small/prediction_positions",
        head,
        config,
        inputs=inputs | {"prediction_positions": chosen},
        labels=labels,
    )


def problem_cases() -> list[Case]:
    """Every problem type of sequence classification."""
    many = np.linspace(-2, 3, 15).reshape(3, 5)
    problems: dict[str, tuple[dict[str, Any], Array]] = {
        "regression_of_one": ({"num_labels": 1}, np.array([0.5, -2.0, 3.25])),
        "regression_of_many": ({"problem_type": "regression"}, many),
        "single_label": ({"problem_type": "single_label_classification"}, np.array([4, -100, 2])),
        "multi_label": ({}, np.eye(5)[:3] + 0.25 * np.eye(5)[2:]),
        "multi_label_forced": ({"problem_type": "multi_label_classification"}, np.eye(5)[1:4]),
    }
    head = "sequence-classification"
    return [
        make_case(f"small/{name}", head, small_config(**changes), labels={"labels": labels})
        for name, (changes, labels) in problems.items()
    ]
