"""What can be wrong with a call, found out on NumPy arrays and told in one error.

B batch  C choices  S sequence  P prediction positions  E embedding  A heads
"""

from collections.abc import Mapping
from typing import Any

from mobilebert_core.config import MobileBertConfig
from mobilebert_core.errors import InputError, raise_faults
from mobilebert_core.heads import HEADS, Head, get_head

IGNORED_LABEL = -100


def infer_problem_type(config: MobileBertConfig, *, integer_labels: bool) -> str:
    """The loss of a sequence classification call; never written into the config.

    Args:
        config: a `problem_type` there decides.
        integer_labels: whether the labels of this call have an integer dtype.
    """
    if config.problem_type is not None:
        return config.problem_type
    if config.num_labels == 1:
        return "regression"
    return "single_label_classification" if integer_labels else "multi_label_classification"


def check(
    config: MobileBertConfig, head: str, inputs: Mapping[str, Any], labels: Mapping[str, Any]
) -> None:
    """Check inputs and labels of one call.

    Args:
        config: the configuration of the model.
        head: name of its head.
        inputs: by keyword of `INPUT_NAMES`; None means not given. Integers as NumPy arrays; of
            `inputs_embeds` only `shape` and `dtype` are looked at.
        labels: by keyword of `LABEL_NAMES`, as NumPy arrays; None means not given.

    Raises:
        InputError: lists everything that is wrong.
    """
    checker = _Checker(config, get_head(head), inputs, labels)
    raise_faults(InputError, f"The inputs do not fit the {head} model", checker.faults())


class _Checker:
    """Collects the faults of one call."""

    def __init__(
        self,
        config: MobileBertConfig,
        head: Head,
        inputs: Mapping[str, Any],
        labels: Mapping[str, Any],
    ) -> None:
        self.config = config
        self.head = head
        self.inputs = {name: value for name, value in inputs.items() if value is not None}
        self.labels = {name: value for name, value in labels.items() if value is not None}
        self.axes = "(batch, choices, sequence)" if head.choices else "(batch, sequence)"

    def faults(self) -> list[str]:
        """All faults; the later checks need the shape that the first one establishes."""
        shape, faults = self._text_shape()
        if faults:
            return faults
        return [
            *self._mask_faults(shape),
            *self._id_faults("token_type_ids", [shape], self.config.type_vocab_size),
            *self._id_faults(
                "position_ids",
                [shape, (1,) * (len(shape) - 1) + shape[-1:]],
                self.config.max_position_embeddings,
            ),
            *self._position_faults(shape),
            *self._label_faults(shape),
        ]

    def _text_shape(self) -> tuple[tuple[int, ...], list[str]]:
        """(B, S) or (B, C, S), and what is wrong with it."""
        given = [name for name in ("input_ids", "inputs_embeds") if name in self.inputs]
        if len(given) != 1:
            what = "both" if given else "neither"
            return (), [f"{what} of input_ids and inputs_embeds given, expected exactly one"]
        value = self.inputs[given[0]]
        shape = tuple(value.shape)
        rank = 3 if self.head.choices else 2
        if given[0] == "inputs_embeds":
            size = self.config.embedding_size
            if len(shape) != rank + 1 or shape[-1] != size or "float" not in str(value.dtype):
                return (), [
                    f"inputs_embeds is {value.dtype} of shape {shape}, expected floating point of "
                    f"shape {self.axes[:-1]}, {size})"
                ]
            shape = shape[:-1]
        elif len(shape) != rank:
            return (), [f"input_ids has shape {shape}, expected {self.axes}"]
        if 0 in shape:
            return (), [f"the batch is empty: shape {shape}, expected at least one token"]
        faults = self._id_faults("input_ids", [shape], self.config.vocab_size)
        if shape[-1] > self.config.max_position_embeddings:
            faults.append(
                f"the sequence has {shape[-1]} tokens, expected at most "
                f"{self.config.max_position_embeddings} (max_position_embeddings); truncate it: "
                "tokenizer(..., truncation=True)"
            )
        return shape, faults

    def _id_faults(self, name: str, shapes: list[tuple[int, ...]], limit: int) -> list[str]:
        value = self.inputs.get(name)
        if value is None:
            return []
        if value.dtype.kind not in "iu":
            return [f"{name} has dtype {value.dtype}, expected integers"]
        if tuple(value.shape) not in shapes:
            return [f"{name} has shape {tuple(value.shape)}, expected {shapes[0]}"]
        return _range_faults(name, value, 0, limit - 1)

    def _mask_faults(self, shape: tuple[int, ...]) -> list[str]:
        mask = self.inputs.get("attention_mask")
        if mask is None:
            return []
        given = tuple(mask.shape)
        expected = str(shape)
        fits = given == shape
        if not self.head.choices:
            full = (shape[0], self.config.num_attention_heads, shape[1], shape[1])
            expected += f" or 4-D, broadcastable to {full}"
            broadcasts = len(given) == 4 and all(
                have in (1, want) for have, want in zip(given, full, strict=True)
            )
            if broadcasts and self.config.trigram_padding == "masked":
                return [
                    f"attention_mask has shape {given}, but trigram_padding='masked' needs "
                    f"{shape}: it must know which tokens are padding"
                ]
            fits = fits or broadcasts
        if not fits:
            return [f"attention_mask has shape {given}, expected {expected}"]
        if mask.dtype.kind != "b" and not ((mask == 0) | (mask == 1)).all():
            return ["attention_mask has values other than 0 (ignore) and 1 (attend)"]
        return []

    def _position_faults(self, shape: tuple[int, ...]) -> list[str]:
        positions = self.inputs.get("prediction_positions")
        if positions is None:
            return []
        if not self.head.positions:
            usable = [head.name for head in HEADS.values() if head.positions]
            return [f"prediction_positions given, but only {' and '.join(usable)} can use them"]
        given = tuple(positions.shape)
        if positions.dtype.kind not in "iu" or len(given) != 2 or given[0] != shape[0]:
            return [
                f"prediction_positions is {positions.dtype} of shape {given}, expected integers "
                f"of shape ({shape[0]}, positions)"
            ]
        if given[1] == 0:
            return ["prediction_positions is empty, expected at least one position per row"]
        return _range_faults("prediction_positions", positions, 0, shape[1] - 1)

    def _label_faults(self, shape: tuple[int, ...]) -> list[str]:
        faults = []
        for name, value in self.labels.items():
            if name not in self.head.labels:
                known = f"; it has {list(self.head.labels)}" if self.head.labels else ""
                faults.append(f"{name} is no label of this head{known}")
            elif self.head.name == "sequence-classification":
                faults += self._classification_faults(value, shape)
            else:
                faults += self._class_faults(name, value, *self._label_rule(name, shape))
        return faults

    def _label_rule(self, name: str, shape: tuple[int, ...]) -> tuple[tuple[int, ...], int | None]:
        """Expected shape and number of classes; None classes: positions, clamped by the loss."""
        rows = shape[:1]
        if self.head.name == "question-answering":
            return rows, None
        if self.head.name == "multiple-choice":
            return rows, shape[1]
        if self.head.name == "token-classification":
            return shape, self.config.num_labels
        if name == "next_sentence_label" or self.head.name == "next-sentence-prediction":
            return rows, 2
        chosen = self.inputs.get("prediction_positions")
        tokens = shape if chosen is None else tuple(chosen.shape)
        return tokens, self.config.vocab_size

    def _class_faults(
        self, name: str, value: Any, shape: tuple[int, ...], classes: int | None
    ) -> list[str]:
        if value.dtype.kind not in "iu":
            return [f"{name} has dtype {value.dtype}, expected integers"]
        # A column (B, 1) is a common way to write one label a row.
        if tuple(value.shape) not in (shape, (*shape, 1) if len(shape) == 1 else shape):
            return [f"{name} has shape {tuple(value.shape)}, expected {shape}"]
        if classes is None:
            return []
        return _range_faults(name, value[value != IGNORED_LABEL], 0, classes - 1, " or -100")

    def _classification_faults(self, value: Any, shape: tuple[int, ...]) -> list[str]:
        count, given = self.config.num_labels, tuple(value.shape)
        kind = infer_problem_type(self.config, integer_labels=value.dtype.kind in "iub")
        if kind == "single_label_classification":
            return self._class_faults("labels", value, shape[:1], count)
        expected: list[tuple[int, ...]] = [(shape[0], count)]
        if kind == "regression" and count == 1:
            expected.insert(0, (shape[0],))
        if given not in expected:
            return [f"labels has shape {given}, expected {expected[0]} for {kind}"]
        return []


def _range_faults(name: str, value: Any, low: int, high: int, also: str = "") -> list[str]:
    if not value.size:
        return []
    smallest, largest = int(value.min()), int(value.max())
    if smallest >= low and largest <= high:
        return []
    return [f"{name} has values from {smallest} to {largest}, expected {low} to {high}{also}"]
