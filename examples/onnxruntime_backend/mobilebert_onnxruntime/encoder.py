"""The MobileBERT encoder as an ONNX graph, bottom up; inference only, so dropout is not here.

Tokens stand in one long list (N, ...) with N = B S: dense layers and norms see no more. Only the
trigram and attention know texts. Read next: `heads.py`.

B batch  S sequence  N tokens  E embedding  H hidden  T bottleneck width  A heads  D head size
I feed-forward
"""

from typing import NamedTuple

import numpy as np
from onnx import TensorProto

from mobilebert_core.config import MobileBertConfig
from mobilebert_onnxruntime.graph import Graph
from mobilebert_onnxruntime.layers import ACTIVATIONS, embedding, linear, norm

BATCH, SEQUENCE = "batch", "sequence"


class Inputs(NamedTuple):
    """Arguments of the graph; all are there in every call."""

    input_ids: str  # (B, S)
    token_type_ids: str  # (B, S)
    position_ids: str  # (B, S)
    attention_mask: str  # (B or 1, A or 1, S or 1, S or 1), True where attended


def make_inputs(graph: Graph) -> Inputs:
    """Declare the arguments."""
    ids = (BATCH, SEQUENCE)
    mask = ("mask_batch", "mask_heads", "mask_queries", "mask_keys")
    return Inputs(
        input_ids=graph.input("input_ids", ids, TensorProto.INT64),
        token_type_ids=graph.input("token_type_ids", ids, TensorProto.INT64),
        position_ids=graph.input("position_ids", ids, TensorProto.INT64),
        attention_mask=graph.input("attention_mask", mask, TensorProto.BOOL),
    )


def unflatten(
    graph: Graph, tokens: str, leading: str, *sizes: int, output: str | None = None
) -> str:
    """Give a list of tokens its texts back: the two axes of the ids `leading`, then `sizes`."""
    shape = graph.node("Concat", graph.node("Shape", leading), graph.integers(*sizes), axis=0)
    return graph.node("Reshape", tokens, shape, output=output)


def attention_bias(graph: Graph, mask: str) -> str:
    """0 where attended, the most negative finite value elsewhere; 4-D like the mask."""
    lowest = graph.number(float(np.finfo(graph.dtype).min))
    return graph.node("Where", mask, graph.number(0), lowest)


def embeddings(graph: Graph, config: MobileBertConfig, inputs: Inputs) -> str:
    """Trigram word, position and token type embeddings (section 3.1)."""
    name = "mobilebert.embeddings"
    words = embedding(graph, inputs.input_ids, f"{name}.word_embeddings")  # (B, S, E)
    if config.trigram_input:
        words = trigram(graph, config, words, inputs.attention_mask)  # (B, S, 3E)
    words = graph.node("Reshape", words, graph.integers(-1, config.embedding_input_size))  # (N, 3E)
    if config.transforms_embeddings:
        words = linear(graph, words, f"{name}.embedding_transformation")  # (N, H)
    for ids, table in (
        (inputs.position_ids, "position_embeddings"),
        (inputs.token_type_ids, "token_type_embeddings"),
    ):
        flat = graph.node("Reshape", ids, graph.integers(-1))  # (N,)
        words = graph.node("Add", words, embedding(graph, flat, f"{name}.{table}"))  # (N, H)
    return norm(graph, config, words, f"{name}.LayerNorm")


def trigram(graph: Graph, config: MobileBertConfig, words: str, mask: str) -> str:
    """Next, current and previous embedding side by side; zeros at the ends."""
    neighbours = words
    if config.trigram_padding == "masked":  # the mask is (B, 1, 1, S) then
        column = graph.node("Transpose", mask, perm=[0, 3, 1, 2])  # (B, S, 1, 1)
        column = graph.node("Squeeze", column, graph.integers(3))  # (B, S, 1)
        neighbours = graph.node("Where", column, words, graph.number(0))
    # One zero token more at one end, one token less (-1) at the other.
    following = graph.node("Pad", neighbours, graph.integers(0, -1, 0, 0, 1, 0))  # (B, S, E)
    previous = graph.node("Pad", neighbours, graph.integers(0, 1, 0, 0, -1, 0))  # (B, S, E)
    return graph.node("Concat", following, words, previous, axis=2)  # (B, S, 3E)


def bottleneck_layer(graph: Graph, config: MobileBertConfig, tokens: str, name: str) -> str:
    """Projection from H to the bottleneck width T."""
    return norm(graph, config, linear(graph, tokens, f"{name}.dense"), f"{name}.LayerNorm")


def bottleneck(
    graph: Graph, config: MobileBertConfig, tokens: str, name: str
) -> tuple[str, str, str]:
    """What a layer works on: inputs of query/key and value, and the residual (section 3.1)."""
    residual = bottleneck_layer(graph, config, tokens, f"{name}.input")  # (N, T)
    if config.use_bottleneck_attention:
        return residual, residual, residual
    if config.key_query_shared_bottleneck:
        return bottleneck_layer(graph, config, tokens, f"{name}.attention"), tokens, residual
    return tokens, tokens, residual


def self_attention(
    graph: Graph, config: MobileBertConfig, query_key_input: str, value_input: str, bias: str,
    name: str, index: int,
) -> str:  # fmt: skip
    """Scaled dot-product attention with A heads of size D."""

    def heads(inputs: str, part: str, *axes: int) -> str:
        projected = linear(graph, inputs, f"{name}.{part}")  # (N, T)
        sizes = (config.num_attention_heads, config.attention_head_size)
        split = unflatten(graph, projected, "input_ids", *sizes)  # (B, S, A, D)
        return graph.node("Transpose", split, perm=axes)

    queries = heads(query_key_input, "query", 0, 2, 1, 3)  # (B, A, S, D)
    keys = heads(query_key_input, "key", 0, 2, 3, 1)  # (B, A, D, S)
    values = heads(value_input, "value", 0, 2, 1, 3)  # (B, A, S, D)
    products = graph.node("MatMul", queries, keys)  # (B, A, S, S)
    scores = graph.node("Mul", products, graph.number(config.attention_head_size**-0.5))
    scores = graph.node("Add", scores, bias)
    probabilities = graph.node("Softmax", scores, axis=-1, output=f"attentions.{index}")
    shape = (BATCH, config.num_attention_heads, SEQUENCE, SEQUENCE)
    graph.output(probabilities, shape)
    context = graph.node("MatMul", probabilities, values)  # (B, A, S, D)
    context = graph.node("Transpose", context, perm=[0, 2, 1, 3])  # (B, S, A, D)
    return graph.node("Reshape", context, graph.integers(-1, config.true_hidden_size))  # (N, T)


def output_layer(
    graph: Graph, config: MobileBertConfig, inputs: str, residual: str, name: str
) -> str:
    """How attention, feed-forward network and layer end: projection, residual and normalisation."""
    added = graph.node("Add", linear(graph, inputs, f"{name}.dense"), residual)
    return norm(graph, config, added, f"{name}.LayerNorm")


def feed_forward(graph: Graph, config: MobileBertConfig, tokens: str, name: str) -> str:
    """Expansion from T to I, the activation, and back with residual and normalisation."""
    expanded = linear(graph, tokens, f"{name}.intermediate.dense")  # (N, I)
    activated = ACTIVATIONS[config.hidden_act](graph, expanded)
    return output_layer(graph, config, activated, tokens, f"{name}.output")  # (N, T)


def layer(graph: Graph, config: MobileBertConfig, tokens: str, bias: str, index: int) -> str:
    """One MobileBERT layer: bottleneck, attention, F feed-forward networks, way out."""
    name = f"mobilebert.encoder.layer.{index}"
    query_key_input = value_input = residual = tokens
    if config.use_bottleneck:
        parts = bottleneck(graph, config, tokens, f"{name}.bottleneck")
        query_key_input, value_input, residual = parts
    attention = f"{name}.attention"
    context = self_attention(
        graph, config, query_key_input, value_input, bias, f"{attention}.self", index
    )
    inner = output_layer(graph, config, context, residual, f"{attention}.output")
    for network in range(config.num_feedforward_networks - 1):
        inner = feed_forward(graph, config, inner, f"{name}.ffn.{network}")
    inner = feed_forward(graph, config, inner, name)  # (N, T)
    if not config.use_bottleneck:
        return inner
    return output_layer(graph, config, inner, tokens, f"{name}.output.bottleneck")  # (N, H)


def encoder(graph: Graph, config: MobileBertConfig, inputs: Inputs) -> str:
    """Embeddings and the stack of layers: the last hidden state, (N, H)."""
    bias = attention_bias(graph, inputs.attention_mask)
    tokens = embeddings(graph, config, inputs)
    add_texts(graph, config, tokens, "hidden_states.0")
    for index in range(config.num_hidden_layers):
        tokens = layer(graph, config, tokens, bias, index)
        add_texts(graph, config, tokens, f"hidden_states.{index + 1}")
    return tokens


def add_texts(graph: Graph, config: MobileBertConfig, tokens: str, output: str) -> str:
    """A result of the graph, (B, S, H)."""
    unflatten(graph, tokens, "input_ids", config.hidden_size, output=output)
    return graph.output(output, (BATCH, SEQUENCE, config.hidden_size))


def pooler(graph: Graph, config: MobileBertConfig, tokens: str, output: str | None = None) -> str:
    """The first token's state, through a dense layer and tanh if `classifier_activation`."""
    texts = unflatten(graph, tokens, "input_ids", config.hidden_size)  # (B, S, H)
    first = graph.node("Slice", texts, graph.integers(0), graph.integers(1), graph.integers(1))
    flat = graph.integers(-1, config.hidden_size)
    if not config.classifier_activation:
        return graph.node("Reshape", first, flat, output=output)  # (B, H)
    rows = graph.node("Reshape", first, flat)  # (B, H)
    return graph.node("Tanh", linear(graph, rows, "mobilebert.pooler.dense"), output=output)
