"""The tasks of `fine_tuning.py`: their files, how they are split, and how they are trained.

Every task becomes a file to train on and one to test on, which the models, the baselines and
`mobilebert train` read alike. What has a test part of its own keeps it; splits are drawn with a
fixed seed, and what belongs to one paragraph stays on one side.
Read next: `fine_tuning_text.py`, `fine_tuning_practice.py`, `fine_tuning_baselines.py`.
"""

import csv
import gzip
import io
import json
import shutil
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from fine_tuning_practice import long_passages, short_passages
from fine_tuning_text import (
    SEED,
    Split,
    following_sentences,
    next_sentences,
    one_line,
    write_lines,
    write_questions,
)

from mobilebert_training.tasks.examples import split_off


def split(lines: Sequence[str], fraction: float) -> tuple[list[str], list[str]]:
    """Lines to train on, and to test on."""
    kept, aside = split_off(len(lines), fraction, SEED)
    return [lines[place] for place in kept], [lines[place] for place in aside]


def sentence_polarity(data: Path, folder: Path) -> Split:
    """Sentences of film reviews; a tenth is tested on."""
    lines = []
    with zipfile.ZipFile(data / "sentence_polarity" / "sentence_polarity.zip") as archive:
        for ending, label in (("neg", "negative"), ("pos", "positive")):
            content = archive.read(f"sentence_polarity/rt-polarity.{ending}").decode("utf-8")
            lines += [f"{line.strip()}\t{label}" for line in content.splitlines() if line.strip()]
    train, test = split(lines, 0.1)
    return write_lines(folder / "train.tsv", train), write_lines(folder / "test.tsv", test)


def wnut17(data: Path, folder: Path) -> Split:
    """Sentences with entities, in the parts that they come in."""
    for name, part in (("wnut17train.conll", "train"), ("emerging.test.annotated", "test")):
        shutil.copyfile(data / "wnut17" / name, folder / f"{part}.conll")
    return folder / "train.conll", folder / "test.conll"


def goemotions(data: Path, folder: Path) -> Split:
    """Comments with emotions by their names, in the parts that they come in."""
    names = (data / "goemotions" / "labels.txt").read_text(encoding="utf-8").split()
    texts = {
        "train": gzip.decompress((data / "goemotions" / "train.tsv.gz").read_bytes()),
        "test": (data / "goemotions" / "test.tsv").read_bytes(),
    }
    for part, content in texts.items():
        rows = [row.split("\t") for row in content.decode("utf-8").splitlines() if row]
        named = [",".join(names[int(each)] for each in row[1].split(",")) for row in rows]
        lines = [f"{row[0]}\t{label}" for row, label in zip(rows, named, strict=True)]
        write_lines(folder / f"{part}.tsv", lines)
    return folder / "train.tsv", folder / "test.tsv"


def stsb(data: Path, folder: Path) -> Split:
    """Pairs with their similarity, in the parts that they come in."""
    source = data / "stsb"
    texts = {
        "train": gzip.decompress((source / "stsb-en-train.csv.gz").read_bytes()),
        "test": (source / "stsb-en-test.csv").read_bytes(),
    }
    for part, content in texts.items():
        rows = csv.reader(io.StringIO(content.decode("utf-8"), newline=""))
        write_lines(folder / f"{part}.tsv", ["\t".join(map(one_line, row)) for row in rows])
    return folder / "train.tsv", folder / "test.tsv"


def copa(data: Path, folder: Path) -> Split:
    """Premises with two causes or effects, in the parts that they come in (see `Recipe.folds`)."""
    for name, part in (("train", "train"), ("val", "test")):
        shutil.copyfile(data / "copa" / f"{name}.jsonl", folder / f"{part}.jsonl")
    return folder / "train.jsonl", folder / "test.jsonl"


def commonsense_qa(data: Path, folder: Path) -> Split:
    """Questions with five answers: the development part (see `Recipe.folds`)."""
    source = data / "csqa" / "dev_rand_split.jsonl"
    train, test = split(source.read_text(encoding="utf-8").splitlines(), 0.2)
    return write_lines(folder / "train.jsonl", train), write_lines(folder / "test.jsonl", test)


def xquad(data: Path, folder: Path) -> Split:
    """Questions about 240 paragraphs of 48 articles, a fifth of which is tested on."""
    content = json.loads((data / "squad" / "xquad.en.json").read_text(encoding="utf-8"))
    articles = content["data"]  # as in SQuAD, no article stands on both sides
    for part, places in zip(("train", "test"), split_off(len(articles), 0.2, SEED), strict=True):
        paragraphs = [each for place in places for each in articles[place]["paragraphs"]]
        write_questions(folder / f"{part}.json", paragraphs)
    return folder / "train.json", folder / "test.json"


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a task is trained.

    Attributes:
        head: of the model.
        metrics: those that the table has, the deciding one first.
        files: makes the files, from the folder of data and a folder for this task.
        epochs: over the examples; `quick` and `full`.
        most: training examples at most, where the budget is `quick`; None: all.
        learning_rate: the highest.
        batch_size: rows of a step.
        max_length: tokens of a row.
        options: of the head, as `open_task` takes them.
        pair: whether the baseline compares two texts.
        practice: the task that the model is trained on before; empty: none.
        folds: so many parts, each of which is tested on after training on the others; 1: the
            parts that `files` makes. A result is known by its files, not by this number.
    """

    head: str
    metrics: tuple[str, ...]
    files: Callable[[Path, Path], Split]
    epochs: Mapping[str, float]
    most: int | None = None
    learning_rate: float = 5e-4
    batch_size: int = 32
    max_length: int = 64
    options: Mapping[str, Any] = field(default_factory=dict)
    pair: bool = False
    practice: str = ""
    folds: int = field(default=1, repr=False)


def epochs(quick: float, full: float) -> Mapping[str, float]:
    """By budget."""
    return {"quick": quick, "full": full}


TEXTS, CHOICES, QUESTIONS = "sequence-classification", "multiple-choice", "question-answering"
RECIPES: Mapping[str, Recipe] = {
    "sentence polarity": Recipe(
        head=TEXTS,
        metrics=("accuracy",),
        files=sentence_polarity,
        epochs=epochs(2, 4),
        learning_rate=3e-4,
    ),
    "WNUT-17": Recipe(
        head="token-classification",
        metrics=("f1", "precision", "recall"),
        files=wnut17,
        epochs=epochs(10, 20),
        learning_rate=7e-4,
    ),
    "GoEmotions": Recipe(
        head=TEXTS,
        metrics=("f1_micro", "f1_macro"),
        files=goemotions,
        epochs=epochs(3, 4),
        most=12000,
        # The threshold of the data's own paper (Demszky et al., 2020).
        options={"problem_type": "multi_label_classification", "threshold": 0.3},
    ),
    "STS-B": Recipe(
        head=TEXTS,
        metrics=("pearson", "spearman"),
        files=stsb,
        epochs=epochs(6, 10),
        options={"text": 0, "text_pair": 1, "label": 2, "header": False},
        pair=True,
    ),
    "COPA": Recipe(
        head=CHOICES,
        metrics=("accuracy",),
        files=copa,
        epochs=epochs(6, 12),
        learning_rate=2e-4,
        practice="following sentence",
        folds=5,
    ),
    "CommonsenseQA": Recipe(
        head=CHOICES,
        metrics=("accuracy",),
        files=commonsense_qa,
        epochs=epochs(4, 12),
        learning_rate=3e-4,
        practice="following sentence",
        folds=5,
    ),
    "following sentence": Recipe(
        head=CHOICES,
        metrics=("accuracy",),
        files=following_sentences,
        epochs=epochs(2, 4),
        learning_rate=1.5e-4,  # at 3e-4 fresh weights diverge
        max_length=96,
    ),
    "XQuAD": Recipe(
        head=QUESTIONS,
        metrics=("f1", "exact_match"),
        files=xquad,
        epochs=epochs(4, 8),
        learning_rate=2e-4,  # at 5e-4 fresh weights diverge
        max_length=256,
        options={"stride": 64},
        practice="long passages",
    ),
    "next sentence": Recipe(
        head="next-sentence-prediction",
        metrics=("accuracy",),
        files=next_sentences,
        epochs=epochs(3, 5),
        most=4000,
        max_length=96,
        pair=True,
    ),
}

# What is trained on before a task, and is none itself: at first short passages, in which what is
# asked for is soon found.
PRACTICE: Mapping[str, Recipe] = {
    "short passages": Recipe(
        head=QUESTIONS,
        metrics=("f1", "exact_match"),
        files=short_passages,
        epochs=epochs(2, 3),
        learning_rate=7e-4,
        batch_size=64,
        max_length=96,
    ),
    "long passages": Recipe(
        head=QUESTIONS,
        metrics=("f1", "exact_match"),
        files=long_passages,
        epochs=epochs(1, 2),
        max_length=256,
        practice="short passages",
    ),
}


def recipe_of(name: str) -> Recipe:
    """Of a task, or of practice."""
    return RECIPES[name] if name in RECIPES else PRACTICE[name]


def limit_lines(path: Path, most: int | None) -> Path:
    """A file with the first lines of another, shuffled; itself where it is short enough."""
    lines = path.read_text(encoding="utf-8").splitlines()
    if most is None or len(lines) <= most:
        return path
    order = np.random.RandomState(SEED).permutation(len(lines))[:most]
    return write_lines(path.with_stem(f"{path.stem}-{most}"), [lines[place] for place in order])


def cut_in_folds(parts: Split, count: int) -> list[Split]:
    """Files of examples, a line each, so that each example is tested on in one of the splits."""
    lines = [
        line for part in parts for line in part.read_text(encoding="utf-8").split("\n") if line
    ]
    order = np.random.RandomState(SEED).permutation(len(lines))
    splits = []
    for number in range(count):
        tested = set(order[number::count])
        train, test = (part.parent / f"fold-{number}" / part.name for part in parts)
        train.parent.mkdir(exist_ok=True)
        for file, wanted in ((train, False), (test, True)):
            write_lines(file, [line for i, line in enumerate(lines) if (i in tested) == wanted])
        splits.append((train, test))
    return splits


def prepare_task(name: str, data: Path, folder: Path, budget: str) -> list[Split]:
    """The files of a task, made if need be: a split for each fold.

    Args:
        name: a key of `RECIPES` or `PRACTICE`.
        data: the folder of data.
        folder: where files of all tasks go.
        budget: `quick` or `full`.
    """
    recipe, place = recipe_of(name), folder / name.lower().replace(" ", "-")
    place.mkdir(parents=True, exist_ok=True)
    parts = recipe.files(data, place)
    splits = [parts] if recipe.folds == 1 else cut_in_folds(parts, recipe.folds)
    most = recipe.most if budget == "quick" else None
    return [(limit_lines(train, most), test) for train, test in splits]


def names_like(wanted: Sequence[str]) -> Iterator[str]:
    """Tasks whose names contain one of the words; all of them for none."""
    for name in RECIPES:
        if not wanted or any(each.lower() in name.lower() for each in wanted):
            yield name
