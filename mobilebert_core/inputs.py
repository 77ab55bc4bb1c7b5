"""Model inputs and labels, read and checked once, the same for every backend.

`read` makes NumPy arrays of what the caller gave and checks them; no framework has seen the values
by then. `prepare` also fills in the defaults, for backends that compute on NumPy arrays. Read next:
`input_checks.py`, `losses.py`.

B batch  C choices  S sequence  P prediction positions  E embedding  A heads
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mobilebert_core.config import MobileBertConfig
from mobilebert_core.errors import InputError, raise_faults
from mobilebert_core.heads import get_head
from mobilebert_core.input_checks import check

INPUT_NAMES = (
    "input_ids",
    "attention_mask",
    "token_type_ids",
    "position_ids",
    "inputs_embeds",
    "prediction_positions",
)
LABEL_NAMES = ("labels", "next_sentence_label", "start_positions", "end_positions")
COLLECTABLE = ("hidden_states", "attentions")

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Checked inputs as NumPy arrays, defaults filled in.

    Attributes:
        input_ids: (B, S) or (B, C, S) int64, or None when `inputs_embeds` is given.
        inputs_embeds: (B, S, E) or (B, C, S, E): replaces the word embeddings; or None.
        attention_mask: bool, True where attended: (B, S), (B, C, S) or broadcastable to
            (B, A, S, S); None attends everywhere.
        token_type_ids: int64, zeros by default.
        position_ids: int64, 0, 1, 2, ... by default.
        prediction_positions: (B, P) int64 or None: where the masked-lm head computes logits.
        lengths: of the texts that stand side by side in one row, B = 1, without padding between
            them; None, as in every ordinary call, where a row is one text. See `packing.py`.
    """

    input_ids: Array | None
    inputs_embeds: Array | None
    attention_mask: Array | None
    token_type_ids: Array
    position_ids: Array
    prediction_positions: Array | None
    lengths: tuple[int, ...] | None = None

    def map(self, function: Callable[[Any], Any]) -> "Batch":
        """The same batch with `function` applied to every array that is there."""
        values = {name: getattr(self, name) for name in INPUT_NAMES}
        present = {name: function(value) for name, value in values.items() if value is not None}
        return replace(self, **present)


def as_array(name: str, value: Any) -> Array:
    """A NumPy view or copy of an array, tensor or nested list; a flat list of ids is one text.

    Raises:
        InputError: the value is ragged or no array of numbers.
    """
    if isinstance(value, Mapping):
        raise InputError(f"{name} is a mapping; pass its items by name: model(**batch)")
    try:
        array = np.asarray(value)
    except Exception as error:
        raise InputError(_unreadable(name, value)) from error
    if array.dtype.kind not in "biuf" and "float" not in array.dtype.name:  # bfloat16 is of kind V
        raise InputError(_unreadable(name, value))
    text_level = name in ("input_ids", "attention_mask", "token_type_ids", "position_ids")
    if isinstance(value, list | tuple) and array.ndim == 1 and text_level and array.size:
        return array[None]
    return array


def _is_flat(value: Any) -> bool:
    return isinstance(value, list | tuple) and np.ndim(value) == 1


_TOKEN_LABELLED = ("pretraining", "masked-lm", "token-classification")


def _as_arrays(values: Mapping[str, Any], faults: list[str]) -> dict[str, Array]:
    """All that can be read; what cannot joins the faults."""
    arrays = {}
    for name, value in values.items():
        if value is None:
            continue
        try:
            arrays[name] = as_array(name, value)
        except InputError as error:
            faults.append(str(error))
    return arrays


def _unreadable(name: str, value: Any) -> str:
    return (
        f"{name} is a {type(value).__name__} that makes no rectangular array of numbers; pass an "
        "array or equally long lists (tokenizer(..., padding=True) makes them so)"
    )


def split_labels(head: str, labels: Any) -> dict[str, Any]:
    """Labels as a mapping by keyword; a bare array is the label of a head that has only one.

    Raises:
        InputError: a name is no label of this head, or one of several is missing.
    """
    names = get_head(head).labels
    if labels is None:
        return {}
    if not isinstance(labels, Mapping):
        if len(names) != 1:
            raise InputError(
                f"Labels of the head {head!r} are a {type(labels).__name__}, expected "
                + (f"a mapping with {' and '.join(names)}" if names else "none: it has no loss")
            )
        return {names[0]: labels}
    unknown = [str(name) for name in labels if name not in names]
    missing = [name for name in names if labels.get(name) is None]
    faults = [f"{name!r} is no label of it; it has {list(names)}" for name in unknown]
    faults += [f"{name!r} is missing; the loss needs all of {list(names)}" for name in missing]
    raise_faults(InputError, f"Labels do not fit the head {head!r}", faults)
    return dict(labels)


def loss_labels(head: str, labels: Any) -> dict[str, Any]:
    """Labels as `split_labels` gives them, for a computation that is nothing without a loss.

    Raises:
        InputError: they do not fit, or there are none.
    """
    given = split_labels(head, labels)
    if not given:
        raise InputError(
            f"The {head} model gives no loss: labels are {labels!r}; gradients need them"
        )
    return given


def call_model(
    model: Any, batch: Mapping[str, Any], labels: Mapping[str, Any], collect: tuple[str, ...]
) -> Any:
    """Call a native model, which checks the values, as a backend's `run` is called.

    Args:
        model: a model of any backend.
        batch: inputs by name; labels are none of them.
        labels: by name.
        collect: names of additional outputs, checked.

    Raises:
        InputError: the inputs are no mapping, or have names that are none of inputs.
    """
    check_batch(model.head, batch)
    return model(
        **batch,
        **labels,
        output_hidden_states="hidden_states" in collect,
        output_attentions="attentions" in collect,
    )


def check_batch(head: str, inputs: Any) -> None:
    """Refuse inputs that are no mapping, or have names that are none of inputs.

    Raises:
        InputError: in either case.
    """
    if not isinstance(inputs, Mapping):
        raise InputError(
            f"The inputs are a {type(inputs).__name__}, expected a mapping with input_ids"
        )
    check_names(head, inputs, INPUT_NAMES)


def check_names(head: str, names: Iterable[str], known: tuple[str, ...]) -> None:
    """Refuse arguments that no model has, e.g. a misspelt one.

    Raises:
        InputError: lists the unknown names and the known ones.
    """
    expected = [*INPUT_NAMES, *get_head(head).labels]
    faults = [
        f"{name!r} is no argument; known are {expected}" for name in names if name not in known
    ]
    raise_faults(InputError, f"The inputs do not fit the {head} model", faults)


def collected(hidden_states: bool | None, attentions: bool | None) -> tuple[str, ...]:
    """The names of additional outputs that two switches of a call ask for."""
    wanted = (hidden_states, attentions)
    return tuple(name for name, switch in zip(COLLECTABLE, wanted, strict=True) if switch)


def check_collect(collect: Iterable[str]) -> tuple[str, ...]:
    """The names of additional outputs, checked.

    Raises:
        InputError: a name is not one of `COLLECTABLE`.
    """
    names = (collect,) if isinstance(collect, str) else tuple(collect)
    unknown = [name for name in names if name not in COLLECTABLE]
    if unknown:
        raise InputError(f"collect has {unknown}, expected some of {list(COLLECTABLE)}")
    return names


def read(
    config: MobileBertConfig, head: str, inputs: Mapping[str, Any], labels: Mapping[str, Any]
) -> tuple[dict[str, Array], dict[str, Array]]:
    """The inputs and labels that are given, as checked NumPy arrays.

    Args:
        config: the configuration of the model.
        head: name of its head.
        inputs: by keyword; arrays or nested lists. None means not given.
        labels: likewise.

    Raises:
        InputError: lists everything that is wrong.
    """
    check_batch(head, inputs)
    faults: list[str] = []
    arrays = _as_arrays(inputs, faults)
    targets = _as_arrays(labels, faults)
    raise_faults(InputError, f"The inputs do not fit the {head} model", faults)
    one_text = head in _TOKEN_LABELLED and _is_flat(inputs.get("input_ids"))
    if one_text and _is_flat(labels.get("labels")):
        targets["labels"] = targets["labels"][None]
    check(config, head, arrays, targets)
    return arrays, targets


def read_call(
    config: MobileBertConfig, head: str, given: Mapping[str, Any]
) -> tuple[dict[str, Array], dict[str, Array]]:
    """`read`, for the arguments of a call with inputs and labels side by side."""
    inputs = {name: each for name, each in given.items() if name not in LABEL_NAMES}
    labels = {name: each for name, each in given.items() if name in LABEL_NAMES}
    return read(config, head, inputs, labels)


def prepare(
    config: MobileBertConfig, head: str, inputs: Mapping[str, Any], labels: Mapping[str, Any]
) -> tuple[Batch, dict[str, Array]]:
    """Check a call and turn it into NumPy arrays with all defaults filled in.

    Args:
        config: the configuration of the model.
        head: name of its head.
        inputs: a tokenizer's result or any mapping of arrays or nested lists.
        labels: by label name; None means not given.

    Raises:
        InputError: lists everything that is wrong.
    """
    arrays, targets = read(config, head, inputs, labels)
    ids, embeds = arrays.get("input_ids"), arrays.get("inputs_embeds")
    shape = ids.shape if ids is not None else arrays["inputs_embeds"].shape[:-1]
    mask = arrays.get("attention_mask")
    token_types = arrays.get("token_type_ids", np.zeros(shape, np.int64))
    positions = arrays.get("position_ids", np.arange(shape[-1], dtype=np.int64))
    chosen = arrays.get("prediction_positions")
    batch = Batch(
        input_ids=None if ids is None else ids.astype(np.int64),
        inputs_embeds=embeds,
        attention_mask=None if mask is None else mask.astype(bool),
        token_type_ids=token_types.astype(np.int64),
        position_ids=np.broadcast_to(positions.astype(np.int64), shape),
        prediction_positions=None if chosen is None else chosen.astype(np.int64),
    )
    return batch, targets
