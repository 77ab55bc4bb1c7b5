"""The loss of every head, in words, formula and NumPy.

One reduction everywhere, PyTorch's: the mean over what counts. Labels of -100 count nothing; when
nothing counts, the mean of nothing is NaN. Losses are computed in at least float32.

- `pretraining`: masked-lm + next-sentence cross-entropy, when both labels are given.
- `masked-lm`, `token-classification`: cross-entropy over the tokens with a label.
- `next-sentence-prediction`, `multiple-choice`: cross-entropy over the rows.
- `sequence-classification`: by problem type, mean squared error, cross-entropy or binary
  cross-entropy with logits (mean over rows and labels).
- `question-answering`: mean of the start and end cross-entropies over the S positions;
  positions are clamped to [0, S] and S counts nothing (the answer lies outside this window).

B batch  S sequence  N rows  C classes
"""

from typing import Any

import numpy as np

from mobilebert_core.config import MobileBertConfig
from mobilebert_core.input_checks import IGNORED_LABEL, infer_problem_type

__all__ = [
    "cross_entropy",
    "sequence_classification_loss",
    "span_loss",
]

Array = np.ndarray[Any, np.dtype[Any]]


def _widen(values: Array) -> Array:
    """At least float32."""
    return values.astype(np.promote_types(values.dtype, np.float32), copy=False)


def cross_entropy(logits: Array, labels: Array, ignored: int = IGNORED_LABEL) -> Array:
    """Mean of `-log softmax(logits)[label]` over the labels that are not ignored.

    Args:
        logits: (..., C).
        labels: integers of the leading shape of logits.
        ignored: the label that counts nothing.

    Returns:
        A scalar array; NaN when every label is ignored.
    """
    logits = _widen(logits).reshape(-1, logits.shape[-1])  # (N, C)
    labels = labels.reshape(-1)
    counted = labels != ignored
    logits, labels = logits[counted], labels[counted]
    if not labels.size:
        return np.asarray(np.nan, logits.dtype)
    shifted = logits - logits.max(axis=-1, keepdims=True)
    normalizers = np.log(np.exp(shifted).sum(axis=-1))  # (N,)
    losses: Array = normalizers - shifted[np.arange(len(labels)), labels]
    return np.asarray(losses.mean())


def sequence_classification_loss(config: MobileBertConfig, logits: Array, labels: Array) -> Array:
    """The loss that the problem type asks for.

    - regression: `mean((logits - labels)^2)`
    - single_label_classification: `cross_entropy`
    - multi_label_classification: `mean(max(x, 0) - x y + log(1 + exp(-|x|)))`, the stable form of
      `-y log sigmoid(x) - (1 - y) log sigmoid(-x)`

    Args:
        config: its problem_type decides; None infers it from the labels.
        logits: (B, C).
        labels: (B,) integers, or (B, C) numbers; (B,) numbers for a regression of one value.
    """
    kind = infer_problem_type(config, integer_labels=labels.dtype.kind in "iub")
    if kind == "single_label_classification":
        return cross_entropy(logits, labels)
    logits = _widen(logits)
    targets = labels.reshape(logits.shape).astype(logits.dtype)
    if kind == "regression":
        return np.asarray(np.square(logits - targets).mean())
    softplus = np.log1p(np.exp(-np.abs(logits)))
    return np.asarray((np.maximum(logits, 0) - logits * targets + softplus).mean())


def span_loss(start_logits: Array, end_logits: Array, start: Array, end: Array) -> Array:
    """Mean of the two cross-entropies over positions.

    Args:
        start_logits: (B, S).
        end_logits: (B, S).
        start: (B,) integers, clamped to [0, S]; S is ignored.
        end: likewise.
    """
    length = start_logits.shape[-1]
    start_loss = cross_entropy(start_logits, np.clip(start, 0, length), ignored=length)
    end_loss = cross_entropy(end_logits, np.clip(end, 0, length), ignored=length)
    return np.asarray((start_loss + end_loss) / 2)
