"""Optimised models: the same function, for inference only. What they compute, the suite judges."""

import logging
from pathlib import Path
from typing import Any

import pytest

import mobilebert
from metrics import output_errors
from mobilebert_conformance.cases import small_config
from mobilebert_conformance.weights import random_weights
from mobilebert_core.backend import Feature
from mobilebert_core.checkpoints import save_checkpoint
from mobilebert_core.errors import ConfigError
from mobilebert_core.heads import HEADS
from models import random_batch, random_labels

pytestmark = [
    pytest.mark.needs(Feature.OPTIMIZED),
    # Keras' own: it reads its variables without NumPy 2's copy keyword.
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
]

COLLECT = ("hidden_states", "attentions")


def build(backend: Any, head: str = "base", optimize: bool | str = True, **changes: Any) -> Any:
    dtype = changes.pop("dtype", "float64")
    config = small_config(head, **changes)
    weights = random_weights(config, head)
    options = {"optimize": optimize} if optimize else {}
    return backend.build(config, head, weights, dtype=dtype, device=None, **options)


def run(backend: Any, model: Any, **options: Any) -> dict[str, Any]:
    batch = random_batch(model.config, model.head)
    labels = random_labels(model.config, model.head, batch) or None
    return dict(backend.run(model, batch, labels=labels, **options).items())


def worst(found: dict[str, Any], expected: dict[str, Any]) -> float:
    return max(output_errors(found, expected).values())


@pytest.mark.parametrize("head", HEADS)
def test_optimized_gives_all_outputs_of_the_plain_model(
    backend: Any, head: str, uncompiled: Any
) -> None:
    with uncompiled(backend):
        found = run(backend, build(backend, head), collect=COLLECT)
        expected = run(backend, build(backend, head, optimize=False), collect=COLLECT)

    assert worst(found, expected) < 1e-11


def test_optimized_gives_the_same_without_the_additional_outputs(backend: Any) -> None:
    model = build(backend)
    both = run(backend, model, collect=COLLECT)
    found = run(backend, model)

    assert worst(found, {name: both[name] for name in found}) < 1e-11


def test_load_optimizes_when_asked(backend: Any, tmp_path: Path) -> None:
    config = small_config()
    save_checkpoint(tmp_path / "model", config, random_weights(config, "base"), "base")

    plain = mobilebert.load(tmp_path / "model", backend=backend.name)
    model = mobilebert.load(tmp_path / "model", backend=backend.name, optimize=True)
    assert (plain.optimized, model.optimized) == (False, True)


@pytest.mark.parametrize(
    "changes", [{"normalization_type": "layer_norm"}, {"use_bottleneck": False}]
)
def test_load_falls_back_to_the_plain_model_and_says_so(
    backend: Any, changes: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "mobilebert"):
        model = mobilebert.create(small_config(**changes), backend=backend.name, optimize=True)

    (name,) = changes
    assert not model.optimized
    assert "the plain model is taken" in caplog.text
    assert name in caplog.text
    assert backend.weights(model)


def test_optimize_of_an_unknown_kind_is_refused(backend: Any) -> None:
    with pytest.raises(ConfigError, match=r"optimize is 'int4', expected one of False, True"):
        mobilebert.create(small_config(), backend=backend.name, optimize="int4")


def test_optimized_models_are_not_saved(backend: Any, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="load it without optimize="):
        mobilebert.save(build(backend), tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_optimized_models_have_no_gradients(backend: Any) -> None:
    if Feature.GRADIENTS not in backend.features:
        pytest.skip(f"the {backend.name} backend has no gradients at all")
    model = build(backend, "masked-lm")
    batch = random_batch(model.config, model.head)

    with pytest.raises(ConfigError, match="for inference only"):
        backend.loss_and_gradients(model, batch, random_labels(model.config, model.head, batch))


def test_gradient_checkpointing_is_refused(backend: Any) -> None:
    if Feature.GRADIENTS not in backend.features:
        pytest.skip(f"the {backend.name} backend has no gradients at all")
    model = build(backend)

    assert not model.gradient_checkpointing
    with pytest.raises(ConfigError, match="for inference only"):
        model.gradient_checkpointing_enable()


def test_reproducible_models_can_be_optimized(backend: Any) -> None:
    options = {"backend": backend.name, "precision": "reproducible"}
    config = small_config()
    plain = mobilebert.create(config, **options)
    model = mobilebert.create(config, optimize=True, **options)

    assert model.optimized
    assert worst(run(backend, model), run(backend, plain)) < 1e-7


def test_weights_too_large_for_float32_are_refused(backend: Any) -> None:
    config = small_config()
    weights = random_weights(config, "base")
    for name, array in weights.items():
        if name.endswith(".dense.weight"):
            array *= 1e12

    with pytest.raises(ConfigError, match=r"float32: its weights multiply up to .*e\+\d\d"):
        backend.build(config, "base", weights, dtype="float32", device=None, optimize=True)
