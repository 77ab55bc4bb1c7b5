"""What Keras users rely on: calls, graphs, fit, saving, export, policies, gradients."""

import copy
import inspect
import os
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from metrics import channel_error, gradient_errors, output_errors, relative_error, tensor_error
from mobilebert_core import registry
from mobilebert_core.errors import ConfigError, InputError
from mobilebert_core.heads import HEADS
from models import (
    random_batch,
    random_labels,
    random_weights,
    small_config,
)

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


def test_device_holds_the_variables(tf_backend: Any) -> None:
    config = small_config()
    weights = random_weights(config, "base")
    model = tf_backend.build(config, "base", weights, dtype="float64", device="CPU:0")

    assert "CPU:0" in model.variables[0].value.device
    assert model([1, 2]).last_hidden_state.shape == (1, 2, 24)


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


# Training


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


def test_recomputed_gradients_are_the_plain_ones(make: Any) -> None:
    gradients = []
    for recompute in (False, True):
        model = make("masked-lm", attention_probs_dropout_prob=0.0)
        if recompute:
            model.gradient_checkpointing_enable()
        with tf.GradientTape() as tape:
            loss = model(**batch_of(model), **labels_of(model), training=True).loss
        found = tape.gradient(loss, model.trainable_variables)
        names = [variable.path.partition("/")[2] for variable in model.trainable_variables]
        arrays = [tf.convert_to_tensor(each).numpy() for each in found]
        gradients.append(dict(zip(names, arrays, strict=True)))

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

    with tf.GradientTape() as tape:
        loss = model(**batch_of(model), **labels_of(model), training=True).loss
    forward = len(calls)
    tape.gradient(loss, model.trainable_variables)

    assert (forward, len(calls)) == (2, 4)


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
    paths = {variable.path for variable in make("masked-lm").variables}

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
