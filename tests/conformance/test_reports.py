"""What the reports of a conformance run say, read back from each format."""

import base64
import hashlib
import io
import json
import math
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest
from rich.console import Console

from mobilebert_conformance import reports
from mobilebert_conformance.records import Participant, Record, Run, Skip
from mobilebert_conformance.reports import json_report, junit, markdown, summary, wording
from mobilebert_conformance.reports.terminal import LiveTable, print_result
from mobilebert_core.errors import MobileBertError
from mobilebert_core.heads import HEADS

HOSTILE = (
    "<script>alert(1)</script> </SCRIPT><!-- ]]> [bold]x[/bold] | `a` \x1b[31m\x00 \ud800 \"'&"
)

PASSING = Record(
    backend="numpy",
    clause="1.1",
    head="masked-lm",
    case="full",
    dtype="float64",
    quantity="hidden_states[3]",
    error=3e-15,
    limit=1e-10,
    compared=1000,
)
NEAR = replace(PASSING, backend="torch", clause="2.1", error=0.75, limit=1.0, head="base")
FAILING = replace(PASSING, backend="torch", quantity="hidden_states[4]", error=2e-9)
INFINITE = replace(PASSING, backend="torch", quantity="hidden_states[5]", error=math.inf)
UNDEFINED = replace(PASSING, backend="tf", clause="1.10", error=math.nan, head="pretraining")
FAULTY = replace(
    PASSING, backend="tf", clause="8.1", head="", error=None, limit=None, fault="211 of 212 tensors"
)
VACUOUS = replace(PASSING, backend="tf", clause="1.2", compared=0)
MET = replace(PASSING, clause="5.1", head="", error=None, limit=None)
BITS = replace(PASSING, clause="3.1", head="base", note="7 of 1,000 values differ by one bit")
LAYERS = tuple(
    replace(PASSING, clause="4.1", quantity=f"layer[{layer}]", error=10.0 ** (layer / 6 - 16))
    for layer in range(24)
)
REJECTED = replace(
    MET,
    clause="9.1",
    quantity="mask_ignored",
    note="clause 1.3 (mask): loss: error 1.00e+00 is above its limit 1.00e-12",
)
SURVIVOR = replace(REJECTED, backend="torch", fault="no clause rejects it", note="")
INJECTED = replace(PASSING, backend=HOSTILE, head=HOSTILE, quantity=HOSTILE, note=HOSTILE)
GOOD = (PASSING, replace(NEAR, error=0.2), MET, BITS, REJECTED)
RECORDS = (
    *(PASSING, NEAR, FAILING, INFINITE, UNDEFINED, FAULTY, VACUOUS, MET, BITS, *LAYERS),
    *(REJECTED, SURVIVOR, INJECTED, replace(INJECTED, clause="3.2", fault=HOSTILE)),
)
PARTICIPANTS = (
    Participant(backend="numpy", state="conforms", versions={"numpy": "2.4.0"}, planned=9),
    Participant(backend="torch", state="deviates", required=True, finished=9, planned=9),
    Participant(backend="tf", state="broken", required=True, message="line 1\nImportError: cuda"),
    Participant(backend="jax", state="absent", message="pip install 'mobilebert[jax]'"),
    Participant(backend=HOSTILE, state="deviates", message=HOSTILE, versions={HOSTILE: HOSTILE}),
)
SKIPS = (
    Skip(backend="numpy", clause="6.1", head="base", case="full", reason="claims no gradients"),
    Skip(backend=HOSTILE, clause="6.1", case=HOSTILE, reason=HOSTILE),
)
RUN = Run(
    profile="quick",
    source=HOSTILE,
    heads=tuple(HEADS),
    started="2026-11-22T21:00:00Z",
    seconds=125.0,
    platform="Python 3.11, Linux",
    exit_code=1,
    participants=PARTICIPANTS,
    records=RECORDS,
    skips=SKIPS,
)
CONFORMING = replace(
    RUN,
    source="",
    exit_code=0,
    participants=(PARTICIPANTS[0], replace(PARTICIPANTS[1], state="conforms")),
    records=GOOD,
    skips=(),
)


class Page(HTMLParser):
    """The elements of a page, its text by element, and whether every element is closed."""

    VOID = ("meta", "input")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append((self.open[-1] if self.open else "", data))

    def text_of(self, element: str) -> list[str]:
        return [text for tag, text in self.texts if tag == element]

    @property
    def data(self) -> dict:
        (text,) = (text for text in self.text_of("script") if text.startswith("{"))
        return json.loads(text, parse_constant=pytest.fail)


def page_of(run: Run) -> Page:
    return Page(reports.FORMATS["html"][1](run))


def printed(run: Run, **options: int) -> str:
    console = Console(file=io.StringIO(), width=160)
    print_result(run, console, **options)
    return console.file.getvalue()


def cases_of(text: str, backend: str) -> dict[str, ElementTree.Element]:
    root = ElementTree.fromstring(text)
    (suite,) = (each for each in root if each.get("name") == wording.visible(backend))
    return {case.get("name", ""): case for case in suite.iter("testcase")}


# Files


@pytest.mark.parametrize("name", reports.FORMATS)
def test_write_makes_the_file_and_nothing_beside_it(name, tmp_path):
    path = tmp_path / "new" / reports.FORMATS[name][0]
    reports.write(RUN, name, path)
    assert [each.name for each in path.parent.iterdir()] == [path.name]
    assert path.read_bytes().decode("utf-8")


@pytest.mark.parametrize("name", reports.FORMATS)
def test_every_format_reports_a_run_without_anything(name, tmp_path):
    empty = replace(RUN, participants=(), records=(), skips=(), exit_code=1)
    reports.write(empty, name, tmp_path / "report")
    assert "nothing was compared" in (tmp_path / "report").read_text("utf-8")


def test_write_keeps_the_old_file_when_it_fails(tmp_path, monkeypatch):
    path = tmp_path / "report.json"
    path.write_text("old")

    def fail(self, target):
        raise OSError("disk full")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(reports.ReportError, match="json report cannot be written: disk full"):
        reports.write(RUN, "json", path)
    assert path.read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 1


def test_write_names_the_formats_when_one_is_unknown(tmp_path):
    with pytest.raises(MobileBertError, match="'pdf'; expected one of json, html, junit, markdown"):
        reports.write(RUN, "pdf", tmp_path / "report.pdf")
    assert not list(tmp_path.iterdir())


# The verdict


def test_verdict_conforms_when_exit_code_and_records_do():
    found = summary.verdict(CONFORMING)
    assert (found.conforms, found.word) == (True, "conforms")
    assert "5 comparisons of 5,000 values" in found.text
    assert "0.200 of its limit (torch, base, full, float64)" in found.text


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"exit_code": 1}, "exit code 1"),
        ({"records": (*GOOD, FAILING)}, "1 of 6 comparisons failed (torch)"),
        ({"records": ()}, "nothing was compared"),
    ],
)
def test_verdict_does_not_conform_when_either_says_so(change, reason):
    found = summary.verdict(replace(CONFORMING, **change))
    assert (found.conforms, found.word) == (False, "does not conform")
    assert reason in found.text


def test_verdict_is_incomplete_when_a_required_backend_is_absent():
    absent = replace(PARTICIPANTS[3], required=True)
    found = summary.verdict(replace(CONFORMING, exit_code=2, participants=(absent,)))
    assert (found.conforms, found.word) == (False, "incomplete")
    assert found.text == "jax is required and absent"


# Words


@pytest.mark.parametrize(
    ("ratio", "text"),
    [
        (0.0, "0"),
        (3e-5, "3.0e-05"),
        (0.25, "0.250"),
        (0.99999, "<1"),
        (1.0, "1.000"),
        (1.00001, ">1"),
        (42.0, "42.0"),
        (1e5, "1.0e+05"),
        (math.inf, "inf"),
    ],
)
def test_ratio_text_is_short_and_never_rounds_over_the_limit(ratio, text):
    assert wording.ratio_text(ratio) == text


@pytest.mark.parametrize(
    ("record", "level", "heat", "text"),
    [
        (PASSING, "below", 1, "3.0e-05"),
        (replace(NEAR, error=0.2), "below", 5, "0.200"),
        (NEAR, "near", 6, "near 0.750"),
        (replace(NEAR, error=2.0), "over", 7, "FAIL 2.000"),
        (FAILING, "over", 8, "FAIL 20.0"),
        (INFINITE, "over", 8, "FAIL inf"),
        (UNDEFINED, "fault", 8, "FAULT"),
        (FAULTY, "fault", 8, "FAULT"),
        (VACUOUS, "fault", 8, "FAULT"),
        (replace(FAILING, fault="shapes differ"), "fault", 8, "FAULT"),
        (MET, "met", 0, "met"),
        (None, None, None, "-"),
    ],
)
def test_a_cell_says_in_words_how_a_record_stands(record, level, heat, text):
    assert wording.cell_text(record) == text
    if record is not None:
        assert (wording.level(record), wording.heat(record)) == (level, heat)


def test_clauses_are_ordered_by_number():
    assert [each for each in summary.clauses(RUN) if each[0] == "1"] == ["1.1", "1.2", "1.10"]


def test_heads_come_in_the_order_of_the_table_then_unknown_then_none():
    assert summary.heads(RUN) == (*HEADS, HOSTILE, "")


# JSON


def test_json_has_every_record_with_its_numbers():
    found = json.loads(json_report.render(RUN), parse_constant=pytest.fail)
    assert found["version"] == 1
    assert len(found["records"]) == len(RECORDS)
    for record, row in zip(RECORDS, found["records"], strict=True):
        assert row["quantity"] == record.quantity
        assert row["passed"] == record.passed
        assert row["error"] is None or str(float(row["error"])) == str(record.error)


def test_json_writes_infinite_and_undefined_numbers_as_strings():
    rows = json.loads(json_report.render(RUN))["records"]
    assert [row["error"] for row in rows if isinstance(row["error"], str)] == ["inf", "nan"]


def test_json_summary_has_the_worst_ratio_of_each_head_and_backend():
    found = json.loads(json_report.render(RUN))
    cell = found["summary"]["heads"]["masked-lm"]["torch"]
    assert (cell["ratio"], cell["passed"]) == ("inf", False)
    assert found["records"][cell["index"]]["quantity"] == "hidden_states[5]"
    assert found["summary"]["heads"]["base"]["torch"]["ratio"] == 0.75


def test_json_has_verdict_participants_skips_and_mutants():
    found = json.loads(json_report.render(RUN))
    assert found["verdict"]["conforms"] is False
    assert [each["state"] for each in found["participants"]] == [p.state for p in PARTICIPANTS]
    assert found["participants"][4]["message"] == HOSTILE
    assert found["skips"][0]["reason"] == "claims no gradients"
    assert found["summary"]["mutants"] == {
        "mask_ignored": {"numpy": "1.3", "torch": "FAULT: no clause rejects it"}
    }


# JUnit


def test_junit_counts_what_it_holds():
    root = ElementTree.fromstring(junit.render(RUN).encode("utf-8"))
    for element in (root, *root):
        assert element.get("tests") == str(len(list(element.iter("testcase"))))
        assert element.get("failures") == str(len(list(element.iter("failure"))))
        assert element.get("errors") == str(len(list(element.iter("error"))))
        assert element.get("skipped") == str(len(list(element.iter("skipped"))))
    assert root.get("failures") == "6"


def test_junit_puts_all_faulty_quantities_of_a_check_into_one_failure():
    case = cases_of(junit.render(RUN), "torch")["clause 1.1 / masked-lm / full / float64"]
    (failure,) = case.findall("failure")
    assert failure.get("message") == (
        "hidden_states[4]: error 2.00e-09 is above its limit 1.00e-10 (and 1 more)"
    )
    assert "hidden_states[5]" in failure.text


def test_junit_has_no_failure_for_a_check_that_passes():
    case = cases_of(junit.render(RUN), "numpy")["clause 1.1 / masked-lm / full / float64"]
    assert list(case) == []


def test_junit_makes_a_broken_backend_an_error_with_its_log():
    error = cases_of(junit.render(RUN), "tf")["participation"].find("error")
    assert error.get("message") == "tf is required and broken"
    assert "ImportError: cuda" in error.text


@pytest.mark.parametrize(("required", "element"), [(True, "error"), (False, "skipped")])
def test_junit_shows_an_absent_backend_by_whether_it_was_required(required, element):
    run = replace(RUN, participants=(replace(PARTICIPANTS[3], required=required),))
    (found,) = cases_of(junit.render(run), "jax")["participation"]
    assert found.tag == element


@pytest.mark.parametrize("state", ["waiting", "running", "deviates"])
def test_junit_makes_a_state_without_a_failure_an_error(state):
    run = replace(CONFORMING, participants=(replace(PARTICIPANTS[0], state=state),), exit_code=1)
    assert cases_of(junit.render(run), "numpy")["participation"].find("error") is not None


def test_junit_is_never_green_when_the_run_does_not_conform():
    root = ElementTree.fromstring(junit.render(replace(CONFORMING, exit_code=1)))
    assert (root.get("failures"), root.get("errors")) == ("0", "1")


def test_junit_is_green_when_the_run_conforms():
    root = ElementTree.fromstring(junit.render(CONFORMING))
    assert (root.get("tests"), root.get("failures"), root.get("errors")) == ("5", "0", "0")


def test_junit_shows_skips_with_their_reason():
    case = cases_of(junit.render(RUN), "numpy")["clause 6.1 / base / full"]
    assert case.find("skipped").get("message") == "claims no gradients"


def test_junit_spells_out_characters_that_xml_forbids():
    error = ElementTree.fromstring(junit.render(RUN).encode("utf-8")).find(
        ".//failure[@type='clause 3.2']"
    )
    assert r"]]> [bold]x[/bold] | `a` \x1b[31m\x00 \ud800" in error.get("message")


# Markdown


def test_markdown_marks_failures_in_the_heat_map():
    rows = markdown.render(RUN).splitlines()
    (row,) = (row for row in rows if row.startswith("| masked-lm |"))
    assert row.startswith("| masked-lm | 0.007 | **FAIL inf** | **FAULT** |")


def test_markdown_tables_have_the_same_number_of_cells_in_every_row():
    tables = re.findall(r"(?:^\|.*\n)+", markdown.render(RUN), re.MULTILINE)
    assert len(tables) == 4
    for table in tables:
        counts = {len(re.findall(r"(?<!\\)\|", row)) for row in table.splitlines()}
        assert len(counts) == 1


def test_markdown_escapes_text_from_outside():
    text = markdown.render(RUN)
    assert "<script" not in text
    assert "\x1b" not in text
    assert r"&lt;script&gt;" in text
    assert r"\[bold\]x\[/bold\] \| \`a\`" in text


def test_markdown_names_failures_mutants_participants_and_bits():
    text = markdown.render(RUN)
    assert text.startswith("## MobileBERT conformance: does not conform\n")
    assert "| hidden_states\\[4\\] and 1 more | error 2.00e-09 is above its limit" in text
    assert "| mask_ignored | 1.3 | **FAULT: no clause rejects it** |" in text
    assert "ImportError: cuda" in text
    assert "7 of 1,000 values differ by one bit" in text


# HTML


def test_html_is_closed_and_refers_to_nothing_outside():
    page = page_of(RUN)
    assert page.open == []
    attributes = {name for _, attrs in page.elements for name in attrs}
    assert not attributes & {"src", "href", "srcset", "action"}
    assert "url(" not in "".join(page.text_of("style"))


def test_html_has_no_element_from_outside():
    page = page_of(RUN)
    assert [tag for tag, _ in page.elements].count("script") == 2
    assert not {name for _, attrs in page.elements for name in attrs if name.startswith("on")}
    assert not page.text_of("bold")


def test_html_policy_lets_only_its_own_script_run():
    page = page_of(RUN)
    (policy,) = (a["content"] for t, a in page.elements if t == "meta" and "http-equiv" in a)
    (script,) = (text for text in page.text_of("script") if not text.startswith("{"))
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert policy.startswith("default-src 'none';")
    assert policy.endswith(f"script-src 'sha256-{digest}'")


def test_html_embeds_every_record():
    data = page_of(RUN).data
    rows = [dict(zip(data["columns"], row, strict=False)) for row in data["rows"]]
    assert [row["quantity"] for row in rows] == [record.quantity for record in RECORDS]
    assert [row["error"] for row in rows if isinstance(row["error"], str)] == ["inf", "nan"]
    assert rows[-1]["note"] == HOSTILE


def test_html_cells_point_to_the_worst_record():
    page = page_of(RUN)
    places = [int(attrs["data-record"]) for _, attrs in page.elements if "data-record" in attrs]
    assert RECORDS.index(INFINITE) in places
    assert RECORDS.index(FAILING) not in places
    assert "FAIL inf" in page.text_of("button")
    assert "near 0.750" in page.text_of("button")


def test_html_tooltip_has_the_details_of_a_cell():
    page = page_of(RUN)
    place = str(RECORDS.index(NEAR))
    titles = [a["title"] for _, a in page.elements if a.get("data-record") == place]
    assert len(titles) == 2  # among the heads, among the clauses
    title = titles[0]
    assert "error / limit 0.750" in title
    assert "1,000 values compared" in title


@pytest.mark.parametrize(("run", "word"), [(RUN, "Does not conform"), (CONFORMING, "Conforms")])
def test_html_begins_with_the_verdict(run, word):
    assert page_of(run).text_of("strong") == [word]


def test_html_draws_a_point_for_each_layer_and_the_limit():
    page = page_of(RUN)
    titles = [text for text in page.text_of("title") if "layer[" in text]
    assert len(titles) == len(LAYERS)
    assert "limit 1.00e-10" in page.text_of("text")


def test_html_has_no_chart_when_no_layer_was_compared():
    assert "polyline" not in [tag for tag, _ in page_of(CONFORMING).elements]


@pytest.mark.parametrize("error", [0.0, math.inf, math.nan])
def test_html_draws_errors_that_no_logarithm_has(error):
    layers = (LAYERS[3], replace(LAYERS[4], error=error))
    page = page_of(replace(RUN, records=layers))
    (line,) = (attrs["points"] for tag, attrs in page.elements if tag == "polyline")
    assert "nan" not in line
    assert "inf" not in line


def test_html_shows_mutants_logs_bits_and_skips():
    page = page_of(RUN)
    cells = page.text_of("td")
    assert {"FAULT: no clause rejects it", "1.3", "7 of 1,000 values differ by one bit"} <= set(
        cells
    )
    assert "claims no gradients" in cells
    assert "line 1\nImportError: cuda" in page.text_of("pre")
    assert "pip install 'mobilebert[jax]'" in page.text_of("div")


def test_html_of_three_thousand_records_is_below_two_megabytes():
    records = tuple(replace(PASSING, quantity=f"tensor.{n}", error=n * 1e-15) for n in range(3000))
    assert len(reports.FORMATS["html"][1](replace(RUN, records=records))) < 1_000_000


# The terminal


def test_result_ends_with_the_verdict():
    assert printed(CONFORMING).splitlines()[-1].startswith("CONFORMS: numpy, torch: 5 comparisons")
    assert printed(RUN).splitlines()[-1].startswith("DOES NOT CONFORM: 7 of 37 comparisons failed")


def test_result_groups_failures_by_clause_and_names_the_first_quantity():
    text = printed(RUN)
    assert "Clause 1.1 semantics: 2 comparisons failed in 1 check\n" in text
    expected = (
        "torch, masked-lm, full, float64: hidden_states[4]: error 2.00e-09 is above its limit"
    )
    assert f"  {expected} 1.00e-10 (and 1 more)\n" in text


def test_result_says_how_many_failures_it_leaves_out():
    failures = tuple(replace(FAILING, case=f"case {number}") for number in range(7))
    text = printed(replace(RUN, records=failures), limit=3)
    assert "case 2" in text
    assert "  and 4 more\n" in text
    assert "float64: hidden_states[4]" in text
    assert text.count("is above its limit") == 3


def test_result_shows_participants_logs_and_how_to_install():
    text = printed(RUN)
    assert "numpy 2.4.0" in text
    assert "tf is broken:\n  line 1\n  ImportError: cuda\n" in text
    assert "jax is absent: pip install 'mobilebert[jax]'\n" in text


def test_result_shows_mutants_bits_skips_and_numbers():
    text = printed(RUN)
    assert "Mutants and what rejects them: 1 FAULT" in text
    assert "hidden_states[3]: 7 of 1,000 values differ by one bit" in text
    assert "numpy, clause 6.1 gradients and training: claims no gradients (1 check)" in text
    assert "37 comparisons, 36,000 values, 7 failures, 2 checks skipped, 2:05" in text


def test_result_prints_text_from_outside_as_it_is():
    text = printed(RUN)
    assert "[bold]x[/bold]" in text
    assert "\x1b" not in text
    assert r"\x1b[31m\x00 \ud800" in text


def test_result_prints_where_only_ascii_can_be_printed():
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    print_result(CONFORMING, Console(file=stream, width=160))
    stream.flush()
    assert b"CONFORMS" in stream.buffer.getvalue()


# While a run goes on


class Clock:
    """Time that a test sets."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def pipe() -> Console:
    return Console(file=io.StringIO(), width=160)


def screen() -> Console:
    return Console(
        file=io.StringIO(), width=120, height=60, force_terminal=True, _environ={"TERM": "xterm"}
    )


RUNNING = Participant(backend="torch", state="running", planned=300, finished=12, seconds=35.0)


def test_live_table_prints_one_line_an_interval_when_piped():
    clock, console = Clock(), pipe()
    with LiveTable(["numpy", "torch"], console=console, interval=10, clock=clock) as table:
        table.update(RUNNING)
        for second in range(25):
            clock.now = float(second)
            for _ in range(100):
                table.add(NEAR)
    lines = console.file.getvalue().splitlines()
    assert lines == [
        "conformance: numpy waiting; torch running 12/300 in 0:45, worst near 0.750",
        "conformance: numpy waiting; torch running 12/300 in 0:55, worst near 0.750",
    ]


def test_live_table_prints_a_line_once_for_a_backend_that_ends_when_piped():
    console = pipe()
    with LiveTable(["torch"], console=console, clock=Clock()) as table:
        table.add(FAILING)
        for _ in range(3):
            table.update(replace(RUNNING, state="deviates", finished=300))
    assert console.file.getvalue() == (
        "conformance: torch deviates 300/300 in 0:35, worst FAIL 20.0\n"
    )


def test_live_table_shows_heads_progress_and_the_current_case_in_a_terminal():
    console, clock = screen(), Clock()
    with LiveTable(["numpy", "torch"], console=console, clock=clock) as table:
        table.update(RUNNING)
        for record in (FAILING, NEAR, replace(NEAR, clause="7.1", case="no_trigram", error=0.1)):
            table.add(record)
        table.add(replace(MET, backend="torch", case="row [bold]independence"))
        clock.now = 60.0
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", console.file.getvalue())
    last = text[text.rindex("Worst error over its limit") :]
    assert re.search(r"masked-lm +- +FAIL 20\.0", last)
    assert re.search(r"base +- +near 0\.750", last)
    assert re.search(r"all heads +- +met", last)
    assert re.search(r"torch +running +12/300 in 1:35 +FAIL 20\.0", last)
    assert "5.1 exactness row [bold]independence float64" in last


def test_live_table_gives_an_unexpected_backend_and_head_a_place_in_a_terminal():
    console = screen()
    with LiveTable(["numpy"], ["base"], console=console) as table:
        table.add(replace(PASSING, backend="third", head="regression"))
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", console.file.getvalue())
    assert re.search(r"regression +- +3\.0e-05", text[text.rindex("Worst error") :])


def test_live_table_leaves_the_terminal_clean_when_the_run_fails():
    console = screen()
    with pytest.raises(KeyboardInterrupt), LiveTable(["numpy"], console=console):
        raise KeyboardInterrupt
    assert console.file.getvalue().rstrip().endswith("\x1b[2K")
    assert "\x1b[?25h" in console.file.getvalue()  # the cursor is back
