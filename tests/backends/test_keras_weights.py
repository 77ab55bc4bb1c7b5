"""`model.weights.h5` against Keras, which owns it: each reads what the other has written."""

import json
from typing import Any

import numpy as np
import pytest

from mobilebert_conformance.cases import ALL_VARIANTS, small_config
from mobilebert_conformance.weights import random_weights
from mobilebert_core import registry
from mobilebert_core.checkpoints import open_checkpoint, save_checkpoint
from mobilebert_core.checkpoints.store import DTYPES
from mobilebert_core.heads import HEADS

pytest.importorskip("tensorflow", reason="Keras owns the format")
h5py = pytest.importorskip("h5py", reason="the format is HDF5")

FILE = "model.weights.h5"
# Every head, and with the head of most parts the variants that have other variables.
VARIANTS = (
    "layer_norm",
    "bottleneck_attention",
    "tiny",
    "bert_like",
    "dropout",
    "no_classifier_activation",
    "teacher",
)
MODELS = [(head, "default") for head in HEADS] + [("pretraining", name) for name in VARIANTS]

# Keras reads its variables without NumPy 2's copy keyword.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


@pytest.fixture(scope="module")
def tf_backend() -> Any:
    return registry.get("tf")


def contents(weights):
    return {name: (a.shape, a.dtype.name, a.tobytes()) for name, a in weights.items()}


def make_weights(config, head, dtype="float32"):
    weights = random_weights(config, head)
    return {name: array.astype(DTYPES[dtype]) for name, array in weights.items()}


def build(backend, config, head, weights, dtype="float32"):
    return backend.build(config, head, weights, dtype=dtype, device=None)


def save_with_keras(model, folder, config):
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config.to_dict()))
    model.save_weights(folder / FILE)
    return folder


def names_of(path):
    found = {}
    with h5py.File(path) as file:
        file.visititems(
            lambda name, each: (
                found.update({name: (each.shape, each.dtype, dict(each.attrs))})
                if isinstance(each, h5py.Dataset)
                else None
            )
        )
    return found


def check_both_directions(backend, folder, config, head, weights, dtype="float32"):
    model = build(backend, config, head, weights, dtype)
    theirs = save_with_keras(model, folder / "theirs", config)
    assert contents(open_checkpoint(theirs).weights) == contents(weights)

    ours = save_checkpoint(folder / "ours", config, weights, head, format="keras-weights")
    assert names_of(ours / FILE) == names_of(theirs / FILE)
    for variable in model.variables:
        variable.assign(np.zeros(variable.shape))
    model.load_weights(ours / FILE)
    assert contents(backend.weights(model)) == contents(weights)


@pytest.mark.parametrize(("head", "variant"), MODELS)
def test_files_are_those_of_keras_for_every_head_and_variant(tmp_path, tf_backend, head, variant):
    config = small_config(head, **ALL_VARIANTS[variant])
    weights = make_weights(config, head)
    check_both_directions(tf_backend, tmp_path, config, head, weights)


@pytest.mark.parametrize("dtype", ["float64", "bfloat16"])
def test_files_are_those_of_keras_in_every_dtype(tmp_path, tf_backend, dtype):
    config = small_config()
    weights = make_weights(config, "masked-lm", dtype)
    check_both_directions(tf_backend, tmp_path, config, "masked-lm", weights, dtype)


def test_files_are_those_of_keras_when_the_base_model_has_no_pooler(tmp_path, tf_backend):
    config = small_config()
    weights = make_weights(config, "base")
    weights = {name: array for name, array in weights.items() if ".pooler." not in name}
    check_both_directions(tf_backend, tmp_path, config, "base", weights)


def test_optimizer_is_ignored_with_a_note_when_the_model_was_compiled(tmp_path, tf_backend):
    config = small_config()
    weights = make_weights(config, "token-classification")
    model = build(tf_backend, config, "token-classification", weights)
    model.compile("adam")
    model.optimizer.build(model.trainable_variables)

    checkpoint = open_checkpoint(save_with_keras(model, tmp_path / "model", config))

    assert contents(checkpoint.weights) == contents(weights)
    assert checkpoint.notes == (
        f"Ignored {2 + 2 * len(weights)} tensors of the optimizer (optimizer/*).",
    )
