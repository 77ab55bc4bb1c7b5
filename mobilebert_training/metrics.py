"""Metrics of predictions, from scikit-learn, SciPy and seqeval; the scorer of SQuAD is our own.

The three packages are imported when a metric is first asked for. Read next: `squad_scorer.py`.

N examples  L labels
"""

from collections.abc import Sequence
from importlib import import_module
from typing import Any

import numpy as np

from mobilebert_core.errors import MissingDependencyError

Array = np.ndarray[Any, np.dtype[Any]]

_DISTRIBUTIONS = {"sklearn": "scikit-learn", "scipy": "scipy", "seqeval": "seqeval"}


def classification_metrics(predicted: Array, expected: Array) -> dict[str, float]:
    """Of one class for each example.

    Args:
        predicted: (N,) integers.
        expected: (N,) integers.

    Returns:
        `accuracy`; `f1_macro`, the mean F1 over the classes that occur; `matthews`, the correlation
        of Matthews, 0 where only one class is predicted or expected.
    """
    metrics = _import("sklearn.metrics")
    return {
        "accuracy": float((predicted == expected).mean()),
        "f1_macro": float(
            metrics.f1_score(expected, predicted, average="macro", zero_division=0.0)
        ),
        "matthews": _matthews(predicted, expected),
    }


def multi_label_metrics(predicted: Array, expected: Array) -> dict[str, float]:
    """Of any number of labels for each example.

    Args:
        predicted: (N, L) booleans.
        expected: (N, L) booleans.

    Returns:
        `f1_macro`, the mean F1 over labels, 0 for a label without examples; `f1_micro`, over all
        decisions; `accuracy`, of examples with exactly the right labels.
    """
    metrics = _import("sklearn.metrics")
    scores = {
        f"f1_{average}": float(
            metrics.f1_score(expected, predicted, average=average, zero_division=0.0)
        )
        for average in ("macro", "micro")
    }
    return {**scores, "accuracy": float((predicted == expected).all(axis=1).mean())}


def regression_metrics(predicted: Array, expected: Array) -> dict[str, float]:
    """Of one number for each example.

    Args:
        predicted: (N,) numbers.
        expected: (N,) numbers.

    Returns:
        `pearson`, `spearman`: correlations, 0 where either side is constant;
        `mean_squared_error`.
    """
    stats = _import("scipy.stats")
    varied = len(expected) > 1 and np.ptp(predicted) > 0 and np.ptp(expected) > 0
    return {
        "pearson": float(stats.pearsonr(predicted, expected)[0]) if varied else 0.0,
        "spearman": float(stats.spearmanr(predicted, expected)[0]) if varied else 0.0,
        "mean_squared_error": float(np.square(predicted - expected).mean()),
    }


def entity_metrics(
    predicted: Sequence[Sequence[str]], expected: Sequence[Sequence[str]]
) -> dict[str, float]:
    """Of entities: right are those with all words and the type right, counted as CoNLL-2000 does.

    Args:
        predicted: tags such as `B-person`, `I-person` and `O` for the words of each sentence.
        expected: likewise.

    Returns:
        `f1`, `precision` and `recall` over all entities.
    """
    metrics = _import("seqeval.metrics")
    sides = ([list(tags) for tags in expected], [list(tags) for tags in predicted])
    return {
        "f1": float(metrics.f1_score(*sides, zero_division=0)),
        "precision": float(metrics.precision_score(*sides, zero_division=0)),
        "recall": float(metrics.recall_score(*sides, zero_division=0)),
    }


def _matthews(predicted: Array, expected: Array) -> float:
    # scikit-learn warns where there is one class alone, which is what a baseline predicts.
    if len(np.unique(predicted)) == 1 or len(np.unique(expected)) == 1:
        return 0.0
    return float(_import("sklearn.metrics").matthews_corrcoef(expected, predicted))


def _import(module: str) -> Any:
    try:
        return import_module(module)
    except ImportError as error:
        name = _DISTRIBUTIONS[module.split(".")[0]]
        raise MissingDependencyError(
            f'The metrics of this task need {name}; type: pip install "mobilebert[train]"'
        ) from error
