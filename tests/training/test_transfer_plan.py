"""Knowledge transfer as a plan: stages, pairs that fit, and what a student takes over."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metrics import tensor_error
from mobilebert_conformance.weights import random_weights
from mobilebert_core.config import MobileBertConfig
from mobilebert_core.errors import ConfigError
from mobilebert_training.randomness import generator
from mobilebert_training.transfer import (
    STRATEGIES,
    Stage,
    TransferSettings,
    check_pair,
    copy_from_teacher,
    plan_stages,
    stage_at,
)

SIZES: dict[str, Any] = {
    "vocab_size": 37,
    "hidden_size": 12,
    "embedding_size": 9,
    "intra_bottleneck_size": 8,
    "intermediate_size": 10,
    "num_attention_heads": 2,
    "num_hidden_layers": 3,
    "max_position_embeddings": 14,
}
STUDENT = MobileBertConfig(**SIZES)
TEACHER = MobileBertConfig(
    **(SIZES | {"intra_bottleneck_size": 12, "normalization_type": "layer_norm"})
)
QUICK = settings(deadline=None, max_examples=60)  # a busy machine fails no test


def test_there_is_one_stage_when_there_is_no_teacher() -> None:
    assert plan_stages(None, 7, 3) == [Stage(name="training", steps=7)]


def test_layers_and_predictions_are_learnt_at_once_when_transfer_is_auxiliary() -> None:
    (stage,) = plan_stages(TransferSettings(strategy="auxiliary"), 7, 3)
    assert (stage.transferred, stage.trained, stage.predicts) == ((0, 1, 2), None, True)


def test_predictions_are_learnt_alone_when_there_is_distillation_alone() -> None:
    (stage,) = plan_stages(TransferSettings(strategy="distillation"), 7, 3)
    assert (stage.transferred, stage.trained, stage.predicts) == ((), None, True)


def test_all_layers_come_first_when_transfer_is_joint() -> None:
    layers, last = plan_stages(TransferSettings(strategy="joint", transfer_fraction=0.3), 20, 3)
    assert (layers.transferred, layers.trained, layers.predicts) == ((0, 1, 2), (0, 1, 2), False)
    assert (last.transferred, last.trained, last.predicts) == ((), None, True)
    assert (layers.steps, last.steps) == (6, 14)


def test_layers_come_one_by_one_when_transfer_is_progressive() -> None:
    *stages, last = plan_stages(TransferSettings(strategy="progressive"), 30, 3)
    assert [stage.transferred for stage in stages] == [(0,), (1,), (2,)]
    assert [stage.trained for stage in stages] == [(0,), (1,), (2,)]
    assert not any(stage.predicts for stage in stages)
    assert [stage.steps for stage in stages] == [4, 4, 4]
    assert (last.trained, last.predicts, last.steps) == (None, True, 18)


@QUICK
@given(
    strategy=st.sampled_from(STRATEGIES),
    fraction=st.floats(0.01, 0.99),
    steps=st.integers(1, 500),
    num_layers=st.integers(1, 24),
)
def test_stages_fill_the_steps_or_are_refused(
    strategy: str, fraction: float, steps: int, num_layers: int
) -> None:
    transfer = TransferSettings(strategy=strategy, transfer_fraction=fraction)
    try:
        stages = plan_stages(transfer, steps, num_layers)
    except ConfigError:
        assert strategy in ("joint", "progressive")
        assert round(steps * fraction) < num_layers or round(steps * fraction) == steps
        return
    assert all(stage.steps >= 1 for stage in stages)
    assert sum(stage.steps for stage in stages) == steps
    places = [stage_at(stages, step) for step in range(steps)]
    assert places == [(i, place) for i, each in enumerate(stages) for place in range(each.steps)]
    assert stage_at(stages, steps) == (len(stages) - 1, stages[-1].steps)


def test_too_few_steps_are_refused_with_what_they_would_give() -> None:
    with pytest.raises(ConfigError, match=r"6 steps .* give 2 for 3 stages of layers and 4 for"):
        plan_stages(TransferSettings(), 6, 3)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("strategy", "PKT"),
        ("transfer_fraction", 0.0),
        ("transfer_fraction", 1.0),
        ("distillation", -0.1),
        ("distillation", 1.1),
        ("feature_map", -1.0),
        ("statistics", -1.0),
        ("attention", -1.0),
    ],
)
def test_a_setting_is_refused_when_it_means_nothing(name: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=f"{name} is .*expected"):
        TransferSettings(**{name: value})


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_pair_fits_when_only_the_insides_of_layers_differ(strategy: str) -> None:
    check_pair(STUDENT, TEACHER, TransferSettings(strategy=strategy))


MISFITS = {
    "vocab_size": (38, STRATEGIES),
    "num_hidden_layers": (2, ("progressive", "joint", "auxiliary")),
    "num_attention_heads": (4, ("progressive", "joint", "auxiliary")),
    "hidden_size": (16, ("progressive", "joint", "auxiliary")),
    "embedding_size": (10, ("progressive", "joint")),
    "max_position_embeddings": (15, ("progressive", "joint")),
    "type_vocab_size": (3, ("progressive", "joint")),
    "trigram_input": (False, ("progressive", "joint")),
}


@pytest.mark.parametrize("name", MISFITS)
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_pair_is_refused_when_the_strategy_needs_what_differs(name: str, strategy: str) -> None:
    value, refused = MISFITS[name]
    teacher = TEACHER.replace(**{name: value})
    transfer = TransferSettings(strategy=strategy)
    if strategy not in refused:
        check_pair(STUDENT, teacher, transfer)
        return
    with pytest.raises(ConfigError, match=f"{name} is .*, the teacher's {value}"):
        check_pair(STUDENT, teacher, transfer)


def test_all_misfits_are_told_when_there_are_several() -> None:
    teacher = TEACHER.replace(num_hidden_layers=2, vocab_size=38)
    with pytest.raises(ConfigError, match=r"vocab_size(.|\n)*num_hidden_layers"):
        check_pair(STUDENT, teacher, TransferSettings())


def copied(student: MobileBertConfig, teacher: MobileBertConfig) -> tuple[Any, Any, Any]:
    own = random_weights(student, "pretraining", 1)
    given = random_weights(teacher, "pretraining", 2)
    return own, given, copy_from_teacher(student, own, teacher, given)


def is_shared(name: str) -> bool:
    return name.startswith(("mobilebert.embeddings.", "cls."))


@pytest.mark.parametrize("norm", ["no_norm", "layer_norm"])
def test_embeddings_and_head_are_the_teachers_after_copying(norm: str) -> None:
    own, given, found = copied(STUDENT.replace(normalization_type=norm), TEACHER)
    assert found.keys() == own.keys()
    for name in own:
        if norm == "no_norm" and name.startswith("mobilebert.embeddings.LayerNorm"):
            continue
        source = given if is_shared(name) else own
        assert (found[name] == source[name]).all(), name


def test_what_is_given_stays_when_weights_are_copied() -> None:
    own, _, found = copied(STUDENT, TEACHER)
    again = random_weights(STUDENT, "pretraining", 1)
    assert all((own[name] == again[name]).all() for name in own)
    assert any((own[name] != found[name]).any() for name in own)


def test_a_map_takes_the_place_of_normalisation_at_the_teachers_scale() -> None:
    """Over many random tokens the map gives what the teacher's normalisation gives, in the mean."""
    _, given, found = copied(STUDENT, TEACHER)
    draw, prefix = generator(5), "mobilebert.embeddings."
    words = given[f"{prefix}word_embeddings.weight"][draw.integers(0, 37, (4000, 3))]
    sums = (  # (N, H)
        words.reshape(4000, -1) @ given[f"{prefix}embedding_transformation.weight"].T
        + given[f"{prefix}embedding_transformation.bias"]
        + given[f"{prefix}position_embeddings.weight"][draw.integers(0, 14, 4000)]
        + given[f"{prefix}token_type_embeddings.weight"][0]
    )
    normal = (sums - sums.mean(1, keepdims=True)) / sums.std(1, keepdims=True)
    scale, shift = f"{prefix}LayerNorm.weight", f"{prefix}LayerNorm.bias"
    wanted = normal * given[scale] + given[shift]
    mapped = sums * found[scale] + found[shift]
    assert tensor_error(mapped, wanted) < 0.5
    assert abs(np.std(mapped) / np.std(wanted) - 1) < 0.15
    untouched = sums * random_weights(STUDENT, "pretraining", 1)[scale]
    assert tensor_error(untouched, wanted) > 0.5
