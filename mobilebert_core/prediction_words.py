"""What each head's predictions say in words: labels, tokens, answers, and their scores.

A head has a function that reads the texts of a line: into the rows that the model is given, and
into what then says in words what came out. Read next: `prediction_results.py`, which streams lines
through a model; `answer_spans.py` for questions.

C choices  S sequence  P prediction positions  V vocabulary
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mobilebert_core.answer_spans import Span, Window, best_span, is_unanswered, make_windows
from mobilebert_core.config import MobileBertConfig
from mobilebert_core.outputs import Output

Array = np.ndarray[Any, np.dtype[Any]]
Outputs = Sequence[Output[Array]]  # of the rows of one line

TOP = 5  # how many tokens are told for a [MASK]
WINDOW_OF_MASKS = 64  # texts read ahead of a masked-lm model, whose logits take room


@dataclass(frozen=True)
class Item:
    """A line, as a model takes it.

    Attributes:
        rows: one mapping, or of a question one for each window of its passage.
        describe: outputs of the rows -> what they say.
        truncated: whether the model sees less than the line.
    """

    rows: Sequence[Mapping[str, Any]]
    describe: Callable[[Outputs], dict[str, Any]]
    truncated: bool = False


@dataclass(frozen=True)
class Reader:
    """What reading a line needs.

    Attributes:
        config: of the model.
        tokenizer: what `mobilebert.load_tokenizer` returns.
        threshold: from which probability on a label of several holds.
    """

    config: MobileBertConfig
    tokenizer: Any
    threshold: float = 0.5

    @property
    def limit(self) -> int:
        """Tokens of a row, at most."""
        return min(self.config.max_position_embeddings, int(self.tokenizer.model_max_length))

    def encode(self, *texts: Any) -> tuple[Any, bool]:
        """What the tokenizer says, padded where there are several rows; and whether it is cut."""
        several = not isinstance(texts[0], str)
        wanted = {"return_attention_mask": True, "return_token_type_ids": True}
        shape = {"padding": True, "padding_side": "right"} if several else {}
        row = self.tokenizer(*texts, verbose=False, **wanted, **shape)
        longest = len(row["input_ids"][0]) if several else len(row["input_ids"])
        if longest <= self.limit:
            return row, False
        cut = {"truncation": True, "max_length": self.limit}
        return self.tokenizer(*texts, **cut, **wanted, **shape), True


def _read_text(reader: Reader, texts: Sequence[str]) -> Item:
    """The label and its probability; each label that holds; or the numbers of a regression."""
    config = reader.config
    kind = config.problem_type or ("regression" if config.num_labels == 1 else "")
    row, truncated = reader.encode(*texts)

    def describe(outputs: Outputs) -> dict[str, Any]:
        logits = _only(outputs, "logits")  # (labels,)
        if kind == "regression":
            return {"values": logits.tolist()}
        if kind == "multi_label_classification":
            scores = 1 / (1 + np.exp(-logits))
            held = np.flatnonzero(scores > reader.threshold).tolist()
            return {"labels": [_scored("label", config.id2label[i], scores[i]) for i in held]}
        return _best_label(config, logits)

    return Item([dict(row)], describe, truncated)


def _read_words(reader: Reader, texts: Sequence[str]) -> Item:
    """A label for each word: that of its first token, which alone is taught one."""
    (text,) = texts
    row, truncated = reader.encode(text)
    firsts: dict[int, int] = {}  # word -> its first token
    for place, word in enumerate(row.word_ids()):
        if word is not None:
            firsts.setdefault(word, place)

    def describe(outputs: Outputs) -> dict[str, Any]:
        logits = _only(outputs, "logits")  # (S, labels)
        words = []
        for word, place in firsts.items():
            start, end = row.word_to_chars(word)
            said = {"word": text[start:end], **_best_label(reader.config, logits[place])}
            words.append({**said, "start": start, "end": end})
        return {"words": words}

    return Item([dict(row)], describe, truncated)


def _read_masks(reader: Reader, texts: Sequence[str]) -> Item:
    """The likeliest tokens at each [MASK]."""
    row, truncated = reader.encode(*texts)
    masks = np.flatnonzero(np.array(row["input_ids"]) == reader.tokenizer.mask_token_id)  # (P,)

    def describe(outputs: Outputs) -> dict[str, Any]:
        likeliest = [
            likeliest_tokens(reader.tokenizer, logits, TOP)
            for logits in _only(outputs, "logits")  # (P, V)
        ]
        return {"masks": [[_scored("token", *each) for each in some] for some in likeliest]}

    return Item([{**row, "prediction_positions": masks}], describe, truncated)


def _read_sentences(reader: Reader, texts: Sequence[str]) -> Item:
    """Whether the second text follows the first, and the probability of what is said."""
    row, truncated = reader.encode(*texts)

    def describe(outputs: Outputs) -> dict[str, Any]:
        scores = _probabilities(_only(outputs, "logits"))  # (2,)
        best = int(scores.argmax())
        return _scored("label", ("follows", "does not follow")[best], scores[best])

    return Item([dict(row)], describe, truncated)


def _read_choices(reader: Reader, texts: Sequence[str]) -> Item:
    """Which of the choices, counted from 0, and its probability."""
    text, *choices = texts
    row, truncated = reader.encode([text] * len(choices), choices)

    def describe(outputs: Outputs) -> dict[str, Any]:
        scores = _probabilities(_only(outputs, "logits"))  # (C,)
        best = int(scores.argmax())
        return {"choice": best, **_scored("answer", choices[best], scores[best])}

    return Item([dict(row)], describe, truncated)


def _read_question(reader: Reader, texts: Sequence[str]) -> Item:
    """The best span of the passage, where it stands, and how likely it and no answer are."""
    question, passage = texts
    windows = list(make_windows(reader.tokenizer, [(question, passage)], reader.limit))
    rows = [
        {"input_ids": each.input_ids, "token_type_ids": each.token_type_ids} for each in windows
    ]
    asked = reader.tokenizer(question, add_special_tokens=False, verbose=False)["input_ids"]

    def describe(outputs: Outputs) -> dict[str, Any]:
        found = [_answer(*each) for each in zip(windows, outputs, strict=True)]
        best = max(found, key=lambda each: -np.inf if each.span is None else each.span.score)
        span = best.span or Span(-np.inf, 0, 0)
        none = is_unanswered(best.span, min(each.none_score for each in found))
        return {
            **_scored("answer", passage[span.start : span.end], best.probability),
            "start": span.start,
            "end": span.end,
            "no_answer": none,
            "no_answer_score": _rounded(min(each.none_probability for each in found)),
        }

    return Item(rows, describe, len(asked) > windows[0].first - 2)


@dataclass(frozen=True)
class _Answer:
    """What one window says: its best span, and no answer; sums of logits, and probabilities."""

    span: Span | None
    probability: float
    none_score: float
    none_probability: float


def _answer(window: Window, output: Output[Array]) -> _Answer:
    starts, ends = (output[f"{side}_logits"].astype(np.float64) for side in ("start", "end"))
    span = best_span(window, starts, ends)
    places = np.r_[0, window.first : window.first + len(window.offsets)]  # [CLS], the passage
    total = _log_sum(starts[places]) + _log_sum(ends[places])
    none = float(starts[0] + ends[0])
    probability = 0.0 if span is None else float(np.exp(span.score - total))
    return _Answer(span, probability, none, float(np.exp(none - total)))


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


def _only(outputs: Outputs, name: str) -> Array:
    (output,) = outputs
    values: Array = output[name].astype(np.float64)
    return values


def _best_label(config: MobileBertConfig, logits: Array) -> dict[str, Any]:
    scores = _probabilities(logits)
    best = int(scores.argmax())
    return _scored("label", config.id2label[best], scores[best])


def _scored(name: str, value: str, score: float) -> dict[str, Any]:
    return {name: value, "score": _rounded(score)}


def _rounded(score: float) -> float:
    return float(f"{score:.6g}")


def _log_sum(logits: Array) -> float:
    most = logits.max()
    return float(most + np.log(np.exp(logits - most).sum()))


def _probabilities(logits: Array) -> Array:
    probabilities: Array = np.exp(logits - _log_sum(logits))
    return probabilities


@dataclass(frozen=True)
class Words:
    """How a head reads a line.

    Attributes:
        read: makes an item of the texts of a line.
        fewest: texts of a line.
        most: likewise; None is any number.
        line: what a line is, for errors.
    """

    read: Callable[[Reader, Sequence[str]], Item]
    fewest: int = 1
    most: int | None = 2
    line: str = "a text, or two with a tab between them"


WORDS: Mapping[str, Words] = {
    "sequence-classification": Words(_read_text),
    "token-classification": Words(_read_words, most=1, line="a text"),
    "masked-lm": Words(_read_masks),
    "next-sentence-prediction": Words(_read_sentences, 2, 2, "two texts with a tab between them"),
    "multiple-choice": Words(
        _read_choices, 2, None, "a text and its choices, with a tab before each choice"
    ),
    "question-answering": Words(
        _read_question, 2, 2, "a question and a passage, with a tab between them"
    ),
}
