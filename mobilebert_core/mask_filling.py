"""`mobilebert.fill_mask`: the likeliest words at each [MASK] of a text.

Rules: probabilities are over the whole vocabulary, also where some of it is left out; a word is put
into the text as it was given, so that case and spaces stay. Read next: `prediction_words.py`.

P prediction positions  V vocabulary
"""

import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mobilebert_core.backend import Model
from mobilebert_core.errors import (
    CheckpointError,
    InputError,
    MobileBertWarning,
    brief,
    raise_faults,
)
from mobilebert_core.fitting import fit_weights
from mobilebert_core.loading import load, open_source
from mobilebert_core.prediction import predict
from mobilebert_core.prediction_words import TOP, WINDOW_OF_MASKS, likeliest_tokens
from mobilebert_core.tokenization import load_tokenizer
from mobilebert_core.tokenization.wordpiece import CONTINUATION

Span = tuple[int, int]


@dataclass(frozen=True)
class Candidate:
    """One word for one [MASK].

    Attributes:
        token: the token; `##` begins one that continues the word before it.
        probability: among all tokens of the vocabulary.
        text: the given text with the word in this place; other [MASK]s stay.
    """

    token: str
    probability: float
    text: str


@dataclass(frozen=True)
class FilledText:
    """What a model says of one text.

    Attributes:
        text: as it was given.
        masks: for each [MASK], in order, its candidates, the likeliest first.
        filled: the text with the likeliest word at every [MASK].
    """

    text: str
    masks: tuple[tuple[Candidate, ...], ...]
    filled: str


def fill_mask(
    texts: str | Iterable[str],
    model: Any = None,
    tokenizer: Any = None,
    backend: str | None = None,
    top: int = TOP,
    *,
    whole_words: bool = False,
) -> list[FilledText]:
    """The likeliest words at each [MASK]; special tokens such as [UNK] are never among them.

    Args:
        texts: texts with one [MASK] or several, which are filled independently; or one text.
        model: a model with a masked-lm head; or what `mobilebert.load` takes as a source; None
            takes the packaged `mobilebert-nano`.
        tokenizer: what `mobilebert.load_tokenizer` returns; may be left out unless a model is given
            that is loaded already.
        backend: which one loads the model; see `mobilebert.load`. The words are the same in all.
        top: how many candidates a [MASK] has, at most.
        whole_words: leave out tokens that continue the word before them.

    Returns:
        One `FilledText` for each text, in order.

    Raises:
        InputError: an argument is wrong, or texts are without [MASK] or longer than the model
            takes; lists all of them.
        CheckpointError: the checkpoint is absent, damaged, or was not trained to fill a [MASK].
        BackendError: the backend cannot be used.

    Example:
        >>> (found,) = fill_mask("It was a [MASK] night.", backend="numpy", top=3)
        >>> len(found.masks), len(found.masks[0])
        (1, 3)
    """
    if isinstance(top, bool) or not isinstance(top, int | np.integer) or top < 1:
        raise InputError(f"top is {brief(top)}, expected a positive integer")
    given = [texts] if isinstance(texts, str) else list(texts)
    model, tokenizer = _model_and_tokenizer(model, tokenizer, backend)
    rows = [dict(row) for row in _encoded(given, model, tokenizer)]
    spans = [row.pop("spans") for row in rows]
    left_out = _left_out(tokenizer, whole_words)
    return [
        _filled(text, places, [likeliest_tokens(tokenizer, each, top, left_out) for each in logits])
        for text, places, logits in zip(
            given,
            spans,
            (
                output["logits"].astype(np.float64)
                for output in predict(model, rows, window=WINDOW_OF_MASKS)
            ),  # (P, V)
            strict=True,
        )
    ]


def _model_and_tokenizer(model: Any, tokenizer: Any, backend: str | None) -> tuple[Any, Any]:
    """Both, loaded where they are not yet."""
    if model is not None and not isinstance(model, str | Path):
        if not isinstance(model, Model) or model.head != "masked-lm":
            raise InputError(
                f"model is a {type(model).__name__}, expected a source or a model with a masked-lm "
                'head: load it with mobilebert.load(source, "masked-lm")'
            )
        faults = []
        if tokenizer is None:
            faults.append("tokenizer is missing; pass the one that belongs to the model")
        if backend is not None:
            faults.append(f"backend is {backend!r}, but the model is loaded already; leave it out")
        raise_faults(InputError, "The model is given, loaded", faults)
        return model, tokenizer
    _require_trained_head(model)
    if tokenizer is None:
        path = Path(model) if model is not None else None
        tokenizer = load_tokenizer(path.parent if path is not None and path.is_file() else model)
    return load(model, "masked-lm", backend), tokenizer


def _require_trained_head(source: str | Path | None) -> None:
    """Refuse a checkpoint whose masked-lm head would be fresh: its words would mean nothing."""
    checkpoint = open_source(source)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MobileBertWarning)
        fresh = fit_weights(checkpoint, checkpoint.config, "masked-lm").fresh
    if fresh:
        own = f"a {checkpoint.head} checkpoint" if checkpoint.head else "a checkpoint"
        raise CheckpointError(
            f"{checkpoint.path} is {own} without a masked-lm head: it was not trained to fill a "
            "[MASK]; take mobilebert-nano or another masked-lm or pretraining checkpoint"
        )


def _encoded(texts: list[Any], model: Any, tokenizer: Any) -> list[dict[str, Any]]:
    """The tokens of each text, where its [MASK]s are among them, and where in the text."""
    limit = min(model.config.max_position_embeddings, tokenizer.model_max_length)
    rows: list[dict[str, Any]] = []
    faults: list[str] = []
    for number, text in enumerate(texts):
        if not isinstance(text, str):
            faults.append(f"item {number} is a {type(text).__name__}, expected a str")
            continue
        row = dict(tokenizer(text, return_offsets_mapping=True, verbose=False))
        ids, offsets = row["input_ids"], row.pop("offset_mapping")
        positions = [place for place, each in enumerate(ids) if each == tokenizer.mask_token_id]
        if not positions:
            faults.append(
                f"item {number}, {brief(text)}, has no {tokenizer.mask_token}; put one where a "
                "word is wanted"
            )
        if len(ids) > limit:
            faults.append(
                f"item {number}, {brief(text)}, has {len(ids)} tokens, and the model takes "
                f"{limit}; shorten it"
            )
        row |= {"prediction_positions": np.array(positions, np.int64)}  # (P,)
        rows.append(row | {"spans": [offsets[place] for place in positions]})
    raise_faults(InputError, "The texts cannot be filled", faults)
    return rows


def _left_out(tokenizer: Any, whole_words: bool) -> list[int]:
    """Ids that are no words: special tokens, and, when whole words are wanted, their ends."""
    special = set(tokenizer.all_special_ids)
    ends = {
        token_id
        for token, token_id in tokenizer.get_vocab().items()
        if whole_words and token.startswith(CONTINUATION)
    }
    return sorted(special | ends)


def _filled(text: str, spans: list[Span], words: list[list[tuple[str, float]]]) -> FilledText:
    masks = tuple(
        tuple(
            Candidate(token, probability, _replaced(text, [span], [token]))
            for token, probability in candidates
        )
        for span, candidates in zip(spans, words, strict=True)
    )
    best = [candidates[0].token for candidates in masks if candidates]
    return FilledText(text, masks, _replaced(text, spans[: len(best)], best))


def _replaced(text: str, spans: list[Span], tokens: list[str]) -> str:
    """The text with tokens in place of parts; one that continues a word closes the gap before."""
    for (start, end), token in reversed(list(zip(spans, tokens, strict=True))):
        before = text[:start]
        if token.startswith(CONTINUATION):
            before = before.rstrip()
        text = before + token.removeprefix(CONTINUATION) + text[end:]
    return text
