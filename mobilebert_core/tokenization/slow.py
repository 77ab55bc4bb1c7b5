"""`MobileBertTokenizer`: the tokenizer in pure Python, easy to read and to step through.

Rules: added tokens first, then normalization, then words, then pieces; every step passes on where
its characters came from. Gives exactly what `fast.py` gives. Read next: `wordpiece.py`.
"""

import re
from dataclasses import dataclass, field

from mobilebert_core.tokenization.added_tokens import Matcher
from mobilebert_core.tokenization.base import Tokenizer
from mobilebert_core.tokenization.encoding import Offsets, TokenSequence
from mobilebert_core.tokenization.inputs import Text
from mobilebert_core.tokenization.unicode_tables import PUNCTUATION, WHITESPACE, character_class
from mobilebert_core.tokenization.wordpiece import WordPiece

_WHITESPACE = character_class(WHITESPACE)
_PUNCTUATION = character_class(PUNCTUATION)
_WORDS = re.compile(f"[{_PUNCTUATION}]|[^{_PUNCTUATION}{_WHITESPACE}]+")
_SPACED_WORDS = re.compile(f"[^{_WHITESPACE}]+")


@dataclass
class _Sequence:
    """One tokenized text; grows while it is read."""

    ids: list[int] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)
    offsets: list[Offsets] = field(default_factory=list)
    word_ids: list[int] = field(default_factory=list)
    words: int = 0

    def add(self, token_id: int, token: str, start: int, end: int) -> None:
        """Append a token of the current word."""
        self.ids.append(token_id)
        self.tokens.append(token)
        self.offsets.append((start, end))
        self.word_ids.append(self.words)


class MobileBertTokenizer(Tokenizer):
    """Turns texts into model inputs, in pure Python.

    See `Tokenizer` for arguments, settings and methods.

    Example:
        >>> tokenizer = MobileBertTokenizer()
        >>> tokenizer("Small and fast.")["input_ids"]
        [101, 2235, 1998, 3435, 1012, 102]
    """

    is_fast = False

    def _refresh(self) -> None:
        """Prepare for the tokens that the vocabulary holds now."""
        settings = self.settings
        self._wordpiece = WordPiece(
            self.vocabulary.pieces, settings.unk_token, settings.longest_word
        )
        tokens = self.vocabulary.added_in_order()
        self._raw_matcher = Matcher(
            (token.content, token, token_id) for token, token_id in tokens if not token.normalized
        )
        self._normalized_matcher = Matcher(
            (self._pattern(token), token, token_id)
            for token, token_id in tokens
            if token.normalized
        )

    def _tokenize(self, texts: list[Text], *, is_split_into_words: bool) -> list[TokenSequence]:
        sequences: list[TokenSequence] = []
        for text in texts:
            sequence = _Sequence()
            if is_split_into_words:
                for index, word in enumerate(text):
                    first = len(sequence.ids)
                    self._read(word, sequence)
                    sequence.word_ids[first:] = [index] * (len(sequence.ids) - first)
            else:
                assert isinstance(text, str)
                self._read(text, sequence)
            sequences.append(sequence)
        return sequences

    def _normalize(self, text: str) -> tuple[str, list[int] | None]:
        if not self.settings.do_basic_tokenize:
            return text, None
        return self._normalizer.normalize(text)

    def _read(self, text: str, sequence: _Sequence) -> None:
        """Append the tokens of a text: raw added tokens and what stands between them."""
        for start, end, token_id in self._raw_matcher.split(text):
            if token_id is None:
                self._read_normalized(text[start:end], start, sequence)
            else:
                sequence.add(token_id, text[start:end], start, end)
                sequence.words += 1

    def _read_normalized(self, text: str, base: int, sequence: _Sequence) -> None:
        """Append the tokens of a part that begins at `base`, normalized added tokens first."""
        normalized, sources = self._normalize(text)
        for start, end, token_id in self._normalized_matcher.split(normalized):
            if token_id is None:
                self._read_words(normalized, start, end, base, sources, sequence)
                continue
            first, last = (
                (start, end - 1) if sources is None else (sources[start], sources[end - 1])
            )
            sequence.add(token_id, normalized[start:end], base + first, base + last + 1)
            sequence.words += 1

    def _read_words(
        self,
        normalized: str,
        start: int,
        end: int,
        base: int,
        sources: list[int] | None,
        sequence: _Sequence,
    ) -> None:
        """Append the pieces of the words between `start` and `end`."""
        words = _WORDS if self.settings.do_basic_tokenize else _SPACED_WORDS
        for match in words.finditer(normalized, start, end):
            word_start = match.start()
            for piece in self._wordpiece.split(match.group()):
                first, last = word_start + piece.start, word_start + piece.end - 1
                if sources is not None:
                    first, last = sources[first], sources[last]
                sequence.add(piece.id, piece.token, base + first, base + last + 1)
            sequence.words += 1
