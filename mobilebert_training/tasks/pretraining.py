"""Pretraining on running text: masked words, and whether one text follows another.

A row is a window of the corpus at a random place near its own. For the pair task it is moved on
until a sentence ends where it is cut, somewhere in its middle half, or stays where no sentence ends
soon; half of the second texts come from elsewhere (Devlin et al., 2019).

B batch  S sequence  P prediction positions  N tokens of a corpus
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from mobilebert_core.errors import InputError
from mobilebert_core.input_checks import IGNORED_LABEL
from mobilebert_core.losses import cross_entropy
from mobilebert_training.corpus import Corpus
from mobilebert_training.masking import mask_tokens
from mobilebert_training.randomness import generator
from mobilebert_training.task import Array, Run

_VALIDATION_SEED = 0x76616C  # of the masks of validation, the same in every run
_ROWS_AT_A_TIME = 64
_LEAST_PAIR = 4  # tokens, so that either text has one


class PretrainingTask:
    """Masked-lm, and for the head `pretraining` next sentence prediction as well.

    Args:
        head: `masked-lm` or `pretraining`.
        training: the text to learn from.
        validation: other text, or None.
        tokenizer: what made both.
        length: S, tokens of a row with [CLS] and [SEP].
        mask_fraction: of the tokens, that are to be predicted.
        validation_rows: at most so many windows of the validation text are measured.

    Raises:
        InputError: a text is shorter than two rows or has no token to mask, rows or measurements
            have no room, or the fraction is none.
    """

    metric: str = "loss"
    higher_is_better: bool = False

    def __init__(
        self,
        head: str,
        training: Corpus,
        validation: Corpus | None,
        tokenizer: Any,
        *,
        length: int = 128,
        mask_fraction: float = 0.15,
        validation_rows: int = 256,
    ) -> None:
        self.head = head
        self.config_changes: Mapping[str, Any] = {}
        self.tokenizer, self.length, self.mask_fraction = tokenizer, length, mask_fraction
        self.training, self.validation = training, validation
        pairs = head == "pretraining"
        self.window = length - (3 if pairs else 2)
        if self.window < (_LEAST_PAIR if pairs else 1) or validation_rows < 1:
            raise InputError(
                f"length is {length} and validation_rows {validation_rows}, expected at least "
                f"{_LEAST_PAIR + 3 if pairs else 3} and 1"
            )
        if not 0 < mask_fraction <= 1:
            raise InputError(f"mask_fraction is {mask_fraction}, expected above 0 and up to 1")
        for name, corpus in (("training", training), ("validation", validation)):
            if corpus is not None:
                self._check_text(name, corpus)
        self.validation_rows = validation_rows

    def _check_text(self, name: str, corpus: Corpus) -> None:
        if len(corpus.ids) < 2 * self.window:
            raise InputError(
                f"The {name} text has {len(corpus.ids)} tokens, expected at least two rows of "
                f"{self.window}; give more text or a smaller length"
            )
        if np.isin(corpus.ids, self.tokenizer.all_special_ids).all():
            raise InputError(
                f"The {name} text has no token that could be masked: all are "
                f"{', '.join(sorted(self.tokenizer.all_special_tokens))}. Is the tokenizer that of "
                "this language?"
            )

    def __len__(self) -> int:
        return len(self.training.ids) // self.window

    def batch(self, indices: Array, key: tuple[int, ...]) -> dict[str, Array]:
        """Windows near the places of their indices, with masks; see `Task`."""
        draw = generator(*key)
        middle = (self.window + 1) // 2
        starts = indices * self.window + draw.integers(-middle, middle, len(indices))
        return self._rows(self.training, starts, draw)

    def _rows(self, corpus: Corpus, starts: Array, draw: np.random.Generator) -> dict[str, Array]:
        tokens, pairs = self.tokenizer, self.head == "pretraining"
        starts = np.clip(starts, 0, len(corpus.ids) - self.window)  # (B,)
        if pairs:
            starts, cuts = self._cut(corpus, starts, draw)
        windows = corpus.ids[starts[:, None] + np.arange(self.window)].astype(np.int64)
        ids = np.full((len(starts), self.length), tokens.sep_token_id, np.int64)  # (B, S)
        ids[:, 0] = tokens.cls_token_id
        labels = {}
        types = np.zeros_like(ids)
        if pairs:
            is_random = self._replace_seconds(corpus, windows, cuts, draw)
            columns = np.arange(self.window)
            shifted = 1 + columns + (columns >= cuts[:, None])  # (B, S - 3): one [SEP] between
            np.put_along_axis(ids, shifted, windows, axis=1)
            types[:] = np.arange(self.length) > cuts[:, None] + 1
            labels["next_sentence_label"] = is_random.astype(np.int64)
        else:
            ids[:, 1:-1] = windows
        special = np.isin(ids, tokens.all_special_ids)
        masked = mask_tokens(
            ids,
            ~special,
            draw,
            mask_token_id=tokens.mask_token_id,
            vocab_size=len(tokens),
            first_token_id=max(tokens.all_special_ids) + 1 if _specials_lead(tokens) else 0,
            fraction=self.mask_fraction,
        )
        return {**masked, "token_type_ids": types, **labels}

    def _cut(self, corpus: Corpus, starts: Array, draw: np.random.Generator) -> tuple[Array, Array]:
        """Where each window begins, and after how many tokens it is cut: (B,) each."""
        margin, num_tokens = self.window // 4, len(corpus.ids)
        lengths = draw.integers(margin, self.window - margin, len(starts))  # of the first texts
        cuts = self._next_sentences(corpus, starts + lengths, num_tokens - margin)
        starts = np.clip(cuts - lengths, 0, num_tokens - self.window)
        return starts, cuts - starts

    def _replace_seconds(
        self, corpus: Corpus, windows: Array, cuts: Array, draw: np.random.Generator
    ) -> Array:
        """Put other texts behind the cuts of half of the windows; which ones, (B,) bool.

        They are chosen as those that follow are, so that a second text alone tells nothing.
        """
        is_random = draw.random(len(windows)) < 0.5
        last = len(corpus.ids) - self.window
        others = self._next_sentences(corpus, draw.integers(0, last + 1, len(windows)), last)
        for row in np.flatnonzero(is_random):
            count = self.window - cuts[row]
            windows[row, cuts[row] :] = corpus.ids[others[row] : others[row] + count]
        return is_random

    def _next_sentences(self, corpus: Corpus, places: Array, last: int) -> Array:
        """Where the next sentences begin, up to `last`; the places if none does within a row."""
        starts = corpus.sentence_starts
        found = starts[np.minimum(np.searchsorted(starts, places), len(starts) - 1)]
        is_near = (found >= places) & (found - places <= self.window) & (found <= last)
        return np.where(is_near, found, places)

    def evaluate(self, run: Run) -> dict[str, float]:
        """Loss, perplexity and accuracy at masked tokens, and accuracy of the pairs."""
        if self.validation is None:
            return {}
        available = len(self.validation.ids) // self.window
        chosen = np.linspace(0, available - 1, min(available, self.validation_rows)).astype(int)
        loss = right = count = pairs_right = 0.0
        for first in range(0, len(chosen), _ROWS_AT_A_TIME):
            places = chosen[first : first + _ROWS_AT_A_TIME] * self.window
            rows = self._rows(self.validation, places, generator(_VALIDATION_SEED, first))
            labels, pairs = rows.pop("labels"), rows.pop("next_sentence_label", None)
            output: Any = run(rows)
            logits = output.prediction_logits if pairs is not None else output.logits
            counted = labels != IGNORED_LABEL
            logits, labels = logits[counted].astype(np.float64), labels[counted]
            if len(labels):
                loss += float(cross_entropy(logits, labels)) * len(labels)
            right += float((logits.argmax(-1) == labels).sum())
            count += len(labels)
            if pairs is not None:
                pairs_right += float((output.seq_relationship_logits.argmax(-1) == pairs).sum())
        count = max(count, 1.0)  # rows may have been drawn that have special tokens alone
        result = {
            "loss": loss / count,
            "perplexity": math.exp(min(loss / count, 700.0)),
            "accuracy": right / count,
        }
        if self.head == "pretraining":
            result["next_sentence_accuracy"] = pairs_right / len(chosen)
        return result


def _specials_lead(tokenizer: Any) -> bool:
    """Whether the special tokens are the vocabulary's first, as in vocabularies trained here."""
    return sorted(tokenizer.all_special_ids) == list(range(len(tokenizer.all_special_ids)))
