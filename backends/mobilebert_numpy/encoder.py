"""The MobileBERT encoder in NumPy, bottom up; inference only, so dropout is not here.

B batch  S sequence  E embedding  H hidden  T bottleneck width  A heads  D head size  I feed-forward
"""

from typing import Any, NamedTuple

import numpy as np

from mobilebert_core.config import MobileBertConfig
from mobilebert_core.inputs import Batch
from mobilebert_core.packing import first_tokens, last_tokens
from mobilebert_numpy.layers import ACTIVATIONS, Embedding, LayerNorm, Linear, softmax
from mobilebert_numpy.params import Weights

Array = np.ndarray[Any, np.dtype[Any]]


class Encoded(NamedTuple):
    """What the backbone hands to a head."""

    sequence: Array  # (B, S, H)
    pooled: Array | None  # (B, H)
    hidden_states: tuple[Array, ...] | None
    attentions: tuple[Array, ...] | None


class NoNorm:
    """The element-wise linear map that replaces layer normalisation (section 3.3)."""

    def __init__(self, weights: Weights) -> None:
        self.weight = weights["weight"]
        self.bias = weights["bias"]

    def __call__(self, inputs: Array) -> Array:
        return inputs * self.weight + self.bias


def make_norm(config: MobileBertConfig, weights: Weights) -> NoNorm | LayerNorm:
    """The normalisation that the configuration asks for."""
    if config.normalization_type == "no_norm":
        return NoNorm(weights)
    return LayerNorm(weights, config.layer_norm_eps)


def attention_bias(mask: Array | None, dtype: np.dtype[Any]) -> Array | None:
    """0 where attended, the most negative finite value elsewhere; (B, 1, 1, S) or 4-D as given."""
    if mask is None or mask.all():
        return None
    if mask.ndim == 2:
        mask = mask[:, None, None, :]  # (B, 1, 1, S)
    return np.where(mask, dtype.type(0), np.finfo(dtype).min)


class Embeddings:
    """Trigram word, position and token type embeddings (section 3.1)."""

    def __init__(self, config: MobileBertConfig, weights: Weights) -> None:
        self.config = config
        self.word_embeddings = Embedding(weights.at("word_embeddings"))
        self.position_embeddings = Embedding(weights.at("position_embeddings"))
        self.token_type_embeddings = Embedding(weights.at("token_type_embeddings"))
        if config.transforms_embeddings:
            self.embedding_transformation = Linear(weights.at("embedding_transformation"))
        self.LayerNorm = make_norm(config, weights.at("LayerNorm"))

    def __call__(self, batch: Batch) -> Array:
        if batch.inputs_embeds is None:
            words = self.word_embeddings(batch.input_ids)  # (B, S, E)
        else:
            words = batch.inputs_embeds.astype(self.word_embeddings.weight.dtype)
        if self.config.trigram_input:
            words = self.trigram(words, batch.attention_mask, batch.lengths)  # (B, S, 3E)
        if self.config.transforms_embeddings:
            words = self.embedding_transformation(words)  # (B, S, H)
        positions = self.position_embeddings(batch.position_ids)  # (B, S, H)
        token_types = self.token_type_embeddings(batch.token_type_ids)  # (B, S, H)
        return self.LayerNorm(words + positions + token_types)

    def trigram(
        self, words: Array, mask: Array | None, lengths: tuple[int, ...] | None = None
    ) -> Array:
        """Next, current and previous embedding side by side; zeros at the ends of each text."""
        neighbours = words
        if self.config.trigram_padding == "masked" and mask is not None:
            neighbours = words * mask[:, :, None].astype(words.dtype)
        around = np.pad(neighbours, ((0, 0), (1, 1), (0, 0)))  # (B, S + 2, E)
        following, previous = around[:, 2:], around[:, :-2]  # (B, S, E)
        if lengths is not None:
            following, previous = following.copy(), previous.copy()
            following[:, last_tokens(lengths)] = 0
            previous[:, first_tokens(lengths)] = 0
        return np.concatenate([following, words, previous], axis=2)  # (B, S, 3E)


class BottleneckLayer:
    """Projection from H to the bottleneck width T."""

    def __init__(self, config: MobileBertConfig, weights: Weights) -> None:
        self.dense = Linear(weights.at("dense"))
        self.LayerNorm = make_norm(config, weights.at("LayerNorm"))

    def __call__(self, hidden_states: Array) -> Array:
        return self.LayerNorm(self.dense(hidden_states))  # (B, S, T)


class Bottleneck:
    """What a layer works on: inputs of query/key and value, and the residual (section 3.1)."""

    def __init__(self, config: MobileBertConfig, weights: Weights) -> None:
        self.config = config
        self.input = BottleneckLayer(config, weights.at("input"))
        if config.shares_key_query_bottleneck:
            self.attention = BottleneckLayer(config, weights.at("attention"))

    def __call__(self, hidden_states: Array) -> tuple[Array, Array, Array]:
        residual = self.input(hidden_states)  # (B, S, T)
        if self.config.use_bottleneck_attention:
            return residual, residual, residual
        if self.config.key_query_shared_bottleneck:
            return self.attention(hidden_states), hidden_states, residual
        return hidden_states, hidden_states, residual


class SelfAttention:
    """Scaled dot-product attention with A heads of size D."""

    def __init__(self, config: MobileBertConfig, weights: Weights) -> None:
        self.config = config
        self.query = Linear(weights.at("query"))
        self.key = Linear(weights.at("key"))
        self.value = Linear(weights.at("value"))

    def __call__(
        self, query_key_input: Array, value_input: Array, bias: Array | None
    ) -> tuple[Array, Array]:
        queries = self.split_heads(self.query(query_key_input))  # (B, A, S, D)
        keys = self.split_heads(self.key(query_key_input))  # (B, A, S, D)
        values = self.split_heads(self.value(value_input))  # (B, A, S, D)
        scale = float(self.config.attention_head_size) ** -0.5
        scores = queries @ keys.swapaxes(2, 3) * scale  # (B, A, S, S)
        if bias is not None:
            scores = scores + bias
        probabilities = softmax(scores)  # (B, A, S, S)
        context = (probabilities @ values).swapaxes(1, 2)  # (B, S, A, D)
        return context.reshape(*context.shape[:2], -1), probabilities  # (B, S, T)

    def split_heads(self, projected: Array) -> Array:
        """(B, S, T) -> (B, A, S, D)."""
        shape = (*projected.shape[:2], self.config.num_attention_heads, -1)
        return projected.reshape(shape).swapaxes(1, 2)


class SelfOutput:
    """Projection of the attention's context, residual addition and normalisation."""

    def __init__(self, config: MobileBertConfig, weights: Weights) -> None:
        self.dense = Linear(weights.at("dense"))
        self.LayerNorm = make_norm(config, weights.at("LayerNorm"))

    def __call__(self, context: Array, residual: Array) -> Array:
        return self.LayerNorm(self.dense(context) + residual)  # (B, S, T)


class Attention:
    """Self-attention and its output."""

    def __init__(self, config: MobileBertConfig, weights: Weights) -> None:
        self.self = SelfAttention(config, weights.at("self"))
        self.output = SelfOutput(config, weights.at("output"))

    def __call__(
        self, query_key_input: Array, value_input: Array, residual: Array, bias: Array | None
    ) -> tuple[Array, Array]:
        context, probabilities = self.self(query_key_input, value_input, bias)
        return self.output(context, residual), probabilities


class Intermediate:
    """Expansion from T to I and the activation."""

    def __init__(self, config: MobileBertConfig, weights: Weights) -> None:
        self.dense = Linear(weights.at("dense"))
        self.activation = ACTIVATIONS[config.hidden_act]

    def __call__(self, hidden_states: Array) -> Array:
        return self.activation(self.dense(hidden_states))  # (B, S, I)


class FeedForwardOutput:
    """Projection from I back to T, residual addition and normalisation."""

    def __init__(self, config: MobileBertConfig, weights: Weights) -> None:
        self.dense = Linear(weights.at("dense"))
        self.LayerNorm = make_norm(config, weights.at("LayerNorm"))

    def __call__(self, expanded: Array, residual: Array) -> Array:
        return self.LayerNorm(self.dense(expanded) + residual)  # (B, S, T)


class FeedForward:
    """One of the F - 1 stacked feed-forward networks (section 3.1)."""

    def __init__(self, config: MobileBertConfig, weights: Weights) -> None:
        self.intermediate = Intermediate(config, weights.at("intermediate"))
        self.output = FeedForwardOutput(config, weights.at("output"))

    def __call__(self, hidden_states: Array) -> Array:
        return self.output(self.intermediate(hidden_states), hidden_states)


class OutputBottleneck:
    """Projection from T back to H; the layer's input is the residual."""

    def __init__(self, config: MobileBertConfig, weights: Weights) -> None:
        self.dense = Linear(weights.at("dense"))
        self.LayerNorm = make_norm(config, weights.at("LayerNorm"))

    def __call__(self, hidden_states: Array, residual: Array) -> Array:
        return self.LayerNorm(self.dense(hidden_states) + residual)  # (B, S, H)


class Output:
    """The last feed-forward network's second half, then the way out of the bottleneck."""

    def __init__(self, config: MobileBertConfig, weights: Weights) -> None:
        self.dense = Linear(weights.at("dense"))
        self.LayerNorm = make_norm(config, weights.at("LayerNorm"))
        self.bottleneck = None
        if config.use_bottleneck:
            self.bottleneck = OutputBottleneck(config, weights.at("bottleneck"))

    def __call__(self, expanded: Array, residual: Array, layer_input: Array) -> Array:
        hidden_states = self.LayerNorm(self.dense(expanded) + residual)  # (B, S, T)
        if self.bottleneck is None:
            return hidden_states
        return self.bottleneck(hidden_states, layer_input)  # (B, S, H)


class Layer:
    """One MobileBERT layer: bottleneck, attention, F feed-forward networks, way out."""

    def __init__(self, config: MobileBertConfig, weights: Weights) -> None:
        self.bottleneck = None
        if config.use_bottleneck:
            self.bottleneck = Bottleneck(config, weights.at("bottleneck"))
        self.attention = Attention(config, weights.at("attention"))
        self.ffn = [
            FeedForward(config, weights.at(f"ffn.{network}"))
            for network in range(config.num_feedforward_networks - 1)
        ]
        self.intermediate = Intermediate(config, weights.at("intermediate"))
        self.output = Output(config, weights.at("output"))

    def __call__(self, hidden_states: Array, bias: Array | None) -> tuple[Array, Array]:
        if self.bottleneck is None:
            query_key_input = value_input = residual = hidden_states
        else:
            query_key_input, value_input, residual = self.bottleneck(hidden_states)
        inner, probabilities = self.attention(query_key_input, value_input, residual, bias)
        for feed_forward in self.ffn:
            inner = feed_forward(inner)  # (B, S, T)
        return self.output(self.intermediate(inner), inner, hidden_states), probabilities


class Encoder:
    """The stack of layers."""

    def __init__(self, config: MobileBertConfig, weights: Weights) -> None:
        self.layer = [
            Layer(config, weights.at(f"layer.{index}")) for index in range(config.num_hidden_layers)
        ]

    def __call__(
        self, hidden_states: Array, bias: Array | None, collect: tuple[str, ...]
    ) -> tuple[Array, tuple[Array, ...], tuple[Array, ...]]:
        states, attentions = [hidden_states], []
        for layer in self.layer:
            hidden_states, probabilities = layer(hidden_states, bias)
            if "hidden_states" in collect:
                states.append(hidden_states)
            if "attentions" in collect:
                attentions.append(probabilities)
        return hidden_states, tuple(states), tuple(attentions)


class Pooler:
    """The first token's state, through a dense layer and tanh if `classifier_activation`."""

    def __init__(self, config: MobileBertConfig, weights: Weights) -> None:
        self.dense = Linear(weights.at("dense")) if config.classifier_activation else None

    def __call__(self, sequence: Array) -> Array:
        first = sequence[:, 0]  # (B, H)
        return first if self.dense is None else np.tanh(self.dense(first))


class Backbone:
    """Embeddings, encoder and, where a head needs it, the pooler."""

    def __init__(
        self, config: MobileBertConfig, weights: Weights, *, add_pooling_layer: bool
    ) -> None:
        self.embeddings = Embeddings(config, weights.at("embeddings"))
        self.encoder = Encoder(config, weights.at("encoder"))
        self.pooler = Pooler(config, weights.at("pooler")) if add_pooling_layer else None

    def __call__(self, batch: Batch, collect: tuple[str, ...]) -> Encoded:
        embedded = self.embeddings(batch)  # (B, S, H)
        bias = attention_bias(batch.attention_mask, embedded.dtype)
        if batch.lengths is None:
            sequence, hidden_states, attentions = self.encoder(embedded, bias, collect)
            texts = sequence
        else:
            encoder: Any = self.encoder  # a folded one
            sequence, hidden_states, attentions = encoder(embedded, None, collect, batch.lengths)
            texts = sequence[0, first_tokens(batch.lengths)][:, None]  # (texts, 1, H)
        return Encoded(
            sequence,
            None if self.pooler is None else self.pooler(texts),
            hidden_states if "hidden_states" in collect else None,
            attentions if "attentions" in collect else None,
        )
