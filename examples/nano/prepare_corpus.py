"""Make the text that `mobilebert-nano` is trained on: plain files, a paragraph a line.

Reads the folder of free texts that README.md here lists. WikiText's marks are undone, words that it
hides become [UNK], and of GoEmotions the comments of the training part are taken. Held-out text,
WikiText-2's test part and one novel, goes into a folder of its own, cleaned in the same way.
"""

import csv
import gzip
import re
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
    output: Annotated[Path, typer.Argument(help="Where train/ and held_out/ go.")],
) -> None:
    """Write the training text and the held-out text."""
    for name, (file, read) in SOURCES.items():
        folder = output / ("held_out" if name in HELD_OUT else "train")
        folder.mkdir(parents=True, exist_ok=True)
        text = "".join(f"{line}\n" for line in read(data / file))
        (folder / f"{name}.txt").write_text(text, encoding="utf-8")
        print(f"{folder / name}.txt: {len(text.split()):,} words")


if __name__ == "__main__":
    typer.run(main)
