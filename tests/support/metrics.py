"""How tests compare numbers: relative to the channel, never by an absolute tolerance.

NaN and infinity must be in the same places; what is compared must not be empty. Each function
returns the error; the caller holds it against its limit.
"""

from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]


def _pair(test: Any, reference: Any) -> tuple[Array, Array]:
    test, reference = np.asarray(test), np.asarray(reference)
    assert test.shape == reference.shape, f"shapes {test.shape} and {reference.shape} differ"
    assert reference.size, "nothing to compare"
    test, reference = test.astype(np.float64), reference.astype(np.float64)
    for kind in (np.isnan, np.isposinf, np.isneginf):
        assert (kind(test) == kind(reference)).all(), f"{kind.__name__} at other places"
    finite = np.isfinite(reference)
    assert finite.any() or reference.ndim == 0, "nothing finite to compare"
    return np.where(finite, test, 0.0), np.where(finite, reference, 0.0)


def _rms_ratio(test: Array, reference: Array, axes: tuple[int, ...]) -> float:
    error = np.sqrt(np.square(test - reference).mean(axis=axes))
    scale = np.sqrt(np.square(reference).mean(axis=axes))
    ratio = np.divide(error, scale, out=np.where(error > 0, np.inf, 0.0), where=scale > 0)
    return float(ratio.max())


def channel_error(test: Any, reference: Any) -> float:
    """Worst channel (last axis) of rms(test - reference) / rms(reference)."""
    test, reference = _pair(test, reference)
    return _rms_ratio(test, reference, tuple(range(reference.ndim - 1)))


def token_error(test: Any, reference: Any) -> float:
    """Worst row of rms(test - reference) / rms(reference) over the last axis: for logits."""
    test, reference = _pair(test, reference)
    return _rms_ratio(test, reference, (reference.ndim - 1,))


def tensor_error(test: Any, reference: Any) -> float:
    """Frobenius norm of the difference over that of the reference: for gradients."""
    test, reference = _pair(test, reference)
    return _rms_ratio(test, reference, tuple(range(reference.ndim)))


def absolute_error(test: Any, reference: Any) -> float:
    """Largest difference: for probabilities."""
    test, reference = _pair(test, reference)
    return float(np.abs(test - reference).max())


def relative_error(test: Any, reference: Any) -> float:
    """Difference of two numbers over the reference: for losses."""
    return tensor_error(test, reference)


def gradient_errors(test: dict[str, Any], reference: dict[str, Any]) -> dict[str, float]:
    """Frobenius-relative error of every tensor's gradient.

    Some gradients are zero or nearly so by cancellation (softmax does not see a key's bias), and
    rounding is all they hold: a few times 2e-16 of what cancels. A tensor below 1e-4 of the largest
    gradient is compared with that much of it, where an error of 1e-11 is 5 such units.
    """
    assert test.keys() == reference.keys()
    norms = {name: float(np.sqrt(np.square(each).sum())) for name, each in reference.items()}
    least = 1e-4 * max(norms.values())
    errors = {}
    for name, each in reference.items():
        one, other = _pair(test[name], each)
        difference = float(np.sqrt(np.square(one - other).sum()))
        errors[name] = difference / max(norms[name], least)
    return errors


def output_errors(test: Any, reference: Any) -> dict[str, float]:
    """The error of every field of two outputs, each by its own metric; fields must be the same."""
    assert list(test) == list(reference), f"fields {list(test)} and {list(reference)} differ"
    assert len(reference), "nothing to compare"
    errors = {}
    for name in reference:
        metric = _METRICS.get(name, channel_error)
        one, other = test[name], reference[name]
        if isinstance(other, tuple):
            assert len(one) == len(other), f"{name}: {len(one)} and {len(other)} arrays"
            pairs = zip(one, other, strict=True)
            errors[name] = max(metric(*pair) for pair in pairs)
        else:
            errors[name] = metric(one, other)
    return errors


_METRICS = {
    "loss": relative_error,
    "attentions": absolute_error,
    "logits": token_error,
    "prediction_logits": token_error,
    "seq_relationship_logits": token_error,
    "start_logits": token_error,
    "end_logits": token_error,
}
