"""What counting says of a masked token: how frequent a word is, and which ones its neighbours like.

All baselines are counted from the training text of the model, in its vocabulary. The bigram of
language models sees the token on the left; bigrams of both sides see the one on the right too,
p(w | l, r) = p(w | l) p(r | w) / sum; the trigrams add what was seen between just these two. Each
is interpolated with the simpler one as Witten and Bell do: a context that was seen often and with
few different words is trusted more. How much is tuned on a part of the training text that is not
counted meanwhile. A neighbour that is masked too, or at the edge of a row, is not looked at.

N tokens  V vocabulary  M masked tokens  C chunk of them
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from nano_text import Array, MaskedText, summarise
from scipy import sparse

UNSEEN = -1  # a neighbour that is not looked at
CHUNK = 256  # masked tokens at a time: (C, V) in float64
TUNED_ON = 3000  # masked tokens
PART = 20  # of the training text, one in so many blocks is tuned on
BLOCK = 2000  # tokens
GRIDS = {
    "pair_weight": (0.25, 0.5, 1.0, 2.0, 4.0),
    "both_weight": (1.0, 2.0, 4.0, 8.0, 16.0, 32.0),
}


@dataclass(frozen=True)
class Queries:
    """Masked tokens and their neighbours.

    Attributes:
        left: (M,) ids, `UNSEEN` where there is none.
        right: (M,) likewise.
        labels: (M,) ids.
    """

    left: Array
    right: Array
    labels: Array

    def __len__(self) -> int:
        return len(self.labels)

    def chunks(self) -> Iterator["Queries"]:
        """Parts of C."""
        for first in range(0, len(self), CHUNK):
            part = slice(first, first + CHUNK)
            yield Queries(self.left[part], self.right[part], self.labels[part])


def queries_of(text: MaskedText, tokenizer: Any) -> Queries:
    """The masked tokens of a text, in the order of its labels."""
    row, column = np.nonzero(text.counted)
    place = text.positions[row, column]  # (M,)
    hidden = [tokenizer.mask_token_id, tokenizer.cls_token_id, tokenizer.sep_token_id]
    left, right = (text.input_ids[row, place + step] for step in (-1, 1))
    return Queries(
        np.where(np.isin(left, hidden), UNSEEN, left),
        np.where(np.isin(right, hidden), UNSEEN, right),
        text.labels[row, column],
    )


@dataclass(frozen=True)
class Counts:
    """What was counted, and how far it is trusted.

    Attributes:
        words: (V,) probabilities of single tokens, all above 0 but those of special tokens.
        followers: (V, V) counts, a row for each left token.
        joint: counts of (left, right, middle) as sorted keys, and how often each; None: bigrams.
        pair_weight: how much p(w) counts in p(w | l), and
        both_weight: the product in p(w | l, r), each times the number of different words seen.
    """

    words: Array
    followers: Any
    joint: tuple[Array, Array] | None
    pair_weight: float = 1.0
    both_weight: float = 4.0
    predecessors: Any = field(init=False, repr=False)  # (V, V), a row for each right token
    totals: Array = field(init=False, repr=False)  # (V,) how often a token has a follower
    different: Array = field(init=False, repr=False)  # (V,) how many followers
    neighbours: Array = field(init=False, repr=False)  # (V,) probabilities, special tokens too

    def __post_init__(self) -> None:
        """What follows from the counts."""
        totals = np.asarray(self.followers.sum(axis=1)).reshape(-1)
        smooth = totals + 0.5
        for name, value in {
            "predecessors": self.followers.T.tocsr(),
            "totals": totals,
            "different": np.diff(self.followers.indptr),
            "neighbours": smooth / smooth.sum(),
        }.items():
            object.__setattr__(self, name, value)

    def left_probabilities(self, left: Array) -> Array:
        """p(w | l), and p(w) where l is not seen; (C, V)."""
        rows = self.followers[np.maximum(left, 0)].toarray()  # (C, V)
        rows[left == UNSEEN] = 0
        prior = self.pair_weight * np.maximum((rows > 0).sum(axis=1, keepdims=True), 1)  # (C, 1)
        found: Array = (rows + prior * self.words) / (rows.sum(axis=1, keepdims=True) + prior)
        return found

    def right_likelihoods(self, right: Array) -> Array:
        """p(r | w), a row for each r; 1 where r is not seen; (C, V)."""
        columns = self.predecessors[np.maximum(right, 0)].toarray()  # (C, V)
        prior = self.pair_weight * np.maximum(self.different, 1)  # (V,)
        expected = self.neighbours[np.maximum(right, 0)][:, None]  # (C, 1)
        found: Array = (columns + prior * expected) / (self.totals + prior)
        found[right == UNSEEN] = 1
        return found

    def probabilities(self, queries: Queries) -> Array:
        """p(w | l, r); (C, V)."""
        product = self.left_probabilities(queries.left) * self.right_likelihoods(queries.right)
        # Tokens that are never to be predicted are left out of the sum.
        product = np.where(self.words > 0, product, 0)
        product /= product.sum(axis=1, keepdims=True)
        if self.joint is None:
            return product
        keys, frequencies = self.joint
        size = len(self.words)
        for row, (left, right) in enumerate(zip(queries.left, queries.right, strict=True)):
            if UNSEEN in (left, right):
                continue
            first = (int(left) * size + int(right)) * size
            start, end = np.searchsorted(keys, (first, first + size))
            if start == end:
                continue
            middle, seen = keys[start:end] - first, frequencies[start:end]
            prior = self.both_weight * len(middle)
            product[row] *= prior / (seen.sum() + prior)
            product[row, middle] += seen / (seen.sum() + prior)
        return product


def count(ids: Array, vocab_size: int, special: list[int]) -> Counts:
    """Count a text.

    Args:
        ids: (N,) tokens.
        vocab_size: V.
        special: tokens that are never predicted; they are neighbours all the same.
    """
    ids = ids.astype(np.int64)
    words = np.bincount(ids, minlength=vocab_size) + 0.5  # (V,): none is impossible
    words[special] = 0
    ones = np.ones(len(ids) - 1)
    shape = (vocab_size, vocab_size)
    followers = sparse.coo_matrix((ones, (ids[:-1], ids[1:])), shape).tocsr()
    keys = (ids[:-2] * vocab_size + ids[2:]) * vocab_size + ids[1:-1]  # (N - 2,)
    keys = keys[~np.isin(ids[1:-1], special)]
    return Counts(words / words.sum(), followers, np.unique(keys, return_counts=True))


def tune(ids: Array, vocab_size: int, special: list[int]) -> dict[str, dict[str, float]]:
    """The weights of each baseline that predict a part of the training text best.

    The part is not counted meanwhile.

    Returns:
        Weights of `left`, `bigrams` and `trigrams`, as fields of `Counts`.
    """
    block = np.arange(len(ids)) // BLOCK
    aside = block % PART == PART - 1
    counts = count(ids[~aside], vocab_size, special)
    kept = ids[aside].astype(np.int64)
    places = np.random.default_rng(0).permutation(np.arange(1, len(kept) - 1))
    places = places[~np.isin(kept[places], special)][:TUNED_ON]
    queries = Queries(kept[places - 1], kept[places + 1], kept[places])
    without = replace(counts, joint=None)
    return {
        "left": best_weights(without, only_left(queries), ("pair_weight",)),
        "bigrams": best_weights(without, queries, ("pair_weight",)),
        "trigrams": best_weights(counts, queries, tuple(GRIDS)),
    }


def best_weights(counts: Counts, queries: Queries, names: Sequence[str]) -> dict[str, float]:
    """Weights with the least loss, one after the other."""
    best: dict[str, float] = {}
    for name in names:
        tried = {
            value: score(replace(counts, **best, **{name: value}), queries)["loss"]
            for value in GRIDS[name]
        }
        best[name] = min(tried, key=tried.__getitem__)
    return best


def only_left(queries: Queries) -> Queries:
    """The same without the neighbours on the right."""
    return replace(queries, right=np.full_like(queries.right, UNSEEN))


def score(counts: Counts, queries: Queries) -> dict[str, float]:
    """Loss, perplexity and accuracy of bigrams, or of trigrams where they were counted."""
    losses, right = [], []
    for part in queries.chunks():
        found = counts.probabilities(part)  # (C, V)
        losses.append(-np.log(found[np.arange(len(part)), part.labels]))
        right.append(found.argmax(axis=1) == part.labels)
    return summarise(np.concatenate(losses), np.concatenate(right))


def score_unigram(counts: Counts, queries: Queries) -> dict[str, float]:
    """Loss, perplexity and accuracy with nothing but the frequencies."""
    losses = -np.log(counts.words[queries.labels])
    return summarise(losses, counts.words.argmax() == queries.labels)
