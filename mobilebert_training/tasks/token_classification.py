"""Token classification: a tag for each word of a sentence, such as those of named entities.

The first piece of a word has its label, the others have none. A sentence that is too long is cut
into several rows, between words, so that every word is trained on and evaluated.
Read next: `mobilebert_training/metrics.py`.

N rows  S sequence  L labels
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from mobilebert_core.errors import InputError
from mobilebert_core.input_checks import IGNORED_LABEL
from mobilebert_training.metrics import entity_metrics
from mobilebert_training.readers.conll import Sentence
from mobilebert_training.readers.files import Faults
from mobilebert_training.tasks.examples import Examples, call_tokenizer, chunks
from mobilebert_training.tasks.labels import check_names
from mobilebert_training.tasks.supervised import Outputs, SupervisedTask

OUTSIDE = "O"

_ENTITY_TAG = re.compile(r"O|[BIES]-.+")


@dataclass(frozen=True)
class _Row:
    """Part of a sentence.

    Attributes:
        sentence: its index.
        pieces: ids, without the special ones.
        words: the index of each word with a piece here.
        places: where in `pieces` each of these words begins.
    """

    sentence: int
    pieces: list[int]
    words: list[int]
    places: list[int]


class TokenClassification(SupervisedTask):
    """Sentences with a tag for each word.

    Args:
        training: at least one sentence.
        validation: maybe none.
        tokenizer: what `mobilebert.load_tokenizer` returns.
        max_length: tokens of a row; longer sentences become several rows.
        labels: the tags in the order of their ids; None takes those that occur, `O` first.
        metric: the deciding one; None takes the F1 of entities, or accuracy where tags are none
            of entities.

    Raises:
        InputError: a tag is none of the labels, `max_length` leaves no room, or the metric is
            unknown.
    """

    head = "token-classification"
    outputs_by_token: ClassVar[bool] = True

    def __init__(
        self,
        training: Sequence[Sentence],
        validation: Sequence[Sentence],
        tokenizer: Any,
        *,
        max_length: int = 128,
        labels: Sequence[str] | None = None,
        metric: str | None = None,
    ) -> None:
        together = [*training, *validation]
        self.names = _collect(together) if labels is None else check_names(labels)
        _check_tags(together, self.names)
        self.has_entities = all(_ENTITY_TAG.fullmatch(name) for name in self.names)
        entity = ("f1", "precision", "recall") if self.has_entities else ()
        self._choose_metric(metric, (*entity, "accuracy"))
        self.config_changes = {"id2label": dict(enumerate(self.names))}
        self.sentences = tuple(validation)
        self.frequent = Counter(tag for each in training for tag in each.tags).most_common(1)[0][0]
        self.training, _ = self._encode(tokenizer, training, max_length)
        self.validation, self.rows = self._encode(tokenizer, validation, max_length)

    def baseline(self) -> dict[str, float]:
        """The most frequent tag for all words."""
        if not self.sentences:
            return {}
        return self._score([[self.frequent] * len(each.words) for each in self.sentences])

    def _encode(
        self, tokenizer: Any, sentences: Sequence[Sentence], max_length: int
    ) -> tuple[Examples, list[_Row]]:
        room = max_length - tokenizer.num_special_tokens_to_add()
        if room < 1:
            raise InputError(f"max_length={max_length} leaves no room for words; give more")
        ids = {name: index for index, name in enumerate(self.names)}
        rows = list(_rows(tokenizer, sentences, room))
        labels = []
        for row in rows:
            tags = np.full(len(row.pieces) + 2, IGNORED_LABEL, np.int32)  # (S,)
            tags[np.array(row.places, np.int64) + 1] = [
                ids[sentences[row.sentence].tags[word]] for word in row.words
            ]
            labels.append(tags)
        frame = (tokenizer.cls_token_id, tokenizer.sep_token_id)
        input_ids = [np.array([frame[0], *row.pieces, frame[1]], np.int32) for row in rows]
        examples = Examples(
            input_ids=tuple(input_ids),
            token_type_ids=tuple(np.zeros_like(each) for each in input_ids),
            pad_token_id=tokenizer.pad_token_id,
            labels={"labels": tuple(labels)},
        )
        return examples, rows

    def _tags(self, outputs: Outputs) -> list[list[str]]:
        """The predicted tags of each sentence; `O` for a word without any piece."""
        silent = OUTSIDE if OUTSIDE in self.names else self.frequent
        tags = [[silent] * len(each.words) for each in self.sentences]
        for row, logits in zip(self.rows, outputs["logits"], strict=True):
            best = logits.argmax(axis=1)  # (S,)
            for word, place in zip(row.words, row.places, strict=True):
                tags[row.sentence][word] = self.names[best[place + 1]]
        return tags

    def _score(self, predicted: list[list[str]]) -> dict[str, float]:
        pairs = [
            (tag, right)
            for tags, sentence in zip(predicted, self.sentences, strict=True)
            for tag, right in zip(tags, sentence.tags, strict=True)
        ]
        accuracy = {"accuracy": sum(tag == right for tag, right in pairs) / len(pairs)}
        if not self.has_entities:
            return accuracy
        return {**entity_metrics(predicted, [each.tags for each in self.sentences]), **accuracy}

    def _measure(self, outputs: Outputs) -> dict[str, float]:
        return self._score(self._tags(outputs))

    def _describe(self, outputs: Outputs) -> list[dict[str, Any]]:
        return [
            {"words": list(sentence.words), "tags": tags}
            for sentence, tags in zip(self.sentences, self._tags(outputs), strict=True)
        ]


def _rows(tokenizer: Any, sentences: Sequence[Sentence], room: int) -> Iterator[_Row]:
    """Sentences cut between words into rows of at most `room` pieces; a longer word is cut off."""
    for numbers in chunks(range(len(sentences)), 1024):
        encoded = call_tokenizer(
            tokenizer,
            [list(sentences[number].words) for number in numbers],
            is_split_into_words=True,
            add_special_tokens=False,
            verbose=False,
        )
        for place, number in enumerate(numbers):
            pieces_of: dict[int, list[int]] = {}
            for piece, word in zip(
                encoded["input_ids"][place], encoded.word_ids(place), strict=True
            ):
                pieces_of.setdefault(word, []).append(piece)
            row = _Row(number, [], [], [])
            for word, pieces in pieces_of.items():
                if row.words and len(row.pieces) + len(pieces) > room:
                    yield row
                    row = _Row(number, [], [], [])
                row.words.append(word)
                row.places.append(len(row.pieces))
                row.pieces.extend(pieces[:room])
            if row.words:
                yield row


def _collect(sentences: Sequence[Sentence]) -> tuple[str, ...]:
    tags = {tag for each in sentences for tag in each.tags}
    return tuple(sorted(tags, key=lambda tag: (tag != OUTSIDE, tag)))


def _check_tags(sentences: Sequence[Sentence], names: Sequence[str]) -> None:
    known = set(names)
    for sentence in sentences:
        for place, tag in enumerate(sentence.tags):
            if tag not in known:
                faults = Faults(sentence.path)
                faults.add(
                    sentence.line + place,
                    f"the tag {tag!r} is unknown, expected one of {', '.join(names)}",
                )
                faults.finish()
