"""The conformance suite's metrics as plain numbers; where nothing corresponds, the test fails."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from mobilebert_conformance import metrics
from mobilebert_conformance.limits import LIMITS
from mobilebert_conformance.metrics import Comparison


def _number(comparison: Comparison) -> float:
    assert not comparison.fault, comparison.fault
    return comparison.error


def _plain(metric: metrics.Metric) -> Callable[[Any, Any], float]:
    def error(test: Any, reference: Any) -> float:
        return _number(metric(test, reference))

    return error


channel_error = _plain(metrics.channel_error)
token_error = _plain(metrics.token_error)
tensor_error = _plain(metrics.tensor_error)
relative_error = tensor_error
absolute_error = _plain(metrics.absolute_error)


def gradient_errors(test: Mapping[str, Any], reference: Mapping[str, Any]) -> dict[str, float]:
    """Frobenius-relative error of every tensor's gradient.

    A tensor below the suite's floor times the largest gradient, which may hold nothing but
    rounding, is compared with that much of it.
    """
    assert test.keys() == reference.keys()
    norms = {name: float(np.linalg.norm(each)) for name, each in reference.items()}
    least = LIMITS["gradients"]["floor"] * max(norms.values())
    return {
        name: tensor_error(test[name], each) * norms[name] / max(norms[name], least)
        if norms[name]
        else float(np.linalg.norm(test[name])) / least
        for name, each in reference.items()
    }


def output_errors(test: Any, reference: Any) -> dict[str, float]:
    """The error of every field of two outputs, each by its own metric; in the same order."""
    assert list(test) == list(reference), f"fields {list(test)} and {list(reference)} differ"
    return _numbers(metrics.output_errors(dict(test.items()), dict(reference.items())))


def _numbers(comparisons: Mapping[str, Comparison]) -> dict[str, float]:
    assert comparisons, "nothing was compared"
    for name, each in comparisons.items():
        assert not each.fault, f"{name}: {each.fault}"
    return {name: each.error for name, each in comparisons.items()}
