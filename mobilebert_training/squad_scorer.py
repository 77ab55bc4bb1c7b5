"""The scores of SQuAD, by the rules of its official scripts, evaluate-v1.1 and evaluate-v2.0.

Answers are compared in small letters, without punctuation, the articles a, an and the, and
superfluous spaces; F1 is that of their words as bags; of several right answers the nearest counts.
A question that is not answered scores 0. Scores are percentages, as of the scripts.
"""

import re
import string
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_WITHOUT_PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalize_answer(text: str) -> str:
    """What is compared of an answer.

    Example:
        >>> normalize_answer("The  Norman-Conquest, a story")
        'normanconquest story'
    """
    plain = text.lower().translate(_WITHOUT_PUNCTUATION)
    return " ".join(_ARTICLES.sub(" ", plain).split())


def exact_match(predicted: str, right: str) -> float:
    """1 for answers that are equal after normalization, else 0."""
    return float(normalize_answer(predicted) == normalize_answer(right))


def f1(predicted: str, right: str) -> float:
    """F1 of the words of two answers; 0 where they share none, even if both are empty.

    Example:
        >>> f1("in the winter of 1066", "winter 1066")
        0.6666666666666666
    """
    words, right_words = normalize_answer(predicted).split(), normalize_answer(right).split()
    same = sum((Counter(words) & Counter(right_words)).values())
    if not same:
        return 0.0
    precision, recall = same / len(words), same / len(right_words)
    return 2 * precision * recall / (precision + recall)


def score_v1(
    predictions: Mapping[str, str], answers: Mapping[str, Sequence[str]]
) -> dict[str, float]:
    """Scores of version 1.1, where each question has an answer.

    Args:
        predictions: an answer by the id of its question; one that is missing scores 0.
        answers: the right ones by id, at least one each.

    Returns:
        `exact_match` and `f1`, means over the questions in percent.
    """
    return {
        "exact_match": _mean(predictions, answers, exact_match),
        "f1": _mean(predictions, answers, f1),
    }


def score_v2(
    predictions: Mapping[str, str], answers: Mapping[str, Sequence[str]]
) -> dict[str, float]:
    """Scores of version 2, where the right answer may be that there is none: `""`.

    Args:
        predictions: an answer by the id of its question; one that is missing scores 0.
        answers: the right ones by id; none where the paragraph does not tell.

    Returns:
        `exact_match` and `f1` in percent; the same with `has_answer_` and `no_answer_` before the
        name, over the questions with and without an answer, where there are such.
    """
    # An answer of nothing but articles and punctuation counts as none.
    kept = {
        id: [text for text in texts if normalize_answer(text)] or [""]
        for id, texts in answers.items()
    }
    parts = {
        "": kept,
        "has_answer_": {id: texts for id, texts in kept.items() if texts != [""]},
        "no_answer_": {id: texts for id, texts in kept.items() if texts == [""]},
    }
    return {
        f"{prefix}{name}": _mean(predictions, part, score)
        for prefix, part in parts.items()
        if part
        for name, score in (("exact_match", exact_match), ("f1", _f1_or_none))
    }


def _f1_or_none(predicted: str, right: str) -> float:
    """As `f1`, but where either has no words, whether both have none."""
    if not normalize_answer(predicted) or not normalize_answer(right):
        return exact_match(predicted, right)
    return f1(predicted, right)


def _mean(
    predictions: Mapping[str, str],
    answers: Mapping[str, Sequence[str]],
    score: Callable[[str, str], float],
) -> float:
    scores = [
        max(score(predictions[id], text) for text in texts) if id in predictions else 0.0
        for id, texts in answers.items()
    ]
    return 100 * sum(scores) / len(scores) if scores else 0.0
