"""The losses are core's, on the arrays that the session returns."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from mobilebert_core.config import MobileBertConfig
from mobilebert_core.heads import get_head
from mobilebert_core.losses import cross_entropy, sequence_classification_loss, span_loss

Array = np.ndarray[Any, np.dtype[Any]]


def head_loss(
    config: MobileBertConfig, head: str, fields: Mapping[str, Array], labels: Mapping[str, Array]
) -> Array | None:
    """The loss of a head, or None unless all its labels are given."""
    if not labels or labels.keys() != set(get_head(head).labels):
        return None
    if head == "pretraining":
        tokens = cross_entropy(fields["prediction_logits"], labels["labels"])
        texts = cross_entropy(fields["seq_relationship_logits"], labels["next_sentence_label"])
        return np.asarray(tokens + texts)
    if head == "question-answering":
        ends = labels["start_positions"], labels["end_positions"]
        return span_loss(fields["start_logits"], fields["end_logits"], *ends)
    if head == "sequence-classification":
        return sequence_classification_loss(config, fields["logits"], labels["labels"])
    return cross_entropy(fields["logits"], labels["labels"])
