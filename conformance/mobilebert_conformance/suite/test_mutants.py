"""Law 9: were this backend broken, the suite would notice."""

from typing import Any

from mobilebert_conformance.mutants import check_mutant


def test_mutant_is_rejected(mutant: Any, subject: Any, judge: Any, skip: Any) -> None:
    """Clause 9.1."""
    lacking = sorted(each.value for each in mutant.needs - set(subject.backend.features))
    if lacking:
        reason = f"not claimed: {', '.join(lacking)}"
        skip("9.1", mutant.case[1], mutant.name, reason)
    judge(check_mutant(subject, mutant), "9.1")
