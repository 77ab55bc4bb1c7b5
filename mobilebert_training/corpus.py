"""Running text: files of paragraphs become one stream of token ids.

A line is a paragraph; empty lines are left out. Texts follow one another in the stream as they do
in the files, and the files as they are given: a row may begin in one text and end in the next.
Plain text files, compressed ones (.gz) and archives (.zip) of them are read. Read next:
`tasks/pretraining.py`.

N tokens of a corpus
"""

import io
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from lzma import LZMAError
from pathlib import Path
from typing import Any

import numpy as np

from mobilebert_core.errors import InputError
from mobilebert_training.readers import files

Array = np.ndarray[Any, np.dtype[Any]]

_SENTENCE_ENDS = (".", "!", "?", "\N{IDEOGRAPHIC FULL STOP}", "\N{DEVANAGARI DANDA}")
_LINES_AT_A_TIME = 1000
_DAMAGE = (zipfile.BadZipFile, zlib.error, LZMAError)


@dataclass(frozen=True)
class Corpus:
    """The tokens of some texts, end to end.

    Attributes:
        ids: (N,) int32, without special tokens.
        sentence_starts: (M,) int64, ascending: where a line begins, and what follows the end of a
            sentence; not the last end of a line, where at most a quotation mark follows.
    """

    ids: Array
    sentence_starts: Array


def read_lines(path: Path) -> Iterator[str]:
    """The lines of a text file, a compressed one or an archive of them, in order.

    Raises:
        InputError: the file is absent, damaged or no text in UTF-8; it names file and line.
    """
    for name, content in _contents(path):
        yield from files.split_lines(files.decode(content, name))


def _contents(path: Path) -> Iterator[tuple[str, bytes]]:
    content = files.read_bytes(path)
    if path.suffix.lower() != ".zip":
        yield str(path), content
        return
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for name in sorted(archive.namelist()):
                if name.lower().endswith(".txt"):
                    yield f"{path}, {name}", archive.read(name)
    except (OSError, ValueError, EOFError, RuntimeError, *_DAMAGE) as error:
        raise InputError(f"{path} cannot be read: {error}") from error


def read_corpus(paths: Iterable[Path], tokenizer: Any) -> Corpus:
    """Tokenise files.

    Args:
        paths: text files, in this order.
        tokenizer: what `load_tokenizer` gives.

    Raises:
        InputError: a file is absent, damaged or no text, or there is no text in any.
    """
    paths = list(paths)
    pieces: list[Array] = []
    starts: list[Array] = []
    found = set(map(tokenizer.convert_tokens_to_ids, _SENTENCE_ENDS))
    ends = list(found - {tokenizer.unk_token_id})
    length = 0
    for lines in _chunks(line for path in paths for line in read_lines(path)):
        encoded = tokenizer(lines, add_special_tokens=False, verbose=False)["input_ids"]
        for ids in map(np.asarray, encoded):
            if len(ids):
                after_ends = np.flatnonzero(np.isin(ids, ends))[:-1] + 1
                starts.append(length + np.concatenate([[0], after_ends]))
                pieces.append(ids.astype(np.int32))
                length += len(ids)
    if not pieces:
        named = ", ".join(map(str, paths)) or "no file"
        raise InputError(f"There is no text in {named}; expected a paragraph a line")
    return Corpus(np.concatenate(pieces), np.concatenate(starts).astype(np.int64))


def _chunks(lines: Iterable[str]) -> Iterator[list[str]]:
    chunk: list[str] = []
    for line in lines:
        if line.strip():
            chunk.append(line)
        if len(chunk) == _LINES_AT_A_TIME:
            yield chunk
            chunk = []
    if chunk:
        yield chunk
