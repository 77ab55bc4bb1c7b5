"""`mobilebert.predict`: many texts through a model, in the order in which they came.

A window of texts is read, sorted by length, cut into batches and computed; then its results are
given one by one, and the next window is read. Each result is the one that the model gives for that
text alone. Read next: `prediction_inputs.py` for what a text may be, `prediction_batches.py`.
"""

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import chain, islice
from typing import Any

import numpy as np

from mobilebert_core.backend import Model
from mobilebert_core.errors import ConfigError, InputError, brief
from mobilebert_core.heads import get_head
from mobilebert_core.outputs import Output
from mobilebert_core.prediction_batches import Rectangles, RowOutput, choose_batching
from mobilebert_core.prediction_inputs import Example, InputReader

Array = np.ndarray[Any, np.dtype[Any]]


def predict(
    model: Any,
    inputs: Iterable[Any],
    *,
    tokenizer: Any = None,
    token_budget: int = 4096,
    window: int = 1024,
    prediction_positions: str | None = None,
    progress: bool | None = None,
) -> Iterator[Output[Array]]:
    """One output for each text, in order, from a model of any backend in evaluation mode.

    Texts are computed together with others of similar length, and each result is the one that the
    model gives for that text alone, unpadded. A model loaded with `optimize=True` takes texts side
    by side without padding between them, where its backend can.

    Args:
        model: what `mobilebert.load` or `mobilebert.create` returns.
        inputs: texts, pairs of texts, or mappings of what a tokenizer returns: of one text, flat,
            or of a batch, in which 0s of the attention mask stand at the ends of rows only. Of a
            multiple-choice model: lists of texts or pairs, or mappings of (C, S) or (B, C, S). Any
            iterable, also an endless one; or one mapping.
        tokenizer: for texts; what `mobilebert.load_tokenizer` returns, or one of transformers. A
            text that is longer than the model takes is refused; pass `tokenizer(text,
            truncation=True, max_length=...)` for it.
        token_budget: how many tokens are computed at a time; a longer text is computed alone.
        window: how many texts are read ahead, and how many results are kept.
        prediction_positions: of a model with a masked-lm head: None gives logits at every token,
            `mask` at the [MASK] tokens of each text, which may be none. A mapping may have
            `prediction_positions` of its own.
        progress: whether a bar is shown on standard error. None shows one on a terminal where the
            inputs are at least two windows long.

    Returns:
        An iterator of the head's output dataclass: NumPy arrays without batch axis, for example
        logits (labels,), or (S, labels) for the S tokens of a text. A mapping of a batch gives one
        for each row. Nothing is read before the first one is asked for.

    Raises:
        InputError: an argument is wrong, at once; or an item is, by its number, when its window
            has been read.
        ConfigError: the model is none of this library.
    """
    if not isinstance(model, Model):
        raise ConfigError(
            f"A {type(model).__name__} is no model of this library; expected what mobilebert.load "
            "or mobilebert.create returns"
        )
    for name, value in (("token_budget", token_budget), ("window", window)):
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
            raise InputError(f"{name} is {brief(value)}, expected a positive integer")
    items = [inputs] if isinstance(inputs, Mapping) else inputs
    if isinstance(items, str | bytes) or not isinstance(items, Iterable):
        raise InputError(
            f"inputs is a {type(inputs).__name__}, expected an iterable of texts; pass a list, "
            "also for one text: [text]"
        )
    reader = InputReader(model.config, model.head, tokenizer, prediction_positions)
    batching = choose_batching(model, int(token_budget))
    return _stream(model.head, reader, batching, items, int(window), progress)


def _stream(
    head: str,
    reader: InputReader,
    batching: Rectangles,
    items: Iterable[Any],
    window: int,
    progress: bool | None,
) -> Iterator[Output[Array]]:
    requests = reader.requests(items)
    with _bar(items, window, progress) as advance:
        while taken := list(islice(requests, window)):
            examples = reader.examples(taken)
            results = _compute(batching, examples)
            for number, example in enumerate(examples):
                rows, results[number] = results[number], []  # what was given is not kept
                yield _joined(head, rows)
                advance(example.item)


def _compute(batching: Rectangles, examples: list[Example]) -> list[list[RowOutput]]:
    """The outputs of the rows of each example; the longest rows are computed first."""
    places = [(number, row) for number, each in enumerate(examples) for row in each.rows]
    places.sort(key=lambda place: -len(place[1]))
    outputs = chain.from_iterable(map(batching.compute, batching.cut([row for _, row in places])))
    found = dict(zip((id(row) for _, row in places), outputs, strict=True))
    return [[found.pop(id(row)) for row in each.rows] for each in examples]


def _joined(head: str, rows: list[RowOutput]) -> Output[Array]:
    """The output of one example; choices are rows of one logit each."""
    row = get_head(head)
    fields: dict[str, Any] = dict(rows[0])
    if row.choices:
        fields = {"logits": np.concatenate([each["logits"] for each in rows])}  # (C,)
    return row.output(**fields)


@contextmanager
def _bar(items: Iterable[Any], window: int, wanted: bool | None) -> Iterator[Callable[[int], None]]:
    """A progress bar if it is wanted; what comes out is told the number of a finished item."""
    total = _length(items)
    if wanted is None:
        wanted = sys.stderr.isatty() and total is not None and total >= 2 * window
    if not wanted:
        yield lambda item: None
        return
    from rich.console import Console
    from rich.errors import LiveError
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("Predicting"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    bar = Progress(*columns, console=Console(stderr=True), transient=True)
    task = bar.add_task("", total=total)
    with suppress(LiveError):  # another display is there, and a terminal has room for one
        bar.start()
    try:
        yield lambda item: bar.update(task, completed=item + 1)
    finally:
        bar.stop()


def _length(items: Iterable[Any]) -> int | None:
    try:
        return len(items)  # type: ignore[arg-type]
    except TypeError:  # it has none, or, as data loaders do, cannot tell it
        return None
