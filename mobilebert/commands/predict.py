"""`mobilebert predict`: what a model says of texts, one a line."""

import json
import sys
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import IO, Annotated, Any

import typer

from mobilebert.commands import Source, note, show_warnings
from mobilebert.commands.text_files import text_lines, written_at_once
from mobilebert_core.errors import InputError


class _Head(StrEnum):
    SEQUENCE_CLASSIFICATION = "sequence-classification"
    TOKEN_CLASSIFICATION = "token-classification"
    QUESTION_ANSWERING = "question-answering"
    MULTIPLE_CHOICE = "multiple-choice"
    NEXT_SENTENCE_PREDICTION = "next-sentence-prediction"
    MASKED_LM = "masked-lm"


def command(
    source: Source,
    file: Annotated[
        Path, typer.Argument(help="Texts, one a line, in UTF-8; - is standard input.")
    ] = Path("-"),
    head: Annotated[
        _Head | None, typer.Option(help="What to predict.  [default: the checkpoint's own]")
    ] = None,
    backend: Annotated[
        str | None, typer.Option(help="Which backend computes.  [default: the first installed]")
    ] = None,
    tokenizer: Annotated[
        str | None, typer.Option(help="Another folder or hub id for it.  [default: SOURCE]")
    ] = None,
    threshold: Annotated[
        float,
        typer.Option(
            min=0, max=1, help="From which probability on a label holds, where texts have several."
        ),
    ] = 0.5,
    optimize: Annotated[
        bool, typer.Option(help="Fold the encoder's normalisations into its weights: quicker.")
    ] = True,
    token_budget: Annotated[
        int, typer.Option(min=1, help="How many tokens are computed at a time.")
    ] = 4096,
    window: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="How many texts are read ahead, to be computed with others of their length; 1: "
            "none.  [default: 1024; of masked-lm 64]",
            show_default=False,
        ),
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="Write JSON lines to this file instead of the screen.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print a JSON object for each line.")
    ] = False,
) -> None:
    """Predict from texts, one a line, in their order.

    What a line is, with tabs between its texts, and what is said of it:

    - sequence classification: a text or two; its label, its labels, or its numbers
    - token classification: a text; a label for each word
    - question answering: a question and a passage; the words of the passage that answer it
    - multiple choice: a text and its choices; the choice that goes with it, counted from 0. A text
      of COPA ends with "because" or "so", as it does in training
    - next-sentence prediction: two texts; whether the second follows the first
    - masked-lm: a text or two; the five likeliest tokens at each [MASK]

    For example:

    - `mobilebert predict my-model reviews.txt`: a label for each review
    - `mobilebert predict my-model reviews.txt --output labels.jsonl`: for programs
    - `echo "Paris is the [MASK] of France." | mobilebert predict my-model --head masked-lm`
    """
    from mobilebert_core.loading import load
    from mobilebert_core.prediction_results import describe_texts
    from mobilebert_core.tokenization import load_tokenizer

    _check_places(file, output)
    with show_warnings():
        model = load(source, head.value if head else None, backend, optimize=optimize)
    found = Path(source)
    texts = load_tokenizer(tokenizer or (found.parent if found.is_file() else source))
    to_screen = output is None and sys.stdout.isatty()  # then the results tell how far it is
    results = describe_texts(
        model,
        texts,
        text_lines(file),
        threshold=threshold,
        window=window,
        token_budget=token_budget,
        progress=sys.stderr.isatty() and not to_screen,
    )
    if output is None:
        escaped = (sys.stdout.encoding or "utf-8").lower().replace("-", "") != "utf8"
        _write(results, sys.stdout, as_json, escaped)
        return
    with written_at_once(output) as stream:
        _write(results, stream, True)


def _check_places(file: Path, output: Path | None) -> None:
    """Refuse files that are none before anything is loaded or lost.

    Raises:
        InputError: says which and why.
    """
    if str(file) != "-" and (not file.exists() or file.is_dir()):
        what = "is a folder" if file.is_dir() else "is not there"
        raise InputError(f"{file} {what}, expected a file of texts, one a line")
    if output is None:
        return
    if output.is_dir() or not output.parent.is_dir():
        what = "is a folder" if output.is_dir() else f"has no folder {output.parent}"
        raise InputError(f"--output {output} {what}, expected the name of a file")
    if str(file) != "-" and output.exists() and output.samefile(file):
        raise InputError(
            f"--output {output} holds the texts and would be replaced; give another file"
        )


def _write(
    results: Iterator[dict[str, Any]], stream: IO[str], as_json: bool, escaped: bool = False
) -> None:
    """Write results; `escaped` where the stream has no place for some letters."""
    cut = 0
    for result in results:
        cut += "truncated" in result
        line = json.dumps(result, ensure_ascii=escaped) if as_json else _readable(result)
        stream.write(f"{line}\n")
        stream.flush()  # whoever reads a pipe sees it now, and a closed one ends this quietly
    if cut:
        note(f"{cut} of the texts were longer than the model takes, and cut")


def _readable(result: dict[str, Any]) -> str:
    """A line for people: what was predicted, a tab, and the text."""
    if "masks" in result:
        said = "; ".join(", ".join(map(_scored, each)) for each in result["masks"]) or "no [MASK]"
        return f"{said}\t{result['text']}"
    if "words" in result:
        return " ".join(f"{each['word']}/{each['label']}" for each in result["words"])
    if "answer" in result:
        none = f", or no answer {result['no_answer_score']:.3f}" if result.get("no_answer") else ""
        return f"{_scored(result)}{none}\t{result['text']}"
    if "values" in result:
        return f"{', '.join(f'{value:.4f}' for value in result['values'])}\t{result['text']}"
    labels = result.get("labels", [result])
    return f"{', '.join(map(_scored, labels)) or 'no label'}\t{result['text']}"


def _scored(each: dict[str, Any]) -> str:
    said = next(each[name] for name in ("label", "token", "answer") if name in each)
    return f"{said} {each['score']:.3f}"
