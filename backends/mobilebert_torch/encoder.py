"""The MobileBERT encoder in PyTorch, bottom up; module names are those of the checkpoints.

B batch  S sequence  E embedding  H hidden  T bottleneck width  A heads  D head size  I feed-forward
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from mobilebert_core.config import MobileBertConfig
from mobilebert_core.inputs import Batch
from mobilebert_core.packing import first_tokens, last_tokens
from mobilebert_torch.layers import Linear, is_recorded
from mobilebert_torch.params import to_tensor

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "gelu": F.gelu,
    "gelu_tanh": partial(F.gelu, approximate="tanh"),
}


class Encoded(NamedTuple):
    """What the backbone hands to a head."""

    sequence: Tensor  # (B, S, H)
    pooled: Tensor | None  # (B, H)
    hidden_states: tuple[Tensor, ...] | None
    attentions: tuple[Tensor, ...] | None


class NoNorm(nn.Module):
    """The element-wise linear map that replaces layer normalisation (section 3.3)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, inputs: Tensor) -> Tensor:
        if inputs.dtype == torch.bfloat16:  # eight bits of mantissa: compute in float32, round once
            return (inputs.float() * self.weight + self.bias).to(inputs.dtype)
        return inputs * self.weight + self.bias


def make_norm(config: MobileBertConfig, width: int) -> nn.Module:
    """The normalisation that the configuration asks for."""
    if config.normalization_type == "no_norm":
        return NoNorm(width)
    return nn.LayerNorm(width, eps=config.layer_norm_eps)


def values_are_known(*arguments: object) -> bool:
    """Whether a call is an ordinary one: not compiled, traced or transformed by torch.func."""
    if is_recorded():
        return False
    wrapped = torch._C._functorch.is_functorch_wrapped_tensor
    return not any(isinstance(each, Tensor) and wrapped(each) for each in arguments)


def computing_dtype(hidden_states: Tensor) -> torch.dtype:
    """The dtype of matrix products, which autocast may have lowered.

    A bias made in a wider dtype would overflow to -inf there, and a fully masked row become NaN.
    """
    device_type = hidden_states.device.type
    if hidden_states.dtype != torch.float64 and torch.is_autocast_enabled(device_type):
        return torch.get_autocast_dtype(device_type)
    return hidden_states.dtype


def attention_bias(mask: Tensor | None, dtype: torch.dtype) -> Tensor | None:
    """0 where attended, hugely negative and finite elsewhere; (B, 1, 1, S) or 4-D as given.

    Half of the most negative number: CUDA's fused kernel multiplies it by log2(e), and a row of
    minus infinities would attend nowhere instead of everywhere alike.
    """
    if mask is None:
        return None
    if mask.dim() == 2:
        mask = mask[:, None, None, :]  # (B, 1, 1, S)
    bias = torch.zeros(mask.shape, dtype=dtype, device=mask.device)
    return bias.masked_fill(mask == 0, torch.finfo(dtype).min / 2)


def may_mask_whole_rows(mask: Tensor | None) -> bool:
    """Whether some token may attend nowhere; where values are unknown, yes.

    The fused kernels' backward pass rebuilds probabilities from the logarithm of their sum. Next to
    the most negative finite number that logarithm is rounded away, and gradients come out wrong.
    """
    if mask is None:
        return False
    return not values_are_known(mask) or bool((mask == 0).all(dim=-1).any())


class Embeddings(nn.Module):
    """Trigram word, position and token type embeddings (section 3.1)."""

    def __init__(self, config: MobileBertConfig) -> None:
        super().__init__()
        self.config = config
        self.word_embeddings = nn.Embedding(config.vocab_size, config.embedding_size)
        self.position_embeddings = nn.Embedding(config.max_position_embeddings, config.hidden_size)
        self.token_type_embeddings = nn.Embedding(config.type_vocab_size, config.hidden_size)
        if config.transforms_embeddings:
            self.embedding_transformation = Linear(config.embedding_input_size, config.hidden_size)
        self.LayerNorm = make_norm(config, config.hidden_size)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, batch: Batch) -> Tensor:
        if batch.inputs_embeds is None:
            words = self.word_embeddings(batch.input_ids)  # (B, S, E)
        else:
            words = batch.inputs_embeds.to(self.word_embeddings.weight.dtype)
        if self.config.trigram_input:
            words = self.trigram(words, batch.attention_mask, batch.lengths)  # (B, S, 3E)
        if self.config.transforms_embeddings:
            words = self.embedding_transformation(words)  # (B, S, H)
        positions = self.position_embeddings(batch.position_ids)  # (B, S, H)
        token_types = self.token_type_embeddings(batch.token_type_ids)  # (B, S, H)
        return self.dropout(self.LayerNorm(words + positions + token_types))

    def trigram(
        self, words: Tensor, mask: Tensor | None, lengths: tuple[int, ...] | None = None
    ) -> Tensor:
        """Next, current and previous embedding side by side; zeros at the ends of each text."""
        neighbours = words
        if self.config.trigram_padding == "masked" and mask is not None:
            neighbours = words * (mask != 0)[:, :, None]
        around = F.pad(neighbours, (0, 0, 1, 1))  # (B, S + 2, E)
        following, previous = around[:, 2:], around[:, :-2]  # (B, S, E)
        if lengths is not None:
            following = following.index_fill(1, to_tensor(last_tokens(lengths)).to(words.device), 0)
            previous = previous.index_fill(1, to_tensor(first_tokens(lengths)).to(words.device), 0)
        return torch.cat([following, words, previous], dim=2)  # (B, S, 3E)


class BottleneckLayer(nn.Module):
    """Projection from H to the bottleneck width T."""

    def __init__(self, config: MobileBertConfig) -> None:
        super().__init__()
        self.dense = Linear(config.hidden_size, config.true_hidden_size)
        self.LayerNorm = make_norm(config, config.true_hidden_size)

    def forward(self, hidden_states: Tensor) -> Tensor:
        return self.LayerNorm(self.dense(hidden_states))  # (B, S, T)


class Bottleneck(nn.Module):
    """What a layer works on: inputs of query/key and value, and the residual (section 3.1)."""

    def __init__(self, config: MobileBertConfig) -> None:
        super().__init__()
        self.config = config
        self.input = BottleneckLayer(config)
        if config.shares_key_query_bottleneck:
            self.attention = BottleneckLayer(config)

    def forward(self, hidden_states: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        residual = self.input(hidden_states)  # (B, S, T)
        if self.config.use_bottleneck_attention:
            return residual, residual, residual
        if self.config.key_query_shared_bottleneck:
            return self.attention(hidden_states), hidden_states, residual
        return hidden_states, hidden_states, residual


class SelfAttention(nn.Module):
    """Scaled dot-product attention with A heads of size D."""

    def __init__(self, config: MobileBertConfig) -> None:
        super().__init__()
        self.config = config
        self.query = Linear(config.query_input_size, config.true_hidden_size)
        self.key = Linear(config.query_input_size, config.true_hidden_size)
        self.value = Linear(config.value_input_size, config.true_hidden_size)
        self.dropout = nn.Dropout(config.attention_probs_dropout_prob)

    def forward(
        self, query_key_input: Tensor, value_input: Tensor, bias: Tensor | None, fused: bool
    ) -> tuple[Tensor, Tensor | None]:
        queries = self.split_heads(self.query(query_key_input))  # (B, A, S, D)
        keys = self.split_heads(self.key(query_key_input))  # (B, A, S, D)
        values = self.split_heads(self.value(value_input))  # (B, A, S, D)
        attention = None
        if fused:
            dropout = self.dropout.p if self.dropout.training else 0.0
            context = F.scaled_dot_product_attention(queries, keys, values, bias, dropout)
        else:
            attention = self.probabilities(queries, keys, bias)  # (B, A, S, S)
            context = self.dropout(attention) @ values  # (B, A, S, D)
        return context.transpose(1, 2).flatten(2), attention  # (B, S, T)

    def probabilities(self, queries: Tensor, keys: Tensor, bias: Tensor | None) -> Tensor:
        """Softmax of the scaled scores, in at least float32; (B, A, S, S)."""
        scores = queries @ keys.transpose(2, 3) * self.config.attention_head_size**-0.5
        if bias is not None:
            scores = scores + bias
        wide = torch.promote_types(scores.dtype, torch.float32)
        return scores.softmax(dim=-1, dtype=wide).to(queries.dtype)

    def split_heads(self, projected: Tensor) -> Tensor:
        """(B, S, T) -> (B, A, S, D)."""
        heads = projected.unflatten(2, (self.config.num_attention_heads, -1))  # (B, S, A, D)
        return heads.transpose(1, 2)


class SelfOutput(nn.Module):
    """Projection of the attention's context, residual addition and normalisation."""

    def __init__(self, config: MobileBertConfig) -> None:
        super().__init__()
        self.dense = Linear(config.true_hidden_size, config.true_hidden_size)
        self.LayerNorm = make_norm(config, config.true_hidden_size)
        self.dropout = nn.Dropout(0.0 if config.use_bottleneck else config.hidden_dropout_prob)

    def forward(self, context: Tensor, residual: Tensor) -> Tensor:
        return self.LayerNorm(self.dropout(self.dense(context)) + residual)  # (B, S, T)


class Attention(nn.Module):
    """Self-attention and its output."""

    def __init__(self, config: MobileBertConfig) -> None:
        super().__init__()
        self.self = SelfAttention(config)
        self.output = SelfOutput(config)

    def forward(
        self,
        query_key_input: Tensor,
        value_input: Tensor,
        residual: Tensor,
        bias: Tensor | None,
        fused: bool,
    ) -> tuple[Tensor, Tensor | None]:
        context, attention = self.self(query_key_input, value_input, bias, fused)
        return self.output(context, residual), attention


class Intermediate(nn.Module):
    """Expansion from T to I and the activation."""

    def __init__(self, config: MobileBertConfig) -> None:
        super().__init__()
        self.dense = Linear(config.true_hidden_size, config.intermediate_size)
        self.activation = ACTIVATIONS[config.hidden_act]

    def forward(self, hidden_states: Tensor) -> Tensor:
        return self.activation(self.dense(hidden_states))  # (B, S, I)


class FeedForwardOutput(nn.Module):
    """Projection from I back to T, residual addition and normalisation."""

    def __init__(self, config: MobileBertConfig) -> None:
        super().__init__()
        self.dense = Linear(config.intermediate_size, config.true_hidden_size)
        self.LayerNorm = make_norm(config, config.true_hidden_size)

    def forward(self, expanded: Tensor, residual: Tensor) -> Tensor:
        return self.LayerNorm(self.dense(expanded) + residual)  # (B, S, T)


class FeedForward(nn.Module):
    """One of the F - 1 stacked feed-forward networks (section 3.1)."""

    def __init__(self, config: MobileBertConfig) -> None:
        super().__init__()
        self.intermediate = Intermediate(config)
        self.output = FeedForwardOutput(config)

    def forward(self, hidden_states: Tensor) -> Tensor:
        return self.output(self.intermediate(hidden_states), hidden_states)


class OutputBottleneck(nn.Module):
    """Projection from T back to H; the layer's input is the residual."""

    def __init__(self, config: MobileBertConfig) -> None:
        super().__init__()
        self.dense = Linear(config.true_hidden_size, config.hidden_size)
        self.LayerNorm = make_norm(config, config.hidden_size)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, hidden_states: Tensor, residual: Tensor) -> Tensor:
        return self.LayerNorm(self.dropout(self.dense(hidden_states)) + residual)  # (B, S, H)


class Output(nn.Module):
    """The last feed-forward network's second half, then the way out of the bottleneck."""

    def __init__(self, config: MobileBertConfig) -> None:
        super().__init__()
        self.dense = Linear(config.intermediate_size, config.true_hidden_size)
        self.LayerNorm = make_norm(config, config.true_hidden_size)
        self.dropout = nn.Dropout(0.0 if config.use_bottleneck else config.hidden_dropout_prob)
        self.bottleneck = OutputBottleneck(config) if config.use_bottleneck else None

    def forward(self, expanded: Tensor, residual: Tensor, layer_input: Tensor) -> Tensor:
        hidden_states = self.dropout(self.dense(expanded)) + residual
        hidden_states = self.LayerNorm(hidden_states)  # (B, S, T)
        if self.bottleneck is None:
            return hidden_states
        return self.bottleneck(hidden_states, layer_input)  # (B, S, H)


class Layer(nn.Module):
    """One MobileBERT layer: bottleneck, attention, F feed-forward networks, way out."""

    def __init__(self, config: MobileBertConfig) -> None:
        super().__init__()
        self.bottleneck = Bottleneck(config) if config.use_bottleneck else None
        self.attention = Attention(config)
        self.ffn = nn.ModuleList(
            FeedForward(config) for _ in range(config.num_feedforward_networks - 1)
        )
        self.intermediate = Intermediate(config)
        self.output = Output(config)

    def forward(
        self, hidden_states: Tensor, bias: Tensor | None, fused: bool
    ) -> tuple[Tensor, Tensor | None]:
        if self.bottleneck is None:
            query_key_input = value_input = residual = hidden_states
        else:
            query_key_input, value_input, residual = self.bottleneck(hidden_states)
        inner, attention = self.attention(query_key_input, value_input, residual, bias, fused)
        for feed_forward in self.ffn:
            inner = feed_forward(inner)  # (B, S, T)
        return self.output(self.intermediate(inner), inner, hidden_states), attention


class Encoder(nn.Module):
    """The stack of layers."""

    def __init__(self, config: MobileBertConfig) -> None:
        super().__init__()
        self.gradient_checkpointing = False
        self.layer = nn.ModuleList(Layer(config) for _ in range(config.num_hidden_layers))

    def forward(
        self, hidden_states: Tensor, bias: Tensor | None, collect: tuple[str, ...], fused: bool
    ) -> tuple[Tensor, tuple[Tensor, ...], tuple[Tensor, ...]]:
        states, attentions = [hidden_states], []
        for layer in self.layer:
            if self.gradient_checkpointing and self.training:
                hidden_states, attention = checkpoint(
                    layer, hidden_states, bias, fused, use_reentrant=False
                )
            else:
                hidden_states, attention = layer(hidden_states, bias, fused)
            if "hidden_states" in collect:
                states.append(hidden_states)
            if "attentions" in collect:
                attentions.append(attention)
        return hidden_states, tuple(states), tuple(attentions)


class Pooler(nn.Module):
    """The first token's state, through a dense layer and tanh if `classifier_activation`."""

    def __init__(self, config: MobileBertConfig) -> None:
        super().__init__()
        hidden = config.hidden_size
        self.dense = Linear(hidden, hidden) if config.classifier_activation else None

    def forward(self, sequence: Tensor) -> Tensor:
        first = sequence[:, 0]  # (B, H)
        return first if self.dense is None else torch.tanh(self.dense(first))


class Backbone(nn.Module):
    """Embeddings, encoder and, where a head needs it, the pooler."""

    def __init__(self, config: MobileBertConfig, *, add_pooling_layer: bool) -> None:
        super().__init__()
        self.make_modules(config, add_pooling_layer=add_pooling_layer)

    def make_modules(self, config: MobileBertConfig, *, add_pooling_layer: bool) -> None:
        """Create the modules; the base model calls this for its own root."""
        self.embeddings = Embeddings(config)
        self.encoder = Encoder(config)
        self.pooler = Pooler(config) if add_pooling_layer else None

    def forward(self, batch: Batch, collect: tuple[str, ...]) -> Encoded:
        return self.encode(batch, collect)

    def encode(self, batch: Batch, collect: tuple[str, ...]) -> Encoded:
        """The computation, under a name that the base model's `forward` does not hide."""
        embedded = self.embeddings(batch)  # (B, S, H)
        mask = batch.attention_mask
        bias = attention_bias(mask, computing_dtype(embedded))
        backward = torch.is_grad_enabled() and may_mask_whole_rows(mask)
        fused = "attentions" not in collect and not backward
        if batch.lengths is None:
            sequence, hidden_states, attentions = self.encoder(embedded, bias, collect, fused)
            texts = sequence
        else:  # a folded encoder
            sequence, hidden_states, attentions = self.encoder(
                embedded, None, collect, fused, batch.lengths
            )
            texts = sequence[0, first_tokens(batch.lengths)][:, None]  # (texts, 1, H)
        return Encoded(
            sequence,
            None if self.pooler is None else self.pooler(texts),
            hidden_states if "hidden_states" in collect else None,
            attentions if "attentions" in collect else None,
        )
