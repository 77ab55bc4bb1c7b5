"""What the packaged models say of a few plain sentences: what `mobilebert demo` shows first.

Rules: only models that are packaged take part, each on sentences of its own kind; NumPy computes,
for nothing else is sure to be installed. Read next: `packaged.py`.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from mobilebert_core import packaged
from mobilebert_core.loading import load
from mobilebert_core.mask_filling import fill_mask
from mobilebert_core.prediction_results import describe_texts
from mobilebert_core.tokenization import load_tokenizer

_BACKEND = "numpy"
_TOP = 4
_NO_ENTITY = "O"
_THRESHOLD = 0.3  # at which the model of emotions was measured

# Our own wording, but for the first, which everybody knows.
_MASKED = (
    "It was a dark and stormy [MASK].",
    "She opened the [MASK] and looked out of the window.",
    "He was the king of [MASK].",
    "They lived in a small [MASK] near the river.",
)
_FEELINGS = (
    "Thank you so much, this is exactly what I needed!",
    "That is the worst thing I have ever heard.",
    "Does anyone know why they left so early?",
)
_NAMES = (
    "Ada Lovelace met Charles Babbage in London.",
    "Charles Darwin sailed from Plymouth aboard the Beagle.",
)


@dataclass(frozen=True)
class Saying:
    """What a model says of a sentence.

    Attributes:
        model: name of a packaged model.
        text: the sentence.
        said: its answer, in words.
    """

    model: str
    text: str
    said: str


def showcase() -> Iterator[Saying]:
    """What each packaged model says of its sentences, one by one."""
    for name in packaged.names():
        if name in _SHOWN:
            say, texts = _SHOWN[name]
            for text, said in zip(texts, say(name, texts), strict=True):
                yield Saying(name, text, said)


def _words(name: str, texts: tuple[str, ...]) -> Iterator[str]:
    for found in fill_mask(texts, name, backend=_BACKEND, top=_TOP):
        (candidates,) = found.masks
        yield ", ".join(f"{each.token} {each.probability:.0%}" for each in candidates)


def _labels(name: str, texts: tuple[str, ...]) -> Iterator[str]:
    """Every label that holds."""
    model, tokenizer = load(name, backend=_BACKEND), load_tokenizer(name)
    for found in describe_texts(model, tokenizer, texts, threshold=_THRESHOLD):
        held = [f"{each['label']} {each['score']:.0%}" for each in found["labels"]]
        yield ", ".join(held) or "no label"


def _entities(name: str, texts: tuple[str, ...]) -> Iterator[str]:
    """Names, which may be several words."""
    for found in describe_texts(load(name, backend=_BACKEND), load_tokenizer(name), texts):
        words = found["words"]
        places = [(each["start"], each["end"]) for each in words]
        spans = entity_spans([each["label"] for each in words], places)
        names = [f"{found['text'][start:end]} ({kind})" for kind, start, end in spans]
        yield ", ".join(names) or "no name"


def entity_spans(labels: list[str], offsets: list[tuple[int, int]]) -> list[tuple[str, int, int]]:
    """Kind, start and end of each entity: `B-` begins one, `I-` of the same kind goes on.

    Example:
        >>> labels = ["B-person", "I-person", "O", "B-place"]  # Ada Lace in London
        >>> entity_spans(labels, [(0, 3), (4, 8), (9, 11), (12, 18)])
        [('person', 0, 8), ('place', 12, 18)]
    """
    spans: list[tuple[str, int, int]] = []
    before = _NO_ENTITY
    for label, (start, end) in zip(labels, offsets, strict=True):
        kind = label.removeprefix("B-").removeprefix("I-")
        if label != _NO_ENTITY:
            if spans and before == kind and not label.startswith("B-"):
                start = spans.pop()[1]
            spans.append((kind, start, end))
        before = kind
    return spans


_SHOWN: dict[str, tuple[Callable[[str, tuple[str, ...]], Iterator[Any]], tuple[str, ...]]] = {
    packaged.DEFAULT: (_words, _MASKED),
    f"{packaged.DEFAULT}-emotions": (_labels, _FEELINGS),
    f"{packaged.DEFAULT}-entities": (_entities, _NAMES),
}
