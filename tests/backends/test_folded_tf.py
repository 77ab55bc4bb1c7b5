"""What is special to TensorFlow's folded encoder: no layers, XLA, nothing to train or save."""

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("tensorflow")

import mobilebert
from metrics import token_error
from mobilebert_conformance.cases import small_config
from mobilebert_conformance.weights import random_weights
from mobilebert_core.errors import ConfigError
from models import random_batch, random_labels

HEAD = "token-classification"


def build(**options: Any) -> Any:
    config = small_config(HEAD)
    weights = random_weights(config, HEAD)
    return mobilebert.get_backend("tf").build(
        config, HEAD, weights, dtype="float64", device=None, **options
    )


def logits(model: Any) -> Any:
    return mobilebert.get_backend("tf").run(model, random_batch(model.config, HEAD)).logits


def test_plain_encoder_has_neither_variables_nor_layers() -> None:
    model = build(optimize=True)

    assert not [each.path for each in model.variables if "encoder" in each.path]
    assert "encoder" not in {layer.name for layer in model._flatten_layers()}


def test_one_graph_serves_all_shapes() -> None:
    model = build(optimize=True)
    for length in (3, 7):
        model([[5] * length])

    assert len(model._compiled_call) == 1


def test_xla_gives_the_same() -> None:
    model = build(optimize=True)
    before = logits(model)
    model.compile(jit_compile=True)

    assert token_error(logits(model), before) < 1e-11


def test_nothing_is_trainable() -> None:
    assert not build(optimize=True).trainable_variables


def test_fit_is_refused() -> None:
    model = build(optimize=True)
    batch = dict(random_batch(model.config, HEAD))
    model.compile(optimizer="sgd")

    with pytest.raises(ConfigError, match="for inference only"):
        model.fit(batch, random_labels(model.config, HEAD, batch)["labels"], verbose=0)


@pytest.mark.parametrize("how", ["save", "save_weights"])
def test_keras_does_not_save_it(how: str, tmp_path: Path) -> None:
    suffix = {"save": "model.keras", "save_weights": "model.weights.h5"}[how]

    with pytest.raises(ConfigError, match="for inference only"):
        getattr(build(optimize=True), how)(tmp_path / suffix)


def test_exported_model_gives_the_same(tmp_path: Path) -> None:
    import tensorflow as tf

    model = build(optimize=True)
    batch = random_batch(model.config, HEAD)
    model.export(tmp_path / "served", verbose=False)
    served = tf.saved_model.load(tmp_path / "served")
    names = ("input_ids", "attention_mask", "token_type_ids")
    found = served.serve({name: tf.constant(batch[name], tf.int64) for name in names})

    assert token_error(found["logits"].numpy(), logits(model)) < 1e-11
