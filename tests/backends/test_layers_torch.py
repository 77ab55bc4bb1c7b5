"""Products by oneDNN are those of `F.linear` to rounding, and so are their derivatives."""

from functools import partial
from typing import Any

import pytest

from metrics import gradient_errors, output_errors, tensor_error
from mobilebert_conformance.cases import small_config
from mobilebert_conformance.weights import random_weights
from mobilebert_core import registry
from models import random_batch, random_labels

torch = pytest.importorskip("torch", reason="tests of the PyTorch backend")
layers = pytest.importorskip("mobilebert_torch.layers")

pytestmark = pytest.mark.skipif(
    layers._ONEDNN is None,
    reason="this PyTorch is built without oneDNN's linear: F.linear multiplies, nothing to compare",
)
ROUNDING = 1e-6  # of float32


@pytest.fixture(autouse=True)
def everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Products of any size go to oneDNN, on any processor."""
    monkeypatch.setattr(layers, "SMALLEST_PRODUCT", 0)
    monkeypatch.setattr(layers, "_IS_FASTER", True)


def factors(*, transposed: bool, dtype: Any = torch.float64, outputs: int = 11) -> list[Any]:
    """Inputs (3, 5, 7), weight (outputs, 7) and bias (outputs,)."""
    generator = torch.Generator().manual_seed(0)
    draw = partial(torch.randn, generator=generator, dtype=torch.float64)
    weight = draw(7, outputs).t() if transposed else draw(outputs, 7)
    given = [draw(3, 5, 7), weight, draw(outputs)]
    return [each.to(dtype).requires_grad_() for each in given]


def is_onednn(outputs: Any) -> bool:
    """Whether outputs come from oneDNN."""
    return type(outputs.grad_fn).__name__ == "ProductBackward"


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The arguments of every call of the operator."""
    found: list[Any] = []
    onednn = layers._ONEDNN

    def recording(*arguments: Any) -> Any:
        found.append(arguments)
        return onednn(*arguments)

    monkeypatch.setattr(layers, "_ONEDNN", recording)
    return found


@pytest.mark.parametrize("outputs", [5, 11])
@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("biased", [False, True])
def test_product_and_gradients_are_those_of_linear(
    transposed: bool, biased: bool, outputs: int
) -> None:
    wide, narrow = (
        factors(transposed=transposed, dtype=dtype, outputs=outputs)[: 3 if biased else 2]
        for dtype in (torch.float64, torch.float32)
    )
    expected, found = torch.nn.functional.linear(*wide), layers.linear(*narrow)
    assert is_onednn(found)
    weights = torch.randn(3, 5, outputs, generator=torch.Generator().manual_seed(1))
    (expected * weights.double()).sum().backward()
    (found * weights).sum().backward()
    assert tensor_error(found.detach(), expected.detach()) <= ROUNDING
    for one, other in zip(narrow, wide, strict=True):
        assert tensor_error(one.grad, other.grad) <= ROUNDING


@pytest.mark.parametrize("transposed", [False, True])
def test_gradient_of_the_weight_is_laid_out_as_the_weight(transposed: bool) -> None:
    inputs, weight, bias = factors(transposed=transposed, dtype=torch.float32)
    (found,) = torch.autograd.grad(layers.linear(inputs, weight, bias).square().sum(), [weight])
    assert found.stride() == weight.stride()


def test_slices_of_columns_reach_onednn_as_copies(calls: list[Any]) -> None:
    inputs, weight, _ = factors(transposed=False, dtype=torch.float32)
    found = layers.linear(inputs[..., :4], weight[:, :4])
    found.square().sum().backward()
    weights = [each[1] for each in calls]
    assert [each.is_contiguous() or each.t().is_contiguous() for each in weights] == [True] * 3
    assert tensor_error(found.detach(), (inputs[..., :4] @ weight[:, :4].t()).detach()) <= ROUNDING


def test_bias_with_gaps_between_its_numbers_is_read_right() -> None:
    inputs, weight, bias = factors(transposed=False, dtype=torch.float32)
    with_gaps = torch.stack([bias, bias + 100], -1)[..., 0]
    assert not with_gaps.is_contiguous()
    found = layers.linear(inputs, weight, with_gaps)
    assert is_onednn(found)
    expected = torch.nn.functional.linear(inputs, weight, bias)
    assert tensor_error(found.detach(), expected.detach()) <= ROUNDING


def test_gradients_are_made_for_what_needs_them_only(calls: list[Any]) -> None:
    inputs, weight, bias = factors(transposed=False, dtype=torch.float32)
    weight.requires_grad_(False)
    bias.requires_grad_(False)
    layers.linear(inputs, weight, bias).sum().backward()
    assert tensor_error(inputs.grad, weight.sum(0).expand(3, 5, 7)) <= ROUNDING
    assert len(calls) == 2  # the product, and the gradient of the inputs


def test_inputs_of_a_frozen_weight_may_change_before_the_gradients() -> None:
    inputs, weight, bias = factors(transposed=False, dtype=torch.float32)
    before = inputs * 2
    outputs = layers.linear(before, weight.detach(), bias)
    before.add_(1)
    outputs.sum().backward()
    assert tensor_error(inputs.grad, 2 * weight.detach().sum(0).expand(3, 5, 7)) <= ROUNDING


def test_weight_of_inputs_without_gradient_may_change_before_the_gradients() -> None:
    inputs, weight, bias = factors(transposed=False, dtype=torch.float32)
    outputs = layers.linear(inputs.detach(), weight, bias)
    with torch.no_grad():
        weight.add_(1)
    outputs.sum().backward()
    assert tensor_error(weight.grad, inputs.detach().sum((0, 1)).expand(11, 7)) <= ROUNDING


@pytest.mark.parametrize("shape", [(11, 8), (7,), (2, 11, 7)])
def test_shapes_that_do_not_fit_are_left_to_pytorch_and_its_messages(shape: tuple[int]) -> None:
    inputs, weight = torch.ones(3, 7), torch.ones(shape)
    messages = []
    for product in (layers.linear, torch.nn.functional.linear):
        try:
            messages.append(product(inputs, weight).tolist())
        except RuntimeError as error:
            messages.append(str(error))
    assert messages[0] == messages[1]


def test_biases_of_other_shapes_are_broadcast_as_pytorch_does() -> None:
    inputs, weight, _ = factors(transposed=False, dtype=torch.float32)
    bias = torch.ones(1)
    expected = torch.nn.functional.linear(inputs, weight, bias)
    assert (layers.linear(inputs, weight, bias) == expected).all()


def test_operator_of_other_arguments_is_not_called(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layers, "_ARGUMENTS", [*layers._ARGUMENTS, "new"])
    assert layers.find_operator() is None


def second_derivatives(product: Any, given: list[Any]) -> list[Any]:
    """Gradients of the sum of squared gradients of a sum of squares."""
    first = torch.autograd.grad(product(*given).square().sum(), given, create_graph=True)
    return list(torch.autograd.grad(sum(each.square().sum() for each in first), given))


@pytest.mark.parametrize("transposed", [False, True])
def test_second_derivatives_are_those_of_linear(transposed: bool) -> None:
    expected = second_derivatives(torch.nn.functional.linear, factors(transposed=transposed))
    narrow = factors(transposed=transposed, dtype=torch.float32)
    for one, other in zip(second_derivatives(layers.linear, narrow), expected, strict=True):
        assert tensor_error(one, other) <= ROUNDING


# PyTorch compiles its forward-mode formulas so.
@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")
def test_forward_mode_derivatives_are_those_of_linear() -> None:
    inputs, weight, bias = (each.detach() for each in factors(transposed=False))
    forward_ad = torch.autograd.forward_ad
    with forward_ad.dual_level():
        dual = forward_ad.make_dual(inputs.float(), torch.ones(3, 5, 7))
        outputs = layers.linear(dual, weight.float(), bias.float())
        tangent = forward_ad.unpack_dual(outputs).tangent
    assert tensor_error(tangent, weight.sum(1).expand(3, 5, 11)) <= ROUNDING


def test_mapped_gradients_are_those_of_each_row() -> None:
    inputs, weight, _ = (each.detach() for each in factors(transposed=False, dtype=torch.float32))
    gradient = torch.func.grad(lambda weight, row: layers.linear(row, weight).square().sum())
    found = torch.func.vmap(gradient, in_dims=(None, 0))(weight, inputs)
    expected = torch.stack([gradient(weight, row) for row in inputs])
    assert tensor_error(found, expected) <= ROUNDING


def test_gradients_through_a_product_of_constants_are_left_to_pytorch() -> None:
    inputs, weight, bias = factors(transposed=False, dtype=torch.float32)
    other = torch.ones(11, 2)
    found = torch.func.grad(lambda other: (layers.linear(inputs, weight, bias) @ other).sum())(
        other
    )
    outputs = torch.nn.functional.linear(inputs, weight, bias).detach()
    assert tensor_error(found.detach(), outputs.sum((0, 1))[:, None].expand(11, 2)) <= ROUNDING


def test_gradients_of_a_batch_of_directions_are_those_of_each() -> None:
    inputs, weight, bias = factors(transposed=False, dtype=torch.float32)
    outputs = layers.linear(inputs, weight, bias)
    directions = torch.randn(2, 3, 5, 11, generator=torch.Generator().manual_seed(1))
    (found,) = torch.autograd.grad(
        outputs, [weight], directions, is_grads_batched=True, retain_graph=True
    )
    each = [torch.autograd.grad(outputs, [weight], one, retain_graph=True)[0] for one in directions]
    assert tensor_error(found, torch.stack(each)) <= ROUNDING


def test_autocast_keeps_its_dtype() -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        outputs = layers.linear(*factors(transposed=False, dtype=torch.float32))
    assert outputs.dtype == torch.bfloat16


def test_onednn_is_left_out_where_the_user_turned_it_off(monkeypatch: pytest.MonkeyPatch) -> None:
    given = factors(transposed=False, dtype=torch.float32)
    assert is_onednn(layers.linear(*given))
    monkeypatch.setattr(torch.backends.mkldnn, "enabled", False)
    assert not is_onednn(layers.linear(*given))


@pytest.mark.parametrize("rows", [0, 1])
def test_onednn_is_left_out_where_a_product_is_small(
    rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layers, "SMALLEST_PRODUCT", 1 + 77)
    inputs, weight, bias = factors(transposed=False, dtype=torch.float32)
    assert not is_onednn(layers.linear(inputs[0, :rows], weight, bias))
    assert is_onednn(layers.linear(inputs[0, :2], weight, bias))


def test_compiled_product_is_left_to_the_compiler() -> None:
    seen = []

    def backend(graph: Any, _: Any) -> Any:
        seen.extend(str(node.target) for node in graph.graph.nodes if node.op == "call_function")
        return graph

    torch.compile(layers.linear, backend=backend, fullgraph=True)(
        *factors(transposed=False, dtype=torch.float32)
    )
    assert len(seen) == 1
    assert "linear" in seen[0]
    assert "mkldnn" not in seen[0]


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("head", ["masked-lm", "token-classification"])
def test_gradients_of_a_model_are_those_of_float64(
    head: str, checkpointing: bool, calls: list[Any]
) -> None:
    backend = registry.get("torch")
    config = small_config(head)
    weights = random_weights(config, head)
    batch = random_batch(config, head)
    labels = random_labels(config, head, batch)
    found = {}
    for dtype in ("float32", "float64"):
        model = backend.build(config, head, weights, dtype=dtype)
        if checkpointing:
            model.gradient_checkpointing_enable()
        found[dtype] = backend.loss_and_gradients(model, batch, labels)[1]
    errors = gradient_errors(found["float32"], found["float64"])
    # Softmax takes no notice of the bias of keys: its gradient is 0, and float32 shows rounding.
    errors = {name: each for name, each in errors.items() if not name.endswith("key.bias")}
    assert max(errors.values()) <= 1e-5, errors
    assert calls


def test_outputs_of_a_model_are_those_of_float64(calls: list[Any]) -> None:
    backend = registry.get("torch")
    config = small_config("base")
    weights = random_weights(config, "base")
    batch = random_batch(config, "base")
    narrow, wide = (
        backend.run(backend.build(config, "base", weights, dtype=dtype), batch)
        for dtype in ("float32", "float64")
    )
    errors = output_errors(narrow, wide)
    assert max(errors.values()) <= 1e-5, errors
    assert calls
