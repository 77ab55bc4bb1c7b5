"""The function itself: MobileBERT written once more, literally, from the specification.

It shares no code with any backend, computes in float64 (or in the numbers of `arithmetic.py`) and
puts clarity before speed. `conformance/README.md` numbers the clauses that the comments cite; the
tests compare this file with transformers. Read next: `oracle_heads.py`.

B batch  S sequence  E embedding  H hidden  T bottleneck width  A heads  D head size  I feed-forward
"""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from mobilebert_conformance.arithmetic import (
    ACTIVATIONS,
    FLOAT64,
    Arithmetic,
    matmul,
    softmax,
)
from mobilebert_core.config import MobileBertConfig

Array = np.ndarray[Any, np.dtype[Any]]


class Encoded(NamedTuple):
    """What the encoder gives."""

    hidden_states: list[Array]  # L + 1 times (B, S, H)
    attentions: list[Array]  # L times (B, A, S, S)


class Encoder:
    """Embeddings and layers.

    Args:
        config: the configuration.
        weights: canonical weights by name, in any dtype.
        arithmetic: what is computed in.
    """

    def __init__(
        self,
        config: MobileBertConfig,
        weights: Mapping[str, Array],
        arithmetic: Arithmetic = FLOAT64,
    ) -> None:
        self.config = config
        self.arithmetic = arithmetic
        self.keep = arithmetic.keep
        self.weights = {name: self.stored(array) for name, array in weights.items()}

    def stored(self, array: Array) -> Array:
        """A tensor in the numbers of the computation; real ones stay real among complex ones."""
        if self.arithmetic.dtype is np.complex128 and not np.iscomplexobj(array):
            return np.asarray(array, np.float64)
        return self.keep(array)

    def encode(self, inputs: Mapping[str, Any]) -> Encoded:
        """All hidden states and attention probabilities of a batch."""
        bias = self.attention_bias(inputs.get("attention_mask"))
        states, attentions = [self.embeddings(inputs)], []
        for index in range(self.config.num_hidden_layers):
            hidden, probabilities = self.layer(index, states[-1], bias)
            states.append(hidden)
            attentions.append(probabilities)
        return Encoded(states, attentions)

    def dense(self, name: str, x: Array) -> Array:
        """`x K + b`, the kernel stored as (out, in)."""
        product = self.keep(matmul(x, self.weights[f"{name}.weight"].T))
        return self.keep(product + self.weights[f"{name}.bias"])

    def norm(self, name: str, x: Array) -> Array:
        """F11: NoNorm, `x gamma + beta`, or layer normalisation."""
        if self.config.normalization_type == "layer_norm":
            return self.layer_norm(name, x)
        scaled = self.keep(x * self.weights[f"{name}.weight"])
        return self.keep(scaled + self.weights[f"{name}.bias"])

    def layer_norm(self, name: str, x: Array) -> Array:
        """F11: layer normalisation over the last axis, in at least float32."""
        centred = x - x.mean(axis=-1, keepdims=True)
        variance = (centred * centred).mean(axis=-1, keepdims=True)
        eps = x.real.dtype.type(self.config.layer_norm_eps)
        scaled = centred / np.sqrt(variance + eps) * self.weights[f"{name}.weight"]
        return self.keep(scaled + self.weights[f"{name}.bias"])

    def activation(self, x: Array) -> Array:
        """F12."""
        return self.keep(ACTIVATIONS[self.config.hidden_act](x))

    def embeddings(self, inputs: Mapping[str, Any]) -> Array:
        """F1, F2, F3 and F4: words, trigram, transformation, positions and token types."""
        name, config = "mobilebert.embeddings", self.config
        if inputs.get("inputs_embeds") is not None:
            words = self.keep(inputs["inputs_embeds"])  # (B, S, E)
        else:
            words = self.weights[f"{name}.word_embeddings.weight"][inputs["input_ids"]]
        batch, length = words.shape[:2]
        if config.trigram_input:
            words = self.trigram(words, inputs.get("attention_mask"))  # (B, S, 3E)
        if config.trigram_input or config.embedding_size != config.hidden_size:
            words = self.dense(f"{name}.embedding_transformation", words)  # (B, S, H)
        positions = inputs.get("position_ids")
        if positions is None:
            positions = np.arange(length)
        token_types = inputs.get("token_type_ids")
        if token_types is None:
            token_types = np.zeros((batch, length), np.int64)
        total = self.keep(words + self.weights[f"{name}.position_embeddings.weight"][positions])
        types = self.weights[f"{name}.token_type_embeddings.weight"][token_types]
        return self.norm(f"{name}.LayerNorm", self.keep(total + types))

    def trigram(self, words: Array, mask: Any) -> Array:
        """F2: the next, the current and the previous embedding; zeros at the ends."""
        neighbours = words
        if self.config.trigram_padding == "masked" and mask is not None:
            neighbours = words * (np.asarray(mask) != 0)[:, :, None]
        following, previous = np.zeros_like(words), np.zeros_like(words)
        following[:, :-1] = neighbours[:, 1:]
        previous[:, 1:] = neighbours[:, :-1]
        return np.concatenate([following, words, previous], axis=2)

    def attention_bias(self, mask: Any) -> Array | None:
        """F7: 0 where attended, the most negative finite number elsewhere."""
        if mask is None:
            return None
        attended = np.asarray(mask) != 0
        if attended.ndim == 2:
            attended = attended[:, None, None, :]  # (B, 1, 1, S)
        return self.keep(np.where(attended, 0.0, self.arithmetic.lowest))

    def layer(self, index: int, x: Array, bias: Array | None) -> tuple[Array, Array]:
        """One layer: its output (B, S, H) and its attention probabilities (B, A, S, S)."""
        name = f"mobilebert.encoder.layer.{index}"
        query_key, value, inner = self.bottleneck(f"{name}.bottleneck", x)
        context, probabilities = self.attention(f"{name}.attention.self", query_key, value, bias)
        projected = self.dense(f"{name}.attention.output.dense", context)  # F8
        y = self.norm(f"{name}.attention.output.LayerNorm", self.keep(projected + inner))
        for network in range(self.config.num_feedforward_networks - 1):
            y = self.feed_forward(f"{name}.ffn.{network}", y)
        y = self.feed_forward(name, y)
        if self.config.use_bottleneck:
            name = f"{name}.output.bottleneck"
            y = self.norm(f"{name}.LayerNorm", self.keep(self.dense(f"{name}.dense", y) + x))  # F10
        return y, probabilities

    def bottleneck(self, name: str, x: Array) -> tuple[Array, Array, Array]:
        """F5: what query and key, what the value and what the residual are made of."""
        if not self.config.use_bottleneck:
            return x, x, x
        inner = self.norm(f"{name}.input.LayerNorm", self.dense(f"{name}.input.dense", x))
        if self.config.use_bottleneck_attention:
            return inner, inner, inner
        if self.config.key_query_shared_bottleneck:
            shared = self.dense(f"{name}.attention.dense", x)
            return self.norm(f"{name}.attention.LayerNorm", shared), x, inner
        return x, x, inner

    def attention(
        self, name: str, query_key: Array, value: Array, bias: Array | None
    ) -> tuple[Array, Array]:
        """F6 and F7: scaled dot-product attention with A heads."""
        batch, length = query_key.shape[:2]
        heads = self.config.num_attention_heads

        def split(x: Array) -> Array:
            return x.reshape(batch, length, heads, -1).transpose(0, 2, 1, 3)  # (B, A, S, D)

        queries = split(self.dense(f"{name}.query", query_key))
        keys = split(self.dense(f"{name}.key", query_key))
        values = split(self.dense(f"{name}.value", value))
        products = self.keep(queries @ keys.transpose(0, 1, 3, 2))
        scores = self.keep(products / queries.real.dtype.type(math.sqrt(queries.shape[-1])))
        if bias is not None:
            scores = self.keep(scores + bias)
        probabilities = self.keep(softmax(scores))  # (B, A, S, S)
        context = self.keep(probabilities @ values).transpose(0, 2, 1, 3)  # (B, S, A, D)
        return context.reshape(batch, length, -1), probabilities

    def feed_forward(self, name: str, x: Array) -> Array:
        """F9: expansion, activation, contraction, residual and normalisation."""
        expanded = self.activation(self.dense(f"{name}.intermediate.dense", x))  # (B, S, I)
        contracted = self.dense(f"{name}.output.dense", expanded)  # (B, S, T)
        return self.norm(f"{name}.output.LayerNorm", self.keep(contracted + x))
