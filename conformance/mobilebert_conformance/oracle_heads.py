"""The eight heads and their losses on top of the oracle's encoder.

B batch  C choices  S sequence  P prediction positions  H hidden  V vocabulary
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from mobilebert_conformance.arithmetic import FLOAT64, Arithmetic, log_softmax, matmul, softplus
from mobilebert_conformance.oracle import Array, Encoder
from mobilebert_core.config import MobileBertConfig

IGNORED = -100
Fields = dict[str, Any]


class Oracle:
    """One model of the specification: inputs and labels in, output fields by name out.

    Args:
        config: the configuration.
        head: name of the head.
        weights: canonical weights by name.
        arithmetic: what is computed in; float64 is the truth.
    """

    def __init__(
        self,
        config: MobileBertConfig,
        head: str,
        weights: Mapping[str, Array],
        arithmetic: Arithmetic = FLOAT64,
    ) -> None:
        self.config = config
        self.head = head
        self.encoder = Encoder(config, weights, arithmetic)
        self.keep = arithmetic.keep

    def run(
        self, inputs: Mapping[str, Any], labels: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """All fields of the output, hidden states and attentions included; F21."""
        flat = {name: self.flatten_choices(name, each) for name, each in inputs.items()}
        encoded = self.encoder.encode(flat)
        fields = self.fields(encoded.hidden_states[-1], inputs, labels or {})
        return fields | {
            "hidden_states": tuple(encoded.hidden_states),
            "attentions": tuple(encoded.attentions),
        }

    def flatten_choices(self, name: str, value: Any) -> Any:
        """F17: (B, C, S, ...) -> (B * C, S, ...)."""
        if self.head != "multiple-choice" or value is None or name == "prediction_positions":
            return value
        array = np.asarray(value)
        return array.reshape(-1, *array.shape[2:])

    def fields(
        self, sequence: Array, inputs: Mapping[str, Any], labels: Mapping[str, Any]
    ) -> Fields:
        """The head's own fields, and the loss where labels are given.

        Args:
            sequence: (B, S, H), the last hidden state.
            inputs: of the call; the shape of choices and the prediction positions matter.
            labels: by name.
        """
        given = {name: np.asarray(each) for name, each in labels.items()}
        return _HEADS[self.head](self, sequence, inputs, given)

    def pooled(self, sequence: Array) -> Array:
        """F13: the first token's state, through a dense layer and tanh where there is one."""
        first = sequence[:, 0]  # (B, H)
        if not self.config.classifier_activation:
            return first
        return self.keep(np.tanh(self.encoder.dense("mobilebert.pooler.dense", first)))

    def predictions(self, sequence: Array, inputs: Mapping[str, Any]) -> Array:
        """F14: the masked language model's logits; (B, S, V) or (B, P, V)."""
        positions = inputs.get("prediction_positions")
        if positions is not None:
            sequence = sequence[np.arange(len(sequence))[:, None], np.asarray(positions)]
        name, encoder = "cls.predictions", self.encoder
        hidden = encoder.activation(encoder.dense(f"{name}.transform.dense", sequence))
        hidden = encoder.layer_norm(f"{name}.transform.LayerNorm", hidden)  # never NoNorm
        decoder = encoder.weights["mobilebert.embeddings.word_embeddings.weight"].T  # (E, V)
        if self.config.embedding_size < self.config.hidden_size:
            decoder = np.concatenate([decoder, encoder.weights[f"{name}.dense.weight"]])  # (H, V)
        return self.keep(self.keep(matmul(hidden, decoder)) + encoder.weights[f"{name}.bias"])

    def cross_entropy(self, logits: Array, labels: Array, ignored: int = IGNORED) -> Array:
        """F20: the mean of `-log softmax(logits)[label]` over the labels that count."""
        rows = log_softmax(logits.reshape(-1, logits.shape[-1]))
        flat = labels.reshape(-1)
        counted = np.flatnonzero(flat != ignored)
        if not counted.size:
            return np.asarray(np.nan, rows.dtype)
        mean = -rows[counted, flat[counted]].sum() / rows.real.dtype.type(counted.size)
        return np.asarray(mean)

    def classification_loss(self, logits: Array, labels: Array) -> Array:
        """F20: what the problem type asks for."""
        kind = self.config.problem_type
        if kind is None and self.config.num_labels == 1:
            kind = "regression"
        if kind == "single_label_classification" or (kind is None and labels.dtype.kind in "iub"):
            return self.cross_entropy(logits, labels)
        targets = labels.reshape(logits.shape).astype(logits.real.dtype)
        if kind == "regression":
            difference = logits - targets
            return np.asarray((difference * difference).mean())
        return np.asarray((softplus(logits) - logits * targets).mean())

    def span_loss(self, start_logits: Array, end_logits: Array, labels: Fields) -> Array:
        """F20: positions are clamped to 0 ... S, and S counts nothing; the mean of both ends."""
        length = start_logits.shape[1]
        start = np.clip(labels["start_positions"], 0, length)
        end = np.clip(labels["end_positions"], 0, length)
        both = self.cross_entropy(start_logits, start, length) + self.cross_entropy(
            end_logits, end, length
        )
        return np.asarray(both / both.real.dtype.type(2))


def _base(oracle: Oracle, sequence: Array, inputs: Any, labels: Fields) -> Fields:
    fields = {"last_hidden_state": sequence}
    weights = oracle.encoder.weights
    if oracle.config.classifier_activation and "mobilebert.pooler.dense.weight" not in weights:
        return fields  # a base model may be made without its pooler
    return fields | {"pooler_output": oracle.pooled(sequence)}


def _pretraining(oracle: Oracle, sequence: Array, inputs: Any, labels: Fields) -> Fields:
    logits = oracle.predictions(sequence, inputs)
    relationship = oracle.encoder.dense("cls.seq_relationship", oracle.pooled(sequence))  # F15
    fields = {"prediction_logits": logits, "seq_relationship_logits": relationship}
    if {"labels", "next_sentence_label"} <= labels.keys():
        loss = oracle.cross_entropy(logits, labels["labels"])
        loss = loss + oracle.cross_entropy(relationship, labels["next_sentence_label"])
        fields = {"loss": loss, **fields}
    return fields


def _masked_lm(oracle: Oracle, sequence: Array, inputs: Any, labels: Fields) -> Fields:
    return _with_loss(oracle, oracle.predictions(sequence, inputs), labels)


def _next_sentence(oracle: Oracle, sequence: Array, inputs: Any, labels: Fields) -> Fields:
    logits = oracle.encoder.dense("cls.seq_relationship", oracle.pooled(sequence))
    return _with_loss(oracle, logits, labels)


def _sequence_classification(
    oracle: Oracle, sequence: Array, inputs: Any, labels: Fields
) -> Fields:
    logits = oracle.encoder.dense("classifier", oracle.pooled(sequence))  # F16
    if "labels" not in labels:
        return {"logits": logits}
    return {"loss": oracle.classification_loss(logits, labels["labels"]), "logits": logits}


def _multiple_choice(oracle: Oracle, sequence: Array, inputs: Any, labels: Fields) -> Fields:
    scores = oracle.encoder.dense("classifier", oracle.pooled(sequence))  # (B * C, 1)
    given = inputs.get("input_ids")
    rows, choices = np.shape(inputs["inputs_embeds"] if given is None else given)[:2]
    return _with_loss(oracle, scores.reshape(rows, choices), labels)


def _token_classification(oracle: Oracle, sequence: Array, inputs: Any, labels: Fields) -> Fields:
    return _with_loss(oracle, oracle.encoder.dense("classifier", sequence), labels)  # F18


def _question_answering(oracle: Oracle, sequence: Array, inputs: Any, labels: Fields) -> Fields:
    logits = oracle.encoder.dense("qa_outputs", sequence)  # F19: (B, S, 2)
    start, end = logits[..., 0], logits[..., 1]
    fields = {"start_logits": start, "end_logits": end}
    if labels:
        fields = {"loss": oracle.span_loss(start, end, labels), **fields}
    return fields


def _with_loss(oracle: Oracle, logits: Array, labels: Fields) -> Fields:
    if "labels" not in labels:
        return {"logits": logits}
    return {"loss": oracle.cross_entropy(logits, labels["labels"]), "logits": logits}


_HEADS = {
    "base": _base,
    "pretraining": _pretraining,
    "masked-lm": _masked_lm,
    "next-sentence-prediction": _next_sentence,
    "sequence-classification": _sequence_classification,
    "multiple-choice": _multiple_choice,
    "token-classification": _token_classification,
    "question-answering": _question_answering,
}
