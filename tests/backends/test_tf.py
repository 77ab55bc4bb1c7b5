"""What Keras users rely on: calls, graphs, fit, saving, export, policies, gradients."""

import copy
import gc
import inspect
import os
import pickle
import subprocess
import sys
import weakref
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

import mobilebert
from metrics import channel_error, gradient_errors, output_errors, relative_error, tensor_error
from mobilebert_conformance.cases import small_config
from mobilebert_conformance.weights import random_weights
from mobilebert_core import registry
from mobilebert_core.errors import BackendError, ConfigError, InputError
from mobilebert_core.heads import HEADS
from models import random_batch, random_labels

tf = pytest.importorskip("tensorflow", reason="tests of the TensorFlow backend")
keras = pytest.importorskip("keras", reason="tests of the TensorFlow backend")

LIMIT = 1e-11
TRAINED_HEADS = [name for name, head in HEADS.items() if head.labels]

# Keras' own: it reads its variables without NumPy 2's copy keyword, and warns when `fit` is given a
# data set and does not shuffle it.
pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:`shuffle=True` was passed:UserWarning"),
]


@pytest.fixture(scope="module")
def tf_backend() -> Any:
    """The backend under test."""
    return registry.get("tf")


@pytest.fixture
def make(tf_backend: Any) -> Any:
    """Makes small models with random weights."""

    def make_model(head: str = "base", dtype: str = "float64", **changes: Any) -> Any:
        config = small_config(**changes)
        return tf_backend.build(config, head, random_weights(config, head), dtype=dtype)

    return make_model


@pytest.fixture
def policy() -> Any:
    """Sets Keras' policy for all layers, and sets it back."""
    before = keras.config.dtype_policy()
    yield keras.config.set_dtype_policy
    keras.config.set_dtype_policy(before)


def batch_of(model: Any) -> dict[str, Any]:
    """Inputs for a model."""
    return random_batch(model.config, model.head)


def labels_of(model: Any) -> dict[str, Any]:
    """Labels for a model, positions within the text: Keras' losses clamp none."""
    labels = random_labels(model.config, model.head, batch_of(model))
    if model.head == "question-answering":
        return {name: np.clip(each, 0, 10) for name, each in labels.items()}
    return labels


def tensors_of(batch: dict[str, Any]) -> dict[str, Any]:
    """NumPy arrays as tensors."""
    return {name: tf.constant(each) for name, each in batch.items()}


# Calls


@pytest.mark.parametrize("kind", ["arrays", "tensors", "mapping", "positional", "int32"])
def test_call_takes_its_inputs_as_keras_users_give_them(kind: str, make: Any) -> None:
    model = make()
    batch = batch_of(model)
    expected = model(**batch).last_hidden_state

    if kind == "arrays":
        output = model(**batch)
    elif kind == "tensors":
        output = model(**tensors_of(batch))
    elif kind == "mapping":
        output = model(batch)
    elif kind == "int32":
        output = model({name: tf.constant(each, tf.int32) for name, each in batch.items()})
    else:
        output = model(batch["input_ids"], batch["attention_mask"], batch["token_type_ids"])

    assert output.last_hidden_state.numpy().tobytes() == expected.numpy().tobytes()


def test_keywords_are_added_to_a_mapping_of_inputs(make: Any) -> None:
    model = make("masked-lm")
    batch = batch_of(model)

    together = model(batch, labels=batch["input_ids"])

    assert together.loss == model(**batch, labels=batch["input_ids"]).loss


def test_signature_names_training_and_the_heads_labels() -> None:
    import mobilebert

    names = inspect.signature(mobilebert.TFMobileBertForQuestionAnswering.__call__).parameters

    assert {"training", "start_positions", "end_positions", "return_dict"} <= set(names)


def test_one_graph_serves_all_shapes_and_integer_types(make: Any) -> None:
    model = make()
    graphs = model._compiled_call

    model(np.ones((2, 7), np.int64))
    traced = len(graphs)
    for shape, dtype in [((2, 7), np.int64), ((5, 11), np.int64), ((1, 3), np.int32)]:
        model(np.ones(shape, dtype))

    assert (traced, len(graphs)) == (1, 1)


def test_second_call_with_the_same_shapes_traces_nothing(
    make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = make()
    calls: list[int] = []
    compute = type(model).compute
    monkeypatch.setattr(
        type(model), "compute", lambda *arguments: calls.append(1) or compute(*arguments)
    )

    model(**batch_of(model))
    traced = len(calls)
    model(**batch_of(model))

    assert (traced, len(calls)) == (1, 1)


def test_compile_makes_calls_see_a_change_of_the_layers(make: Any) -> None:
    model = make("sequence-classification")
    before = model(**batch_of(model)).logits
    query = model.mobilebert.encoder.layer[0].attention.self.query
    query.enable_lora(2)
    query.lora_kernel_b.assign(np.ones(query.lora_kernel_b.shape))

    model.compile()

    assert tensor_error(model(**batch_of(model)).logits, before) > 1e-3


def test_call_without_a_graph_gives_the_same_outputs(make: Any) -> None:
    model = make("masked-lm")
    expected = model(**batch_of(model), output_hidden_states=True, output_attentions=True)
    model.run_eagerly = True

    output = model(**batch_of(model), output_hidden_states=True, output_attentions=True)

    errors = output_errors(output, expected)
    assert max(errors.values()) <= LIMIT, errors


@pytest.mark.parametrize("head", HEADS)
def test_xla_gives_the_same_outputs(head: str, make: Any) -> None:
    model = make(head)
    expected = model(**batch_of(model), **labels_of(model))
    model.compile(jit_compile=True)

    output = model(**batch_of(model), **labels_of(model))

    errors = output_errors(output, expected)
    assert max(errors.values()) <= LIMIT, errors


@pytest.mark.parametrize("head", HEADS)
def test_call_inside_a_users_function_gives_the_same_outputs(head: str, make: Any) -> None:
    model = make(head)
    batch = tensors_of(batch_of(model))

    @tf.function
    def call(inputs: Any) -> Any:
        return model(**inputs)

    output = call(batch)

    assert type(output) is HEADS[head].output
    errors = output_errors(output, model(**batch))
    assert max(errors.values()) <= LIMIT, errors


def test_unknown_name_is_refused_inside_a_users_function(make: Any) -> None:
    model = make()

    with pytest.raises(InputError, match="head_mask"):
        tf.function(lambda ids: model(ids, head_mask=ids), autograph=False)([[1, 2]])


def test_threads_may_share_a_model(make: Any, tf_backend: Any) -> None:
    model = make()
    batches = [{"input_ids": np.full((1 + i % 3, 5), i)} for i in range(24)]

    with ThreadPoolExecutor(4) as pool:
        outputs = list(pool.map(lambda each: tf_backend.run(model, each), batches))

    for batch, output in zip(batches, outputs, strict=True):
        expected = tf_backend.run(model, batch).last_hidden_state
        assert output.last_hidden_state.tobytes() == expected.tobytes()


TWO_DEVICES = """
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
import mobilebert
config = mobilebert.Config(num_hidden_layers=1, vocab_size=97)
"""


def run_with_two_devices(code: str) -> str:
    """The last line that a fresh process prints, in which TensorFlow has CPU:0 and CPU:1."""
    done = subprocess.run(
        [sys.executable, "-c", TWO_DEVICES + code], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


def test_device_holds_variables_and_calls() -> None:
    printed = run_with_two_devices(
        "model = mobilebert.create(config, backend='tf', device='cpu:1')\n"
        "output = model([1, 2]).last_hidden_state\n"
        "print({model.variables[0].value.device[-5:], output.device[-5:]})"
    )

    assert printed == "{'CPU:1'}"


def test_replicas_share_the_models_own_loss() -> None:
    printed = run_with_two_devices(
        "import numpy as np\n"
        "losses = []\n"
        "for devices in (['CPU:0'], ['CPU:0', 'CPU:1']):\n"
        "    with tf.distribute.MirroredStrategy(devices).scope():\n"
        "        model = mobilebert.create(config, 'sequence-classification', 'tf')\n"
        "        model.compile(optimizer='sgd')\n"
        "    x, y = np.ones((4, 5), np.int64), np.zeros(4, np.int64)\n"
        "    losses.append(model.evaluate({'input_ids': x}, y, batch_size=4, verbose=0))\n"
        "print(abs(losses[1] / losses[0] - 1))"
    )

    assert float(printed) < 1e-5


@pytest.mark.parametrize("device", ["GPU:7", "CPU:9", "toaster"])
def test_device_that_is_not_there_is_refused(device: str) -> None:
    import mobilebert

    with pytest.raises(ConfigError, match=f"device is '{device}'.*it offers .*CPU:0"):
        mobilebert.TFMobileBertModel(small_config(), device=device)


@pytest.mark.skipif(not tf.config.list_physical_devices("GPU"), reason="no GPU at hand")
@pytest.mark.parametrize("head", HEADS)
def test_gpu_gives_the_same_outputs(head: str, tf_backend: Any) -> None:
    config = small_config()
    weights = random_weights(config, head)
    outputs = []
    for device in ("CPU:0", "GPU:0"):
        model = tf_backend.build(config, head, weights, dtype="float64", device=device)
        outputs.append(tf_backend.run(model, batch_of(model)))

    assert max(output_errors(outputs[1], outputs[0]).values()) <= LIMIT


def test_embeddings_may_be_a_variable(make: Any) -> None:
    model = make()
    values = np.random.default_rng(0).normal(size=(2, 5, 10))

    output = model(inputs_embeds=tf.Variable(values)).last_hidden_state

    assert tensor_error(output, model(inputs_embeds=values).last_hidden_state) == 0


def test_none_does_not_hide_what_a_mapping_holds(make: Any) -> None:
    model = make("masked-lm")
    batch = batch_of(model)

    assert model(batch | {"labels": batch["input_ids"]}, labels=None).loss is not None


def test_labels_of_another_head_are_refused_inside_a_users_function(make: Any) -> None:
    model = make("sequence-classification")
    call = tf.function(lambda ids: model(ids, start_positions=ids), autograph=False)

    with pytest.raises(InputError, match="start_positions"):
        call([[1, 2]])


def test_missing_text_is_told_inside_a_users_function(make: Any) -> None:
    call = tf.function(lambda mask: make()(attention_mask=mask), autograph=False)

    with pytest.raises(InputError, match="neither input_ids nor inputs_embeds"):
        call([[1, 1]])


def test_functions_are_run_eagerly_when_tensorflow_is_told_so(make: Any, uncompiled: Any) -> None:
    model = make()

    with uncompiled(registry.get("tf")):
        model([1, 2])

    assert len(model._compiled_call) == 0


@pytest.mark.parametrize("head", HEADS)
def test_summary_shows_the_layers(head: str, make: Any) -> None:
    lines: list[str] = []

    make(head).summary(print_fn=lambda text, **_: lines.append(text))

    assert "embeddings" in "".join(lines) or "mobilebert" in "".join(lines)


def test_building_again_changes_nothing(make: Any) -> None:
    model = make()
    before = len(model.variables)

    model.build(input_shape=(None, 7))

    assert len(model.variables) == before


# Training


def test_optimizers_see_the_whole_gradient_of_a_repeated_id(make: Any) -> None:
    model = make("masked-lm")
    with tf.GradientTape() as tape:
        loss = model([[7, 7, 7]], labels=[[1, 2, 3]], training=True).loss

    gradients = tape.gradient(loss, model.trainable_variables)

    assert not any(isinstance(each, tf.IndexedSlices) for each in gradients)


def test_dropout_acts_inside_a_model_that_trains(make: Any) -> None:
    inner = make("base", attention_probs_dropout_prob=0.5)

    class Outer(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.inner = inner

        def call(self, ids: Any) -> Any:
            return self.inner(ids).pooler_output

    outer, ids = Outer(), np.ones((2, 5), np.int64)
    for call in (outer, tf.function(outer)):
        plain = call(ids, training=False)
        assert tensor_error(call(ids), plain) == 0
        assert tensor_error(call(ids, training=True), plain) > 1e-3


def test_loss_of_a_layer_joins_the_models_own(make: Any) -> None:
    model = make("sequence-classification", "float32")
    own = model(**batch_of(model), **labels_of(model)).loss
    model.classifier.kernel_regularizer = None
    model.classifier.kernel.regularizer = keras.regularizers.L2(0.1)
    penalty = 0.1 * np.square(model.classifier.kernel.numpy()).sum()
    model.compile(optimizer="sgd")

    found = model.evaluate(batch_of(model), labels_of(model)["labels"], verbose=0)

    assert relative_error(found, own + penalty) <= 1e-6


def test_fit_takes_ids_alone(make: Any) -> None:
    model = make("sequence-classification", "float32")
    model.compile(optimizer="sgd")

    history = model.fit(np.ones((3, 5), np.int64), np.array([0, 1, 2]), verbose=0).history

    assert np.isfinite(history["loss"]).all()


def test_base_model_trains_with_a_loss_of_the_users(make: Any) -> None:
    model = make("base", "float32")
    model.compile(optimizer="sgd", loss={"pooler_output": "mse"})
    expected = np.square(model(**batch_of(model)).pooler_output).mean()

    found = model.evaluate(
        tf.data.Dataset.from_tensors((batch_of(model), {"pooler_output": np.zeros((3, 24))})),
        verbose=0,
    )

    assert relative_error(found, expected) <= 1e-6


def test_gradients_of_merged_kernels_are_refused(make: Any, tf_backend: Any) -> None:
    model = make("masked-lm")
    model.mobilebert.encoder.layer[0].attention.self.query.enable_lora(2)

    with pytest.raises(BackendError, match=r"layer.0.attention.self.query.weight is computed from"):
        tf_backend.loss_and_gradients(model, batch_of(model), labels_of(model))


def test_attentions_are_those_before_dropout(make: Any) -> None:
    model = make(attention_probs_dropout_prob=0.5)

    attentions = model(**batch_of(model), training=True, output_attentions=True).attentions

    sums = np.stack([each.numpy().sum(-1) for each in attentions])
    assert np.abs(sums - 1).max() <= 1e-14


def test_output_bottleneck_has_dropout(make: Any) -> None:
    model = make(hidden_dropout_prob=0.5)
    last = model.encoder.layer[1].output_layer.bottleneck.dropout
    for each in model._flatten_layers():
        if isinstance(each, keras.layers.Dropout) and each is not last:
            each.rate = 0.0
    reference = model(**batch_of(model)).last_hidden_state

    output = model(**batch_of(model), training=True).last_hidden_state

    assert tensor_error(output, reference) > 1e-3


def test_gradients_are_complete_when_layers_are_frozen(make: Any, tf_backend: Any) -> None:
    model = make("masked-lm")
    expected = tf_backend.loss_and_gradients(model, batch_of(model), labels_of(model))[1]
    model.mobilebert.trainable = False

    found = tf_backend.loss_and_gradients(model, batch_of(model), labels_of(model))[1]

    assert max(gradient_errors(found, expected).values()) <= LIMIT


def test_gradients_need_labels(make: Any, tf_backend: Any) -> None:
    model = make()

    with pytest.raises(InputError, match="gives no loss"):
        tf_backend.loss_and_gradients(model, batch_of(model), None)


@pytest.mark.parametrize("head", TRAINED_HEADS)
@pytest.mark.parametrize("labels_in", ["x", "y"])
def test_fit_lowers_the_models_own_loss(labels_in: str, head: str, make: Any) -> None:
    model = make(head, "float32", attention_probs_dropout_prob=0.0)
    batch, labels = batch_of(model), labels_of(model)
    if head == "next-sentence-prediction":
        labels = {"labels": np.array([1, 0, 1])}
    x, y = (batch | labels, None) if labels_in == "x" else (batch, labels)
    first = model(**batch, **labels).loss
    model.compile(optimizer=keras.optimizers.Adam(0.01), run_eagerly=True)

    history = model.fit(x, y, batch_size=3, epochs=4, verbose=0).history["loss"]

    assert abs(history[0] - first) <= 1e-5 * abs(first)
    assert history[-1] < history[0]


def test_first_loss_of_fit_is_the_models_own_when_there_is_one_label(make: Any) -> None:
    model = make("sequence-classification", "float32", attention_probs_dropout_prob=0.0)
    labels = labels_of(model)["labels"]
    expected = model(**batch_of(model), labels=labels).loss
    model.compile(optimizer="sgd", metrics=["accuracy"])

    result = model.evaluate(batch_of(model), labels, verbose=0, return_dict=True)

    predicted = model(**batch_of(model)).logits.numpy().argmax(-1)
    assert relative_error(result["loss"], expected) <= 1e-6
    assert result["accuracy"] == pytest.approx((predicted == labels).mean())


@pytest.mark.parametrize("head", ["masked-lm", "token-classification"])
@pytest.mark.parametrize(
    "metric", ["sparse_categorical_accuracy", "sparse_categorical_crossentropy"]
)
@pytest.mark.parametrize("jit_compile", [False, True])
def test_tokens_without_a_label_are_left_out_of_weighted_metrics(
    make: Any, head: str, metric: str, jit_compile: bool
) -> None:
    model = make(head, "float32", attention_probs_dropout_prob=0.0)
    batch, labels = batch_of(model), labels_of(model)["labels"].copy()
    logits = model(**batch).logits.numpy().astype(np.float64)
    labels[:, ::2] = logits[:, ::2].argmax(-1)
    labels[:, 1::3] = -100
    measured = keras.metrics.SparseCategoricalCrossentropy(from_logits=True, name=metric)
    chosen = measured if "entropy" in metric else metric
    model.compile(optimizer="sgd", weighted_metrics=[chosen], jit_compile=jit_compile)

    result = model.evaluate(batch, labels, verbose=0, return_dict=True)[metric]

    counted = labels != -100
    right, found = labels[counted], logits[counted]
    expected = (found.argmax(-1) == right).mean()
    if "entropy" in metric:
        normal = np.log(np.exp(found).sum(-1)) - found[np.arange(len(right)), right]
        expected = normal.mean()
    assert result == pytest.approx(expected, rel=1e-5)


def test_fit_uses_the_loss_that_compile_was_given(make: Any) -> None:
    model = make("sequence-classification", "float32")
    batch, labels = batch_of(model), labels_of(model)["labels"]
    own = model(**batch, labels=labels).loss
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer="sgd", loss=loss)

    result = model.evaluate(batch, labels, verbose=0)
    halved = model.evaluate(batch, labels, sample_weight=np.full(3, 0.5), verbose=0)

    assert relative_error(result, own) <= 1e-6
    assert relative_error(halved, own / 2) <= 1e-6


def test_compiled_losses_and_metrics_go_by_label_when_there_are_two(make: Any) -> None:
    model = make("question-answering", "float32")
    batch, labels = batch_of(model), labels_of(model)
    own = model(**batch, **labels).loss
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(loss=dict.fromkeys(labels, loss), metrics={name: ["accuracy"] for name in labels})
    data = tf.data.Dataset.from_tensor_slices((batch, labels)).batch(3)

    result = model.evaluate(data, verbose=0, return_dict=True)

    assert relative_error(result["loss"], 2 * own) <= 1e-6
    assert {"start_positions_accuracy", "end_positions_accuracy"} <= set(result)


def test_fit_without_labels_or_loss_says_what_is_missing(make: Any) -> None:
    model = make("token-classification", "float32")
    model.compile(optimizer="sgd")

    with pytest.raises(InputError, match="gives no loss here; give labels"):
        model.fit(batch_of(model), verbose=0)


def test_weights_of_samples_are_refused_with_the_models_own_loss(make: Any) -> None:
    model = make("sequence-classification", "float32")
    model.compile(optimizer="sgd")

    with pytest.raises(InputError, match="weighs all rows alike"):
        model.fit(batch_of(model), labels_of(model)["labels"], sample_weight=np.ones(3), verbose=0)


def test_predict_joins_the_batches_of_an_output(make: Any) -> None:
    model = make("token-classification", "float32")
    batch = batch_of(model)

    output = model.predict(batch | labels_of(model), batch_size=2, verbose=0)

    assert (type(output), list(output)) == (HEADS["token-classification"].output, ["logits"])
    assert tensor_error(output.logits, model(**batch).logits) <= 1e-6


def test_training_moves_embeddings_and_decoder_together(make: Any) -> None:
    model = make("masked-lm")
    before = model.get_input_embeddings().embeddings.numpy()
    model.compile(optimizer=keras.optimizers.SGD(0.1))

    model.fit(batch_of(model), batch_of(model)["input_ids"], verbose=0)

    assert tensor_error(model.get_input_embeddings().embeddings.numpy(), before) > 1e-4
    tables = [each for each in model.trainable_variables if each.shape == (61, 10)]
    assert len(tables) == 1


def test_compiled_training_through_xla_gives_the_same_history(make: Any) -> None:
    histories = []
    for jit_compile in (False, True):
        model = make("masked-lm", attention_probs_dropout_prob=0.0)
        model.compile(optimizer=keras.optimizers.SGD(0.01), jit_compile=jit_compile)
        data = batch_of(model) | labels_of(model)
        histories.append(model.fit(data, epochs=3, verbose=0).history["loss"])

    assert tensor_error(*histories) <= 1e-6  # Keras keeps its averages in float32


@pytest.mark.parametrize(("jit_compile", "labels_in"), [(False, "y"), (True, "x")])
def test_fit_on_labelled_positions_gives_the_history_of_all(
    make: Any, jit_compile: bool, labels_in: str
) -> None:
    batch = batch_of(make("masked-lm"))
    labels = np.where(np.arange(batch["input_ids"].size) % 4, -100, 7).reshape(3, -1)
    chosen = mobilebert.labelled_positions(labels, at_most=5)
    full = {"input_ids": batch["input_ids"], "labels": labels}
    few = {"input_ids": batch["input_ids"], **chosen}
    histories = []
    for inputs in (full, few):
        model = make("masked-lm", attention_probs_dropout_prob=0.0)
        model.compile(optimizer=keras.optimizers.SGD(0.01), jit_compile=jit_compile)
        y = inputs.pop("labels") if labels_in == "y" else None
        histories.append(model.fit(inputs, y, epochs=3, verbose=0).history["loss"])

    assert tensor_error(*histories) <= 1e-6  # Keras keeps its averages in float32


@pytest.mark.parametrize(
    "field", ["hidden_dropout_prob", "attention_probs_dropout_prob", "classifier_dropout"]
)
def test_dropout_acts_in_training_only(field: str, make: Any) -> None:
    off = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    model = make("token-classification", **(off | {field: 0.4}))
    reference = model(**batch_of(model)).logits

    assert tensor_error(model(**batch_of(model)).logits, reference) == 0
    assert tensor_error(model(**batch_of(model), training=True).logits, reference) > 1e-3


@pytest.mark.parametrize(
    "head", ["sequence-classification", "multiple-choice", "token-classification"]
)
def test_classifier_has_its_own_dropout(head: str, make: Any) -> None:
    model = make(head, attention_probs_dropout_prob=0.0, classifier_dropout=0.4)

    reference = model(**batch_of(model)).logits

    assert tensor_error(model(**batch_of(model), training=True).logits, reference) > 1e-3


def test_embeddings_have_dropout(make: Any) -> None:
    model = make(hidden_dropout_prob=0.4, attention_probs_dropout_prob=0.0)

    states = model(**batch_of(model), training=True, output_hidden_states=True).hidden_states

    assert 0.3 < (states[0].numpy() == 0).mean() < 0.5


def test_dropout_is_absent_inside_the_layer_when_there_is_a_bottleneck(make: Any) -> None:
    inside = make(hidden_dropout_prob=0.3).encoder.layer[0]
    without = make(hidden_dropout_prob=0.3, use_bottleneck=False).encoder.layer[0]

    def rates(layer: Any) -> tuple[float, float]:
        return layer.attention.output_layer.dropout.rate, layer.output_layer.dropout.rate

    assert (rates(inside), rates(without)) == ((0.0, 0.0), (0.3, 0.3))
    assert inside.output_layer.bottleneck.dropout.rate == 0.3


def test_dropout_follows_keras_seed(make: Any) -> None:
    outputs = []
    for _ in range(2):
        keras.utils.set_random_seed(7)
        model = make(attention_probs_dropout_prob=0.5)
        outputs.append(model(**batch_of(model), training=True).last_hidden_state)

    assert tensor_error(*outputs) == 0


@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize("eagerly", [True, False])
def test_recomputed_gradients_are_the_plain_ones(eagerly: bool, masked: bool, make: Any) -> None:
    gradients = []
    for recompute in (False, True):
        keras.utils.set_random_seed(5)  # with dropout: what is dropped must be dropped again
        model = make("masked-lm", attention_probs_dropout_prob=0.3, hidden_dropout_prob=0.2)
        model.run_eagerly = eagerly
        if recompute:
            model.gradient_checkpointing_enable()
        batch = batch_of(model) if masked else {"input_ids": batch_of(model)["input_ids"]}
        with tf.GradientTape() as tape:
            loss = model(**batch, **labels_of(model), training=True).loss
        found = tape.gradient(loss, model.trainable_variables)
        names = [variable.path.partition("/")[2] for variable in model.trainable_variables]
        gradients.append(dict(zip(names, (each.numpy() for each in found), strict=True)))

    assert max(gradient_errors(*gradients).values()) <= LIMIT


def test_recomputation_runs_each_layer_again_in_the_backward_pass(
    make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = make("masked-lm")
    layer = type(model.mobilebert.encoder.layer[0])
    calls: list[int] = []
    call = layer.call
    monkeypatch.setattr(layer, "call", lambda *arguments: calls.append(1) or call(*arguments))
    model.run_eagerly = True
    model.gradient_checkpointing_enable()

    counts = []
    for training in (True, False):
        with tf.GradientTape() as tape:
            loss = model(**batch_of(model), **labels_of(model), training=training).loss
        counts.append(len(calls))
        tape.gradient(loss, model.trainable_variables)
        counts.append(len(calls))

    assert counts == [2, 4, 6, 6]


def test_recomputation_is_seen_by_calls_that_were_compiled_before(make: Any) -> None:
    model = make()
    model([1, 2], training=True)

    model.gradient_checkpointing_enable()

    assert len(model._compiled_call) == 0


def test_gradient_flows_to_given_embeddings(make: Any) -> None:
    model = make()
    embeddings = tf.random.normal((2, 5, 10), dtype=tf.float64)

    with tf.GradientTape() as tape:
        tape.watch(embeddings)
        total = tf.reduce_sum(model(inputs_embeds=embeddings).last_hidden_state)

    assert tf.reduce_min(tf.abs(tape.gradient(total, embeddings))) > 0


# Saving


@pytest.mark.parametrize("head", HEADS)
def test_saved_model_of_keras_loads_bit_for_bit(
    head: str, make: Any, tf_backend: Any, tmp_path: Any
) -> None:
    model = make(head)
    model.save(tmp_path / "model.keras")

    loaded = keras.saving.load_model(tmp_path / "model.keras")

    assert (type(loaded), loaded.config) == (type(model), model.config)
    one, other = tf_backend.weights(loaded), tf_backend.weights(model)
    assert list(one) == list(other)
    assert all(one[name].tobytes() == other[name].tobytes() for name in other)


def test_saved_model_of_keras_keeps_its_optimizer(make: Any, tmp_path: Any) -> None:
    model = make("masked-lm", "float32")
    model.compile(optimizer=keras.optimizers.Adam(0.01))
    data = batch_of(model) | labels_of(model)
    model.fit(data, verbose=0)
    model.save(tmp_path / "model.keras")

    loaded = keras.saving.load_model(tmp_path / "model.keras")

    assert loaded.optimizer.iterations == 1
    assert relative_error(loaded.evaluate(data, verbose=0), model.evaluate(data, verbose=0)) == 0


def test_model_does_not_hold_on_to_the_given_weights(tf_backend: Any) -> None:
    class Weights(dict):
        """A dictionary that can be watched."""

    config = small_config()
    weights = Weights(random_weights(config, "base"))
    model = tf_backend.build(config, "base", weights, dtype="float64")
    watched = weakref.ref(weights)
    del weights
    gc.collect()

    assert watched() is None
    assert model.built


def test_base_model_without_pooler_is_saved_by_keras(tf_backend: Any, tmp_path: Any) -> None:
    config = small_config()
    weights = random_weights(config, "base")
    weights = {name: each for name, each in weights.items() if ".pooler." not in name}
    model = tf_backend.build(config, "base", weights, dtype="float64")
    model.save(tmp_path / "model.keras")

    loaded = keras.saving.load_model(tmp_path / "model.keras")

    assert list(loaded([1, 2])) == ["last_hidden_state"]


def test_weights_file_of_keras_goes_into_another_model(make: Any, tmp_path: Any) -> None:
    import mobilebert

    model = make("masked-lm", "float32")
    model.save_weights(tmp_path / "model.weights.h5")
    other = mobilebert.TFMobileBertForMaskedLM(model.config, seed=3)

    other.load_weights(tmp_path / "model.weights.h5")

    assert tensor_error(other(**batch_of(model)).logits, model(**batch_of(model)).logits) == 0


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda each: pickle.loads(pickle.dumps(each))])
def test_model_can_be_copied(copied: Any, make: Any) -> None:
    model = make("masked-lm")
    expected = model(**batch_of(model)).logits

    assert tensor_error(copied(model)(**batch_of(model)).logits, expected) == 0


@pytest.mark.parametrize("head", HEADS)
def test_exported_model_serves_any_shape(head: str, make: Any, tmp_path: Any) -> None:
    model = make(head)
    model.export(tmp_path / "served", verbose=False)
    served = tf.saved_model.load(tmp_path / "served").signatures["serving_default"]
    batch = batch_of(model)
    shorter = {name: each[:2, ..., :5] for name, each in batch.items()}

    for each in (batch, shorter):
        output = served(**tensors_of(each))
        expected = dict(model(**each))
        errors = output_errors({name: output[name].numpy() for name in expected}, expected)
        assert max(errors.values()) <= LIMIT, errors


def test_exported_signature_may_be_another(make: Any, tmp_path: Any) -> None:
    model = make("sequence-classification")
    signature = [{"input_ids": keras.InputSpec(shape=(1, 9), dtype="int32", name="input_ids")}]

    model.export(tmp_path / "served", verbose=False, input_signature=signature)

    served = tf.saved_model.load(tmp_path / "served")
    output = served.serve({"input_ids": tf.ones((1, 9), tf.int32)})["logits"]
    assert tensor_error(output, model(np.ones((1, 9), np.int32)).logits) <= LIMIT


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # the converter's own
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_model_is_exported_for_devices(make: Any, tmp_path: Any) -> None:
    model = make("sequence-classification", "float32")

    model.export(tmp_path / "model.tflite", format="litert", verbose=False)

    runner = tf.lite.Interpreter(str(tmp_path / "model.tflite")).get_signature_runner()
    logits = runner(**batch_of(model))["logits"]
    assert tensor_error(logits, model(**batch_of(model)).logits) <= 1e-5


def test_cloned_model_is_fresh_and_not_zero(make: Any, tf_backend: Any) -> None:
    clone = keras.models.clone_model(make("masked-lm"))

    weights = tf_backend.weights(clone)
    kernels = [name for name in weights if name.endswith("query.weight")]
    assert all(weights[name].std() > 0.01 for name in kernels)


def test_copy_keeps_gradient_checkpointing(make: Any) -> None:
    model = make("masked-lm")
    model.gradient_checkpointing_enable()

    assert copy.deepcopy(model).gradient_checkpointing


def test_model_is_a_part_of_a_functional_model(make: Any, tmp_path: Any) -> None:
    backbone = make("base", "float32", attention_probs_dropout_prob=0.0)
    ids = keras.Input((None,), dtype="int64", name="input_ids")
    mask = keras.Input((None,), dtype="int64", name="attention_mask")
    pooled = backbone(ids, attention_mask=mask).pooler_output
    model = keras.Model([ids, mask], keras.layers.Dense(3)(pooled))
    batch = batch_of(backbone)
    inputs = [batch["input_ids"], batch["attention_mask"]]
    model.save(tmp_path / "model.keras")

    loaded = keras.saving.load_model(tmp_path / "model.keras")

    assert model(inputs).shape == (3, 3)
    assert tensor_error(loaded(inputs), model(inputs)) == 0


@pytest.fixture
def reproducible(tf_backend: Any) -> Any:
    """A masked-lm model that computes in float64 and gives float32."""
    config = small_config()
    weights = random_weights(config, "masked-lm")
    return tf_backend.build(config, "masked-lm", weights, precision="reproducible")


def test_saved_model_of_keras_is_reproducible(reproducible: Any, tmp_path: Any) -> None:
    reproducible.save(tmp_path / "model.keras")

    loaded = keras.saving.load_model(tmp_path / "model.keras")

    found, expected = (each(**batch_of(reproducible)).logits for each in (loaded, reproducible))
    assert (loaded.precision, found.dtype) == ("reproducible", tf.float32)
    assert found.numpy().tobytes() == expected.numpy().tobytes()


def test_clone_of_keras_is_reproducible(reproducible: Any) -> None:
    clone = keras.models.clone_model(reproducible)

    assert (clone.precision, clone.dtype) == ("reproducible", "float64")


def test_configuration_of_keras_from_before_there_was_a_precision_is_read(make: Any) -> None:
    model = make("masked-lm")
    config = model.get_config()
    del config["precision"]

    assert type(model).from_config(config).precision is None


def test_exported_model_is_reproducible(reproducible: Any, tmp_path: Any) -> None:
    reproducible.export(tmp_path / "served", verbose=False)

    served = tf.saved_model.load(tmp_path / "served").signatures["serving_default"]
    batch = batch_of(reproducible)
    found, expected = served(**tensors_of(batch))["logits"], reproducible(**batch).logits
    assert found.dtype == tf.float32
    assert found.numpy().tobytes() == expected.numpy().tobytes()


def test_predictions_of_keras_are_reproducible(reproducible: Any) -> None:
    batch = batch_of(reproducible)

    predicted = reproducible.predict(batch, verbose=0).logits

    assert (predicted.dtype, predicted.shape) == (np.float32, (3, 11, 61))


def test_fit_trains_a_reproducible_model(reproducible: Any) -> None:
    reproducible.compile(optimizer=keras.optimizers.Adam(0.01))
    data = batch_of(reproducible) | labels_of(reproducible)

    losses = reproducible.fit(data, epochs=3, verbose=0).history["loss"]

    assert losses[2] < losses[0]


def test_symbolic_call_of_a_reproducible_model_is_float32(reproducible: Any) -> None:
    logits = reproducible(keras.Input((None,), dtype="int64")).logits

    assert logits.dtype == "float32"


def test_mixed_policy_is_refused_when_reproducible() -> None:
    import mobilebert

    with pytest.raises(ConfigError, match=r"bfloat16.*leave dtype out"):
        mobilebert.TFMobileBertModel(
            small_config(), dtype="mixed_bfloat16", precision="reproducible"
        )


def test_zero_has_a_gradient_when_it_is_rounded(reproducible: Any) -> None:
    values = tf.zeros(3, tf.float64)

    with tf.GradientTape() as tape:
        tape.watch(values)
        total = tf.reduce_sum(reproducible.to_float32(values))

    assert tape.gradient(total, values).numpy().tolist() == [1, 1, 1]


# Policies


def test_mixed_policy_computes_in_bfloat16_and_keeps_float32_variables(
    policy: Any, make: Any
) -> None:
    policy("mixed_bfloat16")
    model = make("masked-lm", "float32")

    output = model(**batch_of(model), **labels_of(model))

    assert {variable.dtype for variable in model.trainable_variables} == {"float32"}
    assert (output.logits.dtype, output.loss.dtype) == (tf.bfloat16, tf.float32)


def test_mixed_policy_is_near_float32(policy: Any, make: Any) -> None:
    precise = make("base", "float32")
    policy("mixed_bfloat16")
    mixed = make("base", "float32")

    output = mixed(**batch_of(mixed)).last_hidden_state.numpy()

    assert 0 < channel_error(output, precise(**batch_of(precise)).last_hidden_state) <= 0.1


def test_mixed_model_trains_and_loads_with_its_policy(
    policy: Any, make: Any, tmp_path: Any
) -> None:
    policy("mixed_bfloat16")
    model = make("masked-lm", "float32")
    model.compile(optimizer=keras.optimizers.SGD(0.01))
    history = model.fit(batch_of(model) | labels_of(model), epochs=3, verbose=0).history["loss"]
    model.save(tmp_path / "model.keras")
    policy("float32")

    loaded = keras.saving.load_model(tmp_path / "model.keras")

    assert history[-1] < history[0]
    assert loaded.dtype_policy.name == "mixed_bfloat16"
    assert tensor_error(loaded(**batch_of(model)).logits, model(**batch_of(model)).logits) == 0


def test_mixed_float16_is_refused(policy: Any) -> None:
    import mobilebert

    policy("mixed_float16")

    with pytest.raises(ConfigError, match="float16"):
        mobilebert.TFMobileBertModel(small_config())


def test_policy_of_another_variable_dtype_leaves_the_asked_dtype(policy: Any, make: Any) -> None:
    policy("mixed_bfloat16")

    assert make(dtype="float64")([1, 2]).last_hidden_state.dtype == tf.float64


def test_bfloat16_is_near_float64(make: Any, tf_backend: Any) -> None:
    precise, half = make(), make(dtype="bfloat16")

    output = tf_backend.run(half, batch_of(half)).last_hidden_state

    assert str(output.dtype) == "bfloat16"
    reference = tf_backend.run(precise, batch_of(precise)).last_hidden_state
    assert channel_error(output, reference) <= 0.1


def test_policy_may_be_named_in_the_constructor() -> None:
    import mobilebert

    model = mobilebert.TFMobileBertModel(small_config(), dtype="mixed_bfloat16")

    assert model([1, 2]).last_hidden_state.dtype == tf.bfloat16


def test_no_norm_rounds_once_in_bfloat16(make: Any) -> None:
    norm = make(dtype="bfloat16").embeddings.LayerNorm
    inputs = tf.cast(tf.random.stateless_normal((50, 24), (1, 2)), tf.bfloat16)

    gamma, beta = (tf.cast(each, tf.float32) for each in (norm.gamma, norm.beta))
    exact = tf.cast(tf.cast(inputs, tf.float32) * gamma + beta, tf.bfloat16)

    assert norm(inputs).numpy().tobytes() == exact.numpy().tobytes()


def test_softmax_rounds_once_in_bfloat16(make: Any) -> None:
    attention = make(dtype="bfloat16").encoder.layer[0].attention.self
    queries, keys = tf.cast(tf.random.stateless_normal((2, 1, 3, 64, 4), (1, 2)), tf.bfloat16)
    scores = tf.matmul(queries, keys, transpose_b=True) * attention.config.attention_head_size**-0.5

    probabilities = attention.probabilities(queries, keys, None)

    exact = tf.cast(tf.nn.softmax(tf.cast(scores, tf.float32)), tf.bfloat16)
    assert probabilities.numpy().tobytes() == exact.numpy().tobytes()


def test_arrays_and_tensors_share_no_memory(make: Any, tf_backend: Any) -> None:
    model = make()
    weights = tf_backend.weights(model)
    name = "mobilebert.embeddings.word_embeddings.weight"
    expected = weights[name].copy()
    weights[name] += 1
    array = np.zeros(1024)
    tensor = tf_backend.tensor(array)
    array += 1

    assert tf_backend.weights(model)[name].tobytes() == expected.tobytes()
    assert not tensor.numpy().any()


def test_labels_are_not_rounded_to_the_models_dtype(make: Any) -> None:
    model = make("sequence-classification", "bfloat16", num_labels=1)
    logits = tf.cast(model([1, 2]).logits, tf.float32)

    loss = model([1, 2], labels=np.array([0.123456789])).loss

    assert relative_error(loss, (logits[0, 0] - 0.123456789) ** 2) <= 1e-6


# Transformers' habits


def test_options_of_transformers_that_name_the_format_are_accepted(
    make: Any, tmp_path: Any
) -> None:
    import mobilebert

    make("masked-lm", "float32").save_pretrained(tmp_path / "model")

    loaded = mobilebert.TFMobileBertForMaskedLM.from_pretrained(tmp_path / "model", from_pt=True)

    assert loaded.head == "masked-lm"


def test_constructor_gives_the_fresh_weights_of_its_seed(tf_backend: Any) -> None:
    import mobilebert

    config = small_config()
    one = tf_backend.weights(mobilebert.TFMobileBertForMaskedLM(config, seed=7))
    other = tf_backend.weights(mobilebert.create(config, "masked-lm", "tf", seed=7))

    assert all(one[name].tobytes() == other[name].tobytes() for name in other)


def test_variables_are_called_like_the_checkpoints_tensors(make: Any) -> None:
    paths = {variable.path for variable in make("masked-lm").trainable_variables}

    root = {path.partition("/")[0] for path in paths}.pop()
    assert f"{root}/mobilebert/encoder/layer.1/ffn.2/output/LayerNorm/gamma" in paths
    assert f"{root}/cls/predictions/transform/dense/kernel" in paths


def test_keras_of_another_framework_is_refused_with_the_way_out() -> None:
    pytest.importorskip("jax", reason="another framework that Keras can use")
    script = "import mobilebert; mobilebert.get_backend('tf')"

    result = subprocess.run(
        [sys.executable, "-c", script],
        env=os.environ | {"KERAS_BACKEND": "jax"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert result.returncode == 1
    assert "Keras is configured for 'jax'" in result.stderr
    assert "set KERAS_BACKEND=tensorflow" in result.stderr
