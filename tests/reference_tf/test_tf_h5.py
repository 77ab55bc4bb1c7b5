"""`tf_model.h5` against its owner: the TensorFlow models of transformers 4.57, in both directions.

What a model's variables hold is the truth for weights, its outputs that for what loads our files.
`nox -s reference_tf` makes the environment; anywhere else this file is skipped.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

import mobilebert
from metrics import output_errors
from mobilebert_conformance.cases import SMALL, VARIANTS
from mobilebert_conformance.weights import random_tensor
from mobilebert_core import schema
from mobilebert_core.checkpoints import open_checkpoint, save_checkpoint
from mobilebert_core.checkpoints.hf_tf_h5 import variable_translation
from mobilebert_core.checkpoints.names import REPEATED, canonical_tensors
from mobilebert_core.checkpoints.safetensors_format import read_safetensors
from mobilebert_core.config import MobileBertConfig
from mobilebert_core.heads import HEADS
from models import random_batch
from reference_tf import tf, tf_keras, transformers, widen_queries_and_keys

Array = np.ndarray[Any, np.dtype[Any]]

LIMITS = {"float32": 1e-5, "float64": 1e-11}
TEACHER = {
    "key_query_shared_bottleneck": False,
    "normalization_type": "layer_norm",
    "num_feedforward_networks": 1,
}
NAMES = ("layer_norm", "no_bottleneck", "bottleneck_attention", "full_width_embeddings")
CHANGES = {name: VARIANTS[name] for name in NAMES} | {"teacher": TEACHER}
# Every head, and with the head of most parts the variants that have other variables.
MODELS = [(head, {}) for head in HEADS] + [("pretraining", each) for each in CHANGES.values()]
IDS = [*HEADS, *(f"pretraining-{name}" for name in CHANGES)]
LIKE_THIS = pytest.mark.parametrize(("head", "changes"), MODELS, ids=IDS)


@contextmanager
def precision(dtype: str) -> Iterator[None]:
    """Keras 2 makes its layers in this dtype."""
    usual = tf_keras.backend.floatx()
    tf_keras.backend.set_floatx(dtype)
    yield
    tf_keras.backend.set_floatx(usual)


@pytest.fixture(params=["float64"])
def dtype(request: pytest.FixtureRequest) -> Iterator[str]:
    """What the reference computes in."""
    with precision(request.param):
        yield request.param


def canonical_name(variable: str) -> tuple[str, bool]:
    """Canonical name of a variable, and whether it holds the transpose."""
    _, *scopes, leaf = variable.removesuffix(":0").split("/")
    path = ".".join(scopes).replace("layer_._", "layer.")
    for name in ("predictions", "seq_relationship"):
        path = path.replace(f"{name}___cls", "cls")
    leaves = {"kernel": "weight", "gamma": "weight", "embeddings": "weight", "beta": "bias"}
    return f"{path}.{leaves.get(leaf, leaf)}", leaf == "kernel"


def make_reference(head: str, changes: dict[str, Any]) -> tuple[Any, MobileBertConfig]:
    """A model of transformers with random weights, and our configuration of it."""
    values = SMALL | changes | ({"num_labels": 2} if head == "question-answering" else {})
    config = MobileBertConfig(**values)
    model_class = getattr(transformers, "TF" + HEADS[head].class_name)
    model = model_class(transformers.MobileBertConfig(**values))
    widen_queries_and_keys(model, config)
    model.build_in_name_scope()
    for variable in model.variables:
        name, transposed = canonical_name(variable.name)
        owner = schema.WORD_EMBEDDINGS if name.endswith("decoder.weight") else name
        shape = tuple(variable.shape[::-1] if transposed else variable.shape)
        array = random_tensor(config, owner, shape, seed=3)
        variable.assign(array.T if transposed else array)
    return model, config


def weights_of(model: Any, config: MobileBertConfig, head: str) -> dict[str, Array]:
    """The owned weights under canonical names."""
    found = {}
    for variable in model.variables:
        name, transposed = canonical_name(variable.name)
        found[name] = variable.numpy().T if transposed else variable.numpy()
    return {name: found[name] for name in schema.owned_tensors(config, head)}


def contents(weights: Any) -> dict[str, Any]:
    return {name: (a.shape, a.dtype.name, a.tobytes()) for name, a in weights.items()}


def inputs_for(config: MobileBertConfig, head: str) -> dict[str, Array]:
    """A batch without a fully masked row, which the reference does not mask."""
    batch = random_batch(config, head)
    batch["attention_mask"][..., 0] = 1
    return batch


def check_outputs(model: Any, folder: Any, config: MobileBertConfig, head: str, dtype: str) -> None:
    """The reference's outputs and those of our model that is loaded from a folder."""
    batch = inputs_for(config, head)
    output = model(**{name: tf.constant(each) for name, each in batch.items()})
    expected = {name: each.numpy() for name, each in output.items() if each is not None}
    ours = mobilebert.load(folder, head, backend="numpy", dtype=dtype)(**batch)
    errors = output_errors(ours, expected)
    assert max(errors.values()) <= LIMITS[dtype], errors


@LIKE_THIS
def test_weights_are_those_of_the_variables_when_the_reference_wrote_them(
    tmp_path, dtype, head, changes
):
    model, config = make_reference(head, changes)
    model.save_pretrained(tmp_path, safe_serialization=False)

    checkpoint = open_checkpoint(tmp_path)

    assert checkpoint.format == "hf-tf-h5"
    assert checkpoint.head == head
    assert contents(checkpoint.weights) == contents(weights_of(model, config, head))
    unused = [each for each in checkpoint.dropped if each.kind != REPEATED]
    assert len(unused) == len(schema.unused_tensors(config, head))
    check_outputs(model, tmp_path, config, head, dtype)


@LIKE_THIS
def test_reference_loads_what_we_wrote(tmp_path, dtype, head, changes, monkeypatch):
    model, config = make_reference(head, changes)
    save_checkpoint(
        tmp_path / "m", config, weights_of(model, config, head), head, format="hf-tf-h5"
    )
    model_class = type(model)
    build = model_class.build_in_name_scope

    def widened(self):
        widen_queries_and_keys(self, config)
        build(self)

    monkeypatch.setattr(model_class, "build_in_name_scope", widened)
    loaded, report = model_class.from_pretrained(tmp_path / "m", output_loading_info=True)

    absent = {canonical_name("model/" + name)[0] for name in report["missing_keys"]}
    assert absent == schema.unused_tensors(config, head).keys()
    assert report["unexpected_keys"] == report["mismatched_keys"] == []
    assert contents(weights_of(loaded, config, head)) == contents(weights_of(model, config, head))
    check_outputs(loaded, tmp_path / "m", config, head, dtype)


@LIKE_THIS
def test_safetensors_of_the_reference_have_the_names_without_layer_and_model(
    tmp_path, dtype, head, changes
):
    model, config = make_reference(head, changes)
    model.save_pretrained(tmp_path, safe_serialization=True)
    tensors = read_safetensors(tmp_path / "model.safetensors")

    found = canonical_tensors(tensors, variable_translation(config), config, tmp_path)

    assert contents(found.store) == contents(weights_of(model, config, head))


@pytest.mark.parametrize("dtype", ["float32"], indirect=True)
def test_outputs_agree_in_single_precision_in_both_directions(tmp_path, dtype):
    model, config = make_reference("masked-lm", {})
    model.save_pretrained(tmp_path / "theirs", safe_serialization=False)
    check_outputs(model, tmp_path / "theirs", config, "masked-lm", dtype)

    weights = open_checkpoint(tmp_path / "theirs").weights
    save_checkpoint(tmp_path / "ours", config, weights, "masked-lm", format="hf-tf-h5")
    loaded = type(model).from_pretrained(tmp_path / "ours")
    check_outputs(loaded, tmp_path / "theirs", config, "masked-lm", dtype)


def test_reference_loads_a_file_whose_lists_of_names_are_split(tmp_path, dtype, monkeypatch):
    monkeypatch.setattr("mobilebert_core.checkpoints.hf_tf_h5._MAX_ATTRIBUTE", 1000)
    model, config = make_reference("masked-lm", {})
    weights = weights_of(model, config, "masked-lm")
    save_checkpoint(tmp_path / "m", config, weights, "masked-lm", format="hf-tf-h5")

    loaded = type(model).from_pretrained(tmp_path / "m")

    assert contents(weights_of(loaded, config, "masked-lm")) == contents(weights)
