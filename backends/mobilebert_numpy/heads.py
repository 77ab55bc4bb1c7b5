"""The eight models in NumPy: callables that take arrays or lists and return output dataclasses.

B batch  C choices  S sequence  P prediction positions  E embedding  H hidden  V vocabulary
"""

from typing import Any

import numpy as np

from mobilebert_core import outputs, schema
from mobilebert_core.config import MobileBertConfig
from mobilebert_core.inputs import Batch
from mobilebert_numpy.encoder import Backbone, Encoded
from mobilebert_numpy.layers import ACTIVATIONS, LayerNorm, Linear
from mobilebert_numpy.losses import cross_entropy, sequence_classification_loss, span_loss
from mobilebert_numpy.params import Weights
from mobilebert_numpy.pretrained import NumpyMobileBertPreTrainedModel

Array = np.ndarray[Any, np.dtype[Any]]


class PredictionHeadTransform:
    """Dense, activation and a real layer normalisation."""

    def __init__(self, config: MobileBertConfig, weights: Weights) -> None:
        self.dense = Linear(weights.at("dense"))
        self.activation = ACTIVATIONS[config.hidden_act]
        self.LayerNorm = LayerNorm(weights.at("LayerNorm"), config.layer_norm_eps)

    def __call__(self, hidden_states: Array) -> Array:
        return self.LayerNorm(self.activation(self.dense(hidden_states)))


class LMPredictionHead:
    """The masked-lm head: the tied word embeddings and H - E rows of its own."""

    def __init__(self, config: MobileBertConfig, weights: Weights, embeddings: Array) -> None:
        self.transform = PredictionHeadTransform(config, weights.at("transform"))
        self.embeddings = embeddings  # (V, E)
        self.bias = weights["bias"]  # (V,)
        self.extra = weights.get("dense.weight")  # (H - E, V)

    def __call__(self, sequence: Array, positions: Array | None) -> Array:
        if positions is not None:
            sequence = np.take_along_axis(sequence, positions[:, :, None], axis=1)  # (B, P, H)
        transformed = self.transform(sequence)
        tied = self.embeddings.shape[1]
        logits = transformed[..., :tied] @ self.embeddings.T  # (B, S, V)
        if self.extra is not None:
            logits += transformed[..., tied:] @ self.extra
        logits += self.bias
        return logits


def extras(encoded: Encoded) -> dict[str, Any]:
    """The output fields that every head passes on."""
    return {"hidden_states": encoded.hidden_states, "attentions": encoded.attentions}


class NumpyMobileBertModel(NumpyMobileBertPreTrainedModel):
    """The encoder with its pooler."""

    head = "base"

    def make_modules(self, config: MobileBertConfig, weights: Weights) -> None:
        pooled = schema.has_pooler(config, weights.arrays)
        self.mobilebert = Backbone(config, weights.at("mobilebert"), add_pooling_layer=pooled)

    def compute(
        self, batch: Batch, labels: dict[str, Array], collect: tuple[str, ...]
    ) -> outputs.BaseModelOutput[Array]:
        encoded = self.mobilebert(batch, collect)
        return outputs.BaseModelOutput(
            last_hidden_state=encoded.sequence, pooler_output=encoded.pooled, **extras(encoded)
        )


class NumpyMobileBertForPreTraining(NumpyMobileBertPreTrainedModel):
    """Masked language modelling and next sentence prediction."""

    head = "pretraining"

    def make_modules(self, config: MobileBertConfig, weights: Weights) -> None:
        self.mobilebert = Backbone(config, weights.at("mobilebert"), add_pooling_layer=True)
        table = weights[schema.WORD_EMBEDDINGS]
        self.predictions = LMPredictionHead(config, weights.at("cls.predictions"), table)
        self.seq_relationship = Linear(weights.at("cls.seq_relationship"))

    def compute(
        self, batch: Batch, labels: dict[str, Array], collect: tuple[str, ...]
    ) -> outputs.PreTrainingOutput[Array]:
        encoded = self.mobilebert(batch, collect)
        logits = self.predictions(encoded.sequence, batch.prediction_positions)  # (B, S, V)
        relationship = self.seq_relationship(encoded.pooled)  # (B, 2)
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


class NumpyMobileBertForMaskedLM(NumpyMobileBertPreTrainedModel):
    """Masked language modelling."""

    head = "masked-lm"

    def make_modules(self, config: MobileBertConfig, weights: Weights) -> None:
        self.mobilebert = Backbone(config, weights.at("mobilebert"), add_pooling_layer=False)
        table = weights[schema.WORD_EMBEDDINGS]
        self.predictions = LMPredictionHead(config, weights.at("cls.predictions"), table)

    def compute(
        self, batch: Batch, labels: dict[str, Array], collect: tuple[str, ...]
    ) -> outputs.MaskedLMOutput[Array]:
        encoded = self.mobilebert(batch, collect)
        logits = self.predictions(encoded.sequence, batch.prediction_positions)  # (B, S, V)
        loss = cross_entropy(logits, labels["labels"]) if labels else None
        return outputs.MaskedLMOutput(loss=loss, logits=logits, **extras(encoded))


class NumpyMobileBertForNextSentencePrediction(NumpyMobileBertPreTrainedModel):
    """Does the second text follow the first?"""

    head = "next-sentence-prediction"

    def make_modules(self, config: MobileBertConfig, weights: Weights) -> None:
        self.mobilebert = Backbone(config, weights.at("mobilebert"), add_pooling_layer=True)
        self.seq_relationship = Linear(weights.at("cls.seq_relationship"))

    def compute(
        self, batch: Batch, labels: dict[str, Array], collect: tuple[str, ...]
    ) -> outputs.NextSentencePredictionOutput[Array]:
        encoded = self.mobilebert(batch, collect)
        logits = self.seq_relationship(encoded.pooled)  # (B, 2)
        loss = cross_entropy(logits, labels["labels"]) if labels else None
        return outputs.NextSentencePredictionOutput(loss=loss, logits=logits, **extras(encoded))


class NumpyMobileBertForSequenceClassification(NumpyMobileBertPreTrainedModel):
    """One class, several classes or numbers for a whole text."""

    head = "sequence-classification"

    def make_modules(self, config: MobileBertConfig, weights: Weights) -> None:
        self.mobilebert = Backbone(config, weights.at("mobilebert"), add_pooling_layer=True)
        self.classifier = Linear(weights.at("classifier"))

    def compute(
        self, batch: Batch, labels: dict[str, Array], collect: tuple[str, ...]
    ) -> outputs.SequenceClassificationOutput[Array]:
        encoded = self.mobilebert(batch, collect)
        logits = self.classifier(encoded.pooled)  # (B, labels)
        loss = None
        if labels:
            loss = sequence_classification_loss(self.config, logits, labels["labels"])
        return outputs.SequenceClassificationOutput(loss=loss, logits=logits, **extras(encoded))


class NumpyMobileBertForMultipleChoice(NumpyMobileBertPreTrainedModel):
    """Which of C texts is the right one?"""

    head = "multiple-choice"

    def make_modules(self, config: MobileBertConfig, weights: Weights) -> None:
        self.mobilebert = Backbone(config, weights.at("mobilebert"), add_pooling_layer=True)
        self.classifier = Linear(weights.at("classifier"))

    def compute(
        self, batch: Batch, labels: dict[str, Array], collect: tuple[str, ...]
    ) -> outputs.MultipleChoiceOutput[Array]:
        encoded = self.mobilebert(flatten_choices(batch), collect)
        num_choices = batch.token_type_ids.shape[1]
        logits = self.classifier(encoded.pooled).reshape(-1, num_choices)  # (B, C)
        loss = cross_entropy(logits, labels["labels"]) if labels else None
        return outputs.MultipleChoiceOutput(loss=loss, logits=logits, **extras(encoded))


class NumpyMobileBertForTokenClassification(NumpyMobileBertPreTrainedModel):
    """One class for every token."""

    head = "token-classification"

    def make_modules(self, config: MobileBertConfig, weights: Weights) -> None:
        self.mobilebert = Backbone(config, weights.at("mobilebert"), add_pooling_layer=False)
        self.classifier = Linear(weights.at("classifier"))

    def compute(
        self, batch: Batch, labels: dict[str, Array], collect: tuple[str, ...]
    ) -> outputs.TokenClassificationOutput[Array]:
        encoded = self.mobilebert(batch, collect)
        logits = self.classifier(encoded.sequence)  # (B, S, labels)
        loss = cross_entropy(logits, labels["labels"]) if labels else None
        return outputs.TokenClassificationOutput(loss=loss, logits=logits, **extras(encoded))


class NumpyMobileBertForQuestionAnswering(NumpyMobileBertPreTrainedModel):
    """Where the answer begins and ends."""

    head = "question-answering"

    def make_modules(self, config: MobileBertConfig, weights: Weights) -> None:
        self.mobilebert = Backbone(config, weights.at("mobilebert"), add_pooling_layer=False)
        self.qa_outputs = Linear(weights.at("qa_outputs"))

    def compute(
        self, batch: Batch, labels: dict[str, Array], collect: tuple[str, ...]
    ) -> outputs.QuestionAnsweringOutput[Array]:
        encoded = self.mobilebert(batch, collect)
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


MODELS: dict[str, type[NumpyMobileBertPreTrainedModel]] = {
    model.head: model
    for model in (
        NumpyMobileBertModel,
        NumpyMobileBertForPreTraining,
        NumpyMobileBertForMaskedLM,
        NumpyMobileBertForNextSentencePrediction,
        NumpyMobileBertForSequenceClassification,
        NumpyMobileBertForMultipleChoice,
        NumpyMobileBertForTokenClassification,
        NumpyMobileBertForQuestionAnswering,
    )
}
