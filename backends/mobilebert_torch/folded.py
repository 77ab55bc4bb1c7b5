"""The folded MobileBERT encoder in PyTorch: products, ReLU and softmax; see `core/folding.py`.

Layers see N = B * S tokens in one axis, or the tokens of texts that stand side by side. On a CPU
the kernels of products lie in oneDNN's blocked layout, and the activation or the residual addition
is a part of the product; elsewhere they are plain matrices.

B batch  S sequence  N tokens  H hidden  T bottleneck width  A heads  D head size  I feed-forward
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mobilebert_core import folding
from mobilebert_core.config import MobileBertConfig
from mobilebert_core.packing import Group, groups
from mobilebert_torch.kernels import Kernel


class Part(nn.Module):
    """A module that is called without hooks, and whose modules are plain attributes too.

    For short texts a third of the time would go into 400 calls and look-ups of modules.
    """

    def __init_subclass__(cls) -> None:
        cls.__call__ = cls.forward

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if isinstance(value, nn.Module):
            self.__dict__[name] = value


class Product(Part):
    """`activation(inputs @ kernel + bias)`."""

    def __init__(self, kernel: Tensor, bias: Tensor, activation: str | None = None) -> None:
        super().__init__()
        self.kernel = Kernel(kernel, bias, activation)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.kernel.multiply(inputs)  # (N, out)


class Addition(Part):
    """`residual * rescale + inputs @ kernel`."""

    def __init__(self, weights: folding.Addition) -> None:
        super().__init__()
        self.kernel = Kernel(weights.kernel)
        self.register_buffer("rescale", weights.rescale)  # (out,) or None
        self.is_rescaled = weights.rescale is not None

    def forward(self, residual: Tensor, inputs: Tensor) -> Tensor:
        if self.is_rescaled:
            residual = residual * self.rescale
        return self.kernel.onto(residual, inputs)  # (N, out)


class FoldedAttention(Part):
    """Attention of queries, keys and values side by side, and its way onto the residual."""

    def __init__(self, config: MobileBertConfig, weights: folding.Layer) -> None:
        super().__init__()
        self.num_heads = config.num_attention_heads
        self.output = Addition(weights.attention_output)

    def forward(
        self,
        residual: Tensor,
        mixed: Tensor,
        parts: tuple[Group, ...],
        bias: Tensor | None,
        fused: bool,
    ) -> tuple[Tensor, list[Tensor]]:
        attended = [
            self.attend(mixed[each.start : each.stop], each.texts, bias, fused) for each in parts
        ]
        contexts = [context for context, _ in attended]
        context = contexts[0] if len(contexts) == 1 else torch.cat(contexts)  # (N, T)
        probabilities = [found for _, found in attended if found is not None]
        return self.output(residual, context), probabilities

    def attend(
        self, mixed: Tensor, texts: int, bias: Tensor | None, fused: bool
    ) -> tuple[Tensor, Tensor | None]:
        """Texts of one length, (B * S, 3 T), to their context, (B * S, T), and probabilities."""
        heads = mixed.unflatten(1, (3, self.num_heads, -1)).unflatten(0, (texts, -1))
        queries, keys, values = heads.permute(2, 0, 3, 1, 4).unbind(0)  # 3 x (B, A, S, D)
        probabilities = None
        if fused:
            context = F.scaled_dot_product_attention(queries, keys, values, bias, scale=1.0)
        else:
            scores = queries @ keys.transpose(2, 3)  # (B, A, S, S)
            if bias is not None:
                scores = scores + bias
            wide = torch.promote_types(scores.dtype, torch.float32)
            probabilities = scores.softmax(dim=-1, dtype=wide).to(queries.dtype)
            context = probabilities @ values  # (B, A, S, D)
        return context.transpose(1, 2).flatten(2).flatten(0, 1), probabilities


class FoldedFeedForward(Part):
    """One feed-forward network, onto its input."""

    def __init__(self, config: MobileBertConfig, weights: folding.FeedForward) -> None:
        super().__init__()
        self.intermediate = Product(
            weights.intermediate_kernel, weights.intermediate_bias, config.hidden_act
        )
        self.output = Addition(weights.output)

    def forward(self, hidden_states: Tensor) -> Tensor:
        return self.output(hidden_states, self.intermediate(hidden_states))  # (N, T)


class FoldedLayer(Part):
    """One layer, from a folded state to the next one."""

    def __init__(self, config: MobileBertConfig, weights: folding.Layer) -> None:
        super().__init__()
        self.width = config.true_hidden_size
        self.input = Product(weights.input_kernel, weights.input_bias)
        self.queries_keys_values = None
        if weights.attention_kernel is not None:
            self.queries_keys_values = Product(weights.attention_kernel, weights.attention_bias)
        self.attention = FoldedAttention(config, weights)
        self.feed_forward = nn.ModuleList(
            FoldedFeedForward(config, each) for each in weights.feed_forward
        )
        self.bottleneck = Addition(weights.bottleneck)
        self.register_buffer("scale", weights.scale)  # (H,)
        self.register_buffer("shift", weights.shift)  # (H,)

    def forward(
        self, state: Tensor, parts: tuple[Group, ...], bias: Tensor | None, fused: bool
    ) -> tuple[Tensor, list[Tensor]]:
        projected = self.input(state)  # (N, 4 T), or (N, T)
        if self.queries_keys_values is None:
            residual, mixed = projected.split((self.width, 3 * self.width), dim=1)
        else:
            residual, mixed = projected, self.queries_keys_values(projected)  # (N, 3 T)
        inner, probabilities = self.attention(residual, mixed, parts, bias, fused)
        for feed_forward in self.feed_forward:
            inner = feed_forward(inner)  # (N, T)
        return self.bottleneck(state, inner), probabilities  # (N, H)

    def unfold(self, state: Tensor) -> Tensor:
        """The layer's output in the model's own terms."""
        wide = torch.promote_types(state.dtype, torch.float32)  # as NoNorm does: round once
        return torch.addcmul(self.shift.to(wide), state.to(wide), self.scale.to(wide)).to(state)


class FoldedEncoder(nn.Module):
    """The stack of layers; gradients do not pass.

    torch.compile and torch.export leave an encoder alone whose kernels are packed already.
    """

    def __init__(
        self,
        config: MobileBertConfig,
        layers: tuple[folding.Layer, ...],
        divisor: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.layer = nn.ModuleList(FoldedLayer(config, weights) for weights in layers)
        self.register_buffer("divisor", divisor)  # (H,) or None; see `core/balancing.py`

    def forward(self, *arguments: Any) -> tuple[Tensor, tuple[Tensor, ...], tuple[Tensor, ...]]:
        if self.layer[0].input.kernel.is_native:
            return self.run(*arguments)
        return self.run_as_it_is(*arguments)

    @torch.compiler.disable
    def run_as_it_is(self, *arguments: Any) -> Any:
        """The same, out of sight of compilers."""
        return self.run(*arguments)

    @torch.no_grad()
    def run(
        self,
        hidden_states: Tensor,
        bias: Tensor | None,
        collect: tuple[str, ...],
        fused: bool,
        lengths: tuple[int, ...] | None = None,
    ) -> tuple[Tensor, tuple[Tensor, ...], tuple[Tensor, ...]]:
        """The computation."""
        batch, length, _ = hidden_states.shape
        parts = (Group(0, batch, length),) if lengths is None else groups(lengths)
        states, attentions = [hidden_states], []
        state = hidden_states.flatten(0, 1)  # (N, H)
        if self.divisor is not None:
            state = state / self.divisor
        for layer in self.layer:
            state, probabilities = layer(state, parts, bias, fused)
            if "hidden_states" in collect:
                states.append(layer.unfold(state).view_as(hidden_states))
            if "attentions" in collect:
                attentions.extend(probabilities)
        sequence = self.layer[-1].unfold(state).view_as(hidden_states)
        return sequence, tuple(states), tuple(attentions)
