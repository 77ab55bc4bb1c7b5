"""What predictions say, in words: labels, tokens and scores, as `mobilebert predict` writes them.

S sequence  P prediction positions  V vocabulary
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from mobilebert_core.config import MobileBertConfig
from mobilebert_core.errors import ConfigError
from mobilebert_core.prediction import predict

Array = np.ndarray[Any, np.dtype[Any]]

TOP = 5  # how many tokens are told for a [MASK]


def describe_texts(
    model: Any, tokenizer: Any, lines: Iterable[str], **options: Any
) -> Iterator[dict[str, Any]]:
    """What a model says of each line, in order; a tab makes a line a pair of texts.

    A longer text than the model takes is cut, and says so with `truncated`.

    Args:
        model: of a head that `HEADS_WITH_WORDS` lists.
        tokenizer: what `mobilebert.load_tokenizer` returns.
        lines: without their line ends.
        **options: those of `predict`.

    Raises:
        ConfigError: no words are known for the head.
    """
    if model.head not in _DESCRIBE:
        raise ConfigError(
            f"What the {model.head} model says has no words; predict from Python with "
            f"mobilebert.predict, or take one of {', '.join(HEADS_WITH_WORDS)}"
        )
    describe = _DESCRIBE[model.head]
    limit = min(model.config.max_position_embeddings, tokenizer.model_max_length)
    waiting: deque[tuple[str, dict[str, Any]]] = deque()

    def encoded() -> Iterator[dict[str, Any]]:
        for line in lines:
            row = _encode(tokenizer, line.split("\t", 1), limit)
            if model.head == "masked-lm":
                ids = np.array(row["input_ids"])
                row["prediction_positions"] = np.flatnonzero(ids == tokenizer.mask_token_id)
            waiting.append((line, row))
            yield {name: value for name, value in row.items() if name != "truncated"}

    for output in predict(model, encoded(), **options):
        line, row = waiting.popleft()
        cut = {"truncated": True} if row["truncated"] else {}
        yield {"text": line, **describe(model.config, tokenizer, row, output["logits"]), **cut}


def _encode(tokenizer: Any, texts: list[str], limit: int) -> dict[str, Any]:
    row = dict(tokenizer(*texts, verbose=False))
    truncated = len(row["input_ids"]) > limit
    if truncated:
        row = dict(tokenizer(*texts, truncation=True, max_length=limit))
    return {**row, "truncated": truncated}


def _describe_text(
    config: MobileBertConfig, tokenizer: Any, row: Mapping[str, Any], logits: Array
) -> dict[str, Any]:
    """The label and its probability; each label that holds; or the numbers of a regression."""
    logits = logits.astype(np.float64)  # (labels,)
    kind = config.problem_type or ("regression" if config.num_labels == 1 else "")
    if kind == "regression":
        return {"values": logits.tolist()}
    if kind == "multi_label_classification":
        scores = 1 / (1 + np.exp(-logits))
        held = np.flatnonzero(scores > 0.5)
        return {"labels": [_scored("label", config.id2label[i], scores[i]) for i in held.tolist()]}
    return _best_label(config, logits)


def _describe_tokens(
    config: MobileBertConfig, tokenizer: Any, row: Mapping[str, Any], logits: Array
) -> dict[str, Any]:
    """A label for each token of the text itself."""
    frame = (tokenizer.cls_token_id, tokenizer.sep_token_id)
    tokens = tokenizer.convert_ids_to_tokens(row["input_ids"])
    values = logits.astype(np.float64)  # (S, labels)
    return {
        "tokens": [
            {"token": token, **_best_label(config, value)}
            for token_id, token, value in zip(row["input_ids"], tokens, values, strict=True)
            if token_id not in frame
        ]
    }


def _describe_masks(
    config: MobileBertConfig, tokenizer: Any, row: Mapping[str, Any], logits: Array
) -> dict[str, Any]:
    """The likeliest tokens at each [MASK]."""
    return {
        "masks": [
            [_scored("token", *each) for each in likeliest_tokens(tokenizer, values, TOP)]
            for values in logits.astype(np.float64)  # (P, V)
        ]
    }


def likeliest_tokens(
    tokenizer: Any, logits: Array, top: int, left_out: Sequence[int] = ()
) -> list[tuple[str, float]]:
    """Tokens and their probabilities at one [MASK], the likeliest first.

    Args:
        tokenizer: names the tokens.
        logits: (V,) float64.
        top: how many, at most.
        left_out: ids that are not told; the probabilities of others stay as they are.
    """
    scores = _probabilities(logits)
    order = np.argsort(-logits, kind="stable")  # (V,)
    best = order[~np.isin(order, left_out)][:top].tolist()
    return list(zip(tokenizer.convert_ids_to_tokens(best), scores[best].tolist(), strict=True))


def _best_label(config: MobileBertConfig, logits: Array) -> dict[str, Any]:
    scores = _probabilities(logits)
    best = int(scores.argmax())
    return _scored("label", config.id2label[best], scores[best])


def _scored(name: str, value: str, score: float) -> dict[str, Any]:
    return {name: value, "score": float(f"{score:.6g}")}


def _probabilities(logits: Array) -> Array:
    exponents = np.exp(logits - logits.max())
    probabilities: Array = exponents / exponents.sum()
    return probabilities


_DESCRIBE: dict[str, Callable[..., dict[str, Any]]] = {
    "sequence-classification": _describe_text,
    "token-classification": _describe_tokens,
    "masked-lm": _describe_masks,
}
HEADS_WITH_WORDS = tuple(_DESCRIBE)
