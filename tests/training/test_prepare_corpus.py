"""The text that `mobilebert-nano` reads: what is taken from each source, and how it is cleaned."""

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

ENTRY = (
    "00117247 04 n 03 lift 0 raise 0 give_way(p) 2 002 @ 00045991 n 0000 | the act of raising "
    'something; "he responded with a lift of his eyebrow"; "lift it!"  '
)


@pytest.fixture
def preparation(load: Any) -> Any:
    """The script `prepare_corpus`."""
    return load("prepare_corpus")


def pack(path: Path, texts: dict[str, str]) -> Path:
    """A package with these files."""
    with tarfile.open(path, "w:gz") as archive:
        for name, text in texts.items():
            member = tarfile.TarInfo(f"package/{name}")
            member.size = len(text.encode())
            archive.addfile(member, io.BytesIO(text.encode()))
    return path


def test_marks_of_wikitext_are_undone(preparation: Any, tmp_path: Path) -> None:
    path = tmp_path / "wiki.txt"
    path.write_text(" = = The Title = = \n\n It cost 3 @.@ 5 <unk> , twenty @-@ one \n")
    expected = ["The Title", "", "It cost 3.5 [UNK] , twenty-one"]
    assert list(preparation.wikitext_lines(path)) == expected


def test_words_are_told_with_their_meaning_and_sentences(preparation: Any, tmp_path: Path) -> None:
    licence = "  1 This software and database is being provided | to you\n"
    path = pack(
        tmp_path / "w.tgz", {"dict/data.noun": licence + ENTRY + "\n", "dict/index.noun": "x"}
    )
    assert list(preparation.meaning_lines(path)) == [
        "lift, raise, give way: the act of raising something. he responded with a lift of his "
        "eyebrow. lift it!"
    ]


def test_verses_become_paragraphs_without_brackets(preparation: Any, tmp_path: Path) -> None:
    verses = {"A 1:1": "In the beginning", "A 1:2": "[was] light.", "A 1:3": "# And God saw."}
    path = pack(tmp_path / "k.tgz", {"json/verses-1769.json": json.dumps(verses)})
    assert list(preparation.verse_lines(path)) == ["In the beginning was light.", "And God saw."]


@pytest.mark.parametrize(
    ("year", "is_taken"),
    [(1899, False), (1900, True), (1944, True), (1945, False), (2006, False), (2007, True)],
)
def test_addresses_are_those_that_the_archive_of_speeches_has_not(
    preparation: Any, tmp_path: Path, year: int, is_taken: bool
) -> None:
    path = pack(tmp_path / "s.tgz", {f"data/{year}_somebody_d.txt": "Gentlemen"})
    assert ("Gentlemen" in list(preparation.address_lines(path))) == is_taken


def test_wrapped_lines_become_paragraphs(preparation: Any, tmp_path: Path) -> None:
    path = pack(tmp_path / "m.tgz", {"data/data.txt": "Call me\nIshmael.\n\nSome years\nago."})
    assert list(preparation.wrapped_lines(path)) == ["Call me Ishmael.", "Some years ago."]


def test_text_that_becomes_held_out_leaves_the_training_text(
    preparation: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.txt").write_text("one\ntwo\n")
    monkeypatch.setattr(preparation, "SOURCES", {"a": ("a.txt", preparation.plain_lines)})
    monkeypatch.setattr(preparation, "PACKAGES", {})
    for held_out, folder in (((), "train"), (("a",), "held_out"), ((), "train")):
        monkeypatch.setattr(preparation, "HELD_OUT", held_out)
        preparation.main(tmp_path, tmp_path, tmp_path / "text")
        found = [path.parent.name for path in (tmp_path / "text").glob("*/a.txt")]
        assert found == [folder]
