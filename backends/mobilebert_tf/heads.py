"""The eight models in TensorFlow, with the call arguments of the transformers 4.x classes.

B batch  C choices  S sequence  P prediction positions  E embedding  H hidden  V vocabulary
"""

from typing import Any

import keras
import optree
import tensorflow as tf

from mobilebert_core import outputs
from mobilebert_core.config import MobileBertConfig
from mobilebert_core.heads import HEADS
from mobilebert_core.inputs import Batch
from mobilebert_tf.encoder import Backbone, Encoded, make_dropout
from mobilebert_tf.layers import ACTIVATIONS, LayerNorm, Linear, Module
from mobilebert_tf.losses import cross_entropy, sequence_classification_loss, span_loss
from mobilebert_tf.pretrained import TFMobileBertPreTrainedModel


class PredictionHeadTransform(Module):
    """Dense, activation and a real layer normalisation."""

    def __init__(self, config: MobileBertConfig, name: str, dtype: Any) -> None:
        super().__init__(name, dtype)
        hidden = config.hidden_size
        self.dense = Linear(hidden, hidden, "dense", dtype)
        self.activation = ACTIVATIONS[config.hidden_act]
        self.LayerNorm = LayerNorm(hidden, config.layer_norm_eps, "LayerNorm", dtype)

    def call(self, hidden_states: tf.Tensor) -> tf.Tensor:
        return self.LayerNorm(self.activation(self.dense(hidden_states)))


class LMPredictionHead(Module):
    """The masked-lm head: the tied word embeddings and H - E rows of its own."""

    def __init__(self, config: MobileBertConfig, name: str, dtype: Any) -> None:
        super().__init__(name, dtype)
        self.config = config
        self.transform = PredictionHeadTransform(config, "transform", dtype)
        self.bias_initializer = keras.initializers.Zeros()
        extra = config.hidden_size - config.embedding_size
        self.dense = None
        if extra:
            self.dense = Linear(config.vocab_size, extra, "dense", dtype, use_bias=False)

    def build(self, input_shape: Any = None) -> None:
        """Create the parts and the bias."""
        super().build()
        self.bias = self.add_weight((self.config.vocab_size,), self.bias_initializer, name="bias")

    def call(
        self, sequence: tf.Tensor, positions: tf.Tensor | None, *, table: keras.Variable
    ) -> tf.Tensor:
        if positions is not None:
            sequence = tf.gather(sequence, positions, batch_dims=1)  # (B, P, H)
        transformed = self.transform(sequence)
        tied = self.config.embedding_size
        logits = tied_product(transformed[..., :tied], table)  # (B, S, V)
        if self.dense is not None:
            logits = logits + tied_product(transformed[..., tied:], self.dense.kernel)
        return logits + tf.cast(self.bias, logits.dtype)


def tied_product(states: tf.Tensor, table: keras.Variable) -> tf.Tensor:
    """(B, S, width) times the transposed (V, width)."""
    rows = tf.reshape(states, [-1, table.shape[1]])  # one product: no copy of the table a text
    product = tf.matmul(rows, tf.cast(table, states.dtype), transpose_b=True)
    shape = tf.shape(states)
    return tf.reshape(product, [shape[0], shape[1], table.shape[0]])


def extras(encoded: Encoded) -> dict[str, Any]:
    """The output fields that every head passes on."""
    return {"hidden_states": encoded.hidden_states, "attentions": encoded.attentions}


class TFMobileBertModel(TFMobileBertPreTrainedModel, Backbone):
    """The encoder with its pooler."""

    head = "base"

    def make_modules(self, config: MobileBertConfig, dtype: Any, *, pooled: bool) -> None:
        Backbone.make_modules(self, config, dtype, add_pooling_layer=pooled)

    def compute(
        self, batch: Batch, labels: dict[str, tf.Tensor], collect: tuple[str, ...]
    ) -> outputs.BaseModelOutput[tf.Tensor]:
        encoded = self.encode(batch, collect)
        return outputs.BaseModelOutput(
            last_hidden_state=encoded.sequence, pooler_output=encoded.pooled, **extras(encoded)
        )


class TFMobileBertForPreTraining(TFMobileBertPreTrainedModel):
    """Masked language modelling and next sentence prediction."""

    head = "pretraining"

    def make_modules(self, config: MobileBertConfig, dtype: Any, *, pooled: bool) -> None:
        self.mobilebert = Backbone(config, dtype, add_pooling_layer=True)
        self.cls = Module("cls", dtype)
        self.cls.predictions = LMPredictionHead(config, "predictions", dtype)
        self.cls.seq_relationship = Linear(config.hidden_size, 2, "seq_relationship", dtype)

    def compute(
        self, batch: Batch, labels: dict[str, tf.Tensor], collect: tuple[str, ...]
    ) -> outputs.PreTrainingOutput[tf.Tensor]:
        encoded = self.mobilebert(batch=batch, collect=collect)
        table = self.get_input_embeddings().embeddings  # (V, E)
        positions = batch.prediction_positions
        logits = self.cls.predictions(encoded.sequence, positions, table=table)  # (B, S, V)
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


class TFMobileBertForMaskedLM(TFMobileBertPreTrainedModel):
    """Masked language modelling."""

    head = "masked-lm"

    def make_modules(self, config: MobileBertConfig, dtype: Any, *, pooled: bool) -> None:
        self.mobilebert = Backbone(config, dtype, add_pooling_layer=False)
        self.cls = Module("cls", dtype)
        self.cls.predictions = LMPredictionHead(config, "predictions", dtype)

    def compute(
        self, batch: Batch, labels: dict[str, tf.Tensor], collect: tuple[str, ...]
    ) -> outputs.MaskedLMOutput[tf.Tensor]:
        encoded = self.mobilebert(batch=batch, collect=collect)
        table = self.get_input_embeddings().embeddings  # (V, E)
        positions = batch.prediction_positions
        logits = self.cls.predictions(encoded.sequence, positions, table=table)  # (B, S, V)
        loss = cross_entropy(logits, labels["labels"]) if labels else None
        return outputs.MaskedLMOutput(loss=loss, logits=logits, **extras(encoded))


class TFMobileBertForNextSentencePrediction(TFMobileBertPreTrainedModel):
    """Does the second text follow the first?"""

    head = "next-sentence-prediction"

    def make_modules(self, config: MobileBertConfig, dtype: Any, *, pooled: bool) -> None:
        self.mobilebert = Backbone(config, dtype, add_pooling_layer=True)
        self.cls = Module("cls", dtype)
        self.cls.seq_relationship = Linear(config.hidden_size, 2, "seq_relationship", dtype)

    def compute(
        self, batch: Batch, labels: dict[str, tf.Tensor], collect: tuple[str, ...]
    ) -> outputs.NextSentencePredictionOutput[tf.Tensor]:
        encoded = self.mobilebert(batch=batch, collect=collect)
        logits = self.cls.seq_relationship(encoded.pooled)  # (B, 2)
        loss = cross_entropy(logits, labels["labels"]) if labels else None
        return outputs.NextSentencePredictionOutput(loss=loss, logits=logits, **extras(encoded))


class TFMobileBertForSequenceClassification(TFMobileBertPreTrainedModel):
    """One class, several classes or numbers for a whole text."""

    head = "sequence-classification"

    def make_modules(self, config: MobileBertConfig, dtype: Any, *, pooled: bool) -> None:
        self.mobilebert = Backbone(config, dtype, add_pooling_layer=True)
        self.dropout = make_dropout(config.classifier_dropout_prob, dtype)
        self.classifier = Linear(config.hidden_size, config.num_labels, "classifier", dtype)

    def compute(
        self, batch: Batch, labels: dict[str, tf.Tensor], collect: tuple[str, ...]
    ) -> outputs.SequenceClassificationOutput[tf.Tensor]:
        encoded = self.mobilebert(batch=batch, collect=collect)
        logits = self.classifier(self.dropout(encoded.pooled))  # (B, labels)
        loss = None
        if labels:
            loss = sequence_classification_loss(self.config, logits, labels["labels"])
        return outputs.SequenceClassificationOutput(loss=loss, logits=logits, **extras(encoded))


class TFMobileBertForMultipleChoice(TFMobileBertPreTrainedModel):
    """Which of C texts is the right one?"""

    head = "multiple-choice"

    def make_modules(self, config: MobileBertConfig, dtype: Any, *, pooled: bool) -> None:
        self.mobilebert = Backbone(config, dtype, add_pooling_layer=True)
        self.dropout = make_dropout(config.classifier_dropout_prob, dtype)
        self.classifier = Linear(config.hidden_size, 1, "classifier", dtype)

    def compute(
        self, batch: Batch, labels: dict[str, tf.Tensor], collect: tuple[str, ...]
    ) -> outputs.MultipleChoiceOutput[tf.Tensor]:
        encoded = self.mobilebert(batch=flatten_choices(batch), collect=collect)
        num_choices = tf.shape(batch.token_type_ids)[1]
        logits = self.classifier(self.dropout(encoded.pooled))
        logits = tf.reshape(logits, [-1, num_choices])  # (B, C)
        loss = cross_entropy(logits, labels["labels"]) if labels else None
        return outputs.MultipleChoiceOutput(loss=loss, logits=logits, **extras(encoded))


class TFMobileBertForTokenClassification(TFMobileBertPreTrainedModel):
    """One class for every token."""

    head = "token-classification"

    def make_modules(self, config: MobileBertConfig, dtype: Any, *, pooled: bool) -> None:
        self.mobilebert = Backbone(config, dtype, add_pooling_layer=False)
        self.dropout = make_dropout(config.classifier_dropout_prob, dtype)
        self.classifier = Linear(config.hidden_size, config.num_labels, "classifier", dtype)

    def compute(
        self, batch: Batch, labels: dict[str, tf.Tensor], collect: tuple[str, ...]
    ) -> outputs.TokenClassificationOutput[tf.Tensor]:
        encoded = self.mobilebert(batch=batch, collect=collect)
        logits = self.classifier(self.dropout(encoded.sequence))  # (B, S, labels)
        loss = cross_entropy(logits, labels["labels"]) if labels else None
        return outputs.TokenClassificationOutput(loss=loss, logits=logits, **extras(encoded))


class TFMobileBertForQuestionAnswering(TFMobileBertPreTrainedModel):
    """Where the answer begins and ends."""

    head = "question-answering"

    def make_modules(self, config: MobileBertConfig, dtype: Any, *, pooled: bool) -> None:
        self.mobilebert = Backbone(config, dtype, add_pooling_layer=False)
        self.qa_outputs = Linear(config.hidden_size, 2, "qa_outputs", dtype)

    def compute(
        self, batch: Batch, labels: dict[str, tf.Tensor], collect: tuple[str, ...]
    ) -> outputs.QuestionAnsweringOutput[tf.Tensor]:
        encoded = self.mobilebert(batch=batch, collect=collect)
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

    def flat(tensor: tf.Tensor) -> tf.Tensor:
        shape = tf.shape(tensor)
        flattened = tf.reshape(tensor, tf.concat([[shape[0] * shape[1]], shape[2:]], 0))
        return tf.ensure_shape(flattened, [None, *tensor.shape[2:]])

    return batch.map(flat)


MODELS: dict[str, type[TFMobileBertPreTrainedModel]] = {
    model.head: model
    for model in (
        TFMobileBertModel,
        TFMobileBertForPreTraining,
        TFMobileBertForMaskedLM,
        TFMobileBertForNextSentencePrediction,
        TFMobileBertForSequenceClassification,
        TFMobileBertForMultipleChoice,
        TFMobileBertForTokenClassification,
        TFMobileBertForQuestionAnswering,
    )
}

for _model in MODELS.values():  # `keras.saving.load_model` finds the class by this name
    keras.saving.register_keras_serializable(package="mobilebert")(_model)

for _head in HEADS.values():  # Keras must see through the outputs: `predict`, functional models
    optree.register_pytree_node(
        _head.output,
        lambda output: (output.to_tuple(), tuple(output)),
        lambda names, values, kind=_head.output: kind(**dict(zip(names, values, strict=True))),
        namespace="keras",
    )
