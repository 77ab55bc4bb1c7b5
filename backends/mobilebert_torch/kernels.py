"""Matrix products of the folded encoder: prepacked for oneDNN on a CPU, plain elsewhere.

oneDNN multiplies from a blocked layout of the kernel, made once, and applies an activation or adds
the residual while the result is in registers. These are the operators that torch.compile uses too.
"""

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from mobilebert_torch.encoder import ACTIVATIONS
from mobilebert_torch.layers import find_operator

# Tokens for which oneDNN chooses the layout; one serves all numbers of tokens.
TYPICAL_TOKENS = 64
_FUSED_ACTIVATIONS: dict[str | None, tuple[str, list[Any], str]] = {
    None: ("none", [], ""),
    "relu": ("relu", [], ""),
    "gelu": ("gelu", [], "none"),
    "gelu_tanh": ("gelu", [], "tanh"),
}
_LINEAR = find_operator()


def can_pack(kernel: Tensor) -> bool:
    """Whether oneDNN's operators take this kernel."""
    operators = torch.ops.mkldnn
    return (
        kernel.device.type == "cpu"
        and kernel.dtype in (torch.float32, torch.bfloat16)
        and torch.backends.mkldnn.is_available()
        and _LINEAR is not None
        and hasattr(operators, "_reorder_linear_weight")
        and (kernel.dtype == torch.float32 or operators._is_mkldnn_bf16_supported())
    )


class Kernel(nn.Module):
    """`activation(inputs @ kernel + bias)`, or a residual plus `inputs @ kernel`.

    Its two methods are called as they are: 300 calls of modules would take a millisecond.

    Args:
        kernel: (in, out).
        bias: (out,), or None.
        activation: a key of `ACTIVATIONS`, or None.
    """

    def __init__(
        self, kernel: Tensor, bias: Tensor | None = None, activation: str | None = None
    ) -> None:
        super().__init__()
        self.activation = activation
        self.register_buffer("bias", bias)
        self.packed: Tensor | None = None
        self.rest: tuple[Any, ...] = ()  # what follows the inputs in a call of oneDNN
        self.register_buffer("matrix", kernel)
        self.pack()

    @property
    def is_native(self) -> bool:
        """Whether the kernel is a plain matrix, which compilers understand."""
        return self.packed is None

    def pack(self) -> None:
        """Move the kernel into oneDNN's layout, if that can be."""
        if self.matrix is not None and can_pack(self.matrix):
            weight = self.matrix.t().contiguous()  # (out, in)
            self.packed = torch.ops.mkldnn._reorder_linear_weight(weight, TYPICAL_TOKENS)
            self.matrix = None
            self.rest = (self.packed, self.bias, *_FUSED_ACTIVATIONS[self.activation])

    def unpack(self) -> None:
        """Move the kernel back."""
        if self.packed is not None:
            self.matrix, self.packed = self.packed.to_dense().t().contiguous(), None
            self.rest = ()

    def _apply(self, function: Callable[[Tensor], Tensor], recurse: bool = True) -> "Kernel":
        """Another device or dtype; torch cannot convert packed tensors."""
        self.unpack()
        super()._apply(function, recurse)
        self.pack()
        return self

    def __getstate__(self) -> dict[str, Any]:
        """For copies and files, which cannot hold packed tensors."""
        self.unpack()
        state = super().__getstate__() if hasattr(super(), "__getstate__") else self.__dict__
        state = {**state, "_buffers": dict(self._buffers)}
        self.pack()
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self.pack()

    def multiply(self, inputs: Tensor) -> Tensor:
        """(N, in) -> (N, out)."""
        if self.packed is not None:
            return _LINEAR(inputs, *self.rest)
        outputs = torch.addmm(self.bias, inputs, self.matrix)
        return outputs if self.activation is None else ACTIVATIONS[self.activation](outputs)

    def onto(self, residual: Tensor, inputs: Tensor) -> Tensor:
        """(N, out) and (N, in) -> (N, out)."""
        if self.packed is not None:
            return _LINEAR.binary(inputs, residual.contiguous(), self.packed, None, "add")
        return torch.addmm(residual, inputs, self.matrix)


class Int8Kernel(nn.Module):
    """The same in 8 bits, on a CPU; residuals stay float32.

    The kernel has one scale for each output channel, the inputs of a call have one: so a text's
    results depend a little on what is computed with it.

    Args:
        kernel: what it stands for.
    """

    is_native = False

    def __init__(self, kernel: Kernel) -> None:
        super().__init__()
        kernel.unpack()
        self.activation = kernel.activation
        weight = kernel.matrix.t()  # (out, in)
        scales = weight.abs().amax(dim=1).clamp(min=torch.finfo(weight.dtype).tiny) / 127
        rounded = (weight / scales[:, None]).round().to(torch.int8)
        zeros = torch.zeros(len(scales), dtype=torch.int64)
        with warnings.catch_warnings():  # such tensors will go; `check_int8` asks for the operators
            warnings.filterwarnings("ignore", ".*quantized tensor creation", UserWarning)
            quantized = torch._make_per_channel_quantized_tensor(rounded, scales.double(), zeros, 0)
        self.packed = torch.ops.quantized.linear_prepack(quantized, kernel.bias)

    def multiply(self, inputs: Tensor) -> Tensor:
        """(N, in) -> (N, out)."""
        if self.activation == "relu":
            return torch.ops.quantized.linear_relu_dynamic(inputs, self.packed, False)
        outputs = torch.ops.quantized.linear_dynamic(inputs, self.packed, False)
        return outputs if self.activation is None else ACTIVATIONS[self.activation](outputs)

    def onto(self, residual: Tensor, inputs: Tensor) -> Tensor:
        """(N, out) and (N, in) -> (N, out)."""
        return torch.ops.quantized.linear_dynamic(inputs, self.packed, False).add_(residual)
