"""What JAX users rely on: transformations, compilation, random streams, training, meshes."""

import copy
import dataclasses
import gc
import logging
import os
import pickle
import subprocess
import sys
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from metrics import (
    channel_error,
    gradient_errors,
    output_errors,
    relative_error,
    tensor_error,
    token_error,
)
from mobilebert_conformance.cases import small_config
from mobilebert_conformance.weights import random_weights
from mobilebert_core import registry
from mobilebert_core.errors import ConfigError, InputError
from mobilebert_core.heads import HEADS
from mobilebert_core.schema import owned_tensors
from models import random_batch

jax = pytest.importorskip("jax", reason="tests of the JAX backend")
nnx = pytest.importorskip("flax.nnx", reason="tests of the JAX backend")
optax = pytest.importorskip("optax", reason="the optimisers of the JAX world")
jnp = jax.numpy

LIMIT = 1e-11
SMALLEST = {"num_hidden_layers": 1, "num_feedforward_networks": 2}
NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}


@pytest.fixture(scope="module")
def jax_backend() -> Any:
    """The backend under test."""
    return registry.get("jax")


@pytest.fixture
def make(jax_backend: Any) -> Any:
    """Makes small models with random weights."""

    def make_model(head: str = "base", dtype: str = "float64", **changes: Any) -> Any:
        config = small_config(**changes)
        weights = random_weights(config, head)
        return jax_backend.build(config, head, weights, dtype=dtype)

    return make_model


def arrays_of(batch: dict[str, Any]) -> dict[str, Any]:
    """NumPy arrays as JAX arrays."""
    return {name: jnp.asarray(each) for name, each in batch.items()}


def in_new_process(code: str, *, devices: int = 1, x64: bool = True) -> str:
    """What a script prints; settings of JAX hold from the start of a process."""
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        "JAX_PLATFORMS": "cpu",
        "JAX_ENABLE_X64": str(int(x64)),
        # Less optimisation compiles twice as fast.
        "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices} "
        "--xla_backend_optimization_level=0",
    }
    command = [sys.executable, "-W", "error", "-c", code]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout


def compilations(caplog: pytest.LogCaptureFixture, call: Any) -> int:
    """How many computations JAX compiles during a call."""
    caplog.clear()
    with jax.log_compiles(), caplog.at_level(logging.WARNING):
        jax.block_until_ready(call())
    return sum("XLA compilation" in record.getMessage() for record in caplog.records)


@pytest.mark.parametrize("head", HEADS)
def test_parameters_are_those_of_the_checkpoint(head: str, make: Any) -> None:
    model = make(head)

    shapes = [leaf.shape for leaf in jax.tree.leaves(nnx.state(model, nnx.Param))]

    specs = owned_tensors(model.config, head).values()
    assert sorted(map(sorted, shapes)) == sorted(sorted(spec.shape) for spec in specs)


def test_modules_are_named_as_in_the_checkpoint(make: Any) -> None:
    model = make("masked-lm")

    layer = model.mobilebert.encoder.layer[1]
    assert layer.attention.self.query.kernel.shape == (12, 12)
    assert layer.ffn[2].intermediate.dense.kernel.shape == (12, 20)
    assert layer.output.bottleneck.LayerNorm.scale.shape == (24,)
    assert model.cls.predictions.dense.kernel.shape == (14, 61)


def test_merged_model_gives_the_same_outputs(make: Any) -> None:
    model = make("masked-lm")
    batch = random_batch(model.config, "masked-lm")

    merged = nnx.merge(*nnx.split(model))

    assert token_error(merged(**batch).logits, model(**batch).logits) == 0.0


@pytest.mark.parametrize("jit", [jax.jit, nnx.jit])
def test_function_of_the_model_is_compiled(jit: Any, make: Any) -> None:
    model = make("pretraining")
    batch = arrays_of(random_batch(model.config, "pretraining"))
    expected = model(**batch, output_hidden_states=True)

    output = jit(lambda model, batch: model(**batch, output_hidden_states=True))(model, batch)

    assert type(output) is HEADS["pretraining"].output
    assert max(output_errors(output, expected).values()) <= LIMIT


def test_function_around_the_model_is_compiled(make: Any) -> None:
    model = make("base")
    batch = arrays_of(random_batch(model.config, "base"))

    states = jax.jit(lambda batch: model(**batch).last_hidden_state)(batch)

    assert channel_error(states, model(**batch).last_hidden_state) <= LIMIT


def test_gradient_of_the_module_is_that_of_the_backend(make: Any, jax_backend: Any) -> None:
    model = make("masked-lm", **SMALLEST)
    batch = random_batch(model.config, "masked-lm")
    expected = jax_backend.loss_and_gradients(model, batch, batch["input_ids"])[1]

    state = nnx.grad(lambda model: model(**batch, labels=batch["input_ids"]).loss)(model)

    gradient = state.mobilebert.embeddings.word_embeddings.embedding
    reference = expected["mobilebert.embeddings.word_embeddings.weight"]
    assert tensor_error(gradient.get_value(), reference) <= LIMIT


def test_gradient_flows_to_given_embeddings(make: Any) -> None:
    model = make()
    embeddings = jnp.asarray(np.random.default_rng(0).normal(size=(2, 5, 10)))

    gradient = jax.grad(lambda given: model(inputs_embeds=given).last_hidden_state.sum())(
        embeddings
    )

    assert jnp.abs(gradient).min() > 0


def test_gradients_are_for_evaluation_mode_when_the_model_is_training(
    make: Any, jax_backend: Any
) -> None:
    model = make("sequence-classification", hidden_dropout_prob=0.5)
    batch = random_batch(model.config, "sequence-classification")
    expected = jax_backend.loss_and_gradients(model, batch, np.array([0, 1, 2]))
    model.train()

    found = jax_backend.loss_and_gradients(model, batch, np.array([0, 1, 2]))

    assert found[0] == expected[0]
    assert max(gradient_errors(found[1], expected[1]).values()) <= LIMIT
    assert not model.dropout.deterministic


def test_gradients_need_labels(make: Any, jax_backend: Any) -> None:
    model = make("base")

    with pytest.raises(InputError, match="gives no loss"):
        jax_backend.loss_and_gradients(model, random_batch(model.config, "base"), None)


def test_mapped_call_gives_the_rows_of_the_batch(make: Any) -> None:
    model = make("sequence-classification")
    batch = arrays_of(random_batch(model.config, "sequence-classification"))
    del batch["token_type_ids"]

    def row(ids: Any, mask: Any) -> Any:
        return model(input_ids=ids[None], attention_mask=mask[None]).logits[0]

    mapped = jax.vmap(row)(batch["input_ids"], batch["attention_mask"])

    assert token_error(mapped, model(**batch).logits) <= LIMIT


def test_models_are_mapped_when_their_parameters_are_stacked(make: Any) -> None:
    models = [make("masked-lm"), make("masked-lm")]
    models[1].cls.predictions.bias[...] += 1
    batch = arrays_of(random_batch(models[0].config, "masked-lm"))
    graph, _, rest = nnx.split(models[0], nnx.Param, ...)
    states = [nnx.state(model, nnx.Param) for model in models]
    stacked = jax.tree.map(lambda *values: jnp.stack(values), *states)

    mapped = jax.vmap(lambda state: nnx.merge(graph, state, rest)(**batch).logits)(stacked)

    expected = jnp.stack([model(**batch).logits for model in models])
    assert token_error(mapped, expected) <= LIMIT


def test_training_moves_embeddings_and_decoder_together(make: Any) -> None:
    model = make("masked-lm", **SMALLEST)
    model.train()
    batch = arrays_of(random_batch(model.config, "masked-lm"))
    optimizer = nnx.Optimizer(model, optax.adamw(1e-2), wrt=nnx.Param)

    @nnx.jit
    def step(model: Any, optimizer: Any) -> Any:
        def loss(model: Any) -> Any:
            return model(**batch, labels=batch["input_ids"]).loss

        value, gradients = nnx.value_and_grad(loss)(model)
        optimizer.update(model, gradients)
        return value

    losses = [float(step(model, optimizer)) for _ in range(8)]

    assert losses[-1] < losses[0]
    assert int(model.rngs.count[...]) == 8
    # Another table changes the logits as well as the embeddings: nothing else holds one.
    model.eval()
    embedded = jnp.ones((1, 3, 10))
    before = model(inputs_embeds=embedded).logits
    model.get_input_embeddings().embedding[...] *= 2
    assert token_error(model(inputs_embeds=embedded).logits, before) > 0.01


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_checkpointed_gradients_are_the_plain_ones(dtype: str, make: Any, jax_backend: Any) -> None:
    model = make("masked-lm", dtype, **SMALLEST)
    batch = random_batch(model.config, "masked-lm")
    plain = jax_backend.loss_and_gradients(model, batch, batch["input_ids"])

    model.gradient_checkpointing_enable()
    recomputed = jax_backend.loss_and_gradients(model, batch, batch["input_ids"])

    limit = {"float64": LIMIT, "float32": 1e-4}[dtype]
    assert max(gradient_errors(recomputed[1], plain[1]).values()) <= limit


def test_checkpointing_keeps_fewer_activations(make: Any) -> None:
    model = make("masked-lm", num_hidden_layers=6, num_feedforward_networks=2)
    batch = arrays_of(random_batch(model.config, "masked-lm"))
    _, state, rest = nnx.split(model, nnx.Param, ...)
    kept = []
    for switch in (model.gradient_checkpointing_disable, model.gradient_checkpointing_enable):
        switch()
        graph = nnx.graphdef(model)

        def loss(state: Any, graph: Any = graph) -> Any:
            return nnx.merge(graph, state, rest)(**batch, labels=batch["input_ids"]).loss

        residuals = jax.tree.leaves(jax.vjp(loss, state)[1])
        kept.append(sum(each.size for each in residuals))

    assert kept[1] < kept[0] / 2


def test_dropout_is_recomputed_alike_when_checkpointing(make: Any) -> None:
    gradients = []
    for checkpointing in (False, True):
        model = make("masked-lm", attention_probs_dropout_prob=0.5, **SMALLEST)
        model.train()
        if checkpointing:
            model.gradient_checkpointing_enable()
        batch = arrays_of(random_batch(model.config, "masked-lm"))
        state = nnx.grad(lambda model, batch=batch: model(**batch, labels=batch["input_ids"]).loss)(
            model
        )
        gradients.append({str(i): each for i, each in enumerate(jax.tree.leaves(state))})

    assert max(gradient_errors(gradients[1], gradients[0]).values()) <= LIMIT


@pytest.mark.parametrize(
    "field", ["hidden_dropout_prob", "attention_probs_dropout_prob", "classifier_dropout"]
)
def test_dropout_acts_in_training_only(field: str, make: Any) -> None:
    model = make("token-classification", **(NO_DROPOUT | {field: 0.4}))
    batch = random_batch(model.config, "token-classification")
    reference = model(**batch).logits

    assert (model(**batch).logits == reference).all()
    model.train()
    assert not (model(**batch).logits == reference).all()


@pytest.mark.parametrize(
    "head", ["sequence-classification", "multiple-choice", "token-classification"]
)
def test_classifier_has_its_own_dropout(head: str, make: Any) -> None:
    model = make(head, **NO_DROPOUT, classifier_dropout=0.4)
    batch = random_batch(model.config, head)
    reference = model(**batch).logits

    model.train()

    assert not (model(**batch).logits == reference).all()


def test_dropout_differs_from_call_to_call_and_is_the_same_for_one_seed(make: Any) -> None:
    model, other = make(hidden_dropout_prob=0.4), make(hidden_dropout_prob=0.4)
    model.train()
    other.train()

    first, second = (model([1, 2, 3]).last_hidden_state for _ in range(2))

    assert not (first == second).all()
    assert (other([1, 2, 3]).last_hidden_state == first).all()
    assert int(model.rngs.count[...]) == 2


def test_evaluation_leaves_the_random_stream_alone(make: Any) -> None:
    model = make(hidden_dropout_prob=0.4)

    model([1, 2, 3])

    assert int(model.rngs.count[...]) == 0


@pytest.mark.parametrize("kind", ["rngs", "stream", "key"])
def test_call_takes_its_own_random_stream(kind: str, make: Any) -> None:
    model = make(hidden_dropout_prob=0.4)
    model.train()

    def output(seed: int) -> Any:
        streams = nnx.Rngs(dropout=seed)
        given = {"rngs": streams, "stream": streams.dropout, "key": jax.random.key(seed)}[kind]
        return model([1, 2, 3], rngs=given).last_hidden_state

    assert (output(1) == output(1)).all()
    assert not (output(1) == output(2)).all()
    assert int(model.rngs.count[...]) == 0


def test_something_else_is_refused_as_random_stream(make: Any) -> None:
    model = make(hidden_dropout_prob=0.4)
    model.train()

    with pytest.raises(InputError, match=r"rngs is a int, expected nnx\.Rngs"):
        model([1, 2, 3], rngs=3)


def test_constructor_takes_random_streams() -> None:
    import mobilebert

    config = small_config(hidden_dropout_prob=0.4)
    models = [mobilebert.FlaxMobileBertModel(config, rngs=nnx.Rngs(seed)) for seed in (1, 1, 2)]

    one, same, other = (model([1, 2, 3]).last_hidden_state for model in models)

    assert (one == same).all()
    assert not (one == other).all()


def test_embeddings_have_dropout(make: Any) -> None:
    model = make(hidden_dropout_prob=0.4, attention_probs_dropout_prob=0.0)
    model.train()
    batch = random_batch(model.config, "base")

    states = model(**batch, output_hidden_states=True).hidden_states

    assert 0.3 < (states[0] == 0).mean() < 0.5


def test_dropout_is_absent_inside_the_layer_when_there_is_a_bottleneck(make: Any) -> None:
    inside = make(hidden_dropout_prob=0.3).encoder.layer[0]
    without = make(hidden_dropout_prob=0.3, use_bottleneck=False).encoder.layer[0]

    assert (inside.attention.output.dropout.rate, inside.output.dropout.rate) == (0.0, 0.0)
    assert inside.output.bottleneck.dropout.rate == 0.3
    assert (without.attention.output.dropout.rate, without.output.dropout.rate) == (0.3, 0.3)


def test_every_place_drops_other_values(make: Any) -> None:
    model = make(hidden_dropout_prob=0.5, use_bottleneck=False, attention_probs_dropout_prob=0.5)
    places = [module for _, module in nnx.iter_modules(model) if isinstance(module, nnx.Dropout)]
    seen: list[Any] = []
    model.train()
    original = nnx.Dropout.__call__

    def record(self: Any, inputs: Any, *, rngs: Any) -> Any:
        seen.append(jax.random.key_data(rngs).tolist())
        return original(self, inputs, rngs=rngs)

    with pytest.MonkeyPatch.context() as patch, jax.disable_jit():
        patch.setattr(nnx.Dropout, "__call__", record)
        model([1, 2, 3])

    assert len(seen) == len(places) == 7
    assert len(set(map(tuple, seen))) == 7


def test_attention_dropout_has_the_right_mean(make: Any) -> None:
    layer = make(attention_probs_dropout_prob=0.5).encoder.layer[0].attention.self
    generator = np.random.default_rng(0)
    query_key, values = (jnp.asarray(generator.normal(size=(1, 5, size))) for size in (12, 24))
    expected = layer(query_key, values, None, None)[0]
    layer.train()

    keys = jax.random.split(jax.random.key(0), 1000)
    runs = jax.vmap(lambda key: layer(query_key, values, None, key)[0])(keys)

    assert tensor_error(runs[0], expected) > 0.1
    assert tensor_error(runs.mean(0), expected) < 0.15


def test_same_shapes_compile_nothing_again(make: Any, caplog: pytest.LogCaptureFixture) -> None:
    model = make(max_position_embeddings=16)
    ids = np.arange(1, 15).reshape(2, 7)
    mask = np.ones_like(ids)

    first = compilations(caplog, lambda: model(ids, mask))
    mask[1, 4:] = 0
    second = compilations(caplog, lambda: model(ids[::-1].astype(np.int32), mask.astype(bool)))

    assert first > 0
    assert second == 0


def test_second_gradient_compiles_nothing(
    make: Any, jax_backend: Any, caplog: pytest.LogCaptureFixture
) -> None:
    model = make("masked-lm", max_position_embeddings=15)
    ids = np.arange(1, 15).reshape(2, 7)

    def gradient() -> Any:
        return jax_backend.loss_and_gradients(model, {"input_ids": ids}, ids)

    assert compilations(caplog, gradient) > 0
    assert compilations(caplog, gradient) == 0


def test_models_of_one_structure_share_what_is_compiled(
    make: Any, caplog: pytest.LogCaptureFixture
) -> None:
    one, other = make(max_position_embeddings=14), make(max_position_embeddings=14)
    one([1, 2, 3])

    assert compilations(caplog, lambda: other([1, 2, 3])) == 0


def test_changed_parameter_counts_in_the_next_call(make: Any) -> None:
    model = make("sequence-classification")
    before = model([1, 2, 3]).logits

    model.classifier.bias[...] += 1.0
    after = model([1, 2, 3]).logits
    model.classifier.bias = nnx.Param(model.classifier.bias[...] + 1.0)
    last = model([1, 2, 3]).logits

    assert tensor_error(after, before + 1) <= LIMIT
    assert tensor_error(last, before + 2) <= LIMIT


def test_updated_state_counts_in_the_next_call(make: Any) -> None:
    model = make()
    doubled = jax.tree.map(lambda value: value * 0, nnx.state(model, nnx.Param))
    assert jnp.abs(model([1, 2, 3]).last_hidden_state).max() > 0

    nnx.update(model, doubled)

    assert jnp.abs(model([1, 2, 3]).last_hidden_state).max() == 0


def test_replaced_module_counts_in_the_next_call(make: Any) -> None:
    model = make()
    before = model([1, 2, 3]).last_hidden_state
    model.encoder.layer[0], model.encoder.layer[1] = model.encoder.layer[1], model.encoder.layer[0]
    swapped = model([1, 2, 3]).last_hidden_state

    model.encoder.layer[1].ffn[0].output.dense = nnx.Linear(
        20, 12, param_dtype=jnp.float64, rngs=nnx.Rngs(0)
    )

    assert channel_error(swapped, before) > 0.01
    assert channel_error(model([1, 2, 3]).last_hidden_state, swapped) > 0.01


def test_container_of_the_user_counts_in_the_next_call(jax_backend: Any) -> None:
    import mobilebert

    class Own(mobilebert.FlaxMobileBertForSequenceClassification):
        def __init__(self, config: Any) -> None:
            super().__init__(config)
            self.scales = nnx.data([{"all": nnx.Param(jnp.ones(()))}])

        def compute(self, *arguments: Any) -> Any:
            output = super().compute(*arguments)
            return dataclasses.replace(output, logits=output.logits * self.scales[0]["all"][...])

    model = Own(small_config(**SMALLEST, **NO_DROPOUT))
    before = model([1, 2, 3]).logits
    gradients = jax_backend.loss_and_gradients(model, {"input_ids": [[1, 2, 3]]}, [1])[1]

    model.scales[0] = {"all": nnx.Param(jnp.full((), 2.0))}

    assert tensor_error(model([1, 2, 3]).logits, 2 * before) <= 1e-6
    assert np.abs(gradients["classifier.bias"]).max() > 0


def test_deleted_model_frees_its_parameters(make: Any) -> None:
    model = make()
    model([1, 2, 3])
    parameter = weakref.ref(model.encoder.layer[0].intermediate.dense.kernel.get_value())
    assert parameter() is not None

    del model
    gc.collect()

    assert parameter() is None


def test_abstract_model_has_shapes_and_no_values() -> None:
    import mobilebert

    abstract = nnx.eval_shape(lambda: mobilebert.FlaxMobileBertModel(small_config()))

    leaves = jax.tree.leaves(nnx.state(abstract, nnx.Param))
    assert {type(leaf) for leaf in leaves} == {jax.ShapeDtypeStruct}


def test_user_subclass_computes_with_its_own_modules(make: Any) -> None:
    import mobilebert

    class Own(mobilebert.FlaxMobileBertForSequenceClassification):
        def __init__(self, config: Any) -> None:
            super().__init__(config)
            self.extra = nnx.Linear(5, 2, rngs=nnx.Rngs(0))

        def __call__(self, ids: Any) -> Any:
            return self.extra(super().__call__(ids).logits)

    model = Own(small_config())

    assert model([[1, 2, 3]]).shape == (1, 2)


@pytest.mark.parametrize("way", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_copied_model_is_the_same_and_its_own(way: Any, make: Any) -> None:
    model = make("sequence-classification")
    expected = model([1, 2, 3]).logits

    copied = way(model)
    model.classifier.bias[...] += 1.0

    assert (copied([1, 2, 3]).logits == expected).all()


def test_state_comes_back_from_orbax(make: Any, tmp_path: Path) -> None:
    orbax = pytest.importorskip("orbax.checkpoint", reason="the checkpoints of the JAX world")
    model, other = make("masked-lm"), make("masked-lm")
    other.cls.predictions.bias[...] += 1.0
    with orbax.StandardCheckpointer() as checkpointer:
        checkpointer.save(tmp_path / "state", nnx.state(model, nnx.Param))
        checkpointer.wait_until_finished()
        restored = checkpointer.restore(tmp_path / "state", nnx.state(other, nnx.Param))

    nnx.update(other, restored)

    assert (other([1, 2, 3]).logits == model([1, 2, 3]).logits).all()


def test_threads_share_a_training_model_without_dropout_in_runs(
    make: Any, jax_backend: Any
) -> None:
    model = make("sequence-classification", hidden_dropout_prob=0.5)
    model.train()
    batch = random_batch(model.config, "sequence-classification")

    with ThreadPoolExecutor(4) as pool:
        outputs = list(pool.map(lambda _: jax_backend.run(model, batch).logits, range(12)))

    assert {each.tobytes() for each in outputs} == {outputs[0].tobytes()}
    assert not model.dropout.deterministic


def test_constructor_gives_the_fresh_weights_of_its_seed(jax_backend: Any) -> None:
    import mobilebert

    config = small_config()
    first = mobilebert.FlaxMobileBertForMaskedLM(config, seed=7)
    second = mobilebert.create(config, "masked-lm", "jax", seed=7)

    one, other = jax_backend.weights(first), jax_backend.weights(second)
    assert all(one[name].tobytes() == other[name].tobytes() for name in other)
    assert not first.mobilebert.embeddings.dropout.deterministic
    assert second.mobilebert.embeddings.dropout.deterministic


def test_bfloat16_is_near_float64(make: Any, jax_backend: Any) -> None:
    precise, half = make(), make(dtype="bfloat16")
    batch = random_batch(precise.config, "base")

    output = jax_backend.run(half, batch).last_hidden_state
    reference = jax_backend.run(precise, batch).last_hidden_state

    assert output.dtype == ml_dtypes.bfloat16
    assert channel_error(output, reference) <= 0.1


def test_bfloat16_weights_come_back_bit_for_bit(jax_backend: Any) -> None:
    config = small_config()
    weights = {
        name: each.astype(ml_dtypes.bfloat16)
        for name, each in random_weights(config, "masked-lm").items()
    }
    model = jax_backend.build(config, "masked-lm", weights, dtype="bfloat16")

    returned = jax_backend.weights(model)

    assert all(returned[name].tobytes() == weights[name].tobytes() for name in weights)
    assert {array.dtype for array in returned.values()} == {np.dtype(ml_dtypes.bfloat16)}


def test_loss_is_computed_in_float32_when_logits_are_bfloat16() -> None:
    from mobilebert_jax.losses import cross_entropy

    logits = jnp.asarray(np.random.default_rng(0).normal(size=(7, 5)), jnp.bfloat16)

    loss = cross_entropy(logits, jnp.arange(7) % 5)

    assert loss.dtype == jnp.float32
    exact = cross_entropy(logits.astype(jnp.float64), jnp.arange(7) % 5)
    assert relative_error(loss, exact) <= 1e-6


def test_no_norm_rounds_once_in_bfloat16(make: Any) -> None:
    norm = make(dtype="bfloat16").embeddings.LayerNorm
    inputs = jnp.asarray(np.random.default_rng(0).normal(size=(50, 24)), jnp.bfloat16)

    exact = inputs.astype(jnp.float32) * norm.scale[...].astype(jnp.float32)
    exact = exact + norm.bias[...].astype(jnp.float32)

    assert (norm(inputs) == exact.astype(jnp.bfloat16)).all()


def test_softmax_rounds_once_in_bfloat16(make: Any) -> None:
    attention = make(dtype="bfloat16").encoder.layer[0].attention.self
    generator = np.random.default_rng(0)
    queries, keys = jnp.asarray(generator.normal(size=(2, 1, 3, 64, 4)), jnp.bfloat16)
    scores = queries @ keys.swapaxes(2, 3) * attention.config.attention_head_size**-0.5

    probabilities = attention.probabilities(queries, keys, None)

    exact = jax.nn.softmax(scores.astype(jnp.float32), axis=-1)
    assert (probabilities == exact.astype(jnp.bfloat16)).all()


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_parameters_cast_by_the_user_decide_the_dtype(dtype: str, make: Any) -> None:
    model = make()

    nnx.update(model, jax.tree.map(lambda value: value.astype(dtype), nnx.state(model, nnx.Param)))

    assert model([1, 2]).last_hidden_state.dtype == dtype


def test_half_model_is_refused_when_called(make: Any) -> None:
    model = make()
    state = jax.tree.map(lambda value: value.astype(jnp.float16), nnx.state(model, nnx.Param))
    nnx.update(model, state)

    with pytest.raises(ConfigError, match="computes in float16"):
        model([1, 2])


@pytest.mark.parametrize("dtype", ["float16", "float23", np.float16])
def test_constructor_refuses_what_the_backend_does_not_compute_in(dtype: Any) -> None:
    import mobilebert

    with pytest.raises(ConfigError, match=r"dtype|compute in"):
        mobilebert.FlaxMobileBertModel(small_config(), dtype=dtype)


def test_float64_is_refused_until_jax_is_told_to_compute_in_it() -> None:
    code = """
import jax, mobilebert
try:
    mobilebert.create(mobilebert.Config(num_hidden_layers=1), "base", "jax", dtype="float64")
except mobilebert.ConfigError as error:
    print(error)
print(jax.config.jax_enable_x64)
"""

    message, flag = in_new_process(code, x64=False).splitlines()

    assert "does not compute in float64" in message
    assert 'jax.config.update("jax_enable_x64", True)' in message
    assert flag == "False"


def test_reproducible_is_refused_until_jax_is_told_to_compute_in_float64() -> None:
    code = """
import mobilebert
try:
    mobilebert.FlaxMobileBertModel(mobilebert.Config(), precision="reproducible")
except mobilebert.ConfigError as error:
    print(error)
"""

    message = in_new_process(code, x64=False)

    assert "does not offer precision='reproducible'" in message
    assert 'jax.config.update("jax_enable_x64", True)' in message


@pytest.fixture
def reproducible(jax_backend: Any) -> Any:
    """A masked-lm model that computes in float64 and gives float32."""
    config = small_config(**SMALLEST)
    weights = random_weights(config, "masked-lm")
    return jax_backend.build(config, "masked-lm", weights, precision="reproducible")


@pytest.mark.parametrize("copied", [lambda each: nnx.merge(*nnx.split(each)), nnx.clone])
def test_model_of_the_same_parts_is_reproducible(copied: Any, reproducible: Any) -> None:
    batch = random_batch(reproducible.config, "masked-lm")
    expected = reproducible(**batch).logits

    again = copied(reproducible)

    found = again(**batch).logits
    assert (again.precision, found.dtype) == ("reproducible", jnp.float32)
    assert np.asarray(found).tobytes() == np.asarray(expected).tobytes()


def test_training_model_runs_reproducibly(reproducible: Any, jax_backend: Any) -> None:
    batch = random_batch(reproducible.config, "masked-lm")
    expected = jax_backend.run(reproducible, batch).logits

    reproducible.train()
    found = jax_backend.run(reproducible, batch).logits

    assert (found.dtype, found.tobytes()) == (np.float32, expected.tobytes())


def test_exported_function_is_reproducible(reproducible: Any) -> None:
    batch = arrays_of(random_batch(reproducible.config, "masked-lm"))
    expected = reproducible(**batch).logits

    exported = jax.export.export(jax.jit(lambda batch: reproducible(**batch).logits))(batch)

    again = jax.export.deserialize(exported.serialize())
    assert np.asarray(again.call(batch)).tobytes() == np.asarray(expected).tobytes()


def test_reproducible_model_is_refused_when_its_parameters_were_cast(reproducible: Any) -> None:
    state = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), nnx.state(reproducible, nnx.Param))
    nnx.update(reproducible, state)

    with pytest.raises(ConfigError, match=r"float64.*computes in float32"):
        reproducible([1, 2])


@pytest.mark.filterwarnings("ignore:Explicitly requested dtype float64:UserWarning")  # JAX's own
def test_reproducible_model_is_refused_when_float64_was_switched_off(reproducible: Any) -> None:
    with jax.enable_x64(False), pytest.raises(ConfigError, match=r"computes in float32"):
        reproducible([1, 2])


def test_zero_has_a_gradient_when_it_is_rounded(reproducible: Any) -> None:
    total = jax.grad(lambda values: reproducible.to_float32(values).sum())

    assert total(jnp.zeros(3, jnp.float64)).tolist() == [1, 1, 1]


def test_ids_of_64_bits_run_when_jax_computes_in_32() -> None:
    code = """
import numpy as np, jax
from mobilebert_core import registry
from mobilebert_conformance.cases import small_config
from mobilebert_conformance.weights import random_weights
from models import random_batch, random_labels
config, head = small_config(), "question-answering"
backend = registry.get("jax")
model = backend.build(config, head, random_weights(config, head), dtype="float32")
batch = random_batch(config, head)
labels = random_labels(config, head, batch)
labels["start_positions"] = np.array([1, 2**40, 3])
print(backend.run(model, batch, labels=labels).loss.dtype, backend.tensor(batch["input_ids"]).dtype)
labels["start_positions"] = np.array([1, 11, 3])
print(backend.run(model, batch, labels=labels).loss)
labels["start_positions"] = np.array([1, 2**40, 3])
print(backend.run(model, batch, labels=labels).loss)
"""

    dtypes, clamped, huge = in_new_process(code, x64=False).splitlines()

    assert dtypes == "float32 int32"
    assert clamped == huge


def test_values_out_of_range_are_refused_when_only_parameters_are_traced(make: Any) -> None:
    model = make("masked-lm")

    with pytest.raises(InputError, match="values from 1 to 99"):
        nnx.grad(lambda model: model([1, 99], labels=[1, 2]).loss)(model)


def test_arrays_of_jax_are_checked_like_others(make: Any) -> None:
    model = make("sequence-classification")

    with pytest.raises(InputError, match="values from 1 to 99"):
        model(jnp.array([[1, 99]]))
    with pytest.raises(InputError, match=r"inputs_embeds is bfloat16 of shape \(2, 3\)"):
        model(inputs_embeds=jnp.zeros((2, 3), jnp.bfloat16))


@pytest.mark.parametrize("dtype", [jnp.uint8, jnp.int16, jnp.int64])
def test_labels_of_every_integer_type_give_one_loss(dtype: Any, make: Any) -> None:
    model = make("masked-lm", vocab_size=200, **SMALLEST)
    expected = model([1, 2], labels=[156, 4]).loss  # 156 is what -100 is in 8 bits

    assert model([1, 2], labels=jnp.array([[156, 4]], dtype)).loss == expected


def test_model_says_where_it_is(make: Any) -> None:
    assert str(make().device) == "cpu:0"
    assert make(dtype="float32").dtype == np.float32


def test_device_is_chosen_by_its_name() -> None:
    code = """
from mobilebert_core import registry
from mobilebert_conformance.cases import small_config
from mobilebert_conformance.weights import random_weights
backend, config = registry.get("jax"), small_config()
model = backend.build(config, "base", random_weights(config, "base"), device="cpu:1")
model.train()
print(model.device, *model([1, 2]).last_hidden_state.devices())
try:
    backend.build(config, "base", random_weights(config, "base"), device="cpu:7")
except ValueError as error:
    print(error)
"""

    places, message = in_new_process(code, devices=2).splitlines()

    assert places == "cpu:1 cpu:1"
    assert message == "device is 'cpu:7', which JAX does not offer; it offers cpu:0, cpu:1"


def test_parameters_carry_their_partition(make: Any) -> None:
    specs = nnx.get_partition_spec(nnx.state(make("masked-lm"), nnx.Param))

    layer = specs.mobilebert.encoder.layer[0]
    table = specs.mobilebert.embeddings.word_embeddings.embedding
    assert table.get_value() == jax.P("model", None)
    assert layer.attention.self.query.kernel.get_value() == jax.P(None, "model")
    assert layer.attention.output.dense.kernel.get_value() == jax.P("model", None)
    assert layer.ffn[0].intermediate.dense.bias.get_value() == jax.P("model")
    assert layer.output.dense.kernel.get_value() == jax.P("model", None)
    assert layer.output.bottleneck.dense.kernel.get_value() == jax.P()


SHARDED = """
import copy, sys
import jax, numpy as np, optax
from flax import nnx
from metrics import gradient_errors, output_errors
from mobilebert_core import registry
from mobilebert_conformance.cases import small_config
from mobilebert_conformance.weights import random_weights
from models import random_batch, random_labels

config = small_config(vocab_size={vocabulary}, num_hidden_layers=1, num_feedforward_networks=2)
head, backend = "pretraining", registry.get("jax")
model = backend.build(config, head, random_weights(config, head), dtype="float64")
batch = {{name: np.repeat(each, 2, axis=0) for name, each in random_batch(config, head).items()}}
labels = random_labels(config, head, batch)
collect = ("hidden_states", "attentions")
output = backend.run(model, batch, labels=labels, collect=collect)
loss, gradients = backend.loss_and_gradients(model, batch, labels)

mesh = jax.make_mesh({shape}, ("data", "model"))
model.shard(mesh)
sharded = model(**batch, **labels, output_hidden_states=True, output_attentions=True)

def shard(array):
    return str(array.addressable_shards[0].data.shape)

print(shard(sharded.prediction_logits))
print(shard(model.get_input_embeddings().embedding.get_value()))
print(shard(model.mobilebert.encoder.layer[0].intermediate.dense.kernel.get_value()))
print(shard(sharded.hidden_states[-1]))

errors = output_errors(sharded, output)
assert max(errors.values()) <= 1e-11, errors
sharded_loss, sharded_gradients = backend.loss_and_gradients(model, batch, labels)
assert abs(sharded_loss - loss) <= 1e-11 * loss
errors = gradient_errors(sharded_gradients, gradients)
assert max(errors.values()) <= 1e-11, errors
returned = backend.weights(model)
given = random_weights(config, head)
assert all(returned[name].tobytes() == given[name].tobytes() for name in given)

for own in (mesh, model.mesh):  # batches that are spread already, explicitly or not
    rows = jax.NamedSharding(own, jax.P("data"))
    spread = {{name: jax.device_put(each, rows) for name, each in batch.items()}}
    again = model(**spread).prediction_logits
    assert again.sharding == model(**batch).prediction_logits.sharding
alone = {{name: jax.device_put(each, jax.devices()[1]) for name, each in batch.items()}}
model(**alone)

@nnx.jit
def step(model, optimizer, batch, labels):
    value, gradients = nnx.value_and_grad(lambda model: model(**batch, **labels).loss)(model)
    optimizer.update(model, gradients)
    return value

model.train()
optimizer = nnx.Optimizer(model, optax.adamw(1e-2), wrt=nnx.Param)
targets = {{name: jax.device_put(each, rows) for name, each in labels.items()}}
losses = [float(step(model, optimizer, spread, targets)) for _ in range(5)]
assert losses[-1] < losses[0], losses
assert model.device is None
copy.deepcopy(model)(**batch)
"""


@pytest.mark.parametrize(
    ("shape", "vocabulary", "shards"),
    [
        ((2, 1), 62, ["(3, 11, 62)", "(62, 10)", "(12, 20)", "(3, 11, 24)"]),
        ((1, 2), 62, ["(6, 11, 31)", "(31, 10)", "(12, 10)", "(6, 11, 24)"]),
        ((1, 2), 61, ["(6, 11, 61)", "(61, 10)", "(12, 10)", "(6, 11, 24)"]),
    ],
    ids=["data", "model", "indivisible"],
)
def test_sharded_model_gives_the_same_numbers_on_two_devices(
    shape: tuple[int, int], vocabulary: int, shards: list[str]
) -> None:
    code = SHARDED.format(shape=shape, vocabulary=vocabulary)

    assert in_new_process(code, devices=2).splitlines() == shards
