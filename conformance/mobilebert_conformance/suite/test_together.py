"""Clause 12: all backends in one interpreter."""

from typing import Any

from mobilebert_conformance.together import check_together


def test_backends_agree_in_one_interpreter(together: Any, judge: Any) -> None:
    """Clauses 12.1 and 12.2."""
    judge(check_together(together), "12.1")
