"""What a model returns: one frozen dataclass a head, generic in the array type.

The fields are those of transformers 4.x. An output also reads as a mapping (`output["logits"]`,
`**output`) and as a tuple of the fields that are present (`output[0]`, `output.to_tuple()`).
Absent fields are None. Read next: `losses.py`.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from typing import Any, Generic, Self, TypeVar, overload

ArrayT = TypeVar("ArrayT")
OutputT = TypeVar("OutputT", bound="Output[Any]")


@dataclass(frozen=True, kw_only=True)
class Output(Generic[ArrayT]):
    """Fields of every output.

    Attributes:
        hidden_states: num_hidden_layers + 1 arrays (B, S, H), the embeddings first; on request.
        attentions: num_hidden_layers arrays (B, A, S, S), probabilities after softmax and before
            dropout; on request.
    """

    hidden_states: tuple[ArrayT, ...] | None = None
    attentions: tuple[ArrayT, ...] | None = None

    def keys(self) -> list[str]:
        """Names of the fields that are present: the head's own first, hidden states last."""
        names = [each.name for each in fields(self)]
        ordered = names[2:] + names[:2]
        return [name for name in ordered if getattr(self, name) is not None]

    def values(self) -> tuple[Any, ...]:
        """The present fields, in the order of `keys`."""
        return self.to_tuple()

    def items(self) -> list[tuple[str, Any]]:
        """Names and values of the present fields."""
        return [(name, getattr(self, name)) for name in self.keys()]

    def get(self, key: str, default: Any = None) -> Any:
        """A present field, else `default`."""
        return getattr(self, key) if key in self.keys() else default

    def to_tuple(self) -> tuple[Any, ...]:
        """The present fields, in the order of `keys`."""
        return tuple(getattr(self, name) for name in self.keys())

    @overload
    def __getitem__(self, key: str) -> Any: ...
    @overload
    def __getitem__(self, key: int) -> Any: ...
    @overload
    def __getitem__(self, key: slice) -> tuple[Any, ...]: ...
    def __getitem__(self, key: str | int | slice) -> Any:
        if isinstance(key, str):
            if key not in self.keys():
                raise KeyError(f"no field {key!r} in this output; present are {self.keys()}")
            return getattr(self, key)
        return self.to_tuple()[key]

    def __tf_flatten__(self) -> tuple[tuple[str, ...], tuple[Any, ...]]:
        """TensorFlow's protocol for structures: what a tf.function may return. Needs no import."""
        return tuple(self.keys()), self.to_tuple()

    @classmethod
    def __tf_unflatten__(cls, metadata: tuple[str, ...], components: tuple[Any, ...]) -> Self:
        return cls(**dict(zip(metadata, components, strict=True)))

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    def __len__(self) -> int:
        return len(self.keys())


@dataclass(frozen=True, kw_only=True)
class BaseModelOutput(Output[ArrayT]):
    """Of `base`: last_hidden_state (B, S, H); pooler_output (B, H) when there is a pooler."""

    last_hidden_state: ArrayT
    pooler_output: ArrayT | None = None


@dataclass(frozen=True, kw_only=True)
class PreTrainingOutput(Output[ArrayT]):
    """Of `pretraining`: prediction_logits (B, S, V), seq_relationship_logits (B, 2)."""

    loss: ArrayT | None = None
    prediction_logits: ArrayT
    seq_relationship_logits: ArrayT


@dataclass(frozen=True, kw_only=True)
class MaskedLMOutput(Output[ArrayT]):
    """Of `masked-lm`: logits (B, S, V), or (B, P, V) at P chosen positions."""

    loss: ArrayT | None = None
    logits: ArrayT


@dataclass(frozen=True, kw_only=True)
class NextSentencePredictionOutput(Output[ArrayT]):
    """Of `next-sentence-prediction`: logits (B, 2); index 0 says that B follows A."""

    loss: ArrayT | None = None
    logits: ArrayT


@dataclass(frozen=True, kw_only=True)
class SequenceClassificationOutput(Output[ArrayT]):
    """Of `sequence-classification`: logits (B, labels)."""

    loss: ArrayT | None = None
    logits: ArrayT


@dataclass(frozen=True, kw_only=True)
class MultipleChoiceOutput(Output[ArrayT]):
    """Of `multiple-choice`: logits (B, C). Hidden states and attentions have B * C rows."""

    loss: ArrayT | None = None
    logits: ArrayT


@dataclass(frozen=True, kw_only=True)
class TokenClassificationOutput(Output[ArrayT]):
    """Of `token-classification`: logits (B, S, labels)."""

    loss: ArrayT | None = None
    logits: ArrayT


@dataclass(frozen=True, kw_only=True)
class QuestionAnsweringOutput(Output[ArrayT]):
    """Of `question-answering`: start_logits and end_logits, (B, S) each."""

    loss: ArrayT | None = None
    start_logits: ArrayT
    end_logits: ArrayT


def map_arrays(output: OutputT, function: Callable[[Any], Any]) -> OutputT:
    """The same output with `function` applied to every array, e.g. native to NumPy."""
    values = {}
    for each in fields(output):
        value = getattr(output, each.name)
        if isinstance(value, tuple):
            values[each.name] = tuple(function(array) for array in value)
        elif value is not None:
            values[each.name] = function(value)
    return type(output)(**values)
