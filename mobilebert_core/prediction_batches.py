"""How the rows of `predict` are put together: side by side, in rectangles, or in fixed shapes.

A model says by its attribute `batching` what suits it, a key of `BATCHINGS`; without one, rows of
equal length are computed together, which every backend can. Padding must not be seen, and the
trigram of a text's last token holds the embedding after it: padded rows are given as embeddings,
zero where there is no token. Read next: `packing.py`.

B batch  S sequence  P prediction positions  E embedding  N tokens of all rows
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from mobilebert_core import registry
from mobilebert_core.heads import get_head
from mobilebert_core.inputs import Batch
from mobilebert_core.packing import first_tokens
from mobilebert_core.prediction_inputs import Row

Array = np.ndarray[Any, np.dtype[Any]]
RowOutput = dict[str, Array]

FIXED_LENGTHS = (16, 32, 48, 64, 96, 128, 192, 256, 384, 512)

# The output fields that have a value for each token, or for each prediction position.
_TOKEN_FIELDS = {
    "base": ("last_hidden_state",),
    "pretraining": ("prediction_logits",),
    "masked-lm": ("logits",),
    "token-classification": ("logits",),
    "question-answering": ("start_logits", "end_logits"),
}


class Rectangles:
    """Rows of nearly equal length, filled up to the longest of a batch.

    Args:
        model: a model whose backend has `embed_words`.
        token_budget: how many tokens a batch may have, padding included; a row may have more.
    """

    def __init__(self, model: Any, token_budget: int) -> None:
        self.model, self.token_budget = model, token_budget
        self.head = get_head(model.head)
        self.backend: Any = registry.get(model.backend_name)

    def cut(self, rows: Iterable[Row]) -> Iterator[list[Row]]:
        """Batches of rows, which come the longest first."""
        batch: list[Row] = []
        for row in rows:
            if batch and not self.fits(batch, row):
                yield batch
                batch = []
            batch.append(row)
        if batch:
            yield batch

    def fits(self, batch: list[Row], row: Row) -> bool:
        """Whether a batch can take another row."""
        tokens = (len(batch) + 1) * self.width(len(batch[0]))
        return tokens <= self.token_budget and self.go_together(len(batch[0]), len(row))

    def go_together(self, longest: int, length: int) -> bool:
        """Whether a row is filled up to the longest one rather than computed in another batch."""
        return longest - length <= max(2, longest // 8)

    def width(self, longest: int) -> int:
        """How long all rows of a batch become."""
        return longest

    def fill(self, rows: list[Row]) -> list[Row]:
        """The rows that are computed, which may be more."""
        return rows

    def num_positions(self, most: int) -> int:
        """How many prediction positions all rows get."""
        return max(1, most)

    def tokens(self, ids: Array, mask: Array) -> dict[str, Array]:
        """The arguments that say which tokens there are."""
        return {"input_ids": ids} if mask.all() else self.embedded(ids, mask)

    def embedded(self, ids: Array, mask: Array) -> dict[str, Array]:
        """Tokens as word embeddings, with zeros where there are none."""
        embeds = self.backend.embed_words(self.model, ids)  # (B, S, E)
        embeds[~mask] = 0
        return {"inputs_embeds": embeds, "attention_mask": mask}

    def compute(self, rows: list[Row]) -> list[RowOutput]:
        """The output fields of each row of a batch."""
        inputs = self.inputs(self.fill(rows))
        if self.head.choices:
            inputs = {name: array[:, None] for name, array in inputs.items()}  # (B, 1, S, ...)
        output = self.backend.run(self.model, inputs)
        by_token = _TOKEN_FIELDS.get(self.head.name, ())
        return [
            {
                name: (values[row, :count] if name in by_token else values[row]).copy()
                for name, values in output.items()
            }
            for row, count in enumerate(map(len, _chosen(rows) or rows))
        ]

    def inputs(self, rows: list[Row]) -> dict[str, Array]:
        """The arrays of a call."""
        width, chosen = self.width(len(rows[0])), _chosen(rows)
        mask = np.arange(width) < np.array([len(row) for row in rows])[:, None]  # (B, S)
        inputs = {
            "token_type_ids": _rectangle([row.token_type_ids for row in rows], width),
            "position_ids": _rectangle([row.position_ids for row in rows], width),
            **self.tokens(_rectangle([row.input_ids for row in rows], width), mask),
        }
        if chosen is not None:
            most = self.num_positions(max(map(len, chosen)))
            inputs["prediction_positions"] = _rectangle(chosen, most)
        return inputs


class EqualLengths(Rectangles):
    """Rows of one length, without padding: all that is needed is `Backend.run`."""

    def go_together(self, longest: int, length: int) -> bool:
        """Whether they are equally long."""
        return longest == length


class FixedLengths(Rectangles):
    """Rows filled up to one of few lengths, for a framework that prepares each anew."""

    def __init__(self, model: Any, token_budget: int) -> None:
        super().__init__(model, token_budget)
        limit: int = model.config.max_position_embeddings
        self.lengths: tuple[int, ...] = (
            *(length for length in FIXED_LENGTHS if length < limit),
            limit,
        )

    def width(self, longest: int) -> int:
        """The next of the lengths."""
        return next(length for length in self.lengths if length >= longest)

    def go_together(self, longest: int, length: int) -> bool:
        """Whether they are filled up to the same length."""
        return self.width(longest) == self.width(length)


class FixedShapes(FixedLengths):
    """Few lengths, few numbers of rows and always the same arguments, where shapes are compiled."""

    def fill(self, rows: list[Row]) -> list[Row]:
        """As many rows as the budget allows, or a power of two: the last one again and again."""
        most = max(1, self.token_budget // self.width(len(rows[0])))
        return rows + rows[-1:] * (min(most, _power_of_two(len(rows))) - len(rows))

    def num_positions(self, most: int) -> int:
        """A power of two."""
        return _power_of_two(most)

    def tokens(self, ids: Array, mask: Array) -> dict[str, Array]:
        """Embeddings also where nothing is filled up."""
        return self.embedded(ids, mask)


class Packed(Rectangles):
    """Rows side by side, for a model whose backend has `run_packed`."""

    def fits(self, batch: list[Row], row: Row) -> bool:
        """Whether the budget allows another row."""
        return sum(map(len, batch)) + len(row) <= self.token_budget

    def compute(self, rows: list[Row]) -> list[RowOutput]:
        """The output fields of each row of a batch."""
        chosen, lengths = _chosen(rows), tuple(map(len, rows))
        axes = (None, None) if self.head.choices else (None,)
        positions = None
        if chosen is not None:
            places = zip(chosen, first_tokens(lengths), strict=True)
            positions = np.concatenate([each + start for each, start in places])[None]  # (1, P)
            positions = positions if positions.size else np.zeros((1, 1), np.int64)
        batch = Batch(
            input_ids=np.concatenate([row.input_ids for row in rows])[axes],  # (1, N)
            inputs_embeds=None,
            attention_mask=None,
            token_type_ids=np.concatenate([row.token_type_ids for row in rows])[axes],
            position_ids=np.concatenate([row.position_ids for row in rows])[axes],
            prediction_positions=positions,
            lengths=lengths,
        )
        output = self.backend.run_packed(self.model, batch)
        ends = np.cumsum(list(map(len, chosen or rows)))
        by_token = _TOKEN_FIELDS.get(self.head.name, ())
        fields = {
            name: np.split(values[0], ends)[: len(rows)] if name in by_token else values
            for name, values in output.items()
        }
        return [
            {name: values[row].copy() for name, values in fields.items()}
            for row in range(len(rows))
        ]


BATCHINGS: dict[str, type[Rectangles]] = {
    "packed": Packed,
    "rectangles": Rectangles,
    "lengths": FixedLengths,
    "shapes": FixedShapes,
}


def choose_batching(model: Any, token_budget: int) -> Rectangles:
    """What suits a model."""
    kind = BATCHINGS.get(getattr(model, "batching", ""), EqualLengths)
    return kind(model, token_budget)


def _chosen(rows: Sequence[Row]) -> list[Array] | None:
    """Where each row has logits; None where all have them everywhere."""
    given = [row.prediction_positions for row in rows]
    if all(each is None for each in given):
        return None
    return [
        np.arange(len(row)) if each is None else each for row, each in zip(rows, given, strict=True)
    ]


def _rectangle(values: Sequence[Array], width: int) -> Array:
    """Rows of integers, zeros after their ends; (B, width)."""
    filled = np.zeros((len(values), width), np.int64)
    for row, each in enumerate(values):
        filled[row, : len(each)] = each
    return filled


def _power_of_two(count: int) -> int:
    """The next one, from 1 on."""
    return 1 << max(0, count - 1).bit_length()
