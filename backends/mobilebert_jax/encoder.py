"""The MobileBERT encoder in `flax.nnx`, bottom up; module names are those of the checkpoints.

Modules hold parameters and no random state: a call that drops values hands a key down, and every
place folds its own number into it. So a layer can be mapped, scanned and recomputed.

B batch  S sequence  E embedding  H hidden  T bottleneck width  A heads  D head size  I feed-forward
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array

from mobilebert_core.config import MobileBertConfig
from mobilebert_core.inputs import Batch
from mobilebert_jax.layers import (
    ACTIVATIONS,
    embedding,
    folded,
    layer_norm,
    linear,
    product_precision,
    widened,
)


class Encoded(NamedTuple):
    """What the backbone hands to a head."""

    sequence: Array  # (B, S, H)
    pooled: Array | None  # (B, H)
    hidden_states: tuple[Array, ...] | None
    attentions: tuple[Array, ...] | None


class NoNorm(nnx.Module):
    """The element-wise linear map that replaces layer normalisation (section 3.3)."""

    def __init__(self, width: int) -> None:
        self.scale = nnx.Param(jax.ShapeDtypeStruct((width,), jnp.float32))
        self.bias = nnx.Param(jax.ShapeDtypeStruct((width,), jnp.float32))

    def __call__(self, inputs: Array) -> Array:
        # bfloat16 has eight bits of mantissa: compute in float32, round once.
        outputs = widened(inputs) * self.scale[...] + self.bias[...]
        return outputs.astype(inputs.dtype)


def make_norm(config: MobileBertConfig, width: int) -> nnx.Module:
    """The normalisation that the configuration asks for."""
    if config.normalization_type == "no_norm":
        return NoNorm(width)
    return layer_norm(width, config.layer_norm_eps)


def attention_bias(mask: Array | None, dtype: jnp.dtype) -> Array | None:
    """0 where attended, the most negative finite value elsewhere; (B, 1, 1, S) or 4-D as given."""
    if mask is None:
        return None
    if mask.ndim == 2:
        mask = mask[:, None, None, :]  # (B, 1, 1, S)
    return jnp.where(mask != 0, jnp.zeros((), dtype), jnp.finfo(dtype).min.astype(dtype))


class Embeddings(nnx.Module):
    """Trigram word, position and token type embeddings (section 3.1)."""

    def __init__(self, config: MobileBertConfig) -> None:
        self.config = config
        self.word_embeddings = embedding(config.vocab_size, config.embedding_size)
        self.position_embeddings = embedding(config.max_position_embeddings, config.hidden_size)
        self.token_type_embeddings = embedding(config.type_vocab_size, config.hidden_size)
        if config.transforms_embeddings:
            self.embedding_transformation = linear(config.embedding_input_size, config.hidden_size)
        self.LayerNorm = make_norm(config, config.hidden_size)
        self.dropout = nnx.Dropout(config.hidden_dropout_prob)

    def __call__(self, batch: Batch, key: Array | None) -> Array:
        if batch.inputs_embeds is None:
            words = self.word_embeddings(batch.input_ids)  # (B, S, E)
        else:
            words = batch.inputs_embeds.astype(self.word_embeddings.embedding.dtype)
        if self.config.trigram_input:
            words = self.trigram(words, batch.attention_mask)  # (B, S, 3E)
        if self.config.transforms_embeddings:
            words = self.embedding_transformation(words)  # (B, S, H)
        positions = self.position_embeddings(batch.position_ids)  # (B, S, H)
        token_types = self.token_type_embeddings(batch.token_type_ids)  # (B, S, H)
        return self.dropout(self.LayerNorm(words + positions + token_types), rngs=key)

    def trigram(self, words: Array, mask: Array | None) -> Array:
        """Next, current and previous embedding side by side; zeros at the ends."""
        neighbours = words
        if self.config.trigram_padding == "masked" and mask is not None:
            neighbours = words * (mask != 0)[:, :, None].astype(words.dtype)
        around = jnp.pad(neighbours, ((0, 0), (1, 1), (0, 0)))  # (B, S + 2, E)
        following, previous = around[:, 2:], around[:, :-2]  # (B, S, E)
        return jnp.concatenate([following, words, previous], axis=2)  # (B, S, 3E)


class BottleneckLayer(nnx.Module):
    """Projection from H to the bottleneck width T."""

    def __init__(self, config: MobileBertConfig) -> None:
        self.dense = linear(config.hidden_size, config.true_hidden_size)
        self.LayerNorm = make_norm(config, config.true_hidden_size)

    def __call__(self, hidden_states: Array) -> Array:
        return self.LayerNorm(self.dense(hidden_states))  # (B, S, T)


class Bottleneck(nnx.Module):
    """What a layer works on: inputs of query/key and value, and the residual (section 3.1)."""

    def __init__(self, config: MobileBertConfig) -> None:
        self.config = config
        self.input = BottleneckLayer(config)
        if config.shares_key_query_bottleneck:
            self.attention = BottleneckLayer(config)

    def __call__(self, hidden_states: Array) -> tuple[Array, Array, Array]:
        residual = self.input(hidden_states)  # (B, S, T)
        if self.config.use_bottleneck_attention:
            return residual, residual, residual
        if self.config.key_query_shared_bottleneck:
            return self.attention(hidden_states), hidden_states, residual
        return hidden_states, hidden_states, residual


class SelfAttention(nnx.Module):
    """Scaled dot-product attention with A heads of size D."""

    def __init__(self, config: MobileBertConfig) -> None:
        self.config = config
        self.query = linear(config.query_input_size, config.true_hidden_size)
        self.key = linear(config.query_input_size, config.true_hidden_size)
        self.value = linear(config.value_input_size, config.true_hidden_size)
        self.dropout = nnx.Dropout(config.attention_probs_dropout_prob)

    def __call__(
        self, query_key_input: Array, value_input: Array, bias: Array | None, key: Array | None
    ) -> tuple[Array, Array]:
        queries = self.split_heads(self.query(query_key_input))  # (B, A, S, D)
        keys = self.split_heads(self.key(query_key_input))  # (B, A, S, D)
        values = self.split_heads(self.value(value_input))  # (B, A, S, D)
        attention = self.probabilities(queries, keys, bias)  # (B, A, S, S)
        dropped = self.dropout(attention, rngs=key)
        context = jnp.matmul(dropped, values, precision=product_precision())  # (B, A, S, D)
        context = context.swapaxes(1, 2)  # (B, S, A, D)
        return context.reshape(*context.shape[:2], -1), attention  # (B, S, T)

    def probabilities(self, queries: Array, keys: Array, bias: Array | None) -> Array:
        """Softmax of the scaled scores, in at least float32; (B, A, S, S)."""
        scores = jnp.matmul(queries, keys.swapaxes(2, 3), precision=product_precision())
        scores = scores * self.config.attention_head_size**-0.5
        if bias is not None:
            scores = scores + bias
        return jax.nn.softmax(widened(scores), axis=-1).astype(queries.dtype)

    def split_heads(self, projected: Array) -> Array:
        """(B, S, T) -> (B, A, S, D)."""
        shape = (*projected.shape[:2], self.config.num_attention_heads, -1)
        return projected.reshape(shape).swapaxes(1, 2)


class SelfOutput(nnx.Module):
    """Projection of the attention's context, residual addition and normalisation."""

    def __init__(self, config: MobileBertConfig) -> None:
        self.dense = linear(config.true_hidden_size, config.true_hidden_size)
        self.LayerNorm = make_norm(config, config.true_hidden_size)
        self.dropout = nnx.Dropout(0.0 if config.use_bottleneck else config.hidden_dropout_prob)

    def __call__(self, context: Array, residual: Array, key: Array | None) -> Array:
        projected = self.dropout(self.dense(context), rngs=key)
        return self.LayerNorm(projected + residual)  # (B, S, T)


class Attention(nnx.Module):
    """Self-attention and its output."""

    def __init__(self, config: MobileBertConfig) -> None:
        self.self = SelfAttention(config)
        self.output = SelfOutput(config)

    def __call__(
        self,
        query_key_input: Array,
        value_input: Array,
        residual: Array,
        bias: Array | None,
        key: Array | None,
    ) -> tuple[Array, Array]:
        context, attention = self.self(query_key_input, value_input, bias, folded(key, 0))
        return self.output(context, residual, folded(key, 1)), attention


class Intermediate(nnx.Module):
    """Expansion from T to I and the activation."""

    def __init__(self, config: MobileBertConfig) -> None:
        self.config = config
        self.dense = linear(config.true_hidden_size, config.intermediate_size)

    def __call__(self, hidden_states: Array) -> Array:
        return ACTIVATIONS[self.config.hidden_act](self.dense(hidden_states))  # (B, S, I)


class FeedForwardOutput(nnx.Module):
    """Projection from I back to T, residual addition and normalisation."""

    def __init__(self, config: MobileBertConfig) -> None:
        self.dense = linear(config.intermediate_size, config.true_hidden_size)
        self.LayerNorm = make_norm(config, config.true_hidden_size)

    def __call__(self, expanded: Array, residual: Array) -> Array:
        return self.LayerNorm(self.dense(expanded) + residual)  # (B, S, T)


class FeedForward(nnx.Module):
    """One of the F - 1 stacked feed-forward networks (section 3.1)."""

    def __init__(self, config: MobileBertConfig) -> None:
        self.intermediate = Intermediate(config)
        self.output = FeedForwardOutput(config)

    def __call__(self, hidden_states: Array) -> Array:
        return self.output(self.intermediate(hidden_states), hidden_states)


class OutputBottleneck(nnx.Module):
    """Projection from T back to H; the layer's input is the residual."""

    def __init__(self, config: MobileBertConfig) -> None:
        self.dense = linear(config.true_hidden_size, config.hidden_size)
        self.LayerNorm = make_norm(config, config.hidden_size)
        self.dropout = nnx.Dropout(config.hidden_dropout_prob)

    def __call__(self, hidden_states: Array, residual: Array, key: Array | None) -> Array:
        projected = self.dropout(self.dense(hidden_states), rngs=key)
        return self.LayerNorm(projected + residual)  # (B, S, H)


class Output(nnx.Module):
    """The last feed-forward network's second half, then the way out of the bottleneck."""

    def __init__(self, config: MobileBertConfig) -> None:
        self.dense = linear(config.intermediate_size, config.true_hidden_size)
        self.LayerNorm = make_norm(config, config.true_hidden_size)
        self.dropout = nnx.Dropout(0.0 if config.use_bottleneck else config.hidden_dropout_prob)
        self.bottleneck = OutputBottleneck(config) if config.use_bottleneck else None

    def __call__(
        self, expanded: Array, residual: Array, layer_input: Array, key: Array | None
    ) -> Array:
        hidden_states = self.dropout(self.dense(expanded), rngs=folded(key, 0)) + residual
        hidden_states = self.LayerNorm(hidden_states)  # (B, S, T)
        if self.bottleneck is None:
            return hidden_states
        return self.bottleneck(hidden_states, layer_input, folded(key, 1))  # (B, S, H)


class Layer(nnx.Module):
    """One MobileBERT layer: bottleneck, attention, F feed-forward networks, way out."""

    def __init__(self, config: MobileBertConfig) -> None:
        self.bottleneck = Bottleneck(config) if config.use_bottleneck else None
        self.attention = Attention(config)
        self.ffn = nnx.List(
            [FeedForward(config) for _ in range(config.num_feedforward_networks - 1)]
        )
        self.intermediate = Intermediate(config)
        self.output = Output(config)

    def __call__(
        self, hidden_states: Array, bias: Array | None, key: Array | None
    ) -> tuple[Array, Array]:
        if self.bottleneck is None:
            query_key_input = value_input = residual = hidden_states
        else:
            query_key_input, value_input, residual = self.bottleneck(hidden_states)
        inner, attention = self.attention(
            query_key_input, value_input, residual, bias, folded(key, 0)
        )
        for feed_forward in self.ffn:
            inner = feed_forward(inner)  # (B, S, T)
        expanded = self.intermediate(inner)  # (B, S, I)
        return self.output(expanded, inner, hidden_states, folded(key, 1)), attention


class Encoder(nnx.Module):
    """The stack of layers."""

    def __init__(self, config: MobileBertConfig) -> None:
        self.gradient_checkpointing = False
        self.layer = nnx.List([Layer(config) for _ in range(config.num_hidden_layers)])

    def __call__(
        self, hidden_states: Array, bias: Array | None, collect: tuple[str, ...], key: Array | None
    ) -> tuple[Array, tuple[Array, ...], tuple[Array, ...]]:
        states, attentions = [hidden_states], []
        run = nnx.remat(_run_layer) if self.gradient_checkpointing else _run_layer
        for index, layer in enumerate(self.layer):
            hidden_states, attention = run(layer, hidden_states, bias, folded(key, index))
            if "hidden_states" in collect:
                states.append(hidden_states)
            if "attentions" in collect:
                attentions.append(attention)
        return hidden_states, tuple(states), tuple(attentions)


def _run_layer(
    layer: Layer, hidden_states: Array, bias: Array | None, key: Array | None
) -> tuple[Array, Array]:
    return layer(hidden_states, bias, key)


class Pooler(nnx.Module):
    """The first token's state, through a dense layer and tanh if `classifier_activation`."""

    def __init__(self, config: MobileBertConfig) -> None:
        hidden = config.hidden_size
        self.dense = linear(hidden, hidden) if config.classifier_activation else None

    def __call__(self, sequence: Array) -> Array:
        first = sequence[:, 0]  # (B, H)
        return first if self.dense is None else jnp.tanh(self.dense(first))


class Backbone(nnx.Module):
    """Embeddings, encoder and, where a head needs it, the pooler."""

    def __init__(self, config: MobileBertConfig, *, add_pooling_layer: bool) -> None:
        self.make_modules(config, add_pooling_layer=add_pooling_layer)

    def make_modules(self, config: MobileBertConfig, *, add_pooling_layer: bool) -> None:
        """Create the modules; the base model calls this for its own root."""
        self.embeddings = Embeddings(config)
        self.encoder = Encoder(config)
        self.pooler = Pooler(config) if add_pooling_layer else None

    def __call__(self, batch: Batch, collect: tuple[str, ...], key: Array | None) -> Encoded:
        return self.encode(batch, collect, key)

    def encode(self, batch: Batch, collect: tuple[str, ...], key: Array | None) -> Encoded:
        """The computation, under a name that the base model's call does not hide."""
        embedded = self.embeddings(batch, folded(key, 0))  # (B, S, H)
        bias = attention_bias(batch.attention_mask, embedded.dtype)
        sequence, hidden_states, attentions = self.encoder(embedded, bias, collect, folded(key, 1))
        return Encoded(
            sequence,
            None if self.pooler is None else self.pooler(sequence),
            hidden_states if "hidden_states" in collect else None,
            attentions if "attentions" in collect else None,
        )
