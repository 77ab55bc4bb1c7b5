"""`mobilebert predict`: what a model says of texts, one a line."""

import json
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, TextIO

import typer

from mobilebert.commands import Source, show_warnings
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
    - token classification: a text or two; a label for each token
    - question answering: a question and a passage; the words of the passage that answer it
    - multiple choice: a text and its choices; the choice that goes with it, counted from 0
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

    if str(file) != "-" and not file.is_file():
        raise typer.BadParameter(f"there is no file {file}", param_hint="FILE")
    with show_warnings():
        model = load(source, head.value if head else None, backend, optimize=optimize)
    found = Path(source)
    texts = load_tokenizer(tokenizer or (found.parent if found.is_file() else source))
    to_screen = output is None and sys.stdout.isatty()  # then the results tell how far it is
    results = describe_texts(
        model,
        texts,
        _lines(file),
        threshold=threshold,
        token_budget=token_budget,
        progress=sys.stderr.isatty() and not to_screen,
    )
    with output.open("w", encoding="utf-8") if output else nullcontext(sys.stdout) as stream:
        _write(results, stream, as_json or output is not None)


def _lines(file: Path) -> Iterator[str]:
    """The lines of a file or of standard input, without their ends.

    Raises:
        InputError: they are no UTF-8.
    """
    standard = str(file) == "-"
    stream = typer.get_text_stream("stdin", "utf-8") if standard else file.open(encoding="utf-8")
    with nullcontext(stream) if standard else stream as lines:
        try:
            for line in lines:
                yield line.removesuffix("\n")
        except UnicodeDecodeError as error:
            raise InputError(f"{file} is no text in UTF-8: {error}; convert it first") from error


def _write(results: Iterator[dict[str, Any]], stream: TextIO, as_json: bool) -> None:
    for result in results:
        line = json.dumps(result, ensure_ascii=False) if as_json else _readable(result)
        stream.write(f"{line}\n")


def _readable(result: dict[str, Any]) -> str:
    """A line for people: what was predicted, a tab, and the text."""
    if "masks" in result:
        said = "; ".join(", ".join(map(_scored, each)) for each in result["masks"]) or "no [MASK]"
        return f"{said}\t{result['text']}"
    if "tokens" in result:
        return " ".join(f"{each['token']}/{each['label']}" for each in result["tokens"])
    if "answer" in result:
        none = result.get("no_answer_score", 0.0)
        said = f"no answer {none:.3f}" if none > result["score"] else _scored(result)
        return f"{said}\t{result['text']}"
    if "values" in result:
        return f"{', '.join(f'{value:.4f}' for value in result['values'])}\t{result['text']}"
    labels = result.get("labels", [result])
    return f"{', '.join(map(_scored, labels)) or 'no label'}\t{result['text']}"


def _scored(each: dict[str, Any]) -> str:
    said = next(each[name] for name in ("label", "token", "answer") if name in each)
    return f"{said} {each['score']:.3f}"
