"""The losses in PyTorch; meaning and formulas are in `mobilebert_core/losses.py`.

B batch  S sequence  N rows  C classes
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from mobilebert_core.config import MobileBertConfig
from mobilebert_core.input_checks import IGNORED_LABEL, infer_problem_type

__all__ = ["cross_entropy", "sequence_classification_loss", "span_loss"]


def _widen(values: Tensor) -> Tensor:
    """At least float32."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


def cross_entropy(logits: Tensor, labels: Tensor, ignored: int = IGNORED_LABEL) -> Tensor:
    """Mean of `-log softmax(logits)[label]` over the labels that are not ignored.

    Args:
        logits: (..., C).
        labels: integers of the leading shape of logits.
        ignored: the label that counts nothing.
    """
    rows = _widen(logits).flatten(0, -2)  # (N, C)
    return F.cross_entropy(rows, labels.flatten().long(), ignore_index=ignored)


def sequence_classification_loss(
    config: MobileBertConfig, logits: Tensor, labels: Tensor
) -> Tensor:
    """Mean squared error, cross-entropy or binary cross-entropy, by problem type.

    Args:
        config: its problem_type decides; None infers it from the labels.
        logits: (B, C).
        labels: (B,) integers, or (B, C) numbers; (B,) numbers for a regression of one value.
    """
    integers = not labels.dtype.is_floating_point
    kind = infer_problem_type(config, integer_labels=integers)
    if kind == "single_label_classification":
        return cross_entropy(logits, labels)
    logits = _widen(logits)
    targets = labels.reshape(logits.shape).to(logits.dtype)
    if kind == "regression":
        return F.mse_loss(logits, targets)
    return F.binary_cross_entropy_with_logits(logits, targets)


def span_loss(start_logits: Tensor, end_logits: Tensor, start: Tensor, end: Tensor) -> Tensor:
    """Mean of the two cross-entropies over positions.

    Args:
        start_logits: (B, S).
        end_logits: (B, S).
        start: (B,) integers, clamped to [0, S]; S is ignored.
        end: likewise.
    """
    length = start_logits.shape[-1]
    start_loss = cross_entropy(start_logits, start.clamp(0, length), ignored=length)
    end_loss = cross_entropy(end_logits, end.clamp(0, length), ignored=length)
    return (start_loss + end_loss) / 2
