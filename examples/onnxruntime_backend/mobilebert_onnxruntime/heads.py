"""The eight models as ONNX graphs; their results are called as the fields of the output classes.

B batch  S sequence  P prediction positions  N tokens  E embedding  H hidden  V vocabulary
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from onnx import TensorProto

from mobilebert_core import schema
from mobilebert_core.config import MobileBertConfig
from mobilebert_onnxruntime.encoder import (
    BATCH,
    SEQUENCE,
    add_texts,
    encoder,
    make_inputs,
    pooler,
    unflatten,
)
from mobilebert_onnxruntime.graph import Graph
from mobilebert_onnxruntime.layers import ACTIVATIONS, layer_norm, linear

Array = np.ndarray[Any, np.dtype[Any]]

POSITIONS = "prediction_positions"


def add_predictions(graph: Graph, config: MobileBertConfig, tokens: str, output: str) -> None:
    """The masked-lm head at given positions: tied word embeddings and H - E rows of its own."""
    name, hidden, tied = "cls.predictions", config.hidden_size, config.embedding_size
    positions = graph.input(POSITIONS, (BATCH, "positions"), TensorProto.INT64)
    texts = unflatten(graph, tokens, "input_ids", hidden)  # (B, S, H)
    indices = graph.node("Unsqueeze", positions, graph.integers(2))  # (B, P, 1)
    chosen = graph.node("GatherND", texts, indices, batch_dims=1)  # (B, P, H)
    chosen = graph.node("Reshape", chosen, graph.integers(-1, hidden))  # (N, H)
    activation = ACTIVATIONS[config.hidden_act]
    transformed = activation(graph, linear(graph, chosen, f"{name}.transform.dense"))
    transformed = layer_norm(
        graph, transformed, f"{name}.transform.LayerNorm", config.layer_norm_eps
    )

    def columns(start: int, end: int) -> str:
        bounds = (graph.integers(start), graph.integers(end), graph.integers(1))
        return graph.node("Slice", transformed, *bounds)

    table, bias = graph.weight(schema.WORD_EMBEDDINGS), graph.weight(schema.PREDICTION_BIAS)
    logits = graph.node("Gemm", columns(0, tied), table, bias, transB=1)  # (N, V)
    if hidden > tied:
        extra = graph.weight(schema.EXTRA_EMBEDDINGS)  # (H - E, V)
        logits = graph.node("Gemm", columns(tied, hidden), extra, logits)  # (N, V)
    unflatten(graph, logits, positions, config.vocab_size, output=output)
    graph.output(output, (BATCH, "positions", config.vocab_size))


def add_classifier(
    graph: Graph, config: MobileBertConfig, tokens: str, name: str, output: str
) -> None:
    """A dense layer on the pooled output."""
    linear(graph, pooler(graph, config, tokens), name, output=output)  # (B, labels)
    graph.output(output, (BATCH, graph.weights[f"{name}.weight"].shape[0]))


def add_base(graph: Graph, config: MobileBertConfig, tokens: str) -> None:
    """The encoder, with its pooler if there is one."""
    add_texts(graph, config, tokens, "last_hidden_state")
    if schema.has_pooler(config, graph.weights):
        pooler(graph, config, tokens, output="pooler_output")
        graph.output("pooler_output", (BATCH, config.hidden_size))


def add_pretraining(graph: Graph, config: MobileBertConfig, tokens: str) -> None:
    """Masked language modelling and next sentence prediction."""
    add_predictions(graph, config, tokens, "prediction_logits")
    add_classifier(graph, config, tokens, "cls.seq_relationship", "seq_relationship_logits")


def add_masked_lm(graph: Graph, config: MobileBertConfig, tokens: str) -> None:
    """Masked language modelling."""
    add_predictions(graph, config, tokens, "logits")


def add_next_sentence_prediction(graph: Graph, config: MobileBertConfig, tokens: str) -> None:
    """Does the second text follow the first?"""
    add_classifier(graph, config, tokens, "cls.seq_relationship", "logits")


def add_classification(graph: Graph, config: MobileBertConfig, tokens: str) -> None:
    """Classes of a text; or one number for each of B * C choices."""
    add_classifier(graph, config, tokens, "classifier", "logits")


def add_token_classification(graph: Graph, config: MobileBertConfig, tokens: str) -> None:
    """One class for every token."""
    logits = linear(graph, tokens, "classifier")  # (N, labels)
    unflatten(graph, logits, "input_ids", config.num_labels, output="logits")
    graph.output("logits", (BATCH, SEQUENCE, config.num_labels))


def add_question_answering(graph: Graph, config: MobileBertConfig, tokens: str) -> None:
    """Where the answer begins and ends."""
    logits = linear(graph, tokens, "qa_outputs")  # (N, 2)
    for column, output in enumerate(("start_logits", "end_logits")):
        bounds = (graph.integers(column), graph.integers(column + 1), graph.integers(1))
        chosen = graph.node("Slice", logits, *bounds)  # (N, 1)
        graph.node("Reshape", chosen, graph.node("Shape", "input_ids"), output=output)  # (B, S)
        graph.output(output, (BATCH, SEQUENCE))


HEADS: dict[str, Callable[[Graph, MobileBertConfig, str], None]] = {
    "base": add_base,
    "pretraining": add_pretraining,
    "masked-lm": add_masked_lm,
    "next-sentence-prediction": add_next_sentence_prediction,
    "sequence-classification": add_classification,
    "multiple-choice": add_classification,
    "token-classification": add_token_classification,
    "question-answering": add_question_answering,
}


def make_graph(
    config: MobileBertConfig, head: str, weights: Mapping[str, Array], dtype: str
) -> Graph:
    """The graph of a model.

    Args:
        config: the configuration.
        head: name of the head.
        weights: canonical weights in the dtype of the computation.
        dtype: `float32` or `float64`.
    """
    graph = Graph(weights, dtype)
    HEADS[head](graph, config, encoder(graph, config, make_inputs(graph)))
    return graph
