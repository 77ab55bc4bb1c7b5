"""The eight models in JAX, with the call arguments of the transformers classes.

B batch  C choices  S sequence  P prediction positions  E embedding  H hidden  V vocabulary
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array

from mobilebert_core import outputs, schema
from mobilebert_core.config import MobileBertConfig
from mobilebert_core.heads import HEADS
from mobilebert_core.inputs import Batch
from mobilebert_jax.encoder import Backbone, Encoded
from mobilebert_jax.layers import ACTIVATIONS, folded, layer_norm, linear, product_precision
from mobilebert_jax.losses import cross_entropy, sequence_classification_loss, span_loss
from mobilebert_jax.pretrained import FlaxMobileBertPreTrainedModel


class PredictionHeadTransform(nnx.Module):
    """Dense, activation and a real layer normalisation."""

    def __init__(self, config: MobileBertConfig) -> None:
        self.config = config
        self.dense = linear(config.hidden_size, config.hidden_size)
        self.LayerNorm = layer_norm(config.hidden_size, config.layer_norm_eps)

    def __call__(self, hidden_states: Array) -> Array:
        return self.LayerNorm(ACTIVATIONS[self.config.hidden_act](self.dense(hidden_states)))


class LMPredictionHead(nnx.Module):
    """The masked-lm head: the tied word embeddings and H - E rows of its own.

    The table is an argument of the call: a parameter has one place in the tree, or gradients of
    its uses would not be added.
    """

    def __init__(self, config: MobileBertConfig) -> None:
        self.transform = PredictionHeadTransform(config)
        self.bias = nnx.Param(jax.ShapeDtypeStruct((config.vocab_size,), jnp.float32))
        extra = config.hidden_size - config.embedding_size
        self.dense = linear(extra, config.vocab_size, use_bias=False) if extra else None

    def __call__(self, sequence: Array, positions: Array | None, table: Array) -> Array:
        if positions is not None:
            sequence = jnp.take_along_axis(sequence, positions[:, :, None], axis=1)  # (B, P, H)
        transformed = self.transform(sequence)
        tied = table.shape[1]
        logits = jnp.matmul(transformed[..., :tied], table.T, precision=product_precision())
        if self.dense is not None:
            logits = logits + self.dense(transformed[..., tied:])  # (B, S, V)
        return logits + self.bias[...]


def extras(encoded: Encoded) -> dict[str, Any]:
    """The output fields that every head passes on."""
    return {"hidden_states": encoded.hidden_states, "attentions": encoded.attentions}


class FlaxMobileBertModel(FlaxMobileBertPreTrainedModel, Backbone):
    """The encoder with its pooler."""

    head = "base"

    def make_modules(self, config: MobileBertConfig, weights: Mapping[str, Any]) -> None:
        pooled = schema.has_pooler(config, weights)
        Backbone.make_modules(self, config, add_pooling_layer=pooled)

    def compute(
        self,
        batch: Batch,
        labels: dict[str, Array],
        collect: tuple[str, ...],
        key: Array | None = None,
    ) -> outputs.BaseModelOutput[Array]:
        encoded = self.encode(batch, collect, key)
        return outputs.BaseModelOutput(
            last_hidden_state=encoded.sequence, pooler_output=encoded.pooled, **extras(encoded)
        )


class FlaxMobileBertForPreTraining(FlaxMobileBertPreTrainedModel):
    """Masked language modelling and next sentence prediction."""

    head = "pretraining"

    def make_modules(self, config: MobileBertConfig, weights: Mapping[str, Any]) -> None:
        self.mobilebert = Backbone(config, add_pooling_layer=True)
        self.cls = nnx.Module()
        self.cls.predictions = LMPredictionHead(config)
        self.cls.seq_relationship = linear(config.hidden_size, 2)

    def compute(
        self,
        batch: Batch,
        labels: dict[str, Array],
        collect: tuple[str, ...],
        key: Array | None = None,
    ) -> outputs.PreTrainingOutput[Array]:
        encoded = self.mobilebert(batch, collect, folded(key, 0))
        table = self.get_input_embeddings().embedding[...]  # (V, E)
        positions = batch.prediction_positions
        logits = self.cls.predictions(encoded.sequence, positions, table)  # (B, S, V)
        relationship = self.cls.seq_relationship(encoded.pooled)  # (B, 2)
        loss = None
        if labels.keys() == {"labels", "next_sentence_label"}:
            loss = cross_entropy(logits, labels["labels"])
            loss = loss + cross_entropy(relationship, labels["next_sentence_label"])
        return outputs.PreTrainingOutput(
            loss=loss,
            prediction_logits=logits,
            seq_relationship_logits=relationship,
            **extras(encoded),
        )


class FlaxMobileBertForMaskedLM(FlaxMobileBertPreTrainedModel):
    """Masked language modelling."""

    head = "masked-lm"

    def make_modules(self, config: MobileBertConfig, weights: Mapping[str, Any]) -> None:
        self.mobilebert = Backbone(config, add_pooling_layer=False)
        self.cls = nnx.Module()
        self.cls.predictions = LMPredictionHead(config)

    def compute(
        self,
        batch: Batch,
        labels: dict[str, Array],
        collect: tuple[str, ...],
        key: Array | None = None,
    ) -> outputs.MaskedLMOutput[Array]:
        encoded = self.mobilebert(batch, collect, folded(key, 0))
        table = self.get_input_embeddings().embedding[...]  # (V, E)
        positions = batch.prediction_positions
        logits = self.cls.predictions(encoded.sequence, positions, table)  # (B, S, V)
        loss = cross_entropy(logits, labels["labels"]) if labels else None
        return outputs.MaskedLMOutput(loss=loss, logits=logits, **extras(encoded))


class FlaxMobileBertForNextSentencePrediction(FlaxMobileBertPreTrainedModel):
    """Does the second text follow the first?"""

    head = "next-sentence-prediction"

    def make_modules(self, config: MobileBertConfig, weights: Mapping[str, Any]) -> None:
        self.mobilebert = Backbone(config, add_pooling_layer=True)
        self.cls = nnx.Module()
        self.cls.seq_relationship = linear(config.hidden_size, 2)

    def compute(
        self,
        batch: Batch,
        labels: dict[str, Array],
        collect: tuple[str, ...],
        key: Array | None = None,
    ) -> outputs.NextSentencePredictionOutput[Array]:
        encoded = self.mobilebert(batch, collect, folded(key, 0))
        logits = self.cls.seq_relationship(encoded.pooled)  # (B, 2)
        loss = cross_entropy(logits, labels["labels"]) if labels else None
        return outputs.NextSentencePredictionOutput(loss=loss, logits=logits, **extras(encoded))


class FlaxMobileBertForSequenceClassification(FlaxMobileBertPreTrainedModel):
    """One class, several classes or numbers for a whole text."""

    head = "sequence-classification"

    def make_modules(self, config: MobileBertConfig, weights: Mapping[str, Any]) -> None:
        self.mobilebert = Backbone(config, add_pooling_layer=True)
        self.dropout = nnx.Dropout(config.classifier_dropout_prob)
        self.classifier = linear(config.hidden_size, config.num_labels)

    def compute(
        self,
        batch: Batch,
        labels: dict[str, Array],
        collect: tuple[str, ...],
        key: Array | None = None,
    ) -> outputs.SequenceClassificationOutput[Array]:
        encoded = self.mobilebert(batch, collect, folded(key, 0))
        logits = self.classifier(self.dropout(encoded.pooled, rngs=folded(key, 1)))  # (B, labels)
        loss = None
        if labels:
            loss = sequence_classification_loss(self.config, logits, labels["labels"])
        return outputs.SequenceClassificationOutput(loss=loss, logits=logits, **extras(encoded))


class FlaxMobileBertForMultipleChoice(FlaxMobileBertPreTrainedModel):
    """Which of C texts is the right one?"""

    head = "multiple-choice"

    def make_modules(self, config: MobileBertConfig, weights: Mapping[str, Any]) -> None:
        self.mobilebert = Backbone(config, add_pooling_layer=True)
        self.dropout = nnx.Dropout(config.classifier_dropout_prob)
        self.classifier = linear(config.hidden_size, 1)

    def compute(
        self,
        batch: Batch,
        labels: dict[str, Array],
        collect: tuple[str, ...],
        key: Array | None = None,
    ) -> outputs.MultipleChoiceOutput[Array]:
        encoded = self.mobilebert(flatten_choices(batch), collect, folded(key, 0))
        num_choices = batch.token_type_ids.shape[1]
        logits = self.classifier(self.dropout(encoded.pooled, rngs=folded(key, 1)))
        logits = logits.reshape(-1, num_choices)  # (B, C)
        loss = cross_entropy(logits, labels["labels"]) if labels else None
        return outputs.MultipleChoiceOutput(loss=loss, logits=logits, **extras(encoded))


class FlaxMobileBertForTokenClassification(FlaxMobileBertPreTrainedModel):
    """One class for every token."""

    head = "token-classification"

    def make_modules(self, config: MobileBertConfig, weights: Mapping[str, Any]) -> None:
        self.mobilebert = Backbone(config, add_pooling_layer=False)
        self.dropout = nnx.Dropout(config.classifier_dropout_prob)
        self.classifier = linear(config.hidden_size, config.num_labels)

    def compute(
        self,
        batch: Batch,
        labels: dict[str, Array],
        collect: tuple[str, ...],
        key: Array | None = None,
    ) -> outputs.TokenClassificationOutput[Array]:
        encoded = self.mobilebert(batch, collect, folded(key, 0))
        logits = self.classifier(
            self.dropout(encoded.sequence, rngs=folded(key, 1))
        )  # (B, S, labels)
        loss = cross_entropy(logits, labels["labels"]) if labels else None
        return outputs.TokenClassificationOutput(loss=loss, logits=logits, **extras(encoded))


class FlaxMobileBertForQuestionAnswering(FlaxMobileBertPreTrainedModel):
    """Where the answer begins and ends."""

    head = "question-answering"

    def make_modules(self, config: MobileBertConfig, weights: Mapping[str, Any]) -> None:
        self.mobilebert = Backbone(config, add_pooling_layer=False)
        self.qa_outputs = linear(config.hidden_size, 2)

    def compute(
        self,
        batch: Batch,
        labels: dict[str, Array],
        collect: tuple[str, ...],
        key: Array | None = None,
    ) -> outputs.QuestionAnsweringOutput[Array]:
        encoded = self.mobilebert(batch, collect, folded(key, 0))
        logits = self.qa_outputs(encoded.sequence)  # (B, S, 2)
        start_logits, end_logits = logits[..., 0], logits[..., 1]  # (B, S)
        loss = None
        if labels.keys() == {"start_positions", "end_positions"}:
            start, end = labels["start_positions"], labels["end_positions"]
            loss = span_loss(start_logits, end_logits, start, end)
        return outputs.QuestionAnsweringOutput(
            loss=loss, start_logits=start_logits, end_logits=end_logits, **extras(encoded)
        )


def flatten_choices(batch: Batch) -> Batch:
    """(B, C, S, ...) -> (B * C, S, ...)."""
    return batch.map(lambda array: array.reshape(-1, *array.shape[2:]))


MODELS: dict[str, type[FlaxMobileBertPreTrainedModel]] = {
    model.head: model
    for model in (
        FlaxMobileBertModel,
        FlaxMobileBertForPreTraining,
        FlaxMobileBertForMaskedLM,
        FlaxMobileBertForNextSentencePrediction,
        FlaxMobileBertForSequenceClassification,
        FlaxMobileBertForMultipleChoice,
        FlaxMobileBertForTokenClassification,
        FlaxMobileBertForQuestionAnswering,
    )
}

for _kind in (Batch, *{_head.output for _head in HEADS.values()}):  # jit and grad see inside
    _meta = ["lengths"] if _kind is Batch else []
    jax.tree_util.register_dataclass(
        _kind,
        data_fields=[each.name for each in dataclasses.fields(_kind) if each.name not in _meta],
        meta_fields=_meta,
    )
