"""What PyTorch users rely on: names, tying, training, compilation, export, dtypes, devices."""

import copy
from concurrent.futures import ThreadPoolExecutor
from typing import Any

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
from mobilebert_conformance.cases import VARIANTS, small_config
from mobilebert_conformance.weights import random_weights
from mobilebert_core import registry
from mobilebert_core.errors import ConfigError, InputError
from mobilebert_core.heads import HEADS
from mobilebert_core.schema import tensors
from models import random_batch, random_labels

torch = pytest.importorskip("torch", reason="tests of the PyTorch backend")

LIMIT = 1e-11
TRAINED_HEADS = [name for name, head in HEADS.items() if head.labels]


@pytest.fixture(scope="module")
def torch_backend() -> Any:
    """The backend under test."""
    return registry.get("torch")


@pytest.fixture
def make(torch_backend: Any) -> Any:
    """Makes small models with random weights."""

    def make_model(head: str = "base", dtype: str = "float64", **changes: Any) -> Any:
        config = small_config(**changes)
        weights = random_weights(config, head)
        return torch_backend.build(config, head, weights, dtype=dtype)

    return make_model


def tensors_of(batch: dict[str, Any]) -> dict[str, Any]:
    """NumPy arrays as tensors."""
    return {name: torch.as_tensor(each) for name, each in batch.items()}


@pytest.mark.parametrize("head", HEADS)
def test_state_dict_has_the_canonical_names(head: str, make: Any) -> None:
    model = make(head)

    prefix = "mobilebert." if head == "base" else ""
    names = {prefix + name for name in model.state_dict()}

    assert names == set(tensors(model.config, head))


@pytest.mark.parametrize("head", HEADS)
def test_state_dict_loads_into_transformers(head: str, make: Any) -> None:
    transformers = pytest.importorskip("transformers", reason="the reference is not installed")
    model = make(head, num_labels=2)
    config = transformers.MobileBertConfig.from_dict(model.config.to_dict())
    other = getattr(transformers, HEADS[head].class_name)(config).double()

    other.load_state_dict(model.state_dict(), strict=True)

    for name, value in other.state_dict().items():
        assert value.numpy().tobytes() == model.state_dict()[name].numpy().tobytes(), name


@pytest.mark.parametrize("head", TRAINED_HEADS)
@pytest.mark.parametrize("variant", ["default", "layer_norm", "tiny", "gelu"])
def test_gradients_agree_with_transformers(head: str, variant: str, torch_backend: Any) -> None:
    transformers = pytest.importorskip("transformers", reason="the reference is not installed")
    config = small_config(**VARIANTS[variant], num_labels=2)
    model = torch_backend.build(config, head, random_weights(config, head), dtype="float64")
    # Without a padding token the reference does not mask that row's gradient; we never do.
    values = config.to_dict() | {"attention_probs_dropout_prob": 0.0, "pad_token_id": None}
    reference_config = transformers.MobileBertConfig.from_dict(values)
    reference_config._attn_implementation = "eager"
    reference = getattr(transformers, HEADS[head].class_name)(reference_config).double()
    for module in reference.modules():
        if isinstance(module, torch.nn.LayerNorm):
            module.eps = config.layer_norm_eps
    # What the reference creates and never uses is not in our state.
    missing = reference.load_state_dict(model.state_dict(), strict=False).missing_keys
    assert all(".bottleneck.attention." in name for name in missing)
    batch = random_batch(config, head)
    labels = random_labels(config, head, batch)

    loss, gradients = torch_backend.loss_and_gradients(model, batch, labels)
    expected = reference(**tensors_of(batch | labels)).loss
    expected.backward()

    assert relative_error(loss, expected.detach()) <= LIMIT
    named = {
        name: each.grad.numpy()
        for name, each in reference.named_parameters()
        if each.grad is not None
    }
    assert set(gradients) == set(named)
    errors = gradient_errors(gradients, named)
    assert max(errors.values()) <= LIMIT, errors


def test_decoder_is_tied_to_the_word_embeddings(make: Any) -> None:
    model = make("masked-lm")

    assert model.cls.predictions.decoder.weight is model.get_input_embeddings().weight
    assert model.cls.predictions.decoder.bias is model.cls.predictions.bias


@pytest.mark.parametrize("head", ["masked-lm", "pretraining"])
def test_decoder_stays_tied_when_the_model_is_copied_and_cast(head: str, make: Any) -> None:
    model = copy.deepcopy(make(head)).float()

    assert model.cls.predictions.decoder.weight is model.get_input_embeddings().weight


def test_training_moves_embeddings_and_decoder_together(make: Any) -> None:
    model = make("masked-lm").train()
    batch = tensors_of(random_batch(model.config, "masked-lm"))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    before = model.get_input_embeddings().weight.detach().clone()

    model(**batch, labels=batch["input_ids"]).loss.backward()
    optimizer.step()

    after = model.get_input_embeddings().weight
    assert not torch.equal(before, after)
    assert torch.equal(after, model.cls.predictions.decoder.weight)


def test_gradients_are_for_evaluation_mode_when_the_model_is_training(
    make: Any, torch_backend: Any
) -> None:
    model = make("sequence-classification", hidden_dropout_prob=0.5).train()
    batch = random_batch(model.config, "sequence-classification")

    first = torch_backend.loss_and_gradients(model, batch, np.array([0, 1, 2]))
    second = torch_backend.loss_and_gradients(model, batch, np.array([0, 1, 2]))

    assert first[0] == second[0]
    assert model.training


def test_gradients_need_labels(make: Any, torch_backend: Any) -> None:
    model = make("base")

    with pytest.raises(InputError, match="gives no loss"):
        torch_backend.loss_and_gradients(model, random_batch(model.config, "base"), None)


def test_checkpointed_gradients_are_the_plain_ones(make: Any) -> None:
    gradients = []
    for checkpointing in (False, True):
        model = make("masked-lm", attention_probs_dropout_prob=0.0).train()
        if checkpointing:
            model.gradient_checkpointing_enable()
        batch = tensors_of(random_batch(model.config, "masked-lm"))
        model(**batch, labels=batch["input_ids"]).loss.backward()
        gradients.append({name: each.grad.numpy() for name, each in model.named_parameters()})

    plain, recomputed = gradients
    assert all(plain[name].tobytes() == recomputed[name].tobytes() for name in plain)


def test_checkpointing_keeps_fewer_activations(make: Any) -> None:
    kept = []
    for checkpointing in (False, True):
        model = make("masked-lm", num_hidden_layers=6).train()
        if checkpointing:
            model.gradient_checkpointing_enable()
        sizes: list[int] = []

        def pack(tensor: Any, sizes: list[int] = sizes) -> Any:
            sizes.append(tensor.numel())
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            model(**tensors_of(random_batch(model.config, "masked-lm")))
        kept.append(sum(sizes))

    assert kept[1] < kept[0] / 2


@pytest.mark.parametrize(
    "field", ["hidden_dropout_prob", "attention_probs_dropout_prob", "classifier_dropout"]
)
def test_dropout_acts_in_training_only(field: str, make: Any) -> None:
    off = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    model = make("token-classification", **(off | {field: 0.4}))
    batch = tensors_of(random_batch(model.config, "token-classification"))
    reference = model(**batch).logits

    assert torch.equal(model(**batch).logits, reference)
    assert not torch.equal(model.train()(**batch).logits, reference)


@pytest.mark.parametrize(
    "head", ["sequence-classification", "multiple-choice", "token-classification"]
)
def test_classifier_has_its_own_dropout(head: str, make: Any) -> None:
    model = make(head, attention_probs_dropout_prob=0.0, classifier_dropout=0.4)
    batch = tensors_of(random_batch(model.config, head))
    reference = model(**batch).logits

    assert not torch.equal(model.train()(**batch).logits, reference)


def test_embeddings_have_dropout(make: Any) -> None:
    model = make(hidden_dropout_prob=0.4, attention_probs_dropout_prob=0.0).train()
    batch = tensors_of(random_batch(model.config, "base"))

    states = model(**batch, output_hidden_states=True).hidden_states

    assert 0.3 < (states[0] == 0).double().mean() < 0.5


def test_dropout_is_absent_inside_the_layer_when_there_is_a_bottleneck(make: Any) -> None:
    inside = make(hidden_dropout_prob=0.3).encoder.layer[0]
    without = make(hidden_dropout_prob=0.3, use_bottleneck=False).encoder.layer[0]

    assert (inside.attention.output.dropout.p, inside.output.dropout.p) == (0.0, 0.0)
    assert inside.output.bottleneck.dropout.p == 0.3
    assert (without.attention.output.dropout.p, without.output.dropout.p) == (0.3, 0.3)


def test_attention_dropout_has_the_right_mean_with_and_without_the_fused_kernel(make: Any) -> None:
    model = make(attention_probs_dropout_prob=0.5, num_hidden_layers=1).train()
    layer = model.encoder.layer[0].attention.self
    torch.manual_seed(0)
    query_key, values = (torch.randn(1, 5, size, dtype=torch.float64) for size in (12, 24))
    with torch.no_grad():
        expected = layer.eval()(query_key, values, None, False)[0]
        layer.train()
        for fused in (False, True):
            runs = [layer(query_key, values, None, fused)[0] for _ in range(1000)]
            assert tensor_error(runs[0], expected) > 0.1
            assert tensor_error(torch.stack(runs).mean(0), expected) < 0.15


@pytest.mark.parametrize("head", HEADS)
def test_compiled_model_gives_the_same_outputs(head: str, make: Any) -> None:
    torch._dynamo.reset()
    model = make(head)
    batch = tensors_of(random_batch(model.config, head))
    labels = tensors_of(random_labels(model.config, head, batch))
    arguments = {"output_hidden_states": True, "output_attentions": True}
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")

    with torch.no_grad():
        output = compiled(**batch, **labels, **arguments)
        expected = model(**batch, **labels, **arguments)

    errors = output_errors(output, expected)
    assert max(errors.values()) <= LIMIT, errors


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*torch.jit.script_method:DeprecationWarning")  # inductor's own
def test_compiled_training_step_gives_the_same_gradients(make: Any) -> None:
    torch._dynamo.reset()
    gradients = []
    for compiled in (False, True):
        model = make("masked-lm", attention_probs_dropout_prob=0.0).train()
        batch = tensors_of(random_batch(model.config, "masked-lm"))
        call = torch.compile(model, fullgraph=True) if compiled else model
        call(**batch, labels=batch["input_ids"]).loss.backward()
        gradients.append({name: each.grad.numpy() for name, each in model.named_parameters()})

    assert max(gradient_errors(*gradients).values()) <= LIMIT


@pytest.mark.parametrize("head", HEADS)
def test_exported_model_runs_at_another_batch_size(head: str, make: Any) -> None:
    model = make(head)
    batch = tensors_of(random_batch(model.config, head))
    batch_size = torch.export.Dim("batch", min=2, max=64)
    exported = torch.export.export(
        model, (), batch, dynamic_shapes={name: {0: batch_size} for name in batch}
    )
    larger = {name: torch.cat([each, each[:2].flip(0)]) for name, each in batch.items()}

    with torch.no_grad():
        output = exported.module()(**larger)
        expected = model(**larger)

    errors = output_errors(output, expected)
    assert max(errors.values()) <= LIMIT, errors


@pytest.mark.parametrize("head", ["masked-lm", "sequence-classification", "question-answering"])
def test_exported_model_runs_at_another_length(head: str, make: Any) -> None:
    model = make(head)
    batch = tensors_of(random_batch(model.config, head))
    length = torch.export.Dim("length", min=2, max=19)
    exported = torch.export.export(
        model, (), batch, dynamic_shapes={name: {1: length} for name in batch}
    )
    shorter = {name: each[:, :5] for name, each in batch.items()}

    with torch.no_grad():
        errors = output_errors(exported.module()(**shorter), model(**shorter))

    assert max(errors.values()) <= LIMIT, errors


def test_bfloat16_is_near_float64(make: Any) -> None:
    precise, half = make(), make(dtype="bfloat16")
    batch = random_batch(precise.config, "base")
    backend = registry.get("torch")

    output = backend.run(half, batch).last_hidden_state
    reference = backend.run(precise, batch).last_hidden_state

    assert str(output.dtype) == "bfloat16"
    assert channel_error(output, reference) <= 0.1


def test_bfloat16_weights_come_back_bit_for_bit(torch_backend: Any) -> None:
    import ml_dtypes

    config = small_config()
    weights = {
        name: each.astype(ml_dtypes.bfloat16)
        for name, each in random_weights(config, "masked-lm").items()
    }
    model = torch_backend.build(config, "masked-lm", weights, dtype="bfloat16")

    returned = torch_backend.weights(model)

    assert all(returned[name].tobytes() == weights[name].tobytes() for name in weights)
    assert {array.dtype for array in returned.values()} == {np.dtype(ml_dtypes.bfloat16)}


def test_autocast_to_bfloat16_keeps_fully_masked_rows_finite(make: Any) -> None:
    model = make(dtype="float32")
    batch = tensors_of(random_batch(model.config, "base"))

    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        fused = model(**batch).last_hidden_state
        eager = model(**batch, output_attentions=True).last_hidden_state

    reference = model(**batch).last_hidden_state.detach()
    assert channel_error(fused, reference) <= 0.1
    assert channel_error(eager, reference) <= 0.1


def test_half_model_is_refused_when_called(make: Any) -> None:
    with pytest.raises(ConfigError, match="computes in float16"):
        make().half()([1, 2])


def test_autocast_to_float16_is_refused(make: Any) -> None:
    model = make(dtype="float32")

    with torch.autocast("cpu", torch.float16), pytest.raises(ConfigError, match="float16"):
        model([1, 2])


def test_gradient_flows_to_given_embeddings(make: Any) -> None:
    model = make()
    embeddings = torch.randn(2, 5, 10, dtype=torch.float64, requires_grad=True)

    model(inputs_embeds=embeddings).last_hidden_state.sum().backward()

    assert embeddings.grad.abs().min() > 0


def test_additive_four_dimensional_mask_is_refused(make: Any) -> None:
    mask = torch.zeros(1, 1, 3, 3)
    mask[..., 2] = -torch.inf

    with pytest.raises(InputError, match="values other than 0"):
        make()([1, 2, 3], attention_mask=mask)


def test_labels_may_be_bfloat16(make: Any) -> None:
    model = make("sequence-classification", num_labels=1)

    loss = model([1, 2], labels=torch.tensor([0.5], dtype=torch.bfloat16)).loss

    assert loss == model([1, 2], labels=torch.tensor([0.5])).loss


def test_constructor_gives_the_fresh_weights_of_its_seed(torch_backend: Any) -> None:
    import mobilebert

    config = small_config()
    first = mobilebert.MobileBertForMaskedLM(config, seed=7)
    second = mobilebert.create(config, "masked-lm", "torch", seed=7)

    one, other = torch_backend.weights(first), torch_backend.weights(second)
    assert all(one[name].tobytes() == other[name].tobytes() for name in other)
    assert first.training
    assert not second.training


def test_model_moves_to_the_meta_device_and_says_where_it_is(make: Any) -> None:
    assert make().to("meta").device == torch.device("meta")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device at hand")
@pytest.mark.parametrize("head", HEADS)
def test_cuda_gives_the_same_outputs(head: str, torch_backend: Any) -> None:
    config = small_config()
    weights = random_weights(config, head)
    batch = random_batch(config, head)
    outputs = []
    for device in ("cpu", "cuda"):
        model = torch_backend.build(config, head, weights, dtype="float64", device=device)
        outputs.append(torch_backend.run(model, batch, collect=("hidden_states", "attentions")))

    errors = output_errors(outputs[1], outputs[0])
    assert max(errors.values()) <= LIMIT, errors


def test_running_leaves_every_module_in_its_mode(make: Any, torch_backend: Any) -> None:
    model = make("sequence-classification", hidden_dropout_prob=0.5).train()
    model.mobilebert.embeddings.eval()
    modes = [module.training for module in model.modules()]

    torch_backend.run(model, random_batch(model.config, "sequence-classification"))

    assert [module.training for module in model.modules()] == modes


def test_running_has_no_dropout_when_threads_share_a_training_model(
    make: Any, torch_backend: Any
) -> None:
    model = make("sequence-classification", hidden_dropout_prob=0.5).train()
    batch = random_batch(model.config, "sequence-classification")

    with ThreadPoolExecutor(4) as pool:
        outputs = list(pool.map(lambda _: torch_backend.run(model, batch).logits, range(40)))

    assert {each.tobytes() for each in outputs} == {outputs[0].tobytes()}
    assert model.training


def test_evaluation_view_shares_the_parameters(make: Any) -> None:
    from mobilebert_torch.backend import evaluation_view

    model = make("masked-lm").train()

    view = evaluation_view(model)

    assert not view.training
    assert all(a is b for a, b in zip(view.parameters(), model.parameters(), strict=True))
    assert view.cls.predictions.decoder.weight is model.get_input_embeddings().weight


def test_compiled_model_is_saved_as_the_model_inside(make: Any, tmp_path: Any) -> None:
    import mobilebert

    model = make("masked-lm")

    mobilebert.save(torch.compile(model, backend="eager"), tmp_path / "model")

    loaded = mobilebert.load(tmp_path / "model", backend="torch")
    assert torch.equal(loaded.cls.predictions.dense.weight, model.cls.predictions.dense.weight)


def test_mapped_call_gives_the_rows_of_the_batch(make: Any) -> None:
    model = make("sequence-classification")
    batch = tensors_of(random_batch(model.config, "sequence-classification"))

    def row(ids: Any, mask: Any) -> Any:
        return model(input_ids=ids[None], attention_mask=mask[None]).logits[0]

    del batch["token_type_ids"]
    expected = model(**batch).logits
    mapped = torch.func.vmap(row)(batch["input_ids"], batch["attention_mask"])

    assert token_error(mapped.detach(), expected.detach()) <= LIMIT


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # tracing is deprecated, and still used
@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
def test_traced_model_honours_another_mask(make: Any) -> None:
    model = make("sequence-classification")
    ids, ones = torch.ones(2, 7, dtype=torch.long), torch.ones(2, 7, dtype=torch.long)
    padded = ones.clone()
    padded[0, 4:] = 0

    class Tuple(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, ids: Any, mask: Any) -> Any:
            return self.model(input_ids=ids, attention_mask=mask, return_dict=False)[0]

    with torch.no_grad():
        traced = torch.jit.trace(Tuple().eval(), (ids, ones))
        assert token_error(traced(ids, padded), Tuple()(ids, padded)) <= LIMIT


@pytest.mark.parametrize("dtype", ["float16", "float23", torch.float16])
def test_constructor_refuses_what_the_backend_does_not_compute_in(dtype: Any) -> None:
    import mobilebert

    with pytest.raises(ConfigError, match=r"dtype|compute in"):
        mobilebert.MobileBertModel(small_config(), dtype=dtype)


@pytest.mark.parametrize("fused", [True, False])
def test_attention_dropout_follows_its_own_module(fused: bool, make: Any) -> None:
    layer = make(attention_probs_dropout_prob=0.5).encoder.layer[0].attention.self.eval()
    query_key, values = (torch.randn(1, 5, size, dtype=torch.float64) for size in (12, 24))
    with torch.no_grad():
        expected = layer(query_key, values, None, fused)[0]
        layer.dropout.train()

        assert not torch.equal(layer(query_key, values, None, fused)[0], expected)


def test_float64_model_runs_under_autocast_with_padding(make: Any) -> None:
    model = make()
    batch = tensors_of(random_batch(model.config, "base"))

    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        assert model(**batch).last_hidden_state.dtype == torch.float64


def test_gradients_are_complete_when_parameters_are_frozen(make: Any, torch_backend: Any) -> None:
    model = make("masked-lm")
    batch = random_batch(model.config, "masked-lm")
    expected = torch_backend.loss_and_gradients(model, batch, batch["input_ids"])[1]
    model.mobilebert.embeddings.requires_grad_(False)

    with torch.inference_mode():
        found = torch_backend.loss_and_gradients(model, batch, batch["input_ids"])[1]

    assert max(gradient_errors(found, expected).values()) <= LIMIT
    assert not model.get_input_embeddings().weight.requires_grad
    assert all(parameter.grad is None for parameter in model.parameters())


def test_compiled_training_model_runs_on_arrays(make: Any, torch_backend: Any) -> None:
    model = make().train()
    batch = random_batch(model.config, "base")
    compiled = torch.compile(model, backend="eager")

    output = torch_backend.run(compiled, batch).last_hidden_state

    assert output.tobytes() == torch_backend.run(model.eval(), batch).last_hidden_state.tobytes()


@pytest.fixture
def reproducible(torch_backend: Any) -> Any:
    """A masked-lm model that computes in float64 and gives float32."""
    config = small_config()
    weights = random_weights(config, "masked-lm")
    return torch_backend.build(config, "masked-lm", weights, precision="reproducible")


def test_training_model_runs_reproducibly(reproducible: Any, torch_backend: Any) -> None:
    batch = random_batch(reproducible.config, "masked-lm")
    expected = torch_backend.run(reproducible, batch).logits

    found = torch_backend.run(reproducible.train(), batch).logits

    assert (found.dtype, found.tobytes()) == (np.float32, expected.tobytes())


def test_compiled_model_is_reproducible(reproducible: Any) -> None:
    torch._dynamo.reset()
    batch = tensors_of(random_batch(reproducible.config, "masked-lm"))
    compiled = torch.compile(reproducible, fullgraph=True, backend="aot_eager")

    with torch.no_grad():
        assert torch.equal(compiled(**batch).logits, reproducible(**batch).logits)


def test_exported_model_is_reproducible(reproducible: Any) -> None:
    batch = tensors_of(random_batch(reproducible.config, "masked-lm"))

    exported = torch.export.export(reproducible, (), batch).module()

    with torch.no_grad():
        found, expected = exported(**batch).logits, reproducible(**batch).logits
    assert found.dtype == torch.float32
    assert torch.equal(found, expected)


def test_reproducible_model_is_refused_when_its_parameters_were_cast(reproducible: Any) -> None:
    with pytest.raises(ConfigError, match=r"float64.*computes in float32"):
        reproducible.float()([[5, 6]])


def test_zero_has_a_gradient_when_it_is_rounded(reproducible: Any) -> None:
    values = torch.zeros(3, dtype=torch.float64, requires_grad=True)

    reproducible.to_float32(values).sum().backward()

    assert values.grad.tolist() == [1, 1, 1]


def test_loss_is_computed_in_float32_when_logits_are_bfloat16(make: Any) -> None:
    model = make("sequence-classification", dtype="bfloat16")
    batch = tensors_of(random_batch(model.config, "sequence-classification"))

    output = model(**batch, labels=torch.tensor([0, 1, 2]))

    exact = torch.nn.functional.cross_entropy(output.logits.float(), torch.tensor([0, 1, 2]))
    assert output.loss.dtype == torch.float32
    assert torch.equal(output.loss, exact)


def test_no_norm_rounds_once_in_bfloat16(make: Any) -> None:
    norm = make(dtype="bfloat16").embeddings.LayerNorm
    inputs = torch.randn(50, 24).bfloat16()

    exact = inputs.float() * norm.weight.float() + norm.bias.float()

    assert torch.equal(norm(inputs), exact.bfloat16())


def test_softmax_rounds_once_in_bfloat16(make: Any) -> None:
    attention = make(dtype="bfloat16").encoder.layer[0].attention.self
    queries, keys = torch.randn(2, 1, 3, 64, 4).bfloat16()
    scores = queries @ keys.transpose(2, 3) * attention.config.attention_head_size**-0.5

    probabilities = attention.probabilities(queries, keys, None)

    assert torch.equal(probabilities, scores.float().softmax(-1).bfloat16())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device at hand")
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_cuda_attends_uniformly_when_a_row_is_fully_masked(dtype: str, torch_backend: Any) -> None:
    config = small_config(hidden_size=64, intra_bottleneck_size=48, num_attention_heads=3)
    weights = random_weights(config, "base")
    model = torch_backend.build(config, "base", weights, dtype=dtype, device="cuda")
    batch = random_batch(config, "base")

    fused = torch_backend.run(model, batch).last_hidden_state
    eager = torch_backend.run(model, batch, collect=("attentions",)).last_hidden_state

    assert channel_error(fused, eager) <= {"float32": 1e-4, "bfloat16": 0.1}[dtype]
