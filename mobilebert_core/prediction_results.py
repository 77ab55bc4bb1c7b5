"""What a model says of lines of text, in words, as `mobilebert predict` writes it.

Read next: `prediction_words.py` for what each head says.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from mobilebert_core.errors import ConfigError, InputError, brief
from mobilebert_core.outputs import Output
from mobilebert_core.prediction import predict
from mobilebert_core.prediction_words import WINDOW_OF_MASKS, WORDS, Item, Reader, Words


def describe_texts(
    model: Any,
    tokenizer: Any,
    lines: Iterable[str],
    *,
    threshold: float = 0.5,
    window: int | None = None,
    **options: Any,
) -> Iterator[dict[str, Any]]:
    """What a model says of each line, in order; tabs separate the texts of a line.

    A longer text than the model takes is cut, and says so with `truncated`; a passage in which an
    answer is looked for is read in windows.

    Args:
        model: of a head that `WORDS` lists.
        tokenizer: what `mobilebert.load_tokenizer` returns.
        lines: without their line ends.
        threshold: from which probability on a label holds, where a text may have several.
        window: how many texts are read ahead; None is 1024, and 64 of a masked-lm model.
        **options: others of `predict`.

    Raises:
        ConfigError: no words are known for the head.
        InputError: a line has too few texts for the head, by its number; after the results of the
            lines before it.
    """
    if model.head not in WORDS:
        raise ConfigError(
            f"What the {model.head} model says has no words; predict from Python with "
            f"mobilebert.predict, or take one of {', '.join(WORDS)}"
        )
    usual = WINDOW_OF_MASKS if model.head == "masked-lm" else 1024
    reader = Reader(model.config, tokenizer, threshold)
    return _described(model, WORDS[model.head], reader, lines, window=window or usual, **options)


def _described(
    model: Any, words: Words, reader: Reader, lines: Iterable[str], **options: Any
) -> Iterator[dict[str, Any]]:
    waiting: deque[tuple[str, Item]] = deque()
    faults: list[InputError] = []

    def rows() -> Iterator[Mapping[str, Any]]:
        for number, line in enumerate(lines, 1):
            texts = line.split("\t", -1 if words.most is None else words.most - 1)
            if len(texts) < words.fewest:
                told = f"Line {number} is {brief(line)}, expected {words.line}"
                faults.append(InputError(told))
                return  # the lines before it get their results first
            item = words.read(reader, texts)
            waiting.append((line, item))
            yield from item.rows

    outputs: list[Output[Any]] = []
    for output in predict(model, rows(), **options):
        outputs.append(output)
        line, item = waiting[0]
        if len(outputs) == len(item.rows):
            cut = {"truncated": True} if item.truncated else {}
            yield {"text": line, **item.describe(outputs), **cut}
            waiting.popleft()
            outputs = []
    if faults:
        raise faults[0]
