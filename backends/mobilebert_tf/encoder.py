"""The MobileBERT encoder in TensorFlow, bottom up; layers are named as in the checkpoints.

Keras reserves `input` and `output`: such layers are called `input_layer` and `output_layer` here.
All but attention works token by token, so that the layers see N = B * S tokens in one axis: a
product of two matrices needs no reshaping, and a graph is traced in half the time.

B batch  S sequence  N tokens  E embedding  H hidden  T bottleneck width  A heads  D head size
I feed-forward
"""

from typing import Any, NamedTuple

import keras
import tensorflow as tf

from mobilebert_core.config import MobileBertConfig
from mobilebert_core.inputs import Batch
from mobilebert_tf.layers import ACTIVATIONS, Embedding, LayerNorm, Linear, Module, widen
from mobilebert_tf.recomputation import recompute


class Encoded(NamedTuple):
    """What the backbone hands to a head."""

    sequence: tf.Tensor  # (B, S, H)
    pooled: tf.Tensor | None  # (B, H)
    hidden_states: tuple[tf.Tensor, ...] | None
    attentions: tuple[tf.Tensor, ...] | None


class NoNorm(keras.layers.Layer):
    """The element-wise linear map that replaces layer normalisation (section 3.3)."""

    def __init__(self, width: int, name: str, dtype: Any) -> None:
        super().__init__(name=name, dtype=dtype)
        self.width = width
        self.gamma_initializer = self.beta_initializer = keras.initializers.Zeros()

    def build(self, input_shape: Any = None) -> None:
        """Create gamma and beta."""
        shape = (self.width,)
        self.gamma = self.add_weight(shape, self.gamma_initializer, name="gamma", autocast=False)
        self.beta = self.add_weight(shape, self.beta_initializer, name="beta", autocast=False)

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        # bfloat16 has eight bits of mantissa: compute in float32, round once
        wide = widen(inputs)
        gamma, beta = tf.cast(self.gamma, wide.dtype), tf.cast(self.beta, wide.dtype)
        return tf.cast(wide * gamma + beta, inputs.dtype)


def make_norm(config: MobileBertConfig, width: int, dtype: Any) -> keras.layers.Layer:
    """The normalisation that the configuration asks for."""
    if config.normalization_type == "no_norm":
        return NoNorm(width, "LayerNorm", dtype)
    return LayerNorm(width, config.layer_norm_eps, "LayerNorm", dtype)


def make_dropout(rate: float, dtype: Any) -> keras.layers.Layer:
    """Dropout, which acts when a call is made with `training=True`."""
    return keras.layers.Dropout(rate, name="dropout", dtype=dtype)


def attention_bias(mask: tf.Tensor | None, dtype: tf.DType) -> tf.Tensor | None:
    """0 where attended, the most negative finite value elsewhere; (B, 1, 1, S) or 4-D as given."""
    if mask is None:
        return None
    if mask.shape.rank == 2:
        mask = tf.expand_dims(tf.expand_dims(mask, 1), 1)  # (B, 1, 1, S)
    return tf.where(mask, tf.constant(0, dtype), tf.constant(dtype.min, dtype))


class Embeddings(Module):
    """Trigram word, position and token type embeddings (section 3.1)."""

    def __init__(self, config: MobileBertConfig, name: str, dtype: Any) -> None:
        super().__init__(name, dtype)
        self.config = config
        hidden = config.hidden_size
        self.word_embeddings = Embedding(
            config.vocab_size, config.embedding_size, "word_embeddings", dtype
        )
        self.position_embeddings = Embedding(
            config.max_position_embeddings, hidden, "position_embeddings", dtype
        )
        self.token_type_embeddings = Embedding(
            config.type_vocab_size, hidden, "token_type_embeddings", dtype
        )
        if config.transforms_embeddings:
            self.embedding_transformation = Linear(
                config.embedding_input_size, hidden, "embedding_transformation", dtype
            )
        self.LayerNorm = make_norm(config, hidden, dtype)
        self.dropout = make_dropout(config.hidden_dropout_prob, dtype)

    def call(self, batch: Batch) -> tf.Tensor:
        if batch.inputs_embeds is None:
            words = self.word_embeddings(batch.input_ids)  # (B, S, E)
        else:
            words = tf.cast(batch.inputs_embeds, self.compute_dtype)
        if self.config.trigram_input:
            words = self.trigram(words, batch.attention_mask)  # (B, S, 3E)
        if self.config.transforms_embeddings:
            words = self.embedding_transformation(words)  # (B, S, H)
        positions = self.position_embeddings(batch.position_ids)  # (B, S, H)
        token_types = self.token_type_embeddings(batch.token_type_ids)  # (B, S, H)
        return self.dropout(self.LayerNorm(words + positions + token_types))

    def trigram(self, words: tf.Tensor, mask: tf.Tensor | None) -> tf.Tensor:
        """Next, current and previous embedding side by side; zeros at the ends."""
        neighbours = words
        if self.config.trigram_padding == "masked" and mask is not None:
            neighbours = words * tf.cast(mask, words.dtype)[:, :, None]
        around = tf.pad(neighbours, [[0, 0], [1, 1], [0, 0]])  # (B, S + 2, E)
        following, previous = around[:, 2:], around[:, :-2]  # (B, S, E)
        return tf.concat([following, words, previous], axis=2)  # (B, S, 3E)


class BottleneckLayer(Module):
    """Projection from H to the bottleneck width T."""

    def __init__(self, config: MobileBertConfig, name: str, dtype: Any) -> None:
        super().__init__(name, dtype)
        self.dense = Linear(config.hidden_size, config.true_hidden_size, "dense", dtype)
        self.LayerNorm = make_norm(config, config.true_hidden_size, dtype)

    def call(self, hidden_states: tf.Tensor) -> tf.Tensor:
        return self.LayerNorm(self.dense(hidden_states))  # (N, T)


class Bottleneck(Module):
    """What a layer works on: inputs of query/key and value, and the residual (section 3.1)."""

    def __init__(self, config: MobileBertConfig, name: str, dtype: Any) -> None:
        super().__init__(name, dtype)
        self.config = config
        self.input_layer = BottleneckLayer(config, "input", dtype)
        if config.shares_key_query_bottleneck:
            self.attention = BottleneckLayer(config, "attention", dtype)

    def call(self, hidden_states: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        residual = self.input_layer(hidden_states)  # (N, T)
        if self.config.use_bottleneck_attention:
            return residual, residual, residual
        if self.config.key_query_shared_bottleneck:
            return self.attention(hidden_states), hidden_states, residual
        return hidden_states, hidden_states, residual


class SelfAttention(Module):
    """Scaled dot-product attention with A heads of size D."""

    def __init__(self, config: MobileBertConfig, name: str, dtype: Any) -> None:
        super().__init__(name, dtype)
        self.config = config
        width = config.true_hidden_size
        self.query = Linear(config.query_input_size, width, "query", dtype)
        self.key = Linear(config.query_input_size, width, "key", dtype)
        self.value = Linear(config.value_input_size, width, "value", dtype)
        self.dropout = make_dropout(config.attention_probs_dropout_prob, dtype)

    def call(
        self,
        query_key_input: tf.Tensor,
        value_input: tf.Tensor,
        bias: tf.Tensor | None,
        shape: tf.Tensor,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        queries = self.split_heads(self.query(query_key_input), shape)  # (B, A, S, D)
        keys = self.split_heads(self.key(query_key_input), shape)  # (B, A, S, D)
        values = self.split_heads(self.value(value_input), shape)  # (B, A, S, D)
        probabilities = self.probabilities(queries, keys, bias)  # (B, A, S, S)
        context = self.dropout(probabilities) @ values  # (B, A, S, D)
        context = tf.transpose(context, [0, 2, 1, 3])  # (B, S, A, D)
        return tf.reshape(context, [-1, self.config.true_hidden_size]), probabilities  # (N, T)

    def probabilities(
        self, queries: tf.Tensor, keys: tf.Tensor, bias: tf.Tensor | None
    ) -> tf.Tensor:
        """Softmax of the scaled scores, in at least float32; (B, A, S, S)."""
        scores = tf.matmul(queries, keys, transpose_b=True) * self.config.attention_head_size**-0.5
        if bias is not None:
            scores = scores + bias
        return tf.cast(tf.nn.softmax(widen(scores)), queries.dtype)

    def split_heads(self, projected: tf.Tensor, shape: tf.Tensor) -> tf.Tensor:
        """(N, T) -> (B, A, S, D); `shape` is [B, S, A, D]."""
        return tf.transpose(tf.reshape(projected, shape), [0, 2, 1, 3])


class SelfOutput(Module):
    """Projection of the attention's context, residual addition and normalisation."""

    def __init__(self, config: MobileBertConfig, name: str, dtype: Any) -> None:
        super().__init__(name, dtype)
        width = config.true_hidden_size
        self.dense = Linear(width, width, "dense", dtype)
        self.LayerNorm = make_norm(config, width, dtype)
        rate = 0.0 if config.use_bottleneck else config.hidden_dropout_prob
        self.dropout = make_dropout(rate, dtype)

    def call(self, context: tf.Tensor, residual: tf.Tensor) -> tf.Tensor:
        return self.LayerNorm(self.dropout(self.dense(context)) + residual)  # (N, T)


class Attention(Module):
    """Self-attention and its output."""

    def __init__(self, config: MobileBertConfig, name: str, dtype: Any) -> None:
        super().__init__(name, dtype)
        self.self = SelfAttention(config, "self", dtype)
        self.output_layer = SelfOutput(config, "output", dtype)

    def call(
        self,
        query_key_input: tf.Tensor,
        value_input: tf.Tensor,
        residual: tf.Tensor,
        bias: tf.Tensor | None,
        shape: tf.Tensor,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        context, probabilities = self.self(query_key_input, value_input, bias, shape)
        return self.output_layer(context, residual), probabilities


class Intermediate(Module):
    """Expansion from T to I and the activation."""

    def __init__(self, config: MobileBertConfig, name: str, dtype: Any) -> None:
        super().__init__(name, dtype)
        self.dense = Linear(config.true_hidden_size, config.intermediate_size, "dense", dtype)
        self.activation = ACTIVATIONS[config.hidden_act]

    def call(self, hidden_states: tf.Tensor) -> tf.Tensor:
        return self.activation(self.dense(hidden_states))  # (N, I)


class FeedForwardOutput(Module):
    """Projection from I back to T, residual addition and normalisation."""

    def __init__(self, config: MobileBertConfig, name: str, dtype: Any) -> None:
        super().__init__(name, dtype)
        self.dense = Linear(config.intermediate_size, config.true_hidden_size, "dense", dtype)
        self.LayerNorm = make_norm(config, config.true_hidden_size, dtype)

    def call(self, expanded: tf.Tensor, residual: tf.Tensor) -> tf.Tensor:
        return self.LayerNorm(self.dense(expanded) + residual)  # (N, T)


class FeedForward(Module):
    """One of the F - 1 stacked feed-forward networks (section 3.1)."""

    def __init__(self, config: MobileBertConfig, name: str, dtype: Any) -> None:
        super().__init__(name, dtype)
        self.intermediate = Intermediate(config, "intermediate", dtype)
        self.output_layer = FeedForwardOutput(config, "output", dtype)

    def call(self, hidden_states: tf.Tensor) -> tf.Tensor:
        return self.output_layer(self.intermediate(hidden_states), hidden_states)


class OutputBottleneck(Module):
    """Projection from T back to H; the layer's input is the residual."""

    def __init__(self, config: MobileBertConfig, name: str, dtype: Any) -> None:
        super().__init__(name, dtype)
        self.dense = Linear(config.true_hidden_size, config.hidden_size, "dense", dtype)
        self.LayerNorm = make_norm(config, config.hidden_size, dtype)
        self.dropout = make_dropout(config.hidden_dropout_prob, dtype)

    def call(self, hidden_states: tf.Tensor, residual: tf.Tensor) -> tf.Tensor:
        return self.LayerNorm(self.dropout(self.dense(hidden_states)) + residual)  # (N, H)


class Output(Module):
    """The last feed-forward network's second half, then the way out of the bottleneck."""

    def __init__(self, config: MobileBertConfig, name: str, dtype: Any) -> None:
        super().__init__(name, dtype)
        self.dense = Linear(config.intermediate_size, config.true_hidden_size, "dense", dtype)
        self.LayerNorm = make_norm(config, config.true_hidden_size, dtype)
        rate = 0.0 if config.use_bottleneck else config.hidden_dropout_prob
        self.dropout = make_dropout(rate, dtype)
        self.bottleneck = None
        if config.use_bottleneck:
            self.bottleneck = OutputBottleneck(config, "bottleneck", dtype)

    def call(self, expanded: tf.Tensor, residual: tf.Tensor, layer_input: tf.Tensor) -> tf.Tensor:
        hidden_states = self.dropout(self.dense(expanded)) + residual
        hidden_states = self.LayerNorm(hidden_states)  # (N, T)
        if self.bottleneck is None:
            return hidden_states
        return self.bottleneck(hidden_states, layer_input)  # (N, H)


class Layer(Module):
    """One MobileBERT layer: bottleneck, attention, F feed-forward networks, way out."""

    def __init__(self, config: MobileBertConfig, name: str, dtype: Any) -> None:
        super().__init__(name, dtype)
        self.bottleneck = None
        if config.use_bottleneck:
            self.bottleneck = Bottleneck(config, "bottleneck", dtype)
        self.attention = Attention(config, "attention", dtype)
        self.ffn = [
            FeedForward(config, f"ffn.{network}", dtype)
            for network in range(config.num_feedforward_networks - 1)
        ]
        self.intermediate = Intermediate(config, "intermediate", dtype)
        self.output_layer = Output(config, "output", dtype)

    def call(
        self, hidden_states: tf.Tensor, bias: tf.Tensor | None, shape: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        if self.bottleneck is None:
            query_key_input = value_input = residual = hidden_states
        else:
            query_key_input, value_input, residual = self.bottleneck(hidden_states)
        inner, attention = self.attention(query_key_input, value_input, residual, bias, shape)
        for feed_forward in self.ffn:
            inner = feed_forward(inner)  # (N, T)
        return self.output_layer(self.intermediate(inner), inner, hidden_states), attention


class Encoder(Module):
    """The stack of layers."""

    def __init__(self, config: MobileBertConfig, name: str, dtype: Any) -> None:
        super().__init__(name, dtype)
        self.config = config
        self.gradient_checkpointing = False
        self.layer = [
            Layer(config, f"layer.{index}", dtype) for index in range(config.num_hidden_layers)
        ]

    def call(
        self,
        hidden_states: tf.Tensor,
        bias: tf.Tensor | None,
        collect: tuple[str, ...] = (),
        training: bool | None = None,
    ) -> tuple[tf.Tensor, tuple[tf.Tensor, ...], tuple[tf.Tensor, ...]]:
        whole = tf.shape(hidden_states)  # [B, S, H]
        shape = tf.stack(
            [
                *tf.unstack(whole)[:2],
                self.config.num_attention_heads,
                self.config.attention_head_size,
            ]
        )  # [B, S, A, D]
        states, attentions = [hidden_states], []
        tokens = tf.reshape(hidden_states, [-1, self.config.hidden_size])  # (N, H)
        for layer in self.layer:
            if self.gradient_checkpointing and training:
                tokens, attention = recompute(layer, tokens, bias, shape)
            else:
                tokens, attention = layer(tokens, bias, shape)
            if "hidden_states" in collect:
                states.append(tf.reshape(tokens, whole))
            if "attentions" in collect:
                attentions.append(attention)
        return tf.reshape(tokens, whole), tuple(states), tuple(attentions)


class Pooler(Module):
    """The first token's state, through a dense layer and tanh if `classifier_activation`."""

    def __init__(self, config: MobileBertConfig, name: str, dtype: Any) -> None:
        super().__init__(name, dtype)
        self.dense = None
        if config.classifier_activation:
            self.dense = Linear(config.hidden_size, config.hidden_size, "dense", dtype)

    def call(self, sequence: tf.Tensor) -> tf.Tensor:
        first = sequence[:, 0]  # (B, H)
        return first if self.dense is None else tf.tanh(self.dense(first))


class Backbone(Module):
    """Embeddings, encoder and, where a head needs it, the pooler."""

    def __init__(self, config: MobileBertConfig, dtype: Any, *, add_pooling_layer: bool) -> None:
        super().__init__("mobilebert", dtype)
        self.make_modules(config, dtype, add_pooling_layer=add_pooling_layer)

    def make_modules(
        self, config: MobileBertConfig, dtype: Any, *, add_pooling_layer: bool
    ) -> None:
        """Create the modules; the base model calls this for its own root."""
        self.embeddings = Embeddings(config, "embeddings", dtype)
        self.encoder = Encoder(config, "encoder", dtype)
        self.pooler = Pooler(config, "pooler", dtype) if add_pooling_layer else None

    def call(self, batch: Batch, collect: tuple[str, ...] = ()) -> Encoded:
        return self.encode(batch, collect)

    def encode(self, batch: Batch, collect: tuple[str, ...]) -> Encoded:
        """The computation, under a name that the base model's `call` does not hide."""
        embedded = self.embeddings(batch=batch)  # (B, S, H)
        bias = attention_bias(batch.attention_mask, embedded.dtype)
        sequence, hidden_states, attentions = self.encoder(embedded, bias, collect=collect)
        return Encoded(
            sequence,
            None if self.pooler is None else self.pooler(sequence),
            hidden_states if "hidden_states" in collect else None,
            attentions if "attentions" in collect else None,
        )
