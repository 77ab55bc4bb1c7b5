"""How many labels of a batch count: what the parts of a batch are weighted by.

A loss is a mean over what counts. Over parts of a batch, in micro-batches or processes, the mean of
means is another number unless each is weighted by its count.
"""

from collections.abc import Mapping

import numpy as np

from mobilebert_core.heads import get_head
from mobilebert_core.input_checks import IGNORED_LABEL
from mobilebert_training.task import Array


def split_batch(batch: Mapping[str, Array], head: str) -> tuple[dict[str, Array], dict[str, Array]]:
    """The inputs of a batch and its labels."""
    names = get_head(head).labels
    inputs = {name: each for name, each in batch.items() if name not in names}
    return inputs, {name: batch[name] for name in names}


def label_counts(labels: Mapping[str, Array]) -> dict[str, int]:
    """How many labels count, by name; positions and numbers all do."""
    return {
        name: int((each != IGNORED_LABEL).sum()) if each.dtype.kind in "iu" else len(each)
        for name, each in labels.items()
    }


def rows_of(batch: Mapping[str, Array], rows: Array) -> dict[str, Array]:
    """Some rows of a batch, without the padding that only others needed.

    A column of padding stays, if there was one: trigrams show it to the last token of a text.
    All of it stays where spans are asked for: they are chosen among all columns.

    Args:
        batch: arrays whose first axis is B.
        rows: (R,) integers.
    """
    taken = {name: each[rows] for name, each in batch.items()}
    mask = taken.get("attention_mask")
    if mask is None or "start_positions" in batch:
        return taken
    length = int(np.flatnonzero(mask.reshape(-1, mask.shape[-1]).any(axis=0)).max(initial=0)) + 2
    # By their kind too: numbers for each of S labels, (B, S), have no tokens on their second axis.
    return {
        name: each[..., :length] if each.shape == mask.shape and each.dtype.kind in "iub" else each
        for name, each in taken.items()
    }
