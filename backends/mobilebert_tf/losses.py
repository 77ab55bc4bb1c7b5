"""The losses in TensorFlow; meaning and formulas are in `mobilebert_core/losses.py`.

B batch  S sequence  N rows  C classes
"""

import tensorflow as tf

from mobilebert_core.config import MobileBertConfig
from mobilebert_core.input_checks import IGNORED_LABEL, infer_problem_type
from mobilebert_tf.layers import widen

__all__ = ["cross_entropy", "sequence_classification_loss", "span_loss"]


def cross_entropy(logits: tf.Tensor, labels: tf.Tensor, ignored: int = IGNORED_LABEL) -> tf.Tensor:
    """Mean of `-log softmax(logits)[label]` over the labels that are not ignored.

    Args:
        logits: (..., C).
        labels: integers of the leading shape of logits.
        ignored: the label that counts nothing.
    """
    logits = widen(logits)
    rows = tf.reshape(logits, [-1, tf.shape(logits)[-1]])  # (N, C)
    labels = tf.reshape(tf.cast(labels, tf.int64), [-1])  # (N,)
    counted = tf.not_equal(labels, ignored)
    classes = tf.where(counted, labels, 0)  # an ignored label is no class: any class will do
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(classes, rows)  # (N,)
    total = tf.reduce_sum(tf.where(counted, losses, tf.zeros_like(losses)))
    return total / tf.reduce_sum(tf.cast(counted, rows.dtype))


def sequence_classification_loss(
    config: MobileBertConfig, logits: tf.Tensor, labels: tf.Tensor
) -> tf.Tensor:
    """Mean squared error, cross-entropy or binary cross-entropy, by problem type.

    Args:
        config: its problem_type decides; None infers it from the labels.
        logits: (B, C).
        labels: (B,) integers, or (B, C) numbers; (B,) numbers for a regression of one value.
    """
    integers = not labels.dtype.is_floating
    kind = infer_problem_type(config, integer_labels=integers)
    if kind == "single_label_classification":
        return cross_entropy(logits, labels)
    logits = widen(logits)
    targets = tf.cast(tf.reshape(labels, tf.shape(logits)), logits.dtype)
    if kind == "regression":
        return tf.reduce_mean(tf.square(logits - targets))
    losses = tf.nn.sigmoid_cross_entropy_with_logits(targets, logits)  # (B, C)
    return tf.reduce_mean(losses)


def span_loss(
    start_logits: tf.Tensor, end_logits: tf.Tensor, start: tf.Tensor, end: tf.Tensor
) -> tf.Tensor:
    """Mean of the two cross-entropies over positions.

    Args:
        start_logits: (B, S).
        end_logits: (B, S).
        start: (B,) integers, clamped to [0, S]; S is ignored.
        end: likewise.
    """
    length = tf.shape(start_logits, tf.int64)[-1]
    start, end = (tf.clip_by_value(tf.cast(each, tf.int64), 0, length) for each in (start, end))
    start_loss = cross_entropy(start_logits, start, ignored=length)
    end_loss = cross_entropy(end_logits, end, ignored=length)
    return (start_loss + end_loss) / 2
