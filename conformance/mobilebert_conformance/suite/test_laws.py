"""Laws 1 to 8, 10 and 11: every check of the table, on every case of the plan."""

from typing import Any


def test_law(check: Any, case: Any, subject: Any, judge: Any, skip: Any) -> None:
    """Records are all within their limits."""
    reason = check.reason_to_skip(subject, case)
    if reason:
        skip(check.clauses[0], case.head, case.name, reason)
    judge(check.function(subject, case), check.clauses[0])
