"""Readers of training data: what was written is read back; what is malformed is named."""

import csv
import gzip
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mobilebert_core.errors import InputError
from mobilebert_training.readers.conll import read_conll
from mobilebert_training.readers.files import read_lines, read_text
from mobilebert_training.readers.json_lines import read_json_lines
from mobilebert_training.readers.plain_text import read_plain_text
from mobilebert_training.readers.records import find_field
from mobilebert_training.readers.tables import read_table

CHARACTERS = st.characters(exclude_categories=["Cs"], exclude_characters="\x00")
FIELDS = st.text(CHARACTERS, max_size=12)
PLAIN_FIELDS = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\t\n\r\ufeff"), max_size=12
)
WORDS = st.text(st.characters(categories=["L", "N", "P", "S"]), min_size=1, max_size=8)
fast = settings(deadline=None, max_examples=60)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("readers")


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def values(records: list[Any]) -> list[list[Any]]:
    return [list(record.fields.values()) for record in records]


def outcome(read: Callable[[], list[Any]]) -> tuple[list[Any], str]:
    try:
        return read(), ""
    except InputError as error:
        return [], str(error)


@fast
@given(rows=st.lists(st.tuples(FIELDS, FIELDS, FIELDS), min_size=1, max_size=5))
def test_csv_is_read_back_when_written_by_the_csv_module(
    folder: Path, rows: list[tuple[str, ...]]
) -> None:
    buffer = io.StringIO(newline="")
    csv.writer(buffer).writerows(rows)
    path = write(folder / "table.csv", "\ufeff" + buffer.getvalue())
    assert values(read_table(path, ",", header=False)) == [list(row) for row in rows]


@fast
@given(rows=st.lists(st.tuples(PLAIN_FIELDS, PLAIN_FIELDS), min_size=1, max_size=5))
def test_tsv_is_read_back_when_written_without_quotes(
    folder: Path, rows: list[tuple[str, str]]
) -> None:
    path = write(folder / "table.tsv", "".join("\t".join(row) + "\r\n" for row in rows))
    records = read_table(path, "\t", header=False)
    assert values(records) == [list(row) for row in rows]
    assert [record.line for record in records] == list(range(1, len(rows) + 1))


@fast
@given(objects=st.lists(st.dictionaries(FIELDS, FIELDS), min_size=1, max_size=5))
def test_json_lines_are_read_back_when_written_by_json(
    folder: Path, objects: list[dict[str, str]]
) -> None:
    text = "\n\n".join(json.dumps(each, ensure_ascii=False) for each in objects)
    records = read_json_lines(write(folder / "objects.jsonl", text))
    assert [record.fields for record in records] == objects
    assert [record.line for record in records] == [2 * i + 1 for i in range(len(objects))]


@fast
@given(
    sentences=st.lists(
        st.lists(st.tuples(WORDS, WORDS), min_size=1, max_size=4), min_size=1, max_size=4
    ),
    separator=st.sampled_from(["\t", " "]),
)
def test_conll_is_read_back_when_written_word_by_word(
    folder: Path, sentences: list[list[tuple[str, str]]], separator: str
) -> None:
    blocks = ["".join(f"{word}{separator}{tag}\n" for word, tag in each) for each in sentences]
    read = read_conll(write(folder / "words.conll", "\t\n\n".join(blocks)))
    assert [list(zip(each.words, each.tags, strict=True)) for each in read] == sentences


@fast
@given(content=st.binary(max_size=200))
def test_nothing_but_input_error_is_raised_when_a_file_is_noise(
    folder: Path, content: bytes
) -> None:
    path = write(folder / "noise", content)
    for read in (
        lambda: read_table(path, "\t"),
        lambda: read_table(path, ","),
        lambda: read_json_lines(path),
        lambda: read_conll(path),
        lambda: read_plain_text(path),
    ):
        records, error = outcome(read)
        assert records or str(path) in error


def test_gzip_is_decompressed_when_the_name_says_so(tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt.gz", gzip.compress("eins\nzwei ü\n".encode()))
    assert read_lines(path) == ["eins", "zwei ü"]


def test_gzip_is_refused_when_it_is_cut_off(tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt.gz", gzip.compress(b"one\n" * 99)[:-9])
    with pytest.raises(InputError, match=r"a\.txt\.gz cannot be decompressed"):
        read_lines(path)


def test_line_and_byte_are_named_when_text_is_not_utf8(tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt", b"\xef\xbb\xbfone\ntwo\nca\xe9\n")
    with pytest.raises(
        InputError, match=r"a\.txt cannot be used: line 3: byte 3 is 0xe9, no utf-8"
    ):
        read_text(path)
    assert read_text(path, "latin-1").endswith("caé\n")


def test_only_line_feeds_end_a_line_when_text_has_other_separators(tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt", "one\u2028still\x0cone\r\ntwo")
    assert read_lines(path) == ["one\u2028still\x0cone", "two"]


def test_files_are_named_when_they_are_missing_or_folders(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"There is no file .*gone\.tsv"):
        read_text(tmp_path / "gone.tsv")
    with pytest.raises(InputError, match="cannot be read"):
        read_text(tmp_path)
    with pytest.raises(InputError, match="encoding='utf-99' is unknown"):
        read_text(write(tmp_path / "a.txt", "a"), "utf-99")


def test_lines_are_named_when_rows_have_too_few_or_many_columns(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tsv", "text\tlabel\na\tb\nc\n\nd\te\tf\n")
    with pytest.raises(InputError, match=r"2 faults") as caught:
        read_table(path, "\t", known_names=["label"])
    assert "line 3: 1 column, expected 2" in str(caught.value)
    assert "line 5: 3 columns, expected 2" in str(caught.value)


def test_reading_stops_when_there_are_ten_faults(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tsv", "a\tb\n" + "c\n" * 5000)
    with pytest.raises(InputError, match="reading stopped after 10 faults") as caught:
        read_table(path, "\t")
    assert "line 11" in str(caught.value)
    assert "line 12" not in str(caught.value)


def test_the_first_line_of_the_row_is_named_when_a_quotation_does_not_end(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", 'a,b\n"c\nd",e\n"f,g\nh,i\n')
    with pytest.raises(InputError, match=r"a\.csv cannot be used: line 4: unexpected end"):
        read_table(path, ",")


def test_a_field_is_refused_when_it_is_longer_than_csv_takes(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "a,b\nc," + "d" * 200_000)
    with pytest.raises(InputError, match="line 2: field larger than field limit"):
        read_table(path, ",")


def test_quotation_marks_are_text_when_tsv_is_read(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tsv", '"one\ttwo"\n"x"\ty\n')
    assert values(read_table(path, "\t")) == [['"one', 'two"'], ['"x"', "y"]]
    path = write(tmp_path / "b.tsv", '"one\ttwo"\tx\n')
    assert values(read_table(path, "\t", quoted=True)) == [["one\ttwo", "x"]]


def test_the_first_row_is_a_header_when_it_has_a_known_name(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tsv", "Sentence\tLabel \nx\ty\n")
    assert read_table(path, "\t", known_names=["label"])[0].fields == {
        "Sentence": "x",
        "Label": "y",
    }
    assert read_table(path, "\t", known_names=["other"])[0].fields == {0: "Sentence", 1: "Label "}
    assert len(read_table(path, "\t", header=False, known_names=["label"])) == 2


def test_a_header_is_refused_when_it_names_a_column_twice(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tsv", "a\tb\ta\nx\ty\tz\n")
    with pytest.raises(InputError, match="line 1: the header names 'a' twice"):
        read_table(path, "\t", header=True)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"a": }', "no JSON: Expecting value at column 7"),
        ("[1]", "a JSON list, expected an object"),
        ('{"a": ' + "[" * 100_000, "no JSON: it is nested too deeply"),
        ('{"a": ' + "9" * 5000 + "}", "no JSON: it holds a number of too many digits"),
    ],
)
def test_line_and_reason_are_named_when_json_is_broken(
    tmp_path: Path, line: str, reason: str
) -> None:
    path = write(tmp_path / "a.jsonl", '{"a": 1}\n' + line + "\n")
    with pytest.raises(InputError, match=r"a\.jsonl cannot be used: line 2: ") as caught:
        read_json_lines(path)
    assert reason in str(caught.value)


def test_lines_are_named_when_words_have_no_tag(tmp_path: Path) -> None:
    path = write(tmp_path / "a.conll", "one\tO\ntwo\n\n\tO\nthree\tB-x y\n")
    with pytest.raises(InputError, match="3 faults") as caught:
        read_conll(path)
    assert [f"line {number}:" in str(caught.value) for number in range(1, 6)] == [
        False, True, False, True, True,
    ]  # fmt: skip


def test_first_and_last_column_are_taken_when_conll_has_four(tmp_path: Path) -> None:
    path = write(tmp_path / "a.conll", "-DOCSTART- -X- -X- O\n\n\nEU NNP B-NP B-ORG\n. . O O\n")
    (sentence,) = read_conll(path)
    assert (sentence.words, sentence.tags, sentence.line) == (("EU", "."), ("B-ORG", "O"), 4)


def test_blank_lines_are_left_out_when_text_is_plain(tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt", "\n one \n\n\ttwo\n")
    records = read_plain_text(path)
    assert [(each.line, each.fields["text"]) for each in records] == [(2, "one"), (4, "two")]


def test_empty_files_are_refused_when_read(tmp_path: Path) -> None:
    path = write(tmp_path / "a", "\n")
    for read in (read_json_lines, read_conll, read_plain_text, lambda it: read_table(it, "\t")):
        with pytest.raises(InputError, match="has no "):
            read(path)


def test_columns_are_found_when_named_numbered_or_usual(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tsv", "Id\tSentence\t1\nx\ty\tz\n")
    records = read_table(path, "\t", header=True)
    assert find_field(records, "Id", (), "text") == "Id"
    assert find_field(records, 0, (), "text") == "Id"
    assert find_field(records, "1", (), "text") == "1"
    assert find_field(records, None, ("text", "sentence"), "text") == "Sentence"
    assert find_field(records, None, ("text",), "text") is None
    with pytest.raises(InputError, match=r"no column 'sentense' for text; did you mean 'Sentence'"):
        find_field(records, "sentense", (), "text")
    with pytest.raises(InputError, match=r"no column 3 for label; it has 'Id', 'Sentence', '1'"):
        find_field(records, 3, (), "label")
