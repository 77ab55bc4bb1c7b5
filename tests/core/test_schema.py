"""The weight schema against transformers' state dicts, counted parameters and every fault."""

import math
import warnings
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mobilebert_conformance.cases import ALL_VARIANTS, OWN_VARIANTS, SMALL, VARIANTS, small_config
from mobilebert_core.config import MobileBertConfig
from mobilebert_core.errors import CheckpointError, ConfigError
from mobilebert_core.heads import HEADS
from mobilebert_core.schema import (
    EXTRA_EMBEDDINGS,
    PREDICTION_BIAS,
    WORD_EMBEDDINGS,
    TensorSpec,
    owned_tensors,
    tensors,
    unused_tensors,
    validate,
)


@pytest.fixture(params=HEADS)
def head(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


def _reference_shapes(config: MobileBertConfig, head: str) -> dict[str, tuple[int, ...]]:
    """Names and shapes of transformers' model, made without any memory for its values."""
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    if head == "question-answering":  # transformers takes num_labels for the width of the span head
        config = config.replace(num_labels=2)
    reference = transformers.MobileBertConfig(**_reference_values(config))
    with torch.device("meta"), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Initializing zero-element tensors")
        model = getattr(transformers, HEADS[head].class_name)(reference)
    prefix = "mobilebert." if head == "base" else ""
    return {prefix + name: tuple(value.shape) for name, value in model.state_dict().items()}


def _reference_values(config: MobileBertConfig) -> dict[str, Any]:
    values = config.to_dict()
    del values["model_type"]
    values.pop("trigram_padding", None)
    values["id2label"] = dict(config.id2label)
    return values


def _shapes(specs: dict[str, TensorSpec]) -> dict[str, tuple[int, ...]]:
    return {name: spec.shape for name, spec in specs.items()}


def _count(specs: dict[str, TensorSpec], part: str) -> int:
    return sum(math.prod(spec.shape) for spec in specs.values() if spec.part == part)


# Against transformers -----------------------------------------------------------------------------


@pytest.mark.parametrize("variant", VARIANTS)
def test_tensors_equal_those_of_transformers(variant: str, head: str) -> None:
    config = small_config(**VARIANTS[variant])
    ours = _shapes(tensors(config, head) | unused_tensors(config, head))
    assert ours == _reference_shapes(config, head)


def test_tensors_equal_those_of_transformers_when_of_full_size(head: str) -> None:
    config = MobileBertConfig.preset("opt", num_labels=7)
    assert _shapes(tensors(config, head)) == _reference_shapes(config, head)


@pytest.mark.parametrize("variant", VARIANTS)
def test_unused_tensors_are_none_of_ours(variant: str, head: str) -> None:
    config = small_config(**VARIANTS[variant])
    assert not set(unused_tensors(config, head)) & set(tensors(config, head))


def test_tied_tensors_share_memory_in_transformers(head: str) -> None:
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    config = small_config()
    reference = transformers.MobileBertConfig(**_reference_values(config))
    torch.manual_seed(0)
    state = getattr(transformers, HEADS[head].class_name)(reference).state_dict()
    prefix = "mobilebert." if head == "base" else ""
    pointers: dict[int, list[str]] = {}
    for name, value in state.items():
        pointers.setdefault(value.data_ptr(), []).append(prefix + name)
    shared = {tuple(sorted(names)) for names in pointers.values() if len(names) > 1}
    specs = tensors(config, head)
    tied = {
        tuple(sorted((name, spec.tied_to)))
        for name, spec in specs.items()
        if spec.tied_to is not None
    }
    assert tied == shared


# Counted parameters -------------------------------------------------------------------------------


def test_default_has_the_published_number_of_parameters() -> None:
    specs = owned_tensors(MobileBertConfig(), "pretraining")
    counts = {part: _count(specs, part) for part in ("embeddings", "encoder", "pooler")}
    assert counts == {"embeddings": 4_368_128, "encoder": 24 * 842_240, "pooler": 262_656}
    assert counts["embeddings"] + counts["encoder"] == 24_581_888
    assert _count(specs, "predictions") == 12_014_650


def test_released_model_has_no_pooler() -> None:
    specs = owned_tensors(MobileBertConfig.preset("opt"), "base")
    assert sum(math.prod(spec.shape) for spec in specs.values()) == 24_581_888


def test_tiny_has_the_size_that_its_formula_gives() -> None:
    specs = owned_tensors(MobileBertConfig.preset("tiny"), "base")
    bottlenecks = (512 * 128 + 128 + 2 * 128) + (128 * 512 + 512 + 2 * 512)
    attention = 4 * (128 * 128 + 128) + 2 * 128
    feed_forward = 2 * (128 * 512 + 512 + 512 * 128 + 128 + 2 * 128)
    layers = 24 * (bottlenecks + attention + feed_forward)
    assert sum(math.prod(spec.shape) for spec in specs.values()) == 4_368_128 + layers


def test_teacher_has_the_papers_size() -> None:
    specs = owned_tensors(MobileBertConfig.preset("teacher"), "base")
    millions = sum(math.prod(spec.shape) for spec in specs.values()) / 1e6
    assert 290 < millions < 296  # Sun et al., 2020, table 1: 293 M


# Variants -----------------------------------------------------------------------------------------


def test_teacher_projects_from_the_full_width() -> None:
    specs = tensors(small_config(**OWN_VARIANTS["teacher"]), "base")
    attention = "mobilebert.encoder.layer.1.attention.self"
    for name in ("query", "key", "value"):
        assert specs[f"{attention}.{name}.weight"].shape == (12, 24)
    assert not any("bottleneck.attention" in name for name in specs)


def test_attention_from_the_bottleneck_projects_from_its_width() -> None:
    specs = tensors(small_config(**VARIANTS["tiny"]), "base")
    assert specs["mobilebert.encoder.layer.0.attention.self.value.weight"].shape == (12, 12)


def test_shared_bottleneck_is_unused_when_attention_reads_the_other(head: str) -> None:
    config = small_config(**VARIANTS["bottleneck_attention"])
    assert set(unused_tensors(config, head)) == {
        f"mobilebert.encoder.layer.{layer}.bottleneck.attention.{name}"
        for layer in range(2)
        for name in ("dense.weight", "dense.bias", "LayerNorm.weight", "LayerNorm.bias")
    }


def test_shared_bottleneck_is_not_tolerated_when_the_config_denies_it(head: str) -> None:
    # With T = H no shape gives such a checkpoint away: ignoring the tensors computes another model.
    config = small_config(**VARIANTS["unshared_full_width"])
    assert not unused_tensors(config, head)


@pytest.mark.parametrize("variant", ALL_VARIANTS)
def test_owned_tensors_are_all_but_the_tied(variant: str, head: str) -> None:
    config = small_config(**ALL_VARIANTS[variant])
    specs = tensors(config, head)
    tied = {name for name, spec in specs.items() if spec.tied_to is not None}
    assert set(owned_tensors(config, head)) == set(specs) - tied
    assert all(specs[str(specs[name].tied_to)].tied_to is None for name in tied)
    assert all(specs[str(specs[name].tied_to)].shape == specs[name].shape for name in tied)


def test_vocabulary_head_is_tied_twice() -> None:
    specs = tensors(small_config(), "masked-lm")
    tied = {name: spec.tied_to for name, spec in specs.items() if spec.tied_to}
    assert tied == {
        "cls.predictions.decoder.weight": WORD_EMBEDDINGS,
        "cls.predictions.decoder.bias": PREDICTION_BIAS,
    }


def test_extra_block_is_absent_when_embeddings_have_full_width() -> None:
    config = small_config(**VARIANTS["full_width_embeddings"])
    assert EXTRA_EMBEDDINGS not in tensors(config, "masked-lm")
    assert unused_tensors(config, "masked-lm")[EXTRA_EMBEDDINGS].shape == (0, 61)


def test_pooler_is_left_out_when_asked() -> None:
    with_pooler = set(tensors(small_config(), "base"))
    without = set(tensors(small_config(), "base", add_pooling_layer=False))
    assert with_pooler - without == {
        "mobilebert.pooler.dense.weight",
        "mobilebert.pooler.dense.bias",
    }


def test_classifier_has_one_row_per_label() -> None:
    config = small_config()
    assert tensors(config, "token-classification")["classifier.weight"].shape == (5, 24)
    assert tensors(config, "multiple-choice")["classifier.weight"].shape == (1, 24)


def test_unknown_head_raises_a_config_error() -> None:
    with pytest.raises(ConfigError, match="'bert'"):
        tensors(small_config(), "bert")


@pytest.mark.parametrize("variant", ALL_VARIANTS)
def test_every_tensor_has_an_initial_rule_that_suits_it(variant: str, head: str) -> None:
    specs = tensors(small_config(**ALL_VARIANTS[variant]), head)
    for name, spec in specs.items():
        if name.endswith("LayerNorm.weight"):
            assert spec.init == "ones", name
        elif name.endswith("bias"):
            assert spec.init == "zeros", name
        elif name == WORD_EMBEDDINGS:
            assert spec.init == "embedding", name
        else:
            assert spec.init == "normal", name


# Validation ---------------------------------------------------------------------------------------


def test_validate_accepts_exactly_the_owned_tensors(head: str) -> None:
    specs = tensors(small_config(), head)
    validate(specs, _shapes(owned_tensors(small_config(), head)), "checkpoint")


def test_validate_lists_all_faults_at_once() -> None:
    specs = tensors(small_config(), "masked-lm")
    shapes = _shapes(owned_tensors(small_config(), "masked-lm"))
    del shapes[PREDICTION_BIAS]
    del shapes[EXTRA_EMBEDDINGS]
    shapes["extra.weight"] = (2, 7)
    shapes[WORD_EMBEDDINGS] = (62, 10)
    with pytest.raises(CheckpointError) as caught:
        validate(specs, shapes, "folder/model.safetensors")
    message = str(caught.value)
    assert "folder/model.safetensors" in message
    assert "(4 faults)" in message
    assert f"missing: {PREDICTION_BIAS} (61,)" in message
    assert f"missing: {EXTRA_EMBEDDINGS} (14, 61)" in message
    assert "unexpected: extra.weight (2, 7)" in message
    assert f"shape: {WORD_EMBEDDINGS} is (62, 10), expected (61, 10)" in message


def test_validate_prints_shapes_as_tuples_when_they_come_as_lists() -> None:
    shapes: Any = {"extra.weight": [2, 7]}
    with pytest.raises(CheckpointError, match=r"unexpected: extra\.weight \(2, 7\)"):
        validate({}, shapes, "checkpoint")


def test_validate_rejects_a_tied_tensor_in_canonical_weights() -> None:
    shapes = _shapes(tensors(small_config(), "masked-lm"))
    with pytest.raises(CheckpointError, match=r"unexpected: cls\.predictions\.decoder\.weight"):
        validate(tensors(small_config(), "masked-lm"), shapes, "checkpoint")


@given(data=st.data())
def test_validate_names_each_tensor_that_is_dropped_renamed_or_reshaped(
    data: st.DataObject,
) -> None:
    config = MobileBertConfig(**(SMALL | {"num_hidden_layers": 1}))
    specs = tensors(config, "pretraining")
    shapes = _shapes(owned_tensors(config, "pretraining"))
    changed = data.draw(st.lists(st.sampled_from(sorted(shapes)), min_size=1, unique=True))
    for name in changed:
        kind = data.draw(st.sampled_from(["drop", "rename", "transpose"]))
        shape = shapes.pop(name)
        if kind == "rename":
            shapes[f"{name}.old"] = shape
        elif kind == "transpose":
            shapes[name] = (*shape, 1)
    with pytest.raises(CheckpointError) as caught:
        validate(specs, shapes, "checkpoint")
    assert all(name in str(caught.value) for name in changed)
