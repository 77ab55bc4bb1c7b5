"""The eight models in PyTorch, with the call arguments of the transformers classes.

B batch  C choices  S sequence  P prediction positions  E embedding  H hidden  V vocabulary
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from mobilebert_core import outputs, schema
from mobilebert_core.config import MobileBertConfig
from mobilebert_core.heads import HEADS
from mobilebert_core.inputs import Batch
from mobilebert_torch.encoder import ACTIVATIONS, Backbone, Encoded
from mobilebert_torch.layers import Linear, linear
from mobilebert_torch.losses import cross_entropy, sequence_classification_loss, span_loss
from mobilebert_torch.pretrained import MobileBertPreTrainedModel


class PredictionHeadTransform(nn.Module):
    """Dense, activation and a real layer normalisation."""

    def __init__(self, config: MobileBertConfig) -> None:
        super().__init__()
        self.dense = Linear(config.hidden_size, config.hidden_size)
        self.activation = ACTIVATIONS[config.hidden_act]
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(self, hidden_states: Tensor) -> Tensor:
        return self.LayerNorm(self.activation(self.dense(hidden_states)))


class LMPredictionHead(nn.Module):
    """The masked-lm head: the tied word embeddings and H - E rows of its own."""

    def __init__(self, config: MobileBertConfig) -> None:
        super().__init__()
        self.transform = PredictionHeadTransform(config)
        self.decoder = Linear(config.embedding_size, config.vocab_size)
        self.bias = self.decoder.bias
        extra = config.hidden_size - config.embedding_size
        self.dense = Linear(config.vocab_size, extra, bias=False) if extra else None

    def tie(self, embeddings: nn.Embedding) -> None:
        """Share the decoder's kernel with the word embeddings and its bias with our own."""
        self.decoder.weight = embeddings.weight
        self.decoder.bias = self.bias

    def forward(self, sequence: Tensor, positions: Tensor | None) -> Tensor:
        if positions is not None:
            rows = torch.arange(len(sequence), device=sequence.device)[:, None]  # (B, 1)
            sequence = sequence[rows, positions]  # (B, P, H)
        transformed = self.transform(sequence)
        tied = self.decoder.in_features
        logits = self.decoder(transformed[..., :tied])  # (B, S, V)
        if self.dense is not None:
            logits = logits + linear(transformed[..., tied:], self.dense.weight.t())
        return logits


def extras(encoded: Encoded) -> dict[str, Any]:
    """The output fields that every head passes on."""
    return {"hidden_states": encoded.hidden_states, "attentions": encoded.attentions}


class MobileBertModel(MobileBertPreTrainedModel, Backbone):
    """The encoder with its pooler."""

    head = "base"

    def make_modules(self, config: MobileBertConfig, weights: Mapping[str, Any]) -> None:
        pooled = schema.has_pooler(config, weights)
        Backbone.make_modules(self, config, add_pooling_layer=pooled)

    def compute(
        self, batch: Batch, labels: dict[str, Tensor], collect: tuple[str, ...]
    ) -> outputs.BaseModelOutput[Tensor]:
        encoded = self.encode(batch, collect)
        return outputs.BaseModelOutput(
            last_hidden_state=encoded.sequence, pooler_output=encoded.pooled, **extras(encoded)
        )


class MobileBertForPreTraining(MobileBertPreTrainedModel):
    """Masked language modelling and next sentence prediction."""

    head = "pretraining"

    def make_modules(self, config: MobileBertConfig, weights: Mapping[str, Any]) -> None:
        self.mobilebert = Backbone(config, add_pooling_layer=True)
        self.cls = nn.Module()
        self.cls.predictions = LMPredictionHead(config)
        self.cls.seq_relationship = Linear(config.hidden_size, 2)

    def tie_weights(self) -> None:
        self.cls.predictions.tie(self.get_input_embeddings())

    def compute(
        self, batch: Batch, labels: dict[str, Tensor], collect: tuple[str, ...]
    ) -> outputs.PreTrainingOutput[Tensor]:
        encoded = self.mobilebert(batch, collect)
        logits = self.cls.predictions(encoded.sequence, batch.prediction_positions)  # (B, S, V)
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


class MobileBertForMaskedLM(MobileBertPreTrainedModel):
    """Masked language modelling."""

    head = "masked-lm"

    def make_modules(self, config: MobileBertConfig, weights: Mapping[str, Any]) -> None:
        self.mobilebert = Backbone(config, add_pooling_layer=False)
        self.cls = nn.Module()
        self.cls.predictions = LMPredictionHead(config)

    def tie_weights(self) -> None:
        self.cls.predictions.tie(self.get_input_embeddings())

    def compute(
        self, batch: Batch, labels: dict[str, Tensor], collect: tuple[str, ...]
    ) -> outputs.MaskedLMOutput[Tensor]:
        encoded = self.mobilebert(batch, collect)
        logits = self.cls.predictions(encoded.sequence, batch.prediction_positions)  # (B, S, V)
        loss = cross_entropy(logits, labels["labels"]) if labels else None
        return outputs.MaskedLMOutput(loss=loss, logits=logits, **extras(encoded))


class MobileBertForNextSentencePrediction(MobileBertPreTrainedModel):
    """Does the second text follow the first?"""

    head = "next-sentence-prediction"

    def make_modules(self, config: MobileBertConfig, weights: Mapping[str, Any]) -> None:
        self.mobilebert = Backbone(config, add_pooling_layer=True)
        self.cls = nn.Module()
        self.cls.seq_relationship = Linear(config.hidden_size, 2)

    def compute(
        self, batch: Batch, labels: dict[str, Tensor], collect: tuple[str, ...]
    ) -> outputs.NextSentencePredictionOutput[Tensor]:
        encoded = self.mobilebert(batch, collect)
        logits = self.cls.seq_relationship(encoded.pooled)  # (B, 2)
        loss = cross_entropy(logits, labels["labels"]) if labels else None
        return outputs.NextSentencePredictionOutput(loss=loss, logits=logits, **extras(encoded))


class MobileBertForSequenceClassification(MobileBertPreTrainedModel):
    """One class, several classes or numbers for a whole text."""

    head = "sequence-classification"

    def make_modules(self, config: MobileBertConfig, weights: Mapping[str, Any]) -> None:
        self.mobilebert = Backbone(config, add_pooling_layer=True)
        self.dropout = nn.Dropout(config.classifier_dropout_prob)
        self.classifier = Linear(config.hidden_size, config.num_labels)

    def compute(
        self, batch: Batch, labels: dict[str, Tensor], collect: tuple[str, ...]
    ) -> outputs.SequenceClassificationOutput[Tensor]:
        encoded = self.mobilebert(batch, collect)
        logits = self.classifier(self.dropout(encoded.pooled))  # (B, labels)
        loss = None
        if labels:
            loss = sequence_classification_loss(self.config, logits, labels["labels"])
        return outputs.SequenceClassificationOutput(loss=loss, logits=logits, **extras(encoded))


class MobileBertForMultipleChoice(MobileBertPreTrainedModel):
    """Which of C texts is the right one?"""

    head = "multiple-choice"

    def make_modules(self, config: MobileBertConfig, weights: Mapping[str, Any]) -> None:
        self.mobilebert = Backbone(config, add_pooling_layer=True)
        self.dropout = nn.Dropout(config.classifier_dropout_prob)
        self.classifier = Linear(config.hidden_size, 1)

    def compute(
        self, batch: Batch, labels: dict[str, Tensor], collect: tuple[str, ...]
    ) -> outputs.MultipleChoiceOutput[Tensor]:
        encoded = self.mobilebert(flatten_choices(batch), collect)
        num_choices = batch.token_type_ids.shape[1]
        logits = self.classifier(self.dropout(encoded.pooled))
        logits = logits.reshape(-1, num_choices)  # (B, C)
        loss = cross_entropy(logits, labels["labels"]) if labels else None
        return outputs.MultipleChoiceOutput(loss=loss, logits=logits, **extras(encoded))


class MobileBertForTokenClassification(MobileBertPreTrainedModel):
    """One class for every token."""

    head = "token-classification"

    def make_modules(self, config: MobileBertConfig, weights: Mapping[str, Any]) -> None:
        self.mobilebert = Backbone(config, add_pooling_layer=False)
        self.dropout = nn.Dropout(config.classifier_dropout_prob)
        self.classifier = Linear(config.hidden_size, config.num_labels)

    def compute(
        self, batch: Batch, labels: dict[str, Tensor], collect: tuple[str, ...]
    ) -> outputs.TokenClassificationOutput[Tensor]:
        encoded = self.mobilebert(batch, collect)
        logits = self.classifier(self.dropout(encoded.sequence))  # (B, S, labels)
        loss = cross_entropy(logits, labels["labels"]) if labels else None
        return outputs.TokenClassificationOutput(loss=loss, logits=logits, **extras(encoded))


class MobileBertForQuestionAnswering(MobileBertPreTrainedModel):
    """Where the answer begins and ends."""

    head = "question-answering"

    def make_modules(self, config: MobileBertConfig, weights: Mapping[str, Any]) -> None:
        self.mobilebert = Backbone(config, add_pooling_layer=False)
        self.qa_outputs = Linear(config.hidden_size, 2)

    def compute(
        self, batch: Batch, labels: dict[str, Tensor], collect: tuple[str, ...]
    ) -> outputs.QuestionAnsweringOutput[Tensor]:
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
    return batch.map(lambda tensor: tensor.flatten(0, 1))


MODELS: dict[str, type[MobileBertPreTrainedModel]] = {
    model.head: model
    for model in (
        MobileBertModel,
        MobileBertForPreTraining,
        MobileBertForMaskedLM,
        MobileBertForNextSentencePrediction,
        MobileBertForSequenceClassification,
        MobileBertForMultipleChoice,
        MobileBertForTokenClassification,
        MobileBertForQuestionAnswering,
    )
}

for _head in HEADS.values():  # torch.export and torch.func must see through the outputs
    torch.export.register_dataclass(
        _head.output, serialized_type_name=f"mobilebert.{_head.output.__name__}"
    )
