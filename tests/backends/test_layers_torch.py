"""Products by oneDNN are those of `F.linear` to rounding, and so are their derivatives."""

from typing import Any

import pytest

from metrics import gradient_errors, output_errors, tensor_error
from mobilebert_conformance.cases import small_config
from mobilebert_conformance.weights import random_weights
from mobilebert_core import registry
from models import random_batch, random_labels

torch = pytest.importorskip("torch", reason="tests of the PyTorch backend")
layers = pytest.importorskip("mobilebert_torch.layers")

needs_onednn = pytest.mark.skipif(layers._ONEDNN is None, reason="torch lacks the operator")
pytestmark = needs_onednn
ROUNDING = 1e-6  # of float32


@pytest.fixture(autouse=True)
def everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Products of any size go to oneDNN, on any processor."""
    monkeypatch.setattr(layers, "SMALLEST_PRODUCT", 0)
    monkeypatch.setattr(layers, "_IS_FASTER", True)


def factors(*, transposed: bool, dtype: Any = torch.float64) -> list[Any]:
    """Inputs (3, 5, 7), weight (11, 7) and bias (11,)."""
    generator = torch.Generator().manual_seed(0)
    draw = lambda *shape: torch.randn(shape, generator=generator, dtype=torch.float64)  # noqa: E731
    weight = draw(7, 11).t() if transposed else draw(11, 7)
    given = [draw(3, 5, 7), weight, draw(11)]
    return [each.to(dtype).requires_grad_() for each in given]


def is_onednn(outputs: Any) -> bool:
    """Whether outputs come from oneDNN."""
    return type(outputs.grad_fn).__name__ == "ProductBackward"


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("biased", [False, True])
def test_product_and_gradients_are_those_of_linear(transposed: bool, biased: bool) -> None:
    wide, narrow = (
        factors(transposed=transposed, dtype=dtype)[: 3 if biased else 2]
        for dtype in (torch.float64, torch.float32)
    )
    expected, found = torch.nn.functional.linear(*wide), layers.linear(*narrow)
    assert is_onednn(found)
    weights = torch.randn(3, 5, 11, generator=torch.Generator().manual_seed(1))
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


def test_slices_of_columns_reach_onednn_as_copies(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def recording(inputs: Any, weight: Any, *rest: Any) -> Any:
        seen.append(weight.is_contiguous() or weight.t().is_contiguous())
        return onednn(inputs, weight, *rest)

    onednn = layers._ONEDNN
    monkeypatch.setattr(layers, "_ONEDNN", recording)
    inputs, weight, _ = factors(transposed=False, dtype=torch.float32)
    found = layers.linear(inputs[..., :4], weight[:, :4])
    found.square().sum().backward()
    assert seen == [True] * 3
    assert tensor_error(found.detach(), (inputs[..., :4] @ weight[:, :4].t()).detach()) <= ROUNDING


def test_gradients_are_made_for_what_needs_them_only() -> None:
    inputs, weight, bias = factors(transposed=False, dtype=torch.float32)
    weight.requires_grad_(False)
    bias.requires_grad_(False)
    layers.linear(inputs, weight, bias).sum().backward()
    assert inputs.grad is not None
    assert weight.grad is None
    assert bias.grad is None


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
def test_gradients_of_a_model_are_those_of_float64(head: str, checkpointing: bool) -> None:
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


def test_outputs_of_a_model_are_those_of_float64() -> None:
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
