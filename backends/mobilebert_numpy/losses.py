"""The losses of the NumPy backend are core's reference implementation."""

from mobilebert_core.losses import cross_entropy, sequence_classification_loss, span_loss

__all__ = ["cross_entropy", "sequence_classification_loss", "span_loss"]
