"""JUnit XML, as CI systems read it: a test suite for each backend, a test case for each check.

Rules: a check is a clause, case, head and dtype; its quantities are in the text of its failure. A
backend that was to be checked and was not is an error, and a run that does not conform never looks
green.
"""

from collections.abc import Sequence
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from mobilebert_conformance.records import Participant, Record, Run, Skip
from mobilebert_conformance.reports import summary
from mobilebert_conformance.reports.wording import visible

_COUNTS = {"failures": "failure", "errors": "error", "skipped": "skipped"}
_RED = ("failure", "error")


def render(run: Run) -> str:
    """The whole report."""
    suites = [_suite(run, backend) for backend in summary.backends(run)]
    verdict = summary.verdict(run)
    red = any(suite.find(f".//{name}") is not None for suite in suites for name in _RED)
    if not verdict.conforms and not red:
        suites.append(_verdict_suite(verdict))
    root = _element(None, "testsuites", name="mobilebert conformance", time=f"{run.seconds:.3f}")
    root.extend(suites)
    for element in (root, *suites):
        _count(element)
    ElementTree.indent(root)
    text = ElementTree.tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{text}\n'


def _element(parent: Element | None, name: str, text: str = "", /, **attributes: str) -> Element:
    clean = {key: visible(value) for key, value in attributes.items()}
    element = Element(name, clean) if parent is None else SubElement(parent, name, clean)
    element.text = visible(text) or None
    return element


def _count(element: Element) -> None:
    element.set("tests", str(len(element.findall(".//testcase"))))
    for attribute, name in _COUNTS.items():
        element.set(attribute, str(len(element.findall(f".//{name}"))))


def _suite(run: Run, backend: str) -> Element:
    participant = next((each for each in run.participants if each.backend == backend), None)
    seconds = participant.seconds if participant else 0.0
    suite = _element(None, "testsuite", name=backend, timestamp=run.started, time=f"{seconds:.3f}")
    properties = SubElement(suite, "properties")
    facts = {"profile": run.profile, "source": run.source, "platform": run.platform}
    versions = participant.versions if participant else {}
    for name, value in (facts | versions).items():
        _element(properties, "property", name=name, value=value)
    records = [record for record in run.records if record.backend == backend]
    if participant is not None:
        _participation(suite, participant, records)
    _checks(suite, records)
    for skip in run.skips:
        if skip.backend == backend:
            case = _case(suite, skip)
            _element(case, "skipped", message=skip.reason)
    return suite


def _participation(suite: Element, participant: Participant, records: Sequence[Record]) -> None:
    """A test case of its own for a backend that was not checked as it should have been."""
    state, backend = participant.state, participant.backend
    unexplained = state == "deviates" and all(record.passed for record in records)
    if state == "conforms" or (state == "deviates" and not unexplained):
        return
    attributes = {"classname": f"conformance.{backend}", "name": "participation"}
    case = _element(suite, "testcase", **attributes)
    if state == "absent" and not participant.required:
        _element(case, "skipped", message=f"{backend} is absent: {participant.message}")
        return
    required = "required and " * participant.required
    message = f"{backend} is {required}{state}"
    _element(case, "error", participant.message, message=message, type=state)


def _case(suite: Element, check: Record | Skip, dtype: str = "") -> Element:
    parts = (f"clause {check.clause}", check.head, check.case, dtype)
    name = " / ".join(part for part in parts if part)
    return _element(suite, "testcase", classname=f"conformance.{check.backend}", name=name)


def _checks(suite: Element, records: Sequence[Record]) -> None:
    checks: dict[tuple[str, ...], list[Record]] = {}
    for record in records:
        key = (record.clause, record.case, record.head, record.dtype)
        checks.setdefault(key, []).append(record)
    for quantities in checks.values():
        first = quantities[0]
        case = _case(suite, first, first.dtype)
        failed = [record for record in quantities if not record.passed]
        if failed:
            message = f"{failed[0].quantity}: {failed[0].reason}"
            if len(failed) > 1:
                message += f" (and {len(failed) - 1} more)"
            text = "\n".join(str(record) for record in failed)
            _element(case, "failure", text, message=message, type=f"clause {first.clause}")
        notes = [f"{record.quantity}: {record.note}" for record in quantities if record.note]
        if notes:
            _element(case, "system-out", "\n".join(notes))


def _verdict_suite(verdict: summary.Verdict) -> Element:
    suite = _element(None, "testsuite", name="run")
    case = _element(suite, "testcase", classname="conformance", name="verdict")
    _element(case, "error", message=verdict.text, type=verdict.word)
    return suite
