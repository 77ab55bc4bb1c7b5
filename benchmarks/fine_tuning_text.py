"""How the files of a task are written, and tasks about neighbouring sentences of running text.

Running text is nano's own: what is trained on comes from its training text, what is tested on from
its held-out text. Everything is drawn with a fixed seed. Read next: `fine_tuning_practice.py`.
"""

import json
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from nano_text import load_preparation

SEED = 0
NOVELS_AND_ARTICLES = ("pg_", "wikitext2")  # sources by their names
PROSE = (*NOVELS_AND_ARTICLES, "state_union")
NEXT_SENTENCES = (6000, 2000)  # pairs to train on and to test on
FOLLOWING = (6000, 1500)  # sentences to train on and to test on
LABELS = "ABCD"  # of the choices
SENTENCE_END = re.compile(r"(?<=[.!?])[\"”’']?\s+(?=[A-Z\"“‘])")
Split = tuple[Path, Path]
Draw = np.random.RandomState


def write_lines(path: Path, lines: Sequence[str]) -> Path:
    """A text file."""
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def write_questions(path: Path, paragraphs: Sequence[Any]) -> Path:
    """A SQuAD file of one article."""
    content = [{"title": path.stem, "paragraphs": paragraphs}]
    text = json.dumps({"version": "1.1", "data": content}, ensure_ascii=False)
    path.write_text(text, encoding="utf-8")
    return path


def one_line(text: str) -> str:
    """A text that can stand in a table."""
    return " ".join(text.split())


def sources(data: Path, names: tuple[str, ...], *, held_out: bool) -> Iterator[list[str]]:
    """The paragraphs of each source whose name begins so."""
    preparation = load_preparation()
    for name, (file, read) in preparation.SOURCES.items():
        if name.startswith(names) and (name in preparation.HELD_OUT) == held_out:
            yield list(read(data / file))


def sentences_of(paragraph: str) -> list[str]:
    """The sentences of a paragraph, each without line breaks."""
    return [one_line(each) for each in SENTENCE_END.split(paragraph) if each.strip()]


def neighbours(
    paragraphs: Sequence[str], counts: Callable[[str], bool]
) -> tuple[list[str], list[str]]:
    """Sentences, and those that follow them; none is in two pairs.

    Args:
        paragraphs: of running text.
        counts: whether a sentence does; others are skipped.
    """
    firsts, seconds = [], []
    for paragraph in paragraphs:
        sentences = [each for each in sentences_of(paragraph) if counts(each)]
        firsts += sentences[:-1:2]
        seconds += sentences[1::2]
    return firsts, seconds


def next_sentences(data: Path, folder: Path) -> Split:
    """Pairs whose second part follows the first, or is from elsewhere in the same source."""
    draw = Draw(SEED)
    for part, wanted in zip(("train", "test"), NEXT_SENTENCES, strict=True):
        pairs: list[str] = []
        for lines in sources(data, NOVELS_AND_ARTICLES, held_out=part == "test"):
            pairs += labelled_pairs(lines, draw)
        chosen = draw.permutation(len(pairs))[:wanted]
        write_lines(folder / f"{part}.tsv", [pairs[place] for place in chosen])
    return folder / "train.tsv", folder / "test.tsv"


def labelled_pairs(paragraphs: Sequence[str], draw: Draw) -> list[str]:
    """Neighbouring sentences, half of the second ones exchanged."""
    firsts, seconds = neighbours(paragraphs, lambda sentence: len(sentence.split()) > 4)
    labels = draw.randint(0, 2, len(firsts))
    elsewhere = draw.randint(0, max(1, len(seconds)), len(firsts))
    return [
        f"{first}\t{seconds[other] if label else second}\t{label}"
        for first, second, other, label in zip(firsts, seconds, elsewhere, labels, strict=True)
    ]


def following_sentences(data: Path, folder: Path) -> Split:
    """Which of four sentences follows: the others are from elsewhere in the same source."""
    draw = Draw(SEED)
    for part, wanted in zip(("train", "test"), FOLLOWING, strict=True):
        rows: list[str] = []
        for lines in sources(data, PROSE, held_out=part == "test"):
            firsts, seconds = neighbours(lines, lambda sentence: len(sentence) > 20)
            rows += [choices_row(each, seconds, place, draw) for place, each in enumerate(firsts)]
        chosen = draw.permutation(len(rows))[:wanted]
        write_lines(folder / f"{part}.jsonl", [rows[place] for place in chosen])
    return folder / "train.jsonl", folder / "test.jsonl"


def choices_row(first: str, seconds: Sequence[str], place: int, draw: Draw) -> str:
    """A line of a file of choices, in the form of CommonsenseQA; `seconds[place]` follows."""
    others = [seconds[other] for other in draw.randint(0, len(seconds), len(LABELS) - 1)]
    order = draw.permutation(len(LABELS))
    texts = [[seconds[place], *others][each] for each in order]
    key = LABELS[int(np.flatnonzero(order == 0)[0])]
    choices = {"label": list(LABELS), "text": texts}
    return json.dumps({"question": first, "choices": choices, "answerKey": key})
