"""The losses in JAX; meaning and formulas are in `mobilebert_core/losses.py`.

B batch  S sequence  N rows  C classes
"""

import jax.numpy as jnp
from jax import Array, lax

from mobilebert_core.config import MobileBertConfig
from mobilebert_core.input_checks import IGNORED_LABEL, infer_problem_type
from mobilebert_jax.layers import widened

__all__ = ["cross_entropy", "sequence_classification_loss", "span_loss"]


def cross_entropy(logits: Array, labels: Array, ignored: int = IGNORED_LABEL) -> Array:
    """Mean of `-log softmax(logits)[label]` over the labels that are not ignored.

    Args:
        logits: (..., C).
        labels: integers of the leading shape of logits.
        ignored: the label that counts nothing.

    Returns:
        A scalar; NaN when every label is ignored.
    """
    rows = widened(logits).reshape(-1, logits.shape[-1])  # (N, C)
    # Small and unsigned integers hold no -100 to compare with.
    labels = labels.reshape(-1).astype(jnp.promote_types(labels.dtype, jnp.int32))
    counted = labels != ignored
    chosen = jnp.where(counted, labels, 0)[:, None]  # (N, 1)
    # The gradients of log_softmax would go through one more array (N, C).
    shifted = rows - lax.stop_gradient(rows.max(axis=-1, keepdims=True))
    normalizers = jnp.log(jnp.exp(shifted).sum(axis=-1))  # (N,)
    losses = normalizers - jnp.take_along_axis(shifted, chosen, axis=-1)[:, 0]
    total = jnp.where(counted, losses, 0).sum()
    return total / counted.sum().astype(total.dtype)


def sequence_classification_loss(config: MobileBertConfig, logits: Array, labels: Array) -> Array:
    """Mean squared error, cross-entropy or binary cross-entropy, by problem type.

    Args:
        config: its problem_type decides; None infers it from the labels.
        logits: (B, C).
        labels: (B,) integers, or (B, C) numbers; (B,) numbers for a regression of one value.
    """
    integers = not jnp.issubdtype(labels.dtype, jnp.floating)
    kind = infer_problem_type(config, integer_labels=integers)
    if kind == "single_label_classification":
        return cross_entropy(logits, labels)
    logits = widened(logits)
    targets = labels.reshape(logits.shape).astype(logits.dtype)
    if kind == "regression":
        return jnp.square(logits - targets).mean()
    softplus = jnp.log1p(jnp.exp(-jnp.abs(logits)))
    return (jnp.maximum(logits, 0) - logits * targets + softplus).mean()


def span_loss(start_logits: Array, end_logits: Array, start: Array, end: Array) -> Array:
    """Mean of the two cross-entropies over positions.

    Args:
        start_logits: (B, S).
        end_logits: (B, S).
        start: (B,) integers, clamped to [0, S]; S is ignored.
        end: likewise.
    """
    length = start_logits.shape[-1]
    start_loss = cross_entropy(start_logits, jnp.clip(start, 0, length), ignored=length)
    end_loss = cross_entropy(end_logits, jnp.clip(end, 0, length), ignored=length)
    return (start_loss + end_loss) / 2
