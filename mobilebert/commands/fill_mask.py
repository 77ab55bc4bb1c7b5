"""`mobilebert fill-mask`: the likeliest words at each [MASK] of a text."""

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from mobilebert.commands import console, new_table, plain, print_json
from mobilebert.commands.text_files import text_lines

if TYPE_CHECKING:
    from mobilebert_core.mask_filling import FilledText

_BAR = 20  # characters of a probability of 1


def command(
    texts: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[TEXT]",
            help="Texts, each with one [MASK] or several.  [default: lines of standard input]",
            show_default=False,
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="SOURCE",
            help="A folder, a weights file, a packaged name or a hub id.  [default: the packaged "
            "mobilebert-nano]",
            show_default=False,
        ),
    ] = None,
    backend: Annotated[
        str, typer.Option(help="Which backend computes; NumPy starts soonest.")
    ] = "numpy",
    top: Annotated[int, typer.Option(min=1, help="How many words to show for a [MASK].")] = 5,
    whole_words: Annotated[
        bool,
        typer.Option("--whole-words", help="Leave out ## pieces, which continue the word before."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """Fill each [MASK] of a text with the likeliest words, and say how likely they are.

    A masked-language model is trained to guess hidden words from the words on both sides. Put
    [MASK], in capitals and brackets, where a word is wanted; several in a text are guessed
    independently. A probability is the share of that word among all tokens of the vocabulary; the
    words are the same in every backend.

    For example:

    - `mobilebert fill-mask "The [MASK] was dark."`: with the packaged model, at once
    - `mobilebert fill-mask "He opened the [MASK] and sat down on the [MASK]." --top 3`
    - `mobilebert fill-mask "Paris is the [MASK] of France." --model google/mobilebert-uncased`
    - `mobilebert fill-mask --json < lines.txt`: a text a line, for programs
    """
    from mobilebert_core.mask_filling import fill_mask

    given = texts or _standard_input()
    found = fill_mask(given, model, backend=backend, top=top, whole_words=whole_words)
    if as_json:
        print_json([asdict(each) for each in found])
        return
    for each in found:
        console().print(_table(each))


def _standard_input() -> list[str]:
    """The lines of standard input that hold something."""
    if sys.stdin.isatty():
        raise typer.BadParameter(
            'give a text, e.g. "The [MASK] was dark.", or lines on standard input',
            param_hint="TEXT",
        )
    found = [line for line in text_lines(Path("-")) if line.strip()]
    if not found:
        raise typer.BadParameter("standard input holds no text", param_hint="TEXT")
    return found


def _table(found: "FilledText") -> Table:
    """The candidates of all [MASK]s of a text, each with the text that it makes."""
    several = len(found.masks) > 1
    numbers = ("probability",)
    columns = ("[MASK]",) * several + ("word", "probability", "", "text")
    table = new_table("", *map(_heading, columns), numbers=numbers)
    table.title = plain(found.text, "bold")
    for number, candidates in enumerate(found.masks, start=1):
        for place, each in enumerate(candidates):
            bar = "█" * round(_BAR * each.probability) or "▏"
            cells = (each.token, f"{each.probability:.1%}", bar, each.text)
            first = (plain(number if place == 0 else ""),) * several
            style = "green" if place == 0 else ""
            table.add_row(*first, *(plain(cell, style) for cell in cells))
        table.add_section()
    return table


def _heading(name: str) -> str:
    return name.replace("[", r"\[")  # rich would read it as markup
