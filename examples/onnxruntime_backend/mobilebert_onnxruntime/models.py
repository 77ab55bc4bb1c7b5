"""The eight models: callables that take arrays or lists and return output dataclasses.

B batch  C choices  S sequence  P prediction positions
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from mobilebert_core.config import MobileBertConfig
from mobilebert_core.errors import InputError
from mobilebert_core.heads import get_head
from mobilebert_core.inputs import COLLECTABLE, LABEL_NAMES, Batch, collected, prepare
from mobilebert_core.pretrained import Pretrained, with_call_signature
from mobilebert_onnxruntime.heads import POSITIONS, make_graph
from mobilebert_onnxruntime.losses import head_loss

Array = np.ndarray[Any, np.dtype[Any]]


class OnnxRuntimeMobileBertPreTrainedModel(Pretrained):
    """What the eight models share: weights, session, input checks and the call.

    Args:
        config: the configuration.
        weights: canonical weights, copied; None makes fresh ones.
        seed: of fresh weights.
        dtype: `float32` or `float64`.
    """

    backend_name = "onnxruntime"

    def __init_subclass__(cls) -> None:
        if "head" in vars(cls):  # a user's subclass keeps its own signature
            cls.__call__ = with_call_signature(cls.__call__, cls.head)  # type: ignore[method-assign]

    def __init__(
        self,
        config: MobileBertConfig,
        *,
        weights: Mapping[str, Array] | None = None,
        seed: int = 0,
        dtype: str = "float32",
    ) -> None:
        name = self.checked_dtype(dtype)
        weights = self.checked_weights(config, weights, seed)
        self.config = config
        self.parameters = {each: np.array(weights[each], name, order="C") for each in weights}
        for array in self.parameters.values():
            array.flags.writeable = False  # the session has a copy and would not see a change
        self.session = make_graph(config, self.head, self.parameters, name).session()
        self.result_names: dict[str, list[str]] = {}  # by field: [logits], [attentions.0, ...]
        for each in self.session.get_outputs():
            self.result_names.setdefault(each.name.partition(".")[0], []).append(each.name)

    def __repr__(self) -> str:
        """Class, layers and dtype."""
        dtype = next(iter(self.parameters.values())).dtype
        return f"{type(self).__name__}({self.config.num_hidden_layers} layers, {dtype})"

    def compute(self, batch: Batch, labels: Mapping[str, Array], collect: tuple[str, ...]) -> Any:
        """The head's output dataclass, with the additional fields that `collect` names."""
        head = get_head(self.head)
        wanted = {
            field: names
            for field, names in self.result_names.items()
            if field in collect or field not in COLLECTABLE
        }
        fetched = [name for names in wanted.values() for name in names]
        values = iter(self.session.run(fetched, make_arguments(self.head, batch)))
        fields: dict[str, Any] = {
            field: tuple(next(values) for _ in names) if field in COLLECTABLE else next(values)
            for field, names in wanted.items()
        }
        if head.choices:
            fields["logits"] = fields["logits"].reshape(batch.token_type_ids.shape[:2])  # (B, C)
        loss = head_loss(self.config, self.head, fields, labels)
        if loss is not None:
            fields["loss"] = loss
        return head.output(**fields)

    def __call__(
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
        """Run the model.

        Args:
            input_ids: (B, S), or (B, C, S) for multiple choice.
            attention_mask: same shape, 1 where attended; or 4-D. Default: everywhere.
            token_type_ids: same shape. Default: zeros.
            position_ids: same shape. Default: 0, 1, 2, ...
            inputs_embeds: not supported; there to say so.
            output_attentions: return the attention probabilities of every layer.
            output_hidden_states: return the hidden states of every layer.
            return_dict: False returns a tuple of the present fields.
            **options: the head's labels, and `prediction_positions` (B, P) for masked-lm heads.

        Raises:
            InputError: lists everything that does not fit.
        """
        inputs = {
            "input_ids": input_ids,
            "attention_mask": attention_mask,
            "token_type_ids": token_type_ids,
            "position_ids": position_ids,
            "inputs_embeds": inputs_embeds,
        }
        labels = {name: options.pop(name) for name in LABEL_NAMES if name in options}
        batch, targets = prepare(self.config, self.head, inputs | options, labels)
        collect = collected(output_hidden_states, output_attentions)
        output = self.compute(batch, targets, collect)
        return output.to_tuple() if return_dict is False else output


def make_arguments(head: str, batch: Batch) -> dict[str, Array]:
    """The arguments of the graph.

    Raises:
        InputError: the batch holds embeddings, which the graph cannot take.
    """
    if batch.input_ids is None:
        raise InputError(
            f"The inputs do not fit the {head} model: inputs_embeds given, but the onnxruntime "
            "backend computes from input_ids only; pass input_ids, or load the model with "
            "backend='numpy'"
        )
    row = get_head(head)
    if row.choices:
        batch = batch.map(lambda array: array.reshape(-1, *array.shape[2:]))  # (B * C, S)
    mask, positions = batch.attention_mask, batch.prediction_positions
    if mask is None:
        mask = np.ones((1, 1, 1, 1), bool)
    elif mask.ndim == 2:
        mask = mask[:, None, None, :]  # (B, 1, 1, S)
    arguments: dict[str, Any] = {
        "input_ids": batch.input_ids,
        "token_type_ids": batch.token_type_ids,
        "position_ids": batch.position_ids,
        "attention_mask": mask,
    }
    if row.positions:
        shape = batch.token_type_ids.shape
        everywhere = np.broadcast_to(np.arange(shape[1]), shape)
        arguments[POSITIONS] = everywhere if positions is None else positions  # (B, P)
    return {name: np.ascontiguousarray(array) for name, array in arguments.items()}


class OnnxRuntimeMobileBertModel(OnnxRuntimeMobileBertPreTrainedModel):
    """The encoder with its pooler."""

    head = "base"


class OnnxRuntimeMobileBertForPreTraining(OnnxRuntimeMobileBertPreTrainedModel):
    """Masked language modelling and next sentence prediction."""

    head = "pretraining"


class OnnxRuntimeMobileBertForMaskedLM(OnnxRuntimeMobileBertPreTrainedModel):
    """Masked language modelling."""

    head = "masked-lm"


class OnnxRuntimeMobileBertForNextSentencePrediction(OnnxRuntimeMobileBertPreTrainedModel):
    """Does the second text follow the first?"""

    head = "next-sentence-prediction"


class OnnxRuntimeMobileBertForSequenceClassification(OnnxRuntimeMobileBertPreTrainedModel):
    """One class, several classes or numbers for a whole text."""

    head = "sequence-classification"


class OnnxRuntimeMobileBertForMultipleChoice(OnnxRuntimeMobileBertPreTrainedModel):
    """Which of C texts is the right one?"""

    head = "multiple-choice"


class OnnxRuntimeMobileBertForTokenClassification(OnnxRuntimeMobileBertPreTrainedModel):
    """One class for every token."""

    head = "token-classification"


class OnnxRuntimeMobileBertForQuestionAnswering(OnnxRuntimeMobileBertPreTrainedModel):
    """Where the answer begins and ends."""

    head = "question-answering"


MODELS: dict[str, type[OnnxRuntimeMobileBertPreTrainedModel]] = {
    model.head: model
    for model in (
        OnnxRuntimeMobileBertModel,
        OnnxRuntimeMobileBertForPreTraining,
        OnnxRuntimeMobileBertForMaskedLM,
        OnnxRuntimeMobileBertForNextSentencePrediction,
        OnnxRuntimeMobileBertForSequenceClassification,
        OnnxRuntimeMobileBertForMultipleChoice,
        OnnxRuntimeMobileBertForTokenClassification,
        OnnxRuntimeMobileBertForQuestionAnswering,
    )
}
