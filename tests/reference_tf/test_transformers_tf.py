"""Every backend against transformers' TensorFlow MobileBERT, in float64, with the same weights.

Transformers lost TensorFlow in 5.0; 4.57 runs on Keras 2 (tf-keras). `nox -s reference_tf` makes
the environment, and anywhere else this file is skipped. The weights are the reference's variables.
Where the reference means something else than model.md, it is mended or fed another way, and a
comment that begins with "Slip" says so; no limit is wider for it.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any
from unittest import mock

import numpy as np
import pytest

from metrics import absolute_error, output_errors
from mobilebert_conformance.cases import OWN_VARIANTS, SMALL, VARIANTS
from mobilebert_conformance.weights import scale_and_center
from mobilebert_core import registry
from mobilebert_core.config import MobileBertConfig
from mobilebert_core.heads import HEADS
from mobilebert_core.schema import WORD_EMBEDDINGS, owned_tensors, tensors, unused_tensors
from models import random_batch, random_labels
from reference_tf import tf, tf_keras, transformers, widen_queries_and_keys

Array = np.ndarray[Any, np.dtype[Any]]

# Measured: 3.1e-14 for the small models, 1.8e-13 for 24 layers.
LIMIT = 1e-11
COLLECT = ("hidden_states", "attentions")
BACKENDS = sorted(registry.usable_names())

# The trigram that leaves padding out is ours alone.
ALL_VARIANTS = VARIANTS | {"teacher": OWN_VARIANTS["teacher"]}

# A variable's path is <the model's own name>/<scopes>/<leaf>:0; only kernels are transposed.
SCOPES = {"predictions___cls": "cls", "seq_relationship___cls": "cls"}
LEAVES = {"kernel": "weight", "gamma": "weight", "embeddings": "weight", "beta": "bias"}
LAYER = ("layer_._", "layer.")
DECODER = "cls.predictions.decoder.weight"


def canonical_name(variable: str) -> tuple[str, bool]:
    """Canonical name of a variable, and whether it holds the transpose."""
    _, *scopes, leaf = variable.removesuffix(":0").split("/")
    path = [SCOPES.get(scope, scope).replace(*LAYER) for scope in scopes]
    return ".".join([*path, LEAVES.get(leaf, leaf)]), leaf == "kernel"


def gelu(x: Any) -> Any:
    """`x Phi(x)`."""
    return 0.5 * x * tf.math.erfc(-x * tf.constant(math.sqrt(0.5), x.dtype))


def gelu_tanh(x: Any) -> Any:
    """Google's approximation."""
    inner = x + tf.constant(0.044715, x.dtype) * x**3
    return 0.5 * x * (1.0 + tf.tanh(tf.constant(math.sqrt(2 / math.pi), x.dtype) * inner))


# Slip: tf.nn.gelu rounds its constants to float32, whatever it computes in (an error of 1e-8).
PRECISE = {"gelu": gelu, "gelu_new": gelu_tanh}


@dataclass(frozen=True)
class Reference:
    """A model of transformers, its canonical weights and our configuration of it."""

    model: Any
    weights: dict[str, Array]
    config: MobileBertConfig
    head: str

    def run(self, batch: dict[str, Array], labels: dict[str, Array]) -> dict[str, Any]:
        """Outputs as NumPy arrays, by field."""
        inputs = {name: tf.constant(each) for name, each in batch.items()}
        inputs.setdefault("input_ids", None)  # Keras 2 wants the first argument, be it None
        output = self.model(**inputs, output_hidden_states=True, output_attentions=True)
        fields = {name: value for name, value in output.items() if value is not None}
        if labels:
            fields = {"loss": self.loss(fields, labels)} | fields
        arrays = tf.nest.map_structure(lambda each: each.numpy(), fields)
        assert {each.dtype for each in tf.nest.flatten(arrays)} == {np.dtype(np.float64)}
        return arrays

    def loss(self, output: dict[str, Any], labels: dict[str, Array]) -> Any:
        """The reference's own loss, reduced to the mean over what counts.

        Slip: most of its losses keep a row each (decision 8), ignored rows as zeros.
        """
        compute = self.model.hf_compute_loss
        targets = {name: tf.constant(each) for name, each in labels.items()}
        if self.head == "pretraining":
            logits = output["prediction_logits"], output["seq_relationship_logits"]
            return tf.reshape(compute(labels=targets, logits=logits), ())
        if self.head == "question-answering":
            start = self.position_loss(output["start_logits"], labels["start_positions"])
            return (start + self.position_loss(output["end_logits"], labels["end_positions"])) / 2
        losses = compute(targets["labels"], output["logits"])
        if self.head == "next-sentence-prediction":
            return tf.reduce_sum(losses) / np.count_nonzero(labels["labels"] != -100)
        return tf.reduce_mean(losses)

    def position_loss(self, logits: Any, positions: Array) -> Any:
        """The loss of one end of the span.

        Slip: it neither clamps positions nor ignores those outside, which are an error on a CPU.
        The same end twice makes its mean of start and end the loss of that end.
        """
        length = logits.shape[-1]
        positions = np.clip(positions, 0, length)
        counted = np.flatnonzero(positions < length)
        rows, target = tf.gather(logits, counted), tf.constant(positions[counted])
        twice = {"start_position": target, "end_position": target}
        return tf.reduce_mean(self.model.hf_compute_loss(twice, (rows, rows)))


def make_reference(head: str, **changes: Any) -> Reference:
    """A float64 model of transformers with random weights."""
    config = MobileBertConfig(**changes)
    if head == "question-answering":
        changes = changes | {"num_labels": 2}  # the reference builds its two outputs from it
    if changes.get("hidden_act") == "gelu_tanh":
        changes = changes | {"hidden_act": "gelu_new"}
    with mock.patch.dict(transformers.activations_tf.ACT2FN, PRECISE):
        model = getattr(transformers, "TF" + HEADS[head].class_name)(
            transformers.MobileBertConfig(**changes)
        )
    widen_queries_and_keys(model, config)
    model.build_in_name_scope()
    return Reference(model, fill(model, config, head), config, head)


def fill(model: Any, config: MobileBertConfig, head: str) -> dict[str, Array]:
    """Set every variable to random numbers and return them under canonical names."""
    generator = np.random.default_rng(1)
    variables = {canonical_name(each.name): each for each in model.variables}
    weights = {}
    for (name, transposed), variable in variables.items():
        shape = tuple(variable.shape[::-1] if transposed else variable.shape)
        deviation, mean = scale_and_center(config, name, shape)
        weights[name] = mean + deviation * generator.standard_normal(shape)
    if DECODER in weights:
        weights[DECODER] = weights[WORD_EMBEDDINGS]  # Slip: two variables (decision 9)
    for (name, transposed), variable in variables.items():
        variable.assign(weights[name].T if transposed else weights[name])

    # All variables have their name, and it is the one that the schema says.
    assert len(weights) == len(model.variables)
    promised = tensors(config, head) | unused_tensors(config, head)
    assert weights.keys() == promised.keys() - {"cls.predictions.decoder.bias"}
    return {name: weights[name] for name in owned_tensors(config, head)}


def far_mask(batch: dict[str, Array]) -> dict[str, Array]:
    """The batch with a mask of 1 and -1e300, which the reference turns into a bias of -1e304.

    Slip: its own -10000 only shifts the scores of a fully masked row, which then attends as if
    nothing were masked (decision 3). A bias that swallows every score makes the row uniform.
    """
    return batch | {"attention_mask": np.where(batch["attention_mask"] == 1, 1.0, -1e300)}


@pytest.fixture(scope="module", autouse=True)
def double_precision() -> Iterator[None]:
    """Keras 2 makes its layers in float64; Keras 3 has a setting of its own."""
    usual = tf_keras.backend.floatx()
    tf_keras.backend.set_floatx("float64")
    yield
    tf_keras.backend.set_floatx(usual)


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> Any:
    """One installed backend."""
    return registry.get(request.param)


@pytest.fixture(scope="module")
def references() -> Any:
    """Makes each reference once."""
    made: dict[tuple[str, str], Reference] = {}

    def get(head: str, variant: str = "default") -> Reference:
        key = head, variant
        if key not in made:
            made[key] = make_reference(head, **(SMALL | ALL_VARIANTS[variant]))
        return made[key]

    return get


def run(backend: Any, reference: Reference, batch: Any, labels: Any) -> Any:
    """The outputs of a backend's model of the same weights."""
    weights, head = reference.weights, reference.head
    model = backend.build(reference.config, head, weights, dtype="float64", device=None)
    return backend.run(model, batch, labels=labels or None, collect=COLLECT)


def check_agreement(backend: Any, reference: Reference, batch: Any, labels: Any) -> None:
    """Both on the same inputs."""
    output = run(backend, reference, batch, labels)
    errors = output_errors(output, reference.run(far_mask(batch), labels))
    assert max(errors.values()) <= LIMIT, errors


def test_tensorflow_is_among_the_backends() -> None:
    assert "tf" in BACKENDS


@pytest.mark.parametrize("variant", ALL_VARIANTS)
@pytest.mark.parametrize("head", HEADS)
def test_outputs_agree_when_the_weights_are_the_same(
    head: str, variant: str, backend: Any, references: Any
) -> None:
    reference = references(head, variant)
    batch = random_batch(reference.config, head)

    check_agreement(backend, reference, batch, random_labels(reference.config, head, batch))


@pytest.mark.slow
@pytest.mark.parametrize("head", ["base", "masked-lm", "sequence-classification"])
def test_outputs_agree_when_the_model_has_24_layers(head: str, backend: Any) -> None:
    reference = make_reference(head, num_labels=5)
    batch = random_batch(reference.config, head)

    check_agreement(backend, reference, batch, random_labels(reference.config, head, batch))


def test_loss_agrees_when_one_value_is_regressed(backend: Any) -> None:
    # Slip: the reference knows no problem_type (decision 8). One label means regression, more mean
    # one class of them; it has no loss for the other problems.
    reference = make_reference("sequence-classification", **(SMALL | {"num_labels": 1}))
    batch = random_batch(reference.config, reference.head)

    check_agreement(backend, reference, batch, {"labels": np.array([0.5, -2.0, 3.25])})


def test_positions_and_embeddings_agree_when_given(backend: Any, references: Any) -> None:
    reference = references("base")
    config = reference.config
    generator = np.random.default_rng(5)
    batch = {
        "inputs_embeds": generator.normal(size=(2, 7, config.embedding_size)),
        "position_ids": generator.integers(0, config.max_position_embeddings, (2, 7)),
        "attention_mask": np.array([[1] * 7, [1] * 4 + [0] * 3]),
    }

    check_agreement(backend, reference, batch, {})


def test_outputs_agree_under_the_references_own_mask(backend: Any, references: Any) -> None:
    reference = references("base")
    batch = random_batch(reference.config, "base")
    expected = reference.run(batch, {})
    some_are_visible = {name: each[:2] for name, each in batch.items()}

    output = run(backend, reference, some_are_visible, {})

    errors = output_errors(output, tf.nest.map_structure(lambda each: each[:2], expected))
    assert max(errors.values()) <= LIMIT, errors
    # Why the fully masked row is left out: the reference does not mask it at all.
    everything = np.ones_like(batch["attention_mask"])
    unmasked = reference.run(batch | {"attention_mask": everything}, {})
    assert absolute_error(expected["attentions"][0][2], unmasked["attentions"][0][2]) <= LIMIT


def test_comparison_fails_when_any_tensor_is_off_by_a_hundred_millionth(references: Any) -> None:
    reference, numpy_backend = references("pretraining"), registry.get("numpy")
    batch = random_batch(reference.config, reference.head)
    expected = reference.run(far_mask(batch), {})
    unnoticed = []

    for name, array in reference.weights.items():
        wrong = replace(reference, weights=reference.weights | {name: array * (1 + 1e-8)})
        errors = output_errors(run(numpy_backend, wrong, batch, {}), expected)
        if max(errors.values()) <= LIMIT:
            unnoticed.append(name)

    # Softmax does not see what a key's bias adds to every score of a query.
    layers = range(reference.config.num_hidden_layers)
    assert unnoticed == [f"mobilebert.encoder.layer.{i}.attention.self.key.bias" for i in layers]
