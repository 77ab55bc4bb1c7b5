"""Where a batch has labels: masked-lm training then computes logits there only, not everywhere.

Logits over the vocabulary are most of what the head costs, and with 15 % of the tokens masked, five
sixths of them are computed for labels of -100, which count nothing. Read next: `losses.py`; how a
model takes the positions is in `inputs.py`.

B batch  S sequence  P prediction positions
"""

from typing import Any

import numpy as np

from mobilebert_core.errors import InputError, raise_faults
from mobilebert_core.input_checks import IGNORED_LABEL
from mobilebert_core.inputs import as_array

Array = np.ndarray[Any, np.dtype[Any]]


def labelled_positions(labels: Any, *, at_most: int | None = None) -> dict[str, Array]:
    """Positions and labels for masked-lm training that pays only for tokens with a label.

    The model gives the same loss and the same gradients for
    `model(**inputs, **labelled_positions(labels))` as for `model(**inputs, labels=labels)`.

    Args:
        labels: (B, S) integers, -100 where a token has no label; an array, a tensor of any
            framework on the CPU, or lists. More leading axes, e.g. of steps, are kept.
        at_most: P, for frameworks that compile once for each shape; None takes the largest number
            of labels in a row, and 1 where no row has any.

    Returns:
        `prediction_positions` (B, P), int64, in ascending order, and `labels` (B, P), int64. Rows
        with fewer labels end with position 0 and label -100, which counts nothing. The loss of a
        batch without labels is NaN, as it is without positions.

    Raises:
        InputError: the labels are no such integers, or a row has more than `at_most`.

    Example:
        >>> chosen = labelled_positions([[-100, 7, -100, 5], [-100, -100, 6, -100]])
        >>> chosen["prediction_positions"].tolist(), chosen["labels"].tolist()
        ([[1, 3], [2, 0]], [[7, 5], [6, -100]])
    """
    targets = as_array("labels", labels)
    raise_faults(InputError, "The labels give no positions", _faults(targets, at_most))
    rows = targets.reshape(-1, targets.shape[-1]).astype(np.int64)  # (B, S)
    labelled = rows != IGNORED_LABEL
    counts = labelled.sum(axis=1)  # (B,)
    width = max(1, int(counts.max())) if at_most is None else at_most
    if counts.max() > width:
        raise InputError(_too_many(counts, width))
    row, position = np.nonzero(labelled)
    place = labelled.cumsum(axis=1)[row, position] - 1  # of the label among those of its row
    positions = np.zeros((len(rows), width), np.int64)
    positions[row, place] = position
    chosen = np.full((len(rows), width), IGNORED_LABEL, np.int64)
    chosen[row, place] = rows[row, position]
    shape = (*targets.shape[:-1], width)  # (B, P)
    return {"prediction_positions": positions.reshape(shape), "labels": chosen.reshape(shape)}


def _faults(labels: Array, at_most: Any) -> list[str]:
    """What is wrong with the arguments, apart from the number of labels."""
    faults = []
    if labels.dtype.kind not in "iu":
        faults.append(f"labels has dtype {labels.dtype}, expected integers")
    if labels.ndim < 2 or not labels.size:
        faults.append(f"labels has shape {labels.shape}, expected (batch, sequence), not empty")
    if at_most is not None and (not isinstance(at_most, int | np.integer) or at_most < 1):
        faults.append(f"at_most is {at_most!r}, expected a positive integer or None")
    return faults


def _too_many(counts: Array, width: int) -> str:
    beyond = np.flatnonzero(counts > width)
    first = int(beyond[0])
    return (
        f"Row {first} has {int(counts[first])} labels, more than at_most={width} (so have "
        f"{len(beyond)} of {len(counts)} rows; the largest number is {int(counts.max())}); raise "
        "at_most, or mask fewer tokens"
    )
