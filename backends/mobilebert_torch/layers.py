"""Dense layers whose products oneDNN computes where that is faster: float32 on a CPU with AVX-512.

There `F.linear` multiplies with MKL, which takes twice as long on AMD's processors, forward and
backward. `torch.compile`, `torch.export`, `torch.jit.trace`, autocast, torch.func and other kinds
of tensors see `F.linear`; `torch.jit.script` and `torch.fx` do not take these layers.

N rows
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd import forward_ad

# Multiplications below which calling oneDNN costs more than it gains.
SMALLEST_PRODUCT = 2**20
_ARGUMENTS = ["X", "W", "B", "attr", "scalars", "algorithm"]


def find_operator() -> Any:
    """The product of oneDNN; None where this PyTorch has none, or another one of that name."""
    operator = getattr(torch.ops.mkldnn, "_linear_pointwise", None)
    if operator is None or "default" not in operator.overloads():
        return None
    names = [each.name for each in operator.default._schema.arguments]
    return operator if names == _ARGUMENTS else None


_ONEDNN = find_operator()
_IS_FASTER = _ONEDNN is not None and torch.backends.cpu.get_cpu_capability() == "AVX512"


class Linear(nn.Linear):
    """`inputs @ weight.T + bias`; PyTorch's own layer but for who multiplies."""

    def forward(self, inputs: Tensor) -> Tensor:
        return linear(inputs, self.weight, self.bias)


def linear(inputs: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """`inputs @ weight.T + bias`, differentiable as often as you like.

    Args:
        inputs: (..., in).
        weight: (out, in); a transposed view costs no copy.
        bias: (out,), or None.

    Returns:
        (..., out).
    """
    if not suits_onednn(inputs, weight, bias):
        return F.linear(inputs, weight, bias)
    inputs, bias = inputs.contiguous(), None if bias is None else bias.contiguous()
    if not weight.t().is_contiguous():
        weight = weight.contiguous()  # of a slice's columns oneDNN makes a hundred times the work
    if torch.is_grad_enabled():
        return Product.apply(inputs, weight, bias)
    return _ONEDNN(inputs, weight, bias, "none", [], "")


def is_recorded() -> bool:
    """Whether a compiler or a tracer looks on."""
    return torch.compiler.is_compiling() or torch.jit.is_tracing()


def suits_onednn(inputs: Tensor, weight: Tensor, bias: Tensor | None) -> bool:
    """Whether oneDNN takes this product and is faster."""
    given = (inputs, weight) if bias is None else (inputs, weight, bias)
    return (
        _IS_FASTER
        and not is_recorded()
        and not torch._C._are_functorch_transforms_active()
        and inputs.dim() > 1
        and inputs.shape[-1:] == weight.shape[1:]
        and (bias is None or bias.shape == weight.shape[:1])
        and inputs.numel() * len(weight) >= SMALLEST_PRODUCT
        and torch.backends.mkldnn.enabled
        and not torch.is_autocast_enabled("cpu")
        and all(is_plain(each) for each in given)
    )


def is_plain(tensor: Tensor) -> bool:
    """Whether a tensor is float32 in the CPU's memory, and carries no forward-mode derivative."""
    return (
        type(tensor) in (Tensor, nn.Parameter)
        and tensor.dtype == torch.float32
        and tensor.device.type == "cpu"
        and tensor.layout == torch.strided
        and forward_ad.unpack_dual(tensor).tangent is None
    )


class Product(torch.autograd.Function):
    """oneDNN's product with its derivatives, which are products again."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        needs_inputs, needs_weight = ctx.needs_input_grad[:2]
        # What no gradient needs may be freed, or changed in place.
        ctx.save_for_backward(inputs if needs_weight else None, weight if needs_inputs else None)
        ctx.is_transposed = not weight.is_contiguous()
        return _ONEDNN(inputs, weight, bias, "none", [], "")

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        inputs, weight = ctx.saved_tensors
        needs_inputs, needs_weight, needs_bias = ctx.needs_input_grad
        return (
            linear(gradient, weight.t()) if needs_inputs else None,  # (..., in)
            gradient_of_weight(inputs, gradient, ctx.is_transposed) if needs_weight else None,
            gradient.reshape(-1, gradient.shape[-1]).sum(0) if needs_bias else None,  # (out,)
        )


def gradient_of_weight(inputs: Tensor, gradient: Tensor, is_transposed: bool) -> Tensor:
    """(..., in) and (..., out) -> (out, in), laid out as the weight is.

    The first factor is copied, transposed: that is the narrower one, unless the layout says which.
    """
    rows = inputs.reshape(-1, inputs.shape[-1])  # (N, in)
    gradients = gradient.reshape(-1, gradient.shape[-1])  # (N, out)
    if is_transposed:
        return linear(rows.t(), gradients.t()).t()
    if gradients.shape[1] > rows.shape[1]:
        return linear(rows.t(), gradients.t()).t().contiguous()
    return linear(gradients.t(), rows.t())
