"""`mobilebert train-tokenizer`: a vocabulary of word pieces from text."""

from pathlib import Path
from typing import Annotated

import typer

from mobilebert.commands import console, plain
from mobilebert_core.errors import InputError


def command(
    files: Annotated[
        list[Path],
        typer.Argument(help="Text, .gz and .zip too, a paragraph a line.", show_default=False),
    ],
    output: Annotated[
        Path, typer.Option(metavar="FOLDER", help="Where vocab.txt and its settings go.")
    ],
    vocab_size: Annotated[
        int, typer.Option(min=100, help="How many pieces, the special tokens among them.")
    ] = 8000,
    cased: Annotated[
        bool,
        typer.Option("--cased", help="Keep capitals and accents; by default they are dropped."),
    ] = False,
) -> None:
    """Learn a vocabulary of word pieces from text, for a model with fresh weights.

    The same text gives the same vocabulary. `mobilebert train pretraining --tokenizer FOLDER` takes
    it, and so does `mobilebert.load_tokenizer(FOLDER)`.

    For example:

    - `mobilebert train-tokenizer books/*.txt --output pieces`
    - `mobilebert train-tokenizer wiki.txt.gz --output pieces --vocab-size 16000 --cased`
    """
    from mobilebert_training.vocabulary import train_vocabulary

    if (output / "vocab.txt").exists():
        raise InputError(f"{output} holds a vocabulary; give another folder, or delete it first")
    tokenizer = train_vocabulary(files, output, vocab_size=vocab_size, lowercase=not cased)
    console().print(plain(f"{output}: {len(tokenizer):,} pieces"))
