"""Masks for masked language modelling, as BERT draws them (Devlin et al., 2019, section 3.1).

Of the tokens of a text 15 % are chosen; of these 80 % become [MASK], 10 % a random token and 10 %
stay. Only the chosen positions are labelled, so that a model pays only for them.

B batch  S sequence  P prediction positions
"""

from typing import Any

import numpy as np

from mobilebert_core.errors import InputError
from mobilebert_core.input_checks import IGNORED_LABEL
from mobilebert_core.labelled import labelled_positions

Array = np.ndarray[Any, np.dtype[Any]]

_MASKED, _RANDOM = 0.8, 0.1  # the rest stays as it is


def positions_per_row(length: int, fraction: float = 0.15) -> int:
    """How many positions of a text of S tokens are chosen, at least one."""
    return max(1, round(length * fraction))


def mask_tokens(
    ids: Array,
    maskable: Array,
    generator: np.random.Generator,
    *,
    mask_token_id: int,
    vocab_size: int,
    first_token_id: int = 0,
    fraction: float = 0.15,
) -> dict[str, Array]:
    """Choose positions and hide them.

    Args:
        ids: (B, S) integers.
        maskable: (B, S) bool, False at special tokens and padding.
        generator: where the random numbers come from.
        mask_token_id: the id of [MASK].
        vocab_size: random tokens are below it,
        first_token_id: and not below this.
        fraction: of a row's maskable tokens that are chosen, rounded, at least one.

    Returns:
        `input_ids` (B, S), `prediction_positions` (B, P) in ascending order and `labels` (B, P),
        the tokens that were there; P is the largest number of positions in a row, the rest of a
        shorter row has position 0 and the label -100.

    Raises:
        InputError: the shapes differ, or the fraction is not between 0 and 1.
    """
    if ids.shape != maskable.shape or ids.ndim != 2 or not 0 < fraction <= 1:
        raise InputError(
            f"ids {ids.shape}, maskable {maskable.shape} and fraction {fraction}, expected two "
            "arrays (B, S) and a fraction above 0 and up to 1"
        )
    available = maskable.sum(axis=1)  # (B,)
    wanted = np.minimum(np.maximum(1, np.rint(available * fraction)), available).astype(np.int64)
    most = max(1, int(wanted.max()))
    draws = np.where(maskable, generator.random(ids.shape), 2.0)  # (B, S)
    order = np.argsort(draws, axis=1)[:, :most]  # (B, P)
    is_chosen = np.zeros(ids.shape, bool)
    np.put_along_axis(is_chosen, order, np.arange(most) < wanted[:, None], axis=1)
    labelled = labelled_positions(np.where(is_chosen, ids, IGNORED_LABEL))
    positions, labels = labelled["prediction_positions"], labelled["labels"]
    counted = labels != IGNORED_LABEL  # (B, P)

    kind = generator.random(positions.shape)  # (B, P)
    random_ids = generator.integers(first_token_id, vocab_size, positions.shape)  # (B, P)
    hidden = np.where(kind < _MASKED, mask_token_id, labels)
    hidden = np.where((kind >= _MASKED) & (kind < _MASKED + _RANDOM), random_ids, hidden)
    rows = np.broadcast_to(np.arange(len(ids))[:, None], positions.shape)
    masked = ids.copy()
    masked[rows[counted], positions[counted]] = hidden[counted]
    return {"input_ids": masked, **labelled}
