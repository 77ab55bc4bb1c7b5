"""The suite's cases: dimensions that differ, flags that all occur, inputs of every kind."""

from collections import Counter
from dataclasses import fields

import numpy as np
import pytest

from mobilebert_conformance.cases import (
    ALL_VARIANTS,
    OWN_VARIANTS,
    SMALL,
    VARIANTS,
    Case,
    full_case,
    input_cases,
    problem_cases,
    small_config,
    variant_cases,
)
from mobilebert_core.config import MobileBertConfig
from mobilebert_core.heads import HEADS
from mobilebert_core.inputs import prepare

SETTINGS = {each.name for each in fields(MobileBertConfig)}
# What has no influence on what a model computes when it is not trained and not fresh.
WITHOUT_INFLUENCE = {
    "hidden_dropout_prob", "attention_probs_dropout_prob", "classifier_dropout",
    "initializer_range", "id2label", "label2id",
}  # fmt: skip
CHOICES = {
    "hidden_act": {"relu", "gelu", "gelu_tanh"},
    "normalization_type": {"no_norm", "layer_norm"},
    "trigram_padding": {"faithful", "masked"},
    "problem_type": {
        None, "regression", "single_label_classification", "multi_label_classification",
    },
    "num_feedforward_networks": {1, 2, 4},
}  # fmt: skip


def all_cases() -> list[Case]:
    """Every case of the suite."""
    variants = [case for head in HEADS for case in variant_cases(head)]
    full = [full_case(head) for head in HEADS]
    return variants + full + input_cases() + problem_cases()


CASES = all_cases()


def test_dimensions_of_small_weights_all_differ() -> None:
    dimensions = {name: size for name, size in SMALL.items() if name != "num_hidden_layers"}
    dimensions["extra_embeddings"] = SMALL["hidden_size"] - SMALL["embedding_size"]

    assert len(set(dimensions.values())) == len(dimensions), dimensions


@pytest.mark.parametrize("name", sorted(SETTINGS - WITHOUT_INFLUENCE))
def test_every_setting_has_a_case_where_it_is_not_the_default(name: str) -> None:
    default = getattr(MobileBertConfig(), name)

    assert any(getattr(case.config, name) != default for case in CASES)


def test_settings_without_influence_are_settings() -> None:
    assert WITHOUT_INFLUENCE < SETTINGS


@pytest.mark.parametrize("name", CHOICES)
def test_every_choice_of_a_setting_has_a_case(name: str) -> None:
    assert {getattr(case.config, name) for case in CASES} == CHOICES[name]


@pytest.mark.parametrize(
    "name", ["use_bottleneck", "use_bottleneck_attention", "key_query_shared_bottleneck",
             "trigram_input", "classifier_activation"],
)  # fmt: skip
def test_every_switch_is_on_and_off_with_every_head(name: str) -> None:
    found = {(case.head, getattr(case.config, name)) for case in CASES}

    assert found == {(head, value) for head in HEADS for value in (True, False)}


@pytest.mark.parametrize("variant", [name for name in ALL_VARIANTS if name != "default"])
def test_variant_differs_from_the_default(variant: str) -> None:
    assert small_config(**ALL_VARIANTS[variant]) != small_config()


def test_no_two_variants_are_the_same() -> None:
    configs = [small_config(**changes) for changes in ALL_VARIANTS.values()]

    assert all(configs.count(config) == 1 for config in configs)


def test_variants_have_names_of_their_own() -> None:
    assert not VARIANTS.keys() & OWN_VARIANTS.keys()


def test_keys_are_unique() -> None:
    counts = Counter(case.key for case in CASES)

    assert [key for key, count in counts.items() if count > 1] == []


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.key)
def test_inputs_and_labels_are_accepted(case: Case) -> None:
    prepare(case.config, case.head, case.inputs, case.labels)


def lengths() -> set[int]:
    """Numbers of tokens of the cases of inputs."""
    return {case.shape[-1] for case in input_cases()}


def test_inputs_of_one_token_are_among_the_cases() -> None:
    assert 1 in lengths()


def test_inputs_of_the_greatest_length_are_among_the_cases() -> None:
    assert SMALL["max_position_embeddings"] in lengths()


@pytest.mark.parametrize("name", ["position_ids", "inputs_embeds", "prediction_positions"])
def test_every_kind_of_input_is_among_the_cases(name: str) -> None:
    assert any(name in case.inputs for case in input_cases())


def test_inputs_without_a_mask_and_of_two_and_four_axes_are_among_the_cases() -> None:
    masks = {np.ndim(case.inputs.get("attention_mask")) for case in input_cases()}

    assert masks == {0, 2, 4}


@pytest.mark.parametrize("head", HEADS)
def test_rows_are_full_and_padded_and_masked_altogether(head: str) -> None:
    case = variant_cases(head)[0]

    attended = case.inputs["attention_mask"].reshape(3, -1).mean(axis=1)

    assert attended[0] == 1
    assert 0 < attended[1] < 1
    assert attended[2] == 0


@pytest.mark.parametrize("head", [name for name, head in HEADS.items() if head.labels])
def test_labels_are_all_that_the_loss_needs(head: str) -> None:
    assert tuple(variant_cases(head)[0].labels) == HEADS[head].labels


@pytest.mark.parametrize("head", ["pretraining", "masked-lm", "token-classification"])
def test_some_labels_are_ignored_and_some_are_not(head: str) -> None:
    labels = variant_cases(head)[0].labels["labels"]

    assert 0 < (labels == -100).sum() < labels.size


def test_answers_outside_the_text_are_among_the_labels() -> None:
    (case, *_) = variant_cases("question-answering")
    starts = case.labels["start_positions"]

    assert starts.min() < 0
    assert starts.max() > case.shape[-1]


def test_problem_cases_infer_and_are_told_the_problem() -> None:
    told = {case.config.problem_type for case in problem_cases()}

    assert told == CHOICES["problem_type"]
    assert any(case.config.num_labels == 1 for case in problem_cases())
