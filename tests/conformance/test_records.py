"""Records: what passes, what they look like in a file, and which is the worst."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mobilebert_conformance.records import (
    Record,
    Skip,
    by_head_and_backend,
    from_json,
    read_lines,
    to_json,
    worst,
)

RECORD = Record(
    backend="numpy", clause="1.1", head="base", case="full", dtype="float64",
    quantity="hidden_states[3]", error=5e-11, limit=1e-10, compared=7,
)  # fmt: skip
NUMBERS = st.none() | st.floats(0, allow_nan=False)


# What passes --------------------------------------------------------------------------------------


def test_record_passes_within_its_limit() -> None:
    assert RECORD.passed
    assert RECORD.reason == ""


def test_record_passes_at_its_limit() -> None:
    assert replace(RECORD, error=1e-10).passed


@pytest.mark.parametrize("error", [1.0001e-10, math.inf])
def test_record_fails_when_the_error_is_above_its_limit(error: float) -> None:
    record = replace(RECORD, error=error)

    assert record.passed is False
    assert record.reason.endswith("is above its limit 1.00e-10")


def test_record_fails_when_the_error_is_nan() -> None:
    record = replace(RECORD, error=math.nan)

    assert record.passed is False
    assert record.reason == "the error is not a number"


def test_record_fails_when_nothing_was_compared() -> None:
    record = replace(RECORD, compared=0)

    assert record.passed is False
    assert record.reason == "nothing was compared"


def test_record_fails_when_nothing_was_compared_and_no_number_is_given() -> None:
    assert replace(RECORD, error=None, limit=None, compared=0).passed is False


def test_record_fails_when_it_has_a_fault() -> None:
    record = replace(RECORD, fault="shape (1,), expected (2,)")

    assert record.passed is False
    assert record.reason == "shape (1,), expected (2,)"


def test_record_without_number_passes_when_something_was_compared() -> None:
    assert replace(RECORD, error=None, limit=None).passed


# Ratio --------------------------------------------------------------------------------------------


def test_ratio_is_the_error_over_its_limit() -> None:
    assert RECORD.ratio == pytest.approx(0.5)


@pytest.mark.parametrize(("error", "ratio"), [(0.0, 0.0), (1e-300, math.inf)])
def test_ratio_to_a_limit_of_zero_is_zero_or_infinite(error: float, ratio: float) -> None:
    record = replace(RECORD, error=error, limit=0.0)

    assert record.ratio == ratio
    assert record.passed is (error == 0)


def test_record_fails_when_the_error_is_nan_and_the_limit_zero() -> None:
    assert replace(RECORD, error=math.nan, limit=0.0).passed is False


@pytest.mark.parametrize("missing", ["error", "limit"])
def test_ratio_is_none_without_a_number(missing: str) -> None:
    assert replace(RECORD, **{missing: None}).ratio is None


# Files --------------------------------------------------------------------------------------------


@given(error=NUMBERS, limit=NUMBERS, compared=st.integers(0), text=st.text())
def test_record_is_the_same_when_read_back(
    error: float | None, limit: float | None, compared: int, text: str
) -> None:
    record = replace(RECORD, error=error, limit=limit, compared=compared, fault=text, note=text)

    assert from_json(to_json("record", record)) == ("record", record)


def test_nan_is_nan_when_read_back() -> None:
    _, record = from_json(to_json("record", replace(RECORD, error=math.nan)))

    assert math.isnan(record.error)


@pytest.mark.parametrize("error", [math.inf, math.nan])
def test_line_is_json_when_the_error_is_not_finite(error: float) -> None:
    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is not JSON")

    line = to_json("record", replace(RECORD, error=error))

    assert json.loads(line, parse_constant=refuse)["error"] == str(error)


def test_skip_is_the_same_when_read_back() -> None:
    skip = Skip(backend="jax", clause="6.1", head="base", reason="not claimed: gradients")

    assert from_json(to_json("skip", skip)) == ("skip", skip)


def test_other_lines_are_dictionaries() -> None:
    assert from_json(to_json("end", {"seconds": 2.5})) == ("end", {"seconds": 2.5})


@given(st.text())
def test_record_is_one_line_whatever_its_text(text: str) -> None:
    line = to_json("record", replace(RECORD, note=text))

    assert line.splitlines() == [line]


def test_whole_lines_of_a_growing_file_are_read(tmp_path: Path) -> None:
    path, lines = tmp_path / "records.jsonl", [to_json("end", {"n": n}) for n in range(3)]
    path.write_text("".join(f"{line}\n" for line in lines[:2]))
    first, offset = read_lines(path)
    path.write_text("".join(f"{line}\n" for line in lines))

    second, end = read_lines(path, offset)

    assert first == [("end", {"n": 0}), ("end", {"n": 1})]
    assert second == [("end", {"n": 2})]
    assert end == path.stat().st_size


@pytest.mark.parametrize("cut", [1, 5, 10])
def test_half_a_last_line_is_not_read(cut: int, tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    whole, half = f"{to_json('end', {'n': 0})}\n", to_json("end", {"text": "é"})
    path.write_bytes(f"{whole}{half}".encode()[:-cut])

    found, offset = read_lines(path)

    assert found == [("end", {"n": 0})]
    assert offset == len(whole)


def test_nothing_is_read_of_an_empty_file(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    path.touch()

    assert read_lines(path) == ([], 0)


# The worst ----------------------------------------------------------------------------------------


def test_worst_is_the_record_nearest_to_its_limit() -> None:
    near = replace(RECORD, error=0.9, limit=1.0)

    assert worst([RECORD, near, replace(RECORD, error=1e-11)]) is near


@pytest.mark.parametrize(
    "changes", [{"fault": "x"}, {"compared": 0}, {"error": math.nan}, {"error": None, "fault": "x"}]
)
def test_worst_is_one_with_a_fault_before_any_error(changes: dict[str, Any]) -> None:
    faulty = replace(RECORD, **changes)

    assert worst([replace(RECORD, error=1e9), faulty, RECORD]) is faulty


def test_worst_of_nothing_is_none() -> None:
    assert worst([]) is None


def test_worst_is_found_for_each_head_and_backend() -> None:
    near, other = replace(RECORD, error=9e-11), replace(RECORD, backend="jax")

    found = by_head_and_backend([RECORD, near, other])

    assert found == {("base", "numpy"): near, ("base", "jax"): other}


@pytest.mark.parametrize("limit", [None, float("inf"), float("nan")])
def test_record_fails_when_no_error_could_exceed_its_limit(limit: float | None) -> None:
    record = Record(backend="numpy", clause="2.1", error=0.5, limit=limit, compared=3)

    assert not record.passed
    assert "nothing exceeds" in record.reason
