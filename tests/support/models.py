"""Inputs and labels as the tests take them: configurations and weights are the conformance suite's.

`mobilebert_conformance.cases` has the configurations, `mobilebert_conformance.weights` the numbers.
"""

from collections.abc import Mapping
from typing import Any

from mobilebert_conformance import weights
from mobilebert_conformance.weights import Array
from mobilebert_core.config import MobileBertConfig


def random_batch(config: MobileBertConfig, head: str) -> dict[str, Array]:
    """Ids, token types and a mask with a full, a padded and a fully masked row."""
    return weights.random_inputs(config, head)


def random_labels(
    config: MobileBertConfig, head: str, batch: Mapping[str, Any]
) -> dict[str, Array]:
    """Labels for a batch, in arrays of any framework: ignored ones and clamped positions too."""
    return weights.random_labels(config, head, tuple(batch["input_ids"].shape))
