"""Masked-lm training on labelled positions alone has the loss and gradients of the whole."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

import mobilebert
from metrics import gradient_errors, relative_error
from mobilebert_conformance.cases import small_config
from mobilebert_conformance.weights import random_weights
from mobilebert_core.backend import Feature
from mobilebert_core.heads import HEADS
from models import random_batch, random_labels

TRAINABLE = [head.name for head in HEADS.values() if head.positions]


def sparse_labels(config: Any, head: str, batch: Mapping[str, Any]) -> dict[str, Any]:
    """Labels at 4, 0 and 1 of the positions of three rows; the first position is among them."""
    labels = random_labels(config, head, batch)
    kept = np.zeros(labels["labels"].shape, bool)
    kept[0, [0, 1, 6, 9]] = True
    kept[2, 10] = True
    labels["labels"] = np.where(kept, labels["labels"], -100)
    return labels


@pytest.mark.needs(Feature.GRADIENTS, Feature.FLOAT64, Feature.PREDICTION_POSITIONS)
@pytest.mark.parametrize("head", TRAINABLE)
def test_loss_and_gradients_are_those_of_the_full_computation(backend: Any, head: str) -> None:
    config = small_config(head)
    weights = random_weights(config, head)
    model = backend.build(config, head, weights, dtype="float64", device=None)
    batch = random_batch(config, head)
    labels = sparse_labels(config, head, batch)
    chosen = mobilebert.labelled_positions(labels["labels"], at_most=6)
    positions = {"prediction_positions": chosen["prediction_positions"]}

    loss, gradients = backend.loss_and_gradients(
        model, batch | positions, labels | {"labels": chosen["labels"]}
    )

    expected, full = backend.loss_and_gradients(model, batch, labels)
    assert relative_error(loss, expected) <= 1e-13
    errors = gradient_errors(gradients, full)
    assert errors.keys() == weights.keys()
    assert max(errors.values()) <= 1e-12, errors


@pytest.mark.needs(Feature.LOSSES, Feature.PREDICTION_POSITIONS)
def test_loss_of_a_batch_without_labels_is_nan_as_without_positions(backend: Any) -> None:
    config = small_config("masked-lm")
    model = mobilebert.create(config, "masked-lm", backend.name)
    batch = random_batch(config, "masked-lm")
    labels = np.full_like(batch["input_ids"], -100)
    chosen = mobilebert.labelled_positions(labels)
    positions = {"prediction_positions": chosen["prediction_positions"]}

    found = backend.run(model, batch | positions, labels=chosen["labels"]).loss

    assert np.isnan(found)
    assert np.isnan(backend.run(model, batch, labels=labels).loss)
