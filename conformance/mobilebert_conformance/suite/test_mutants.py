"""Law 9: were this backend broken, the suite would notice."""

from typing import Any

from mobilebert_conformance.mutants import check_mutant, lacking


def test_mutant_is_rejected(mutant: Any, subject: Any, judge: Any, skip: Any) -> None:
    """Clause 9.1."""
    absent = lacking(mutant, subject)
    if absent:
        skip("9.1", mutant.case[1], mutant.name, f"not claimed: {', '.join(absent)}")
    judge(check_mutant(subject, mutant), "9.1")
