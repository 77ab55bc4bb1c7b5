"""What `predict` takes: texts, pairs and mappings, made rows of tokens without padding.

A row is what the encoder sees as one text; an example is what one output belongs to: a row, or the
rows of all choices. Everything is checked as in a call, and an error names the item.

B batch  C choices  S sequence  P prediction positions
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from mobilebert_core.config import MobileBertConfig
from mobilebert_core.errors import InputError
from mobilebert_core.heads import HEADS, get_head
from mobilebert_core.inputs import as_array, check_batch, read

Array = np.ndarray[Any, np.dtype[Any]]

_TEXT_NAMES = ("input_ids", "token_type_ids", "attention_mask")


@dataclass(frozen=True, eq=False)
class Row:
    """The tokens of one text, without padding.

    Attributes:
        input_ids: (S,) int64.
        token_type_ids: (S,) int64.
        position_ids: (S,) int64.
        prediction_positions: (P,) int64 or None: where the masked-lm head computes logits.
    """

    input_ids: Array
    token_type_ids: Array
    position_ids: Array
    prediction_positions: Array | None

    def __len__(self) -> int:
        return len(self.input_ids)


@dataclass(frozen=True, eq=False)
class Example:
    """What one output belongs to.

    Attributes:
        item: number of the item of `inputs` that it is from.
        rows: its text, or one for each choice.
    """

    item: int
    rows: tuple[Row, ...]


@dataclass(frozen=True, eq=False)
class Texts:
    """An example whose texts are still to be tokenized, one or one for each choice."""

    item: int
    texts: tuple[str | tuple[str, str], ...]


class InputReader:
    """Reads the items of one `predict`.

    Args:
        config: the configuration of the model.
        head: name of its head.
        tokenizer: for texts, or None.
        prediction_positions: None or `mask`.

    Raises:
        InputError: the positions do not fit the head, or need a tokenizer.
    """

    def __init__(
        self, config: MobileBertConfig, head: str, tokenizer: Any, prediction_positions: Any
    ) -> None:
        self.config, self.head, self.tokenizer = config, get_head(head), tokenizer
        if prediction_positions not in (None, "mask"):
            raise InputError(
                f"prediction_positions is {prediction_positions!r}, expected None or 'mask'; "
                "positions of a text's own go into a mapping with its input_ids"
            )
        if tokenizer is not None and not callable(tokenizer):
            raise InputError(
                f"tokenizer is a {type(tokenizer).__name__}, expected what load_tokenizer returns"
            )
        self.mask_token_id = None
        if prediction_positions == "mask":
            if not self.head.positions:
                usable = [each.name for each in HEADS.values() if each.positions]
                raise InputError(
                    f"prediction_positions='mask' given for the {head} model, but only "
                    f"{' and '.join(usable)} can use it"
                )
            self.mask_token_id = getattr(tokenizer, "mask_token_id", None)
            if self.mask_token_id is None:
                raise InputError(
                    "prediction_positions='mask' needs to know the [MASK] token; pass tokenizer="
                )

    def requests(self, items: Iterable[Any]) -> Iterator[Example | Texts]:
        """Items as examples, but for texts, of which many are tokenized at a time."""
        for number, item in enumerate(items):
            if isinstance(item, Mapping):
                try:
                    yield from self._from_mapping(number, item)
                except InputError as error:
                    raise InputError(f"Item {number}: {error}") from error
            else:
                yield Texts(number, self._texts(number, item))

    def examples(self, requests: list[Example | Texts]) -> list[Example]:
        """The requests with all texts tokenized.

        Raises:
            InputError: a text does not fit the model.
        """
        waiting = [each for each in requests if isinstance(each, Texts)]
        texts = [text for each in waiting for text in each.texts]
        encoded = iter(self._tokenized(texts))
        found = []
        for request in requests:
            if isinstance(request, Texts):
                choices = [next(encoded) for _ in request.texts]
                rows = tuple(self._row(request.item, each) for each in choices)
                request = Example(request.item, rows)
            found.append(request)
        return found

    def _texts(self, number: int, item: Any) -> tuple[str | tuple[str, str], ...]:
        """The texts of an item that is no mapping."""
        if self.head.choices:
            fits = isinstance(item, list) and item and all(map(_is_text, item))
            expected = "a list of its choices, each a text (str) or a pair (str, str)"
        else:
            fits = _is_text(item)
            expected = "a text (str) or a pair (str, str)"
        if not fits:
            raise InputError(
                f"Item {number} is {_kind(item)}, expected {expected}, or a mapping with input_ids"
            )
        if self.tokenizer is None:
            raise InputError(
                f"Item {number} is a text, which needs a tokenizer; pass "
                "tokenizer=mobilebert.load_tokenizer(...)"
            )
        return tuple(item) if self.head.choices else (item,)

    def _tokenized(self, texts: list[str | tuple[str, str]]) -> list[dict[str, Any]]:
        """Inputs by name, flat, of each text; pairs go in a call of their own."""
        alone = [index for index, text in enumerate(texts) if isinstance(text, str)]
        paired = [index for index, text in enumerate(texts) if not isinstance(text, str)]
        rows: list[dict[str, Any]] = [{}] * len(texts)
        for indices in filter(None, (alone, paired)):
            chosen = [texts[index] for index in indices]
            columns = [chosen] if indices is alone else list(map(list, zip(*chosen, strict=True)))
            encoding = self.tokenizer(*columns, return_token_type_ids=True, verbose=False)
            for place, index in enumerate(indices):
                rows[index] = {
                    name: encoding[name][place] for name in _TEXT_NAMES if name in encoding
                }
        return rows

    def _row(self, number: int, encoded: Mapping[str, Any]) -> Row:
        """A tokenized text."""
        axes = (None, None) if self.head.choices else (None,)
        batch = {name: np.asarray(value)[axes] for name, value in encoded.items()}
        try:
            return self._rows(batch)[0]
        except InputError as error:
            raise InputError(f"Item {number}: {error}") from error

    def _from_mapping(self, number: int, item: Mapping[str, Any]) -> Iterator[Example]:
        """The examples of one text or of a batch."""
        check_batch(self.head.name, item)
        if item.get("inputs_embeds") is not None:
            raise InputError("inputs_embeds cannot be predicted from; call the model itself")
        batch = {name: _array(name, value) for name, value in item.items() if value is not None}
        rank = 3 if self.head.choices else 2
        for name, array in batch.items():
            own_rank = 2 if name == "prediction_positions" else rank
            if array.ndim == own_rank - 1:
                batch[name] = array[None]
        rows = self._rows(batch)
        choices = batch["input_ids"].shape[1] if self.head.choices else 1
        for start in range(0, len(rows), choices):
            yield Example(number, tuple(rows[start : start + choices]))

    def _rows(self, batch: dict[str, Array]) -> list[Row]:
        """The rows of a batch (B, S) or (B, C, S), checked and without their padding."""
        chosen = batch.get("prediction_positions")
        if chosen is not None and chosen.ndim == 2 and not chosen.shape[1]:  # (B, 0)
            batch = {name: batch[name] for name in batch if name != "prediction_positions"}
        read(self.config, self.head.name, batch, {})
        shape = batch["input_ids"].shape
        length = shape[-1]
        ids = batch["input_ids"].astype(np.int64).reshape(-1, length)  # (B * C, S)
        lengths = _lengths(batch.get("attention_mask"), shape)
        types = batch.get("token_type_ids", np.zeros(shape, np.int64))
        positions = batch.get("position_ids", np.arange(length))
        types = types.astype(np.int64).reshape(-1, length)
        positions = np.broadcast_to(positions.astype(np.int64), shape).reshape(-1, length)
        return [
            Row(
                ids[row, :end],
                types[row, :end],
                positions[row, :end],
                self._chosen(ids[row, :end], None if chosen is None else chosen[row]),
            )
            for row, end in enumerate(lengths)
        ]

    def _chosen(self, ids: Array, given: Array | None) -> Array | None:
        """Where a row has logits; None is everywhere."""
        if given is None:
            return None if self.mask_token_id is None else np.flatnonzero(ids == self.mask_token_id)
        if (given >= len(ids)).any():
            raise InputError(
                f"prediction_positions has {given.max()} for a text of {len(ids)} tokens, expected "
                "positions of tokens that are no padding"
            )
        return given.astype(np.int64)


def _array(name: str, value: Any) -> Array:
    """An argument as an array, from any device of PyTorch."""
    return as_array(name, value.cpu() if hasattr(value, "cpu") else value)


def _lengths(mask: Array | None, shape: tuple[int, ...]) -> list[int]:
    """How many tokens of each row are no padding.

    Raises:
        InputError: padding is elsewhere than at the end, or there is nothing else.
    """
    rows, length = int(np.prod(shape[:-1])), shape[-1]
    if mask is None:
        return [length] * rows
    if mask.shape != shape:
        raise InputError(
            f"attention_mask has shape {mask.shape}, expected {shape}; call the model itself for "
            "other masks"
        )
    mask = mask.astype(bool).reshape(rows, length)
    lengths = mask.sum(axis=1)  # (B * C,)
    wrong = np.flatnonzero((mask != (np.arange(length) < lengths[:, None])).any(axis=1))
    if wrong.size:
        raise InputError(
            f"row {wrong[0]} of attention_mask has a 0 before a 1, expected 0 for padding at the "
            "end only; pad on the right, or call the model itself"
        )
    if not lengths.all():
        raise InputError(f"row {lengths.argmin()} of attention_mask is all 0, expected some text")
    found: list[int] = lengths.tolist()
    return found


def _is_text(value: Any) -> bool:
    """Whether it is a text or a pair."""
    if isinstance(value, tuple):
        return len(value) == 2 and all(isinstance(text, str) for text in value)
    return isinstance(value, str)


def _kind(value: Any) -> str:
    """What an item is, for an error."""
    if isinstance(value, list | tuple):
        kinds = ", ".join(dict.fromkeys(type(each).__name__ for each in value))
        return f"a {type(value).__name__} of {len(value)} ({kinds})"
    return f"a {type(value).__name__}"
