"""The eight models in PyTorch, with the call arguments of the transformers classes.

B batch  C choices  S sequence  P prediction positions  E embedding  H hidden  V vocabulary
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mobilebert_core import outputs, schema
from mobilebert_core.config import MobileBertConfig
from mobilebert_core.errors import ConfigError
from mobilebert_core.heads import HEADS
from mobilebert_core.initialization import initial_weights
from mobilebert_core.inputs import INPUT_NAMES, LABEL_NAMES, Batch, check_names, read
from mobilebert_core.pretrained import Pretrained, with_call_signature
from mobilebert_torch.encoder import ACTIVATIONS, Backbone, Encoded
from mobilebert_torch.losses import cross_entropy, sequence_classification_loss, span_loss
from mobilebert_torch.params import load_canonical


class PredictionHeadTransform(nn.Module):
    """Dense, activation and a real layer normalisation."""

    def __init__(self, config: MobileBertConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.activation = ACTIVATIONS[config.hidden_act]
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(self, hidden_states: Tensor) -> Tensor:
        return self.LayerNorm(self.activation(self.dense(hidden_states)))


class LMPredictionHead(nn.Module):
    """The masked-lm head: the tied word embeddings and H - E rows of its own."""

    def __init__(self, config: MobileBertConfig) -> None:
        super().__init__()
        self.transform = PredictionHeadTransform(config)
        self.decoder = nn.Linear(config.embedding_size, config.vocab_size)
        self.bias = self.decoder.bias
        extra = config.hidden_size - config.embedding_size
        self.dense = nn.Linear(config.vocab_size, extra, bias=False) if extra else None

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
            logits = logits + transformed[..., tied:] @ self.dense.weight
        return logits


class MobileBertPreTrainedModel(Pretrained, nn.Module):
    """What the eight models share: parameters, input checks and the call.

    Args:
        config: the configuration.
        weights: canonical weights, copied; None makes fresh ones.
        seed: of fresh weights.
        dtype: `float32`, `float64` or `bfloat16`.
        device: where the parameters live; None is torch's default device.
    """

    backend_name = "torch"

    def __init_subclass__(cls) -> None:
        cls.forward = with_call_signature(cls.forward, cls.head)

    def __init__(
        self,
        config: MobileBertConfig,
        *,
        weights: Mapping[str, np.ndarray[Any, Any]] | None = None,
        seed: int = 0,
        dtype: str = "float32",
        device: str | torch.device | None = None,
    ) -> None:
        nn.Module.__init__(self)
        self.config = config
        if weights is None:
            weights = initial_weights(config, self.head, seed)
        target = torch.get_default_device() if device is None else torch.device(device)
        with torch.device("meta"):  # no values yet: they come from the weights, one by one
            self.make_modules(config, weights)
        native = getattr(torch, dtype)
        load_canonical(self, self.head, weights, dtype=native, device=target)
        self.tie_weights()

    def make_modules(self, config: MobileBertConfig, weights: Mapping[str, Any]) -> None:
        """Create the modules; their parameters are filled in afterwards."""
        raise NotImplementedError

    def compute(
        self, batch: Batch, labels: dict[str, Tensor], collect: tuple[str, ...]
    ) -> outputs.Output[Tensor]:
        """The head's output dataclass."""
        raise NotImplementedError

    def tie_weights(self) -> None:
        """Share what is one parameter under two names; heads without such names do nothing."""

    @property
    def device(self) -> torch.device:
        """Where the parameters live."""
        return next(self.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the parameters."""
        return next(self.parameters()).dtype

    def get_input_embeddings(self) -> nn.Embedding:
        """The word embeddings."""
        backbone = getattr(self, "mobilebert", self)
        return backbone.embeddings.word_embeddings

    def gradient_checkpointing_enable(self) -> None:
        """Recompute each layer in the backward pass: less memory, a third more time."""
        getattr(self, "mobilebert", self).encoder.gradient_checkpointing = True

    def gradient_checkpointing_disable(self) -> None:
        """Keep all activations for the backward pass."""
        getattr(self, "mobilebert", self).encoder.gradient_checkpointing = False

    def forward(
        self,
        input_ids: Any = None,
        attention_mask: Any = None,
        token_type_ids: Any = None,
        position_ids: Any = None,
        inputs_embeds: Any = None,
        *,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        **options: Any,
    ) -> Any:
        """Run the model on tensors, arrays or lists.

        Args:
            input_ids: (B, S), or (B, C, S) for multiple choice.
            attention_mask: same shape, 1 where attended; or 4-D. Default: everywhere.
            token_type_ids: same shape. Default: zeros.
            position_ids: same shape. Default: 0, 1, 2, ...
            inputs_embeds: (..., S, E) instead of `input_ids`.
            output_attentions: return the attention probabilities of every layer; computed
                without the fused attention kernel.
            output_hidden_states: return the hidden states of every layer.
            return_dict: False returns a tuple of the present fields.
            **options: the head's labels, and `prediction_positions` (B, P) for masked-lm heads.

        Raises:
            InputError: lists everything that does not fit. Not checked inside torch.compile and
                torch.export, where values are unknown.
            ConfigError: the model or autocast computes in float16.
        """
        inputs = {
            "input_ids": input_ids,
            "attention_mask": attention_mask,
            "token_type_ids": token_type_ids,
            "position_ids": position_ids,
            "inputs_embeds": inputs_embeds,
        }
        batch, labels = self.prepare(inputs | options)
        collect: tuple[str, ...] = ()
        if output_hidden_states:
            collect += ("hidden_states",)
        if output_attentions:
            collect += ("attentions",)
        output = self.compute(batch, labels, collect)
        return output.to_tuple() if return_dict is False else output

    def prepare(self, given: Mapping[str, Any]) -> tuple[Batch, dict[str, Tensor]]:
        """Check the arguments of a call, make tensors of them and fill in the defaults."""
        given = {name: value for name, value in given.items() if value is not None}
        check_names(self.head, given, INPUT_NAMES + LABEL_NAMES)
        if not torch.compiler.is_compiling():
            self.refuse_float16()
            given = self.check_values(given)
        labels = {name: given[name] for name in LABEL_NAMES if name in given}
        source = given["input_ids"] if "input_ids" in given else given["inputs_embeds"][..., 0]
        if "token_type_ids" not in given:
            given["token_type_ids"] = torch.zeros_like(source, dtype=torch.long)
        if "position_ids" not in given:
            given["position_ids"] = torch.arange(source.shape[-1], device=source.device)
        given["position_ids"] = given["position_ids"].expand(source.shape)
        batch = Batch(**{name: given.get(name) for name in INPUT_NAMES})
        return batch, labels

    def refuse_float16(self) -> None:
        """Raise where a product would be computed in float16, which overflows at 65504."""
        device_type = self.device.type
        half = self.dtype == torch.float16 or (
            torch.is_autocast_enabled(device_type)
            and torch.get_autocast_dtype(device_type) == torch.float16
        )
        if half:
            raise ConfigError(
                "The model computes in float16, but activations of MobileBERT reach 2.5e7, far "
                "above the largest float16 (65504); use bfloat16 or float32"
            )

    def check_values(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments as tensors, checked; a mask of ones is left out, which is faster."""
        views = {name: view(name, value) for name, value in given.items()}
        arrays, targets = read(
            self.config,
            self.head,
            {name: each for name, each in views.items() if name not in LABEL_NAMES},
            {name: each for name, each in views.items() if name in LABEL_NAMES},
        )
        tensors = dict(given)
        for name, array in (arrays | targets).items():
            if not isinstance(given[name], Tensor):
                tensors[name] = torch.as_tensor(array, device=self.device)
        for name, tensor in tensors.items():  # torch looks rows up by int32 and int64 only
            if not tensor.is_floating_point() and tensor.dtype != torch.int32:
                tensors[name] = tensor.long()
        if "attention_mask" in arrays and arrays["attention_mask"].all():
            del tensors["attention_mask"]
        return tensors


def view(name: str, value: Any) -> Any:
    """What core can check of an argument: a tensor's values, of embeddings the shape only."""
    if not isinstance(value, Tensor):
        return value
    if name == "inputs_embeds" and value.is_floating_point():  # large, and may need a gradient
        return np.broadcast_to(np.float32(0), value.shape)
    value = value.detach().cpu()
    return value.float() if value.dtype == torch.bfloat16 else value


def extras(encoded: Encoded) -> dict[str, Any]:
    """The output fields that every head passes on."""
    return {"hidden_states": encoded.hidden_states, "attentions": encoded.attentions}


class MobileBertModel(MobileBertPreTrainedModel, Backbone):
    """The encoder with its pooler."""

    head = "base"

    def make_modules(self, config: MobileBertConfig, weights: Mapping[str, Any]) -> None:
        pooled = (
            not config.classifier_activation or f"{schema.PREFIX}pooler.dense.weight" in weights
        )
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
        self.cls.seq_relationship = nn.Linear(config.hidden_size, 2)

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
        self.cls.seq_relationship = nn.Linear(config.hidden_size, 2)

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
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)

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
        self.classifier = nn.Linear(config.hidden_size, 1)

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
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)

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
        self.qa_outputs = nn.Linear(config.hidden_size, 2)

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

    def flat(tensor: Tensor | None) -> Tensor | None:
        return None if tensor is None else tensor.flatten(0, 1)

    return Batch(
        **{each.name: flat(getattr(batch, each.name)) for each in dataclasses.fields(batch)}
    )


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

for _head in HEADS.values():  # torch.export and vmap must see through the output dataclasses
    torch.export.register_dataclass(
        _head.output, serialized_type_name=f"mobilebert.{_head.output.__name__}"
    )
