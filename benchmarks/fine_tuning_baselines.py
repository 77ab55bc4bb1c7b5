"""What bags of words learn from the same files: the baselines that fine-tuned models stand beside.

All text is in small letters, as the model reads it. Texts: TF-IDF of words and pairs of words, with
logistic regression. Pairs and choices: how far two texts share words. Entities: the words around
each word, and, told apart, its capitals, which the model does not see. Questions: the words near
those of the question. How strongly a model is held back is chosen on a tenth of the training part,
by the metric that the table shows.

N examples  L labels
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from fine_tuning_data import RECIPES, SEED, Recipe
from scipy import sparse
from sklearn.feature_extraction import DictVectorizer
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.multiclass import OneVsRestClassifier

from mobilebert_training.metrics import (
    classification_metrics,
    entity_metrics,
    multi_label_metrics,
    regression_metrics,
)
from mobilebert_training.squad_scorer import score_v1
from mobilebert_training.tasks.examples import split_off
from mobilebert_training.tasks.heads import OPENINGS
from mobilebert_training.tasks.labels import label_parts

STRENGTHS = (0.3, 1.0, 3.0, 10.0, 30.0, 100.0)
Metrics = dict[str, float]
LONGEST_ANSWER = 6  # words
REACH = 12  # words around an answer that are compared with the question


def read_examples(recipe: Recipe, path: Path) -> list[Any]:
    """The examples of a file, as `open_task` reads them."""
    opening = OPENINGS[recipe.head]
    wanted = {k: v for k, v in recipe.options.items() if k in opening.reading_options}
    return opening.read(path, format=None, encoding="utf-8", **wanted)


def bag_of_words(name: str, train: Path, test: Path) -> dict[str, Metrics]:
    """Metrics of the baseline, and of other ones that are worth telling, by their names."""
    recipe = RECIPES[name]
    training, testing = (read_examples(recipe, path) for path in (train, test))
    return BASELINES[recipe.head](recipe, training, testing)


def choose_strength(
    count: int,
    fit: Callable[[list[int], float], Any],
    measure: Callable[[Any, list[int]], float],
) -> Any:
    """A model fitted to all examples, with the strength that suits a tenth of them best.

    Args:
        count: N.
        fit: a model of some examples, by their numbers, and of a strength.
        measure: how good a model is at some examples; more is better.
    """
    kept, aside = split_off(count, 0.1, SEED)
    quality = {strength: measure(fit(kept, strength), aside) for strength in STRENGTHS}
    return fit(list(range(count)), max(quality, key=quality.__getitem__))


def logistic(inputs: Any, labels: Any, strength: float) -> Any:
    """Logistic regression; one-vs-rest where an example has several labels (N, L)."""
    model = LogisticRegression(C=strength, solver="liblinear", random_state=SEED)
    return (OneVsRestClassifier(model) if labels.ndim == 2 else model).fit(inputs, labels)


def ridge(inputs: Any, labels: Any, strength: float) -> Any:
    """Linear regression of small weights."""
    return Ridge(alpha=1 / strength).fit(inputs, labels)


def texts(recipe: Recipe, training: Sequence[Any], testing: Sequence[Any]) -> dict[str, Metrics]:
    """Classes, several labels, or numbers of pairs."""
    if recipe.pair:
        return pairs(recipe, training, testing)
    vectorizer = TfidfVectorizer(
        ngram_range=(1, 2), sublinear_tf=True, token_pattern=r"\w+|[^\w\s]"
    )
    inputs = vectorizer.fit_transform([each.texts[0] for each in training])
    tested = vectorizer.transform([each.texts[0] for each in testing])
    if "threshold" not in recipe.options:
        labels, expected = (np.array([e.label for e in part]) for part in (training, testing))
        model = choose_strength(
            len(labels),
            lambda rows, strength: logistic(inputs[rows], labels[rows], strength),
            lambda model, rows: model.score(inputs[rows], labels[rows]),
        )
        return {"bag of words": classification_metrics(model.predict(tested), expected)}
    names = sorted({name for each in training for name in label_parts(each.label)})
    labels, expected = (
        np.array([[name in label_parts(each.label) for name in names] for each in part])  # (N, L)
        for part in (training, testing)
    )

    def score(model: Any, rows: Any, truth: Any) -> Metrics:
        return multi_label_metrics(model.predict_proba(rows) > recipe.options["threshold"], truth)

    model = choose_strength(
        len(labels),
        lambda rows, strength: logistic(inputs[rows], labels[rows].astype(int), strength),
        lambda model, rows: score(model, inputs[rows], labels[rows])[recipe.metrics[0]],
    )
    return {"bag of words": score(model, tested, expected)}


class PairFeatures:
    """How much two texts have in common: words, pairs of words, letters, lengths.

    Args:
        documents: that words are weighed by.
    """

    def __init__(self, documents: Sequence[str]) -> None:
        self.vectorizers = [
            TfidfVectorizer(token_pattern=r"\w+"),
            TfidfVectorizer(ngram_range=(2, 2), token_pattern=r"\w+"),
            TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 4), sublinear_tf=True),
        ]
        for each in self.vectorizers:
            each.fit(documents)

    def __call__(self, firsts: Sequence[str], seconds: Sequence[str]) -> Any:
        """Features (N, 8)."""
        similar = []
        for each in self.vectorizers:
            left, right = each.transform(firsts), each.transform(seconds)
            similar.append(np.asarray(left.multiply(right).sum(axis=1)).reshape(-1))  # (N,)
        sizes = [word_counts(first, second) for first, second in zip(firsts, seconds, strict=True)]
        return np.concatenate([np.stack(similar, axis=1), np.array(sizes)], axis=1)


def word_counts(first: str, second: str) -> tuple[float, ...]:
    """Which part of their words two texts share, how long they are, and by how much they differ."""
    left, right = first.lower().split(), second.lower().split()
    shared, together = len({*left} & {*right}), len({*left} | {*right})
    shorter = max(1, min(len({*left}), len({*right})))
    long = float(np.log1p(len(left))), float(np.log1p(len(right)))
    return shared / shorter, shared / max(1, together), *long, abs(long[0] - long[1])


def pairs(recipe: Recipe, training: Sequence[Any], testing: Sequence[Any]) -> dict[str, Metrics]:
    """A number or a class for two texts."""
    features = PairFeatures([text for each in training for text in each.texts])
    inputs, tested = (
        features(*map(list, zip(*(each.texts for each in part), strict=True)))
        for part in (training, testing)
    )
    labels, expected = (np.array([float(e.label) for e in part]) for part in (training, testing))
    is_class = recipe.head == "next-sentence-prediction"
    labels = labels.astype(int) if is_class else labels
    fit, metrics = (logistic, classification_metrics) if is_class else (ridge, regression_metrics)
    model = choose_strength(
        len(labels),
        lambda rows, strength: fit(inputs[rows], labels[rows], strength),
        lambda model, rows: metrics(model.predict(inputs[rows]), labels[rows])[recipe.metrics[0]],
    )
    return {"bag of words": metrics(model.predict(tested), expected)}


def choices(recipe: Recipe, training: Sequence[Any], testing: Sequence[Any]) -> dict[str, Metrics]:
    """The likeliest choice, by its own words and by what it shares with the text."""
    features = PairFeatures([each.text for each in training])
    words = TfidfVectorizer(token_pattern=r"\w+")
    words.fit([choice for each in training for choice in each.choices])

    def inputs(examples: Sequence[Any]) -> Any:
        offered = [choice for each in examples for choice in each.choices]
        asked = [each.text for each in examples for _ in each.choices]
        return sparse.hstack([words.transform(offered), features(asked, offered)]).tocsr()

    def fit(rows: list[int], strength: float) -> Any:
        chosen = [training[row] for row in rows]
        right = [i == each.label for each in chosen for i in range(len(each.choices))]
        return logistic(inputs(chosen), np.array(right, int), strength)

    def accuracy(model: Any, examples: Sequence[Any]) -> float:
        likely = model.predict_proba(inputs(examples))[:, 1].reshape(len(examples), -1)
        return float((likely.argmax(axis=1) == [each.label for each in examples]).mean())

    model = choose_strength(
        len(training), fit, lambda model, rows: accuracy(model, [training[row] for row in rows])
    )
    return {"bag of words": {"accuracy": accuracy(model, testing)}}


def entities(recipe: Recipe, training: Sequence[Any], testing: Sequence[Any]) -> dict[str, Metrics]:
    """A tag for each word."""
    return {
        name: tag_words(recipe, training, testing, capitals)
        for name, capitals in (("bag of words", False), ("with capitals", True))
    }


def tag_words(
    recipe: Recipe, training: Sequence[Any], testing: Sequence[Any], capitals: bool
) -> Metrics:
    """Tags of words, with what their capitals say or without."""

    def fit(rows: list[int], strength: float) -> Any:
        vectorizer, chosen = DictVectorizer(), [training[row] for row in rows]
        inputs = vectorizer.fit_transform(
            [each for sentence in chosen for each in word_features(sentence.words, capitals)]
        )
        inputs.indices, inputs.indptr = (
            each.astype(np.int32) for each in (inputs.indices, inputs.indptr)
        )  # the solver takes no others
        labels = np.array([tag for sentence in chosen for tag in sentence.tags])
        model = LogisticRegression(C=strength, solver="liblinear", random_state=SEED)
        return vectorizer, OneVsRestClassifier(model).fit(inputs, labels)

    def score(fitted: Any, examples: Sequence[Any]) -> Metrics:
        vectorizer, model = fitted
        predicted = [
            model.predict(vectorizer.transform(word_features(each.words, capitals))).tolist()
            for each in examples
        ]
        return entity_metrics(predicted, [each.tags for each in examples])

    def quality(fitted: Any, rows: list[int]) -> float:
        return score(fitted, [training[row] for row in rows])[recipe.metrics[0]]

    return score(choose_strength(len(training), fit, quality), testing)


def word_features(words: Sequence[str], capitals: bool) -> list[dict[str, Any]]:
    """The words at each place and around it, and what they begin and end with."""
    small = ["", "", *(word.lower() for word in words), "", ""]
    rows = []
    for place in range(len(words)):
        row: dict[str, Any] = {f"{step}": small[place + 2 + step] for step in range(-2, 3)}
        own = small[place + 2]
        row |= {f"begins{n}": own[:n] for n in (1, 2, 3)} | {
            f"ends{n}": own[-n:] for n in (1, 2, 3)
        }
        if capitals:
            shapes = [shape(each) for each in ("", *words, "")[place : place + 3]]
            row |= {"shape before": shapes[0], "shape": shapes[1], "shape after": shapes[2]}
        rows.append(row)
    return rows


def shape(word: str) -> str:
    """Capital and small letters, digits, in short: `iPhone5` is `aAa0`."""
    kinds = [
        "A" if c.isupper() else "a" if c.islower() else "0" if c.isdigit() else c for c in word
    ]
    return "".join(kind for i, kind in enumerate(kinds) if i == 0 or kind != kinds[i - 1])


def questions(
    recipe: Recipe, training: Sequence[Any], testing: Sequence[Any]
) -> dict[str, Metrics]:
    """The words of the paragraph that stand nearest to those of the question."""
    paragraphs = sorted({each.context for each in [*training, *testing]})
    vectorizer = TfidfVectorizer(token_pattern=r"\w+").fit(paragraphs)
    weights = dict(zip(vectorizer.get_feature_names_out(), vectorizer.idf_, strict=True))
    predictions = {each.id: nearest_words(each.question, each.context, weights) for each in testing}
    answers = {each.id: [one.text for one in each.answers] for each in testing}
    scores = score_v1(predictions, answers)
    return {"bag of words": {name: value / 100 for name, value in scores.items()}}


def nearest_words(question: str, context: str, weights: dict[str, float]) -> str:
    """A sliding window: of words that are none of the question's, those best surrounded by them."""
    words = context.split()
    plain = ["".join(c for c in word.lower() if c.isalnum()) for word in words]
    asked = {"".join(c for c in word.lower() if c.isalnum()) for word in question.split()} - {""}
    value = np.array([weights.get(word, 1.0) if word in asked else 0.0 for word in plain])
    common = np.array([weights.get(word, 9.0) < 2.0 for word in plain])
    best, answer = -1.0, words[0]
    distance = np.arange(1, REACH + 1)
    padded = np.pad(value, REACH)
    for start in range(len(words)):
        for end in range(start + 1, min(start + LONGEST_ANSWER, len(words)) + 1):
            if value[end - 1]:
                break  # an answer repeats no word of the question
            if common[start] or common[end - 1]:
                continue
            before = padded[start : start + REACH][::-1] / distance
            after = padded[end + REACH : end + 2 * REACH] / distance
            found = before.sum() + after.sum()
            if found > best:
                best, answer = found, " ".join(words[start:end])
    return answer.strip(".,;:!?()\"'")


BASELINES: dict[str, Callable[..., dict[str, Metrics]]] = {
    "sequence-classification": texts,
    "next-sentence-prediction": pairs,
    "multiple-choice": choices,
    "token-classification": entities,
    "question-answering": questions,
}
