"""Metrics against brute force and numbers known by heart."""

import sys
import warnings

import numpy as np
import pytest

from mobilebert_core.errors import MissingDependencyError
from mobilebert_training.metrics import (
    classification_metrics,
    entity_metrics,
    multi_label_metrics,
    regression_metrics,
)


def f1_of(predicted: np.ndarray, expected: np.ndarray) -> float:
    """From two boolean arrays."""
    right = (predicted & expected).sum()
    return 2 * right / (predicted.sum() + expected.sum()) if right else 0.0


@pytest.fixture
def random() -> np.random.Generator:
    return np.random.default_rng(17)


def close(test: float, reference: float) -> bool:
    return abs(test - reference) < 1e-12


def test_classification_agrees_with_brute_force_when_classes_are_random(
    random: np.random.Generator,
) -> None:
    predicted, expected = random.integers(0, 4, (2, 97))
    metrics = classification_metrics(predicted, expected)
    assert close(metrics["accuracy"], sum(predicted == expected) / 97)
    assert close(
        metrics["f1_macro"], np.mean([f1_of(predicted == c, expected == c) for c in range(4)])
    )
    one_hot = (np.stack([predicted, expected])[..., None] == np.arange(4)).astype(float)
    sides = (one_hot - one_hot.mean(axis=1, keepdims=True)).reshape(2, -1)
    covariances = sides @ sides.T
    matthews = covariances[0, 1] / np.sqrt(covariances[0, 0] * covariances[1, 1])
    assert close(metrics["matthews"], matthews)


def test_matthews_is_zero_when_one_class_is_predicted() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        metrics = classification_metrics(np.zeros(5, int), np.array([0, 0, 0, 1, 2]))
    assert metrics["matthews"] == 0
    assert close(metrics["f1_macro"], 0.75 / 3)


def test_multi_label_agrees_with_brute_force_when_labels_are_random(
    random: np.random.Generator,
) -> None:
    predicted, expected = random.random((2, 53, 5)) < 0.3
    predicted[:, 2] = expected[:, 3] = False
    metrics = multi_label_metrics(predicted, expected)
    by_label = [f1_of(predicted[:, i], expected[:, i]) for i in range(5)]
    assert close(metrics["f1_macro"], np.mean(by_label))
    assert close(metrics["f1_micro"], f1_of(predicted.ravel(), expected.ravel()))
    assert close(metrics["accuracy"], (predicted == expected).all(axis=1).mean())


def test_regression_agrees_with_brute_force_when_numbers_are_random(
    random: np.random.Generator,
) -> None:
    predicted, expected = random.normal(size=(2, 41))
    metrics = regression_metrics(predicted, expected)
    assert close(metrics["pearson"], np.corrcoef(predicted, expected)[0, 1])
    ranks = [side.argsort().argsort() for side in (predicted, expected)]
    assert close(metrics["spearman"], np.corrcoef(*ranks)[0, 1])
    assert close(metrics["mean_squared_error"], ((predicted - expected) ** 2).mean())


@pytest.mark.parametrize("count", [1, 6])
def test_correlations_are_zero_when_predictions_are_constant(count: int) -> None:
    metrics = regression_metrics(np.full(count, 2.5), np.arange(count, dtype=float))
    assert metrics["pearson"] == metrics["spearman"] == 0


def test_entities_count_when_all_words_and_the_type_are_right() -> None:
    expected = [["B-a", "I-a", "O", "B-b"], ["B-c", "B-c", "O"]]
    predicted = [["B-a", "O", "O", "B-b"], ["B-c", "I-c", "B-a"]]
    # Right: b. Predicted are a, b, c (two words) and a; expected are a, b, c and c.
    metrics = entity_metrics(predicted, expected)
    assert close(metrics["precision"], 1 / 4)
    assert close(metrics["recall"], 1 / 4)
    assert close(metrics["f1"], 1 / 4)


def test_entities_may_begin_inside_when_counted_as_conll_does() -> None:
    assert entity_metrics([["O", "I-a", "I-a"]], [["O", "B-a", "I-a"]])["f1"] == 1


def test_entity_scores_are_zero_when_there_are_none() -> None:
    assert set(entity_metrics([["O", "O"]], [["O", "O"]]).values()) == {0.0}


def test_the_package_is_named_when_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "scipy.stats", None)
    with pytest.raises(
        MissingDependencyError, match=r"scipy; type: pip install .mobilebert\[train"
    ):
        regression_metrics(np.arange(3.0), np.arange(3.0))
