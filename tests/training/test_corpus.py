"""Running text: what is read from files, and what becomes of damaged ones."""

import gzip
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mobilebert_core.errors import InputError
from mobilebert_core.tokenization import MobileBertTokenizerFast
from mobilebert_training.corpus import read_corpus, read_lines

WORDS = ["one", "two", "three", "four", "five"]
SPECIALS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
TEXT = "one two . three\n\nfour five ! one ? two\n"


def make_tokenizer(folder: Path, pieces: list[str]) -> Any:
    (folder / "vocab.txt").write_text("".join(f"{each}\n" for each in SPECIALS + pieces))
    return MobileBertTokenizerFast(folder / "vocab.txt")


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return make_tokenizer(tmp_path_factory.mktemp("vocabulary"), [*WORDS, ".", "!", "?"])


def write_plain(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def write_gz(path: Path, content: bytes) -> Path:
    path = path.with_suffix(".gz")
    path.write_bytes(gzip.compress(content))
    return path


def write_zip(path: Path, content: bytes) -> Path:
    path = path.with_suffix(".zip")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.txt", content)
        archive.writestr("readme.md", b"\xff no text of the corpus")
    return path


WRITERS = [write_plain, write_gz, write_zip]
Writer = Callable[[Path, bytes], Path]
writers = pytest.mark.parametrize("write", WRITERS)


@writers
def test_a_file_gives_its_lines(write: Writer, tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt", "ein Wörtchen\r\n\nzwei".encode())
    assert list(read_lines(path)) == ["ein Wörtchen", "", "zwei"]


def test_an_archive_gives_its_texts_by_name(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("2.txt", "two")
        archive.writestr("1.txt", "one")
    assert list(read_lines(tmp_path / "a.zip")) == ["one", "two"]


@writers
def test_byte_order_mark_is_left_out(write: Writer, tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt", b"\xef\xbb\xbfone")
    assert list(read_lines(path)) == ["one"]


@pytest.mark.parametrize("write", [write_gz, write_zip])
def test_endings_in_capitals_are_known(write: Writer, tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt", b"one")
    loud = path.rename(path.with_suffix(path.suffix.upper()))
    assert list(read_lines(loud)) == ["one"]


def test_texts_in_capitals_are_taken_from_an_archive(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("ONE.TXT", "one")
    assert list(read_lines(tmp_path / "a.zip")) == ["one"]


@writers
def test_text_of_another_encoding_is_refused_with_file_and_line(
    write: Writer, tmp_path: Path
) -> None:
    path = write(tmp_path / "a.txt", b"one\ntwo\nthr\xe9e\n")
    with pytest.raises(InputError, match=r"a\.(txt|gz|zip).*line 3: byte 4 .*no utf-8"):
        list(read_lines(path))


@settings(deadline=None, max_examples=60)
@given(content=st.binary(max_size=60))
def test_any_bytes_are_lines_or_an_error(
    content: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = write_plain(tmp_path_factory.mktemp("bytes") / "a.txt", content)
    try:
        lines = content.decode("utf-8-sig").split("\n")
        lines = lines[:-1] if lines[-1] == "" else lines
        expected: Any = [line.removesuffix("\r") for line in lines]
    except UnicodeDecodeError:
        expected = None
    if expected is None:
        with pytest.raises(InputError, match=r"a\.txt cannot be used: line \d+:"):
            list(read_lines(path))
    else:
        assert list(read_lines(path)) == expected


@settings(deadline=None, max_examples=60)
@given(data=st.data(), write=st.sampled_from([write_gz, write_zip]))
def test_a_damaged_file_is_read_or_refused_by_name(
    data: st.DataObject, write: Writer, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = write(tmp_path_factory.mktemp("damage") / "a.txt", TEXT.encode() * 20)
    content = bytearray(path.read_bytes())
    if data.draw(st.booleans()):
        content = content[: data.draw(st.integers(0, len(content) - 1))]
    else:
        place = data.draw(st.integers(0, len(content) - 1))
        content[place] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    refused = ""
    try:
        list(read_lines(path))
    except InputError as error:
        refused = str(error)
    assert not refused or path.name in refused


@pytest.mark.parametrize(("write", "fault"), [(write_gz, "decompressed"), (write_zip, "read")])
def test_a_file_cut_short_is_refused(write: Writer, fault: str, tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt", TEXT.encode() * 20)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(InputError, match=rf"a\.(gz|zip) cannot be {fault}"):
        list(read_lines(path))


def test_a_locked_archive_is_refused_by_name(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.txt", TEXT.encode())
    content = bytearray(path.read_bytes())
    for signature, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(signature) + place] |= 1  # says that it is encrypted
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"a\.zip cannot be read.*(encrypted|password)"):
        list(read_lines(path))


@pytest.mark.parametrize("name", ["absent.txt", "absent.gz", "absent.zip"])
def test_an_absent_file_is_refused_by_name(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=rf"There is no file .*{re.escape(name)}"):
        list(read_lines(tmp_path / name))


def test_a_folder_is_no_text(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        list(read_lines(tmp_path))


def test_tokens_are_those_of_all_files_end_to_end(tokenizer: Any, tmp_path: Path) -> None:
    paths = [write(tmp_path / f"{i}.txt", TEXT.encode()) for i, write in enumerate(WRITERS)]
    corpus = read_corpus(paths, tokenizer)
    once = tokenizer(TEXT.replace("\n", " "), add_special_tokens=False)["input_ids"]
    assert corpus.ids.tolist() == once * 3


def test_sentences_start_at_lines_and_after_ends_but_a_lines_last(
    tokenizer: Any, tmp_path: Path
) -> None:
    path = write_plain(tmp_path / "a.txt", b"one . two . three .\nfour five\n one ! two ?\n")
    assert read_corpus([path], tokenizer).sentence_starts.tolist() == [0, 2, 4, 6, 8, 10]


def test_unknown_words_end_no_sentence_when_the_vocabulary_lacks_marks(tmp_path: Path) -> None:
    tokenizer = make_tokenizer(tmp_path, [*WORDS, "."])  # no exclamation mark: it is unknown
    path = write_plain(tmp_path / "a.txt", b"one zzz two . three zzz four . five .\n")
    assert read_corpus([path], tokenizer).sentence_starts.tolist() == [0, 4, 8]


def test_many_lines_are_read_like_few(tokenizer: Any, tmp_path: Path) -> None:
    path = write_plain(tmp_path / "a.txt", b"one two .\n\n" * 2500)
    corpus = read_corpus([path], tokenizer)
    assert len(corpus.ids) == 7500
    assert corpus.sentence_starts.tolist() == list(range(0, 7500, 3))


@pytest.mark.parametrize("content", [b"", b"\n \n\t\n"])
def test_files_without_text_are_refused_by_name(
    content: bytes, tokenizer: Any, tmp_path: Path
) -> None:
    path = write_plain(tmp_path / "a.txt", content)
    with pytest.raises(InputError, match=r"There is no text in .*a\.txt"):
        read_corpus([path], tokenizer)


def test_no_file_is_no_text(tokenizer: Any) -> None:
    with pytest.raises(InputError, match="There is no text in no file"):
        read_corpus([], tokenizer)
