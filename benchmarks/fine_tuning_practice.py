"""Practice before fine-tuning: questions that running text asks itself.

What `mobilebert-nano` has never had to do, to find in one text what another one says, it can learn
without a label. A few sentences are a passage; one of them loses a name, a number or a few words,
which are the answer, and what stands around it becomes the question (Lewis et al., 2019,
"Unsupervised question answering by cloze translation").
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from fine_tuning_text import PROSE, SEED, Draw, Split, sentences_of, sources, write_questions

# Not the [UNK] for a word that WikiText hides.
WORD = re.compile(r"(?<!\[)\b[\w'’-]+")
TOLD = re.compile(rf"{WORD.pattern}|[,;]")  # what a question keeps
PASSES = 2  # over the text, cut into other passages each time
ASKED = 2  # sentences of a passage, at most
SENTENCE_WORDS = (6, 60)  # of a sentence that is asked about
ANSWER_WORDS = 4  # at most
AROUND = (4, 14)  # words around the answer that become the question
FORGOTTEN = 0.1  # of these
HELD_OUT = 1000  # passages

ASKING = {"number": ("when", "how many", "what"), "name": ("who", "where", "which"), "": ("what",)}
SMALL_WORDS = frozenset(
    re.findall(
        r"\w+",
        "a about after all an and any are as at be been before being but by can could did do does "
        "for from had has have he her here him his how i if in into is it its may me might must my "
        "no not of on one or our out over shall she should so some than that the their them then "
        "there these they this those to under up upon us was we were what when where which who "
        "whom why will with would you your",
    )
)


class Span(NamedTuple):
    """A part of a sentence that could be an answer.

    Attributes:
        start: its first character, and
        end: the one after its last.
        kind: a key of `ASKING`.
    """

    start: int
    end: int
    kind: str


def passages(lines: Sequence[str], words: tuple[int, int], draw: Draw) -> Iterator[list[str]]:
    """Sentences that stand beside each other, between so many words together, or a few more."""
    passage: list[str] = []
    size, wanted = 0, draw.randint(*words)
    for sentence in (each for line in lines for each in sentences_of(line)):
        passage.append(sentence)
        size += len(sentence.split())
        if size >= wanted:
            if size < 1.5 * words[1]:
                yield passage
            passage, size, wanted = [], 0, draw.randint(*words)


def answers_in(sentence: str) -> list[Span]:
    """Numbers, names and words between small words: up to `ANSWER_WORDS` with nothing but a space.

    Example:
        >>> [each.kind for each in answers_in("The war of 1812 made James Monroe very popular.")]
        ['', 'number', '', 'name', '']
    """
    found: list[Span] = []
    so_far = 0  # words of the span that is open
    for word in WORD.finditer(sentence):
        kind = _kind(word)
        if word.group().lower() in SMALL_WORDS:
            so_far = 0
            continue
        joined = so_far and sentence[found[-1].end : word.start()] == " "
        if joined and so_far < ANSWER_WORDS and found[-1].kind == kind:
            found[-1] = found[-1]._replace(end=word.end())
            so_far += 1
        else:
            found.append(Span(word.start(), word.end(), kind))
            so_far = 1
    return found


def _kind(word: re.Match[str]) -> str:
    if any(each.isdigit() for each in word.group()):
        return "number"
    return "name" if word.start() and word.group()[0].isupper() else ""


def ask(sentence: str, answer: Span, draw: Draw) -> str:
    """What stands around the answer as a question; empty where nearly nothing does."""
    left = TOLD.findall(sentence[: answer.start])
    right = TOLD.findall(sentence[answer.end :])
    size = draw.randint(*AROUND)
    before = draw.randint(0, size + 1)
    left, right = left[max(0, len(left) - before) :], right[: size - before]
    if len(left) + len(right) < AROUND[0]:
        return ""
    left, right = ([each for each in part if draw.rand() >= FORGOTTEN] for part in (left, right))
    asking = [str(draw.choice(ASKING[answer.kind]))]
    order = ([*asking, *left, *right], [*asking, *right, *left], [*left, *asking, *right])
    return " ".join(order[draw.randint(len(order))]).strip(" ,;") + "?"


def paragraph_of(passage: Sequence[str], name: str, draw: Draw) -> dict[str, Any]:
    """A paragraph of a SQuAD file, with up to `ASKED` questions."""
    context, asked = " ".join(passage), []
    starts = np.cumsum([0, *(len(each) + 1 for each in passage)])
    for place in draw.permutation(len(passage))[:ASKED]:
        sentence, spans = passage[place], answers_in(passage[place])
        if not spans or not SENTENCE_WORDS[0] <= len(sentence.split()) <= SENTENCE_WORDS[1]:
            continue
        likely = np.array([3.0 if span.kind else 1.0 for span in spans])
        span = spans[draw.choice(len(spans), p=likely / likely.sum())]
        text, question = sentence[span.start : span.end], ask(sentence, span, draw)
        if question and context.count(text) == 1:
            answer = {"text": text, "answer_start": int(starts[place]) + span.start}
            asked.append({"id": f"{name}-{place}", "question": question, "answers": [answer]})
    return {"context": context, "qas": asked}


def cloze_questions(data: Path, folder: Path, words: tuple[int, int]) -> Split:
    """SQuAD files of questions about passages of so many words."""
    draw = Draw(SEED)
    for part, passes in (("train", PASSES), ("test", 1)):
        texts = list(sources(data, PROSE, held_out=part == "test"))
        found = [
            paragraph_of(passage, f"{part}-{number}-{source}-{place}", draw)
            for number in range(passes)
            for source, lines in enumerate(texts)
            for place, passage in enumerate(passages(lines, words, draw))
        ]
        asked = [each for each in found if each["qas"]]
        order = draw.permutation(len(asked))[: HELD_OUT if part == "test" else None]
        write_questions(folder / f"{part}.json", [asked[place] for place in order])
    return folder / "train.json", folder / "test.json"


def short_passages(data: Path, folder: Path) -> Split:
    """Questions about two sentences or so."""
    return cloze_questions(data, folder, (18, 40))


def long_passages(data: Path, folder: Path) -> Split:
    """Questions about what a paragraph holds."""
    return cloze_questions(data, folder, (70, 140))
