"""Clause 12: all backends in one interpreter, where frameworks share libraries and settings."""

from collections.abc import Iterator

import numpy as np

from mobilebert_conformance.cases import make_case, small_config
from mobilebert_conformance.limits import LIMITS
from mobilebert_conformance.metrics import field_error, worst_of
from mobilebert_conformance.records import Record
from mobilebert_conformance.subject import Subject
from mobilebert_core import registry
from mobilebert_core.backend import Feature
from mobilebert_core.heads import HEADS


def check_together(names: tuple[str, ...]) -> Iterator[Record]:
    """Clause 12.1: imported side by side, every backend still gives the oracle's outputs.

    The frameworks are all imported before the first model is built.
    """
    subjects = [Subject(registry.get(name)) for name in names]
    for head in HEADS:
        case = make_case("small/together", head, small_config(head))
        for subject in subjects:
            dtype = "float64" if subject.claims(Feature.FLOAT64) else "float32"
            limit = LIMITS["together"][dtype]
            output, truth = subject.output(case, dtype), subject.truth(case)
            errors = {name: field_error(name, output.get(name), truth[name]) for name in truth}
            record = subject.record(
                "12.1",
                worst_of(errors),
                case=case,
                dtype=dtype,
                quantity=f"{subject.name} among {len(names)}",
                limit=limit,
            )
            yield record
    found = np.unique(names).size
    fault = "" if found > 1 else f"{found} backend, expected several"
    yield Record(
        backend="together", clause="12.2", quantity=", ".join(names), compared=found, fault=fault
    )
