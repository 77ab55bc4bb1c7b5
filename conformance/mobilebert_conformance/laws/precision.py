"""Law 2: in a lower dtype a backend errs at most four times as much as the oracle itself does.

The oracle's error is the worst of several runs in that dtype whose sums are ordered differently. A
result cannot be nearer than its own rounding, so that counts as the least error.
"""

from collections.abc import Iterator

import ml_dtypes

from mobilebert_conformance.cases import Case
from mobilebert_conformance.limits import LIMITS
from mobilebert_conformance.metrics import field_error
from mobilebert_conformance.records import Record
from mobilebert_conformance.subject import Subject

_CLAUSES = {"float32": "2.1", "bfloat16": "2.2", "float16": "2.3"}


def check(subject: Subject, case: Case) -> Iterator[Record]:
    """Clauses 2.1 to 2.3: all fields of one case, in every lower dtype that is claimed."""
    truth = subject.truth(case)
    for dtype in subject.lower_dtypes:
        own = allowed_errors(subject, case, dtype)
        output = subject.output(case, dtype)
        for name, expected in truth.items():
            yield subject.record(
                _CLAUSES[dtype],
                field_error(name, output.get(name), expected),
                case=case,
                dtype=dtype,
                quantity=name,
                limit=LIMITS["precision"]["factor"] * own[name],
            )


def allowed_errors(subject: Subject, case: Case, dtype: str) -> dict[str, float]:
    """N, the worst error of the oracle in this dtype, by field."""
    truth = subject.truth(case)
    rounding = float(ml_dtypes.finfo(dtype).eps) / 2  # type: ignore[no-untyped-call]
    worst = dict.fromkeys(truth, rounding)
    for order in range(int(LIMITS["precision"]["runs"])):
        run = subject.truth(case, dtype, order)
        for name, expected in truth.items():
            worst[name] = max(worst[name], field_error(name, run[name], expected).error)
    return worst
