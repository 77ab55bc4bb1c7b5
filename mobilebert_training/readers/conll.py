"""CoNLL: a word and its tag on each line, a blank line between sentences.

Where a line has more columns, the first is the word and the last the tag. Columns are separated by
a tab, or by spaces on lines without one. Read next: `tasks/token_classification.py`.
"""

from dataclasses import dataclass
from pathlib import Path

from mobilebert_core.errors import InputError
from mobilebert_training.readers.files import Faults, read_lines

_DOCUMENT = "-DOCSTART-"  # the line before each document of CoNLL-2003


@dataclass(frozen=True)
class Sentence:
    """Words with their tags.

    Attributes:
        words: at least one.
        tags: as many.
        path: the file it is from.
        line: where it begins.
    """

    words: tuple[str, ...]
    tags: tuple[str, ...]
    path: Path = Path("examples")
    line: int = 0


def read_conll(path: Path, encoding: str = "utf-8") -> list[Sentence]:
    """The sentences of a file.

    Raises:
        InputError: a line has a word without a tag or a tag without a word, the file has no
            sentences, or is no text.
    """
    faults = Faults(path)
    sentences: list[Sentence] = []
    pairs: list[tuple[str, str]] = []
    lines = read_lines(path, encoding)
    for number, line in enumerate([*lines, ""], 1):
        if line.strip():
            pair = _word_and_tag(line)
            if pair is None:
                faults.add(number, f"{line[:80]!r} is not a word and its tag, separated by a tab")
            elif pair[0] != _DOCUMENT:
                pairs.append(pair)
        elif pairs:
            words, tags = zip(*pairs, strict=True)
            sentences.append(Sentence(words, tags, path, number - len(pairs)))
            pairs = []
    faults.finish()
    if not sentences:
        raise InputError(f"{path} has no sentences; expected a word and its tag on each line")
    return sentences


def _word_and_tag(line: str) -> tuple[str, str] | None:
    columns = [each.strip() for each in line.split("\t")] if "\t" in line else line.split()
    if len(columns) < 2 or not columns[0] or not columns[-1] or len(columns[-1].split()) > 1:
        return None
    return columns[0], columns[-1]
