"""Clause 11.1: the oracle still says what is stored."""

from typing import Any

from mobilebert_conformance.golden import check_oracle
from mobilebert_conformance.limits import LIMITS
from mobilebert_conformance.metrics import worst_of


def test_oracle_gives_the_golden_vectors(golden_case: Any, subject: Any, judge: Any) -> None:
    """Clause 11.1."""
    record = subject.record(
        "11.1",
        worst_of(check_oracle(golden_case)),
        case=golden_case,
        dtype="float64",
        quantity="oracle",
        limit=LIMITS["golden"]["oracle"],
    )
    judge(iter([record]), "11.1")
