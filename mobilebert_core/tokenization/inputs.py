"""Texts as users give them, checked and sorted into samples.

Rules: a str is one text; a list is a batch of texts, or of words with `is_split_into_words`; a
batch may hold pairs as tuples; all faults are collected before raising. Read next: `base.py`.
"""

from typing import Any

from mobilebert_core.errors import TokenizerError, raise_faults

Text = str | list[str]
Sample = tuple[Text, ...]
_SHOWN_FAULTS = 20


def read_samples(
    text: Any, text_pair: Any = None, *, is_split_into_words: bool = False
) -> tuple[list[Sample], bool]:
    """The samples, each of one or two texts, and whether they were given as a batch.

    Raises:
        TokenizerError: something is no text; every fault is listed.

    Example:
        >>> read_samples("one", "two")
        ([('one', 'two')], False)
        >>> read_samples(["one", "two"])
        ([('one',), ('two',)], True)
    """
    is_batch = isinstance(text, list | tuple)
    if is_split_into_words:
        is_batch = is_batch and len(text) > 0 and isinstance(text[0], list | tuple)
    items = list(text) if is_batch else [text]
    names = [f"text[{index}]" for index in range(len(items))] if is_batch else ["text"]
    if not items:
        raise TokenizerError("text is an empty batch; give at least one text")
    if text_pair is None:
        samples = [_as_sample(item, is_split_into_words, is_batch) for item in items]
    else:
        samples = list(zip(items, _seconds(text_pair, len(items), is_batch), strict=True))
    faults: list[str] = []
    for sample, name in zip(samples, names, strict=True):
        for place, part in zip((name, name.replace("text", "text_pair")), sample, strict=False):
            _check(part, place, is_split_into_words, faults)
    if len(faults) > _SHOWN_FAULTS:
        faults[_SHOWN_FAULTS:] = [f"and {len(faults) - _SHOWN_FAULTS} more"]
    raise_faults(TokenizerError, "The text cannot be tokenized", faults)
    if is_split_into_words:
        samples = [tuple(list(part) for part in sample) for sample in samples]
    return samples, is_batch


def _as_sample(item: Any, is_split_into_words: bool, is_batch: bool) -> Sample:
    """One item of a batch: a text, or two that were given together."""
    if is_split_into_words:
        is_pair = isinstance(item, list | tuple) and any(
            isinstance(part, list | tuple) for part in item
        )
        return tuple(item) if is_pair and len(item) == 2 else (item,)
    is_pair = is_batch and isinstance(item, tuple) and len(item) == 2
    return tuple(item) if is_pair else (item,)


def _seconds(text_pair: Any, count: int, is_batch: bool) -> list[Any]:
    if not is_batch:
        return [text_pair]
    if not isinstance(text_pair, list | tuple):
        raise TokenizerError(
            f"text is a batch of {count}, but text_pair is a {type(text_pair).__name__}; give a "
            "list of as many texts"
        )
    if len(text_pair) != count:
        raise TokenizerError(
            f"text is a batch of {count}, but text_pair has {len(text_pair)}; give one for each"
        )
    return list(text_pair)


def _check(value: Any, name: str, is_split_into_words: bool, faults: list[str]) -> None:
    if not is_split_into_words:
        if isinstance(value, list | tuple):
            faults.append(
                f"{name} is a {type(value).__name__}; give a str, pass is_split_into_words=True "
                "for words, or a tuple of two str for a pair"
            )
        else:
            _check_string(value, name, faults)
    elif isinstance(value, list | tuple):
        for index, word in enumerate(value):
            _check_string(word, f"{name}[{index}]", faults)
    else:
        faults.append(
            f"{name} is {_brief(value)}; give a list of words, or leave is_split_into_words out"
        )


def _check_string(value: Any, name: str, faults: list[str]) -> None:
    if not isinstance(value, str):
        faults.append(f"{name} is {_brief(value)}; give a str")
        return
    if value.isascii():
        return
    try:
        value.encode()
    except UnicodeEncodeError as error:
        faults.append(
            f"{name} holds the lone surrogate U+{ord(value[error.start]):04X} at index "
            f'{error.start}; decode the text again with errors="replace"'
        )


def _brief(value: Any) -> str:
    text = repr(value)
    shown = text if len(text) <= 40 else text[:37] + "..."
    return f"{shown} ({type(value).__name__})"
