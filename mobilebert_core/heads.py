"""The head table: everything that distinguishes the eight models, as data.

One row a head; schema, inputs, losses, backends and the command line read it, and none of them
lists the heads again. Read next: `schema.py` for the tensors and `outputs.py` for the results.
"""

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from mobilebert_core import outputs
from mobilebert_core.errors import ConfigError


@dataclass(frozen=True)
class Head:
    """What one model adds to the encoder.

    Attributes:
        name: what users type, e.g. `masked-lm`.
        class_name: the model's class without a backend's prefix, as in transformers.
        output: the output dataclass.
        modules: the parts on top of the encoder, of `pooler`, `predictions`, `seq_relationship`,
            `classifier` and `qa_outputs`; `schema.py` knows the tensors of each.
        labels: the keyword arguments that carry labels; the loss needs all of them.
        choices: whether inputs have a choices axis, (B, C, S).
        positions: whether `prediction_positions` selects where logits are computed.
    """

    name: str
    class_name: str
    output: type[outputs.Output[Any]]
    modules: tuple[str, ...]
    labels: tuple[str, ...]
    choices: bool = False
    positions: bool = False


_TABLE = (
    Head("base", "MobileBertModel", outputs.BaseModelOutput, ("pooler",), ()),
    Head(
        "pretraining",
        "MobileBertForPreTraining",
        outputs.PreTrainingOutput,
        ("pooler", "predictions", "seq_relationship"),
        ("labels", "next_sentence_label"),
        positions=True,
    ),
    Head(
        "masked-lm",
        "MobileBertForMaskedLM",
        outputs.MaskedLMOutput,
        ("predictions",),
        ("labels",),
        positions=True,
    ),
    Head(
        "next-sentence-prediction",
        "MobileBertForNextSentencePrediction",
        outputs.NextSentencePredictionOutput,
        ("pooler", "seq_relationship"),
        ("labels",),
    ),
    Head(
        "sequence-classification",
        "MobileBertForSequenceClassification",
        outputs.SequenceClassificationOutput,
        ("pooler", "classifier"),
        ("labels",),
    ),
    Head(
        "multiple-choice",
        "MobileBertForMultipleChoice",
        outputs.MultipleChoiceOutput,
        ("pooler", "classifier"),
        ("labels",),
        choices=True,
    ),
    Head(
        "token-classification",
        "MobileBertForTokenClassification",
        outputs.TokenClassificationOutput,
        ("classifier",),
        ("labels",),
    ),
    Head(
        "question-answering",
        "MobileBertForQuestionAnswering",
        outputs.QuestionAnsweringOutput,
        ("qa_outputs",),
        ("start_positions", "end_positions"),
    ),
)

HEADS: dict[str, Head] = {head.name: head for head in _TABLE}
_BY_CLASS_NAME = {head.class_name: head for head in _TABLE}


def get_head(name: str) -> Head:
    """The row of one head.

    Raises:
        ConfigError: no head has this name; the message lists all.
    """
    if not isinstance(name, str) or name not in HEADS:
        close = difflib.get_close_matches(str(name).replace("_", "-"), HEADS, n=1)
        hint = f"did you mean {close[0]!r}? E" if close else "e"
        raise ConfigError(f"No head is called {name!r}; {hint}xpected one of {', '.join(HEADS)}")
    return HEADS[name]


def head_of_architectures(architectures: Iterable[str]) -> Head | None:
    """The head that `architectures` of a config.json names, or None.

    Args:
        architectures: class names; a backend's prefix (`TF`, `Flax`) does not matter.
    """
    for architecture in architectures:
        start = architecture.find("MobileBert")
        if start >= 0 and architecture[start:] in _BY_CLASS_NAME:
            return _BY_CLASS_NAME[architecture[start:]]
    return None
