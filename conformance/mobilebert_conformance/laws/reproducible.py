"""Law 3: in reproducible mode backends agree bit for bit, but for ties of one last rounding.

The rounding is to the nearest float32; what float32 could hold with fewer bits only becomes 0.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from mobilebert_conformance.cases import Case
from mobilebert_conformance.limits import LIMITS
from mobilebert_conformance.metrics import Comparison, worst_of
from mobilebert_conformance.records import Record
from mobilebert_conformance.subject import Subject

Array = np.ndarray[Any, np.dtype[Any]]


def check(subject: Subject, case: Case) -> Iterator[Record]:
    """Clauses 3.1 and 3.2: how many values differ from the oracle's, and by how much."""
    truth = subject.truth(case)
    output = subject.output(case, "float64", precision="reproducible")
    differing, total, sizes = 0, 0, {}
    for name, expected in truth.items():
        pairs = list(_pairs(name, output.get(name), expected))
        faults = [fault for _, _, _, fault in pairs if fault]
        if faults or not pairs:
            fault = Comparison(np.inf, 0, faults[0] if faults else f"no {name}")
            yield _share(subject, case, fault, quantity=name)
            return
        for where, found, value, _ in pairs:
            rounded = _rounded(value)
            differing += int((found != rounded).sum())
            total += rounded.size
            sizes[where] = Comparison(_ulps(found, rounded, name), rounded.size)
    share = Comparison(differing / total, total)
    note = f"{differing} of {total} values differ by a bit"
    yield _share(subject, case, share, quantity="values that differ", note=note)
    largest = worst_of(sizes)
    limit = LIMITS["reproducible"]["ulps"]
    yield subject.record(
        "3.2",
        case=case,
        dtype="reproducible",
        quantity=largest.where,
        compared=largest.compared,
        fault="" if largest.error <= limit else f"{largest.error:.3g} units in the last place off",
        note=f"by {largest.error:.2g} units in the last place" if largest.error else "",
    )


def _rounded(value: Array) -> Array:
    """F22: the nearest float32, without subnormal numbers."""
    return np.where(np.abs(value) < 2.0**-126, 0.0, value).astype(np.float32)


def _share(
    subject: Subject, case: Case, comparison: Comparison, quantity: str, note: str = ""
) -> Record:
    # One value may always differ: a tie happens in a small case as well as in a large one.
    limit = max(LIMITS["reproducible"]["fraction"], 1 / max(comparison.compared, 1))
    return subject.record(
        "3.1",
        comparison,
        case=case,
        dtype="reproducible",
        quantity=quantity,
        limit=limit,
        note=note,
    )


def _pairs(name: str, found: Any, expected: Any) -> Iterator[tuple[str, Array, Array, str]]:
    """Each array of a field beside the oracle's, with what is wrong before any comparison."""
    tests = found if isinstance(expected, tuple) else (found,)
    references = expected if isinstance(expected, tuple) else (expected,)
    if tests is None or len(tests) != len(references):
        yield name, np.empty(0), np.empty(0), f"{name}: another number of arrays"
        return
    for index, (test, reference) in enumerate(zip(tests, references, strict=True)):
        array, value = np.asarray(test), np.asarray(reference)
        fault = ""
        if array.dtype != np.float32 or array.shape != value.shape:
            fault = f"{name} is {array.dtype} {array.shape}, expected float32 {value.shape}"
        elif not (np.isfinite(array).all() and np.isfinite(value).all()):
            fault = f"{name} has values that are NaN or infinite"
        yield f"{name}[{index}]" if isinstance(expected, tuple) else name, array, value, fault


def _ulps(found: Array, expected: Array, name: str) -> float:
    """The largest difference in units of the last place at the rms of its channel (or row)."""
    difference = np.abs(found.astype(np.float64) - expected.astype(np.float64))
    axes = (-1,) if "logits" in name or name == "attentions" else tuple(range(expected.ndim - 1))
    squares = np.square(expected.astype(np.float64))
    rms = np.sqrt(squares.mean(axis=axes, keepdims=True) if expected.ndim else squares)
    return float((difference / np.spacing(rms.astype(np.float32))).max())
