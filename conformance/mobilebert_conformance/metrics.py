"""How numbers are compared: relative to their channel, never by an absolute tolerance.

Every metric first insists that there is something to compare: the same shape, at least one value,
and not a single NaN or infinity, on either side; a NaN on both sides proves nothing. It returns a
`Comparison`, which counts what was compared; a limit is the caller's business.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class Comparison:
    """What a metric found.

    Attributes:
        error: by the metric; infinite where the numbers do not even correspond.
        compared: number of values that were compared.
        fault: why they do not correspond; empty where they do.
        where: the part with the largest error, e.g. `hidden_states[3]`.
    """

    error: float
    compared: int
    fault: str = ""
    where: str = ""


Metric = Callable[[Any, Any], Comparison]


def _checked(test: Any, reference: Any) -> tuple[Array, Array] | Comparison:
    """Both as float64, or why there is nothing to compare."""
    if test is None or reference is None:
        missing = "the backend" if test is None else "the reference"
        return Comparison(np.inf, 0, f"{missing} gives nothing")
    test, reference = np.asarray(test), np.asarray(reference)
    if test.shape != reference.shape:
        return Comparison(np.inf, 0, f"shape {test.shape}, expected {reference.shape}")
    if not reference.size:
        return Comparison(np.inf, 0, "nothing was compared")
    test, reference = test.astype(np.float64), reference.astype(np.float64)
    for name, values in (("the backend", test), ("the reference", reference)):
        wrong = int((~np.isfinite(values)).sum())
        if wrong:
            fault = f"{name} has {wrong} of {values.size} values that are NaN or infinite"
            return Comparison(np.inf, reference.size, fault)
    return test, reference


def _rms_ratio(test: Any, reference: Any, axes: Callable[[int], tuple[int, ...]]) -> Comparison:
    pair = _checked(test, reference)
    if isinstance(pair, Comparison):
        return pair
    test, reference = pair
    over = axes(reference.ndim)
    error = np.sqrt(np.square(test - reference).mean(axis=over))
    scale = np.sqrt(np.square(reference).mean(axis=over))
    ratio = np.divide(error, scale, out=np.where(error > 0, np.inf, 0.0), where=scale > 0)
    return Comparison(float(ratio.max()), reference.size)


def channel_error(test: Any, reference: Any) -> Comparison:
    """Worst channel (last axis) of rms(test - reference) / rms(reference): for hidden states."""
    return _rms_ratio(test, reference, lambda ndim: tuple(range(ndim - 1)))


def token_error(test: Any, reference: Any) -> Comparison:
    """Worst row of rms(test - reference) / rms(reference) over the last axis: for logits."""
    return _rms_ratio(test, reference, lambda ndim: (ndim - 1,))


def tensor_error(test: Any, reference: Any) -> Comparison:
    """Frobenius norm of the difference over the reference's: for gradients and losses."""
    return _rms_ratio(test, reference, lambda ndim: tuple(range(ndim)))


def absolute_error(test: Any, reference: Any) -> Comparison:
    """Largest difference: for probabilities."""
    pair = _checked(test, reference)
    if isinstance(pair, Comparison):
        return pair
    return Comparison(float(np.abs(pair[0] - pair[1]).max()), pair[1].size)


def bits_differ(test: Any, reference: Any) -> Comparison:
    """How many values have other bits: for what must be exact."""
    if test is None:
        return Comparison(np.inf, 0, "the backend gives nothing")
    test, reference = np.asarray(test), np.asarray(reference)
    if test.dtype != reference.dtype or test.shape != reference.shape:
        fault = f"{test.dtype} {test.shape}, expected {reference.dtype} {reference.shape}"
        return Comparison(np.inf, 0, fault)
    size = reference.dtype.itemsize
    one, other = (np.ascontiguousarray(each).view(np.uint8) for each in (test, reference))
    differing = (one.reshape(-1, size) != other.reshape(-1, size)).any(axis=1)
    return Comparison(float(differing.sum()), reference.size)


def worst_of(comparisons: Mapping[str, Comparison]) -> Comparison:
    """The largest error of several comparisons, with its name; their counts are added."""
    if not comparisons:
        return Comparison(np.inf, 0, "nothing was compared")
    name = max(comparisons, key=lambda each: _order(comparisons[each]))
    found = comparisons[name]
    empty = any(not each.compared for each in comparisons.values())
    total = 0 if empty else sum(each.compared for each in comparisons.values())
    return Comparison(found.error, total, found.fault, name)


def _order(comparison: Comparison) -> float:
    return np.inf if comparison.fault or np.isnan(comparison.error) else comparison.error


FIELD_METRICS: dict[str, Metric] = {
    "loss": tensor_error,
    "attentions": absolute_error,
    "logits": token_error,
    "prediction_logits": token_error,
    "seq_relationship_logits": token_error,
    "start_logits": token_error,
    "end_logits": token_error,
}


def field_error(name: str, test: Any, reference: Any) -> Comparison:
    """The error of one output field by its own metric; of several arrays, the worst."""
    metric = FIELD_METRICS.get(name, channel_error)
    if not isinstance(reference, tuple | list):
        return metric(test, reference)
    found = len(test) if isinstance(test, tuple | list) else 0
    if found != len(reference):
        return Comparison(np.inf, 0, f"{found} arrays, expected {len(reference)}")
    pairs = zip(test, reference, strict=True)
    return worst_of({f"{name}[{index}]": metric(*pair) for index, pair in enumerate(pairs)})


def output_errors(test: Mapping[str, Any], reference: Mapping[str, Any]) -> dict[str, Comparison]:
    """The error of every field of two outputs; a field that only one of them has is a fault."""
    names = [*reference, *(name for name in test if name not in reference)]
    return {name: field_error(name, test.get(name), reference.get(name)) for name in names}
