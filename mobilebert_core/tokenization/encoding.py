"""One row of tokens: which token stands where, and which part of which text it covers.

Rules: a row is a window of one or two tokenized texts, special tokens around them and padding;
its lists are put together when they are asked for. Read next: `batch_encoding.py`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from mobilebert_core.tokenization.windows import Window

Offsets = tuple[int, int]
NO_OFFSETS: Offsets = (0, 0)


class CharSpan(NamedTuple):
    """Characters `start` to `end` (exclusive) of a text."""

    start: int
    end: int


class TokenSpan(NamedTuple):
    """Tokens `start` to `end` (exclusive) of a row."""

    start: int
    end: int


class TokenSequence(Protocol):
    """One tokenized text without special tokens; each list has one item a token."""

    @property
    def ids(self) -> list[int]:
        """The id of each token."""

    @property
    def tokens(self) -> list[str]:
        """Each token as text."""

    @property
    def offsets(self) -> list[Offsets]:
        """First character and end of each token."""

    @property
    def word_ids(self) -> Sequence[int | None]:
        """The index of the word of each token."""


@dataclass(frozen=True)
class Frame:
    """The special tokens of a row, each as id and token.

    Attributes:
        begin: stands before the first text, None where special tokens are not wanted.
        end: stands after each text, None likewise.
        pad: fills the row up.
    """

    begin: tuple[int, str] | None
    end: tuple[int, str] | None
    pad: tuple[int, str]


class Encoding:
    """One row: a list per property, with one item a token.

    Args:
        sequences: the one or two tokenized texts.
        windows: which of their tokens the row holds.
        frame: the special tokens.
        pad_left: how many pad tokens stand before the others.
        pad_right: how many stand after them.

    Tokens that belong to no text have the offsets `(0, 0)`, and None as word and sequence.
    """

    def __init__(
        self,
        sequences: Sequence[TokenSequence],
        windows: Sequence[Window],
        frame: Frame,
        pad_left: int = 0,
        pad_right: int = 0,
    ) -> None:
        self._sequences = sequences
        self._windows = windows
        self._frame = frame
        self.pad_left = pad_left
        self.pad_right = pad_right

    def __len__(self) -> int:
        return self.pad_left + self.unpadded_length + self.pad_right

    @property
    def n_sequences(self) -> int:
        """How many texts the row holds: 1 or 2."""
        return len(self._sequences)

    @property
    def unpadded_length(self) -> int:
        """How many tokens the row has without padding."""
        special = (self._frame.begin is not None) + (
            len(self._windows) if self._frame.end is not None else 0
        )
        return special + sum(end - start for start, end in self._windows)

    @property
    def ids(self) -> list[int]:
        """The id of each token."""
        frame = self._frame
        return self._row(
            [sequence.ids for sequence in self._sequences],
            frame.begin and frame.begin[0],
            frame.end and frame.end[0],
            frame.pad[0],
        )

    @property
    def tokens(self) -> list[str]:
        """Each token as text; added tokens as they stand in the normalized text."""
        frame = self._frame
        return self._row(
            [sequence.tokens for sequence in self._sequences],
            frame.begin and frame.begin[1],
            frame.end and frame.end[1],
            frame.pad[1],
        )

    @property
    def offsets(self) -> list[Offsets]:
        """First character and end of each token in its text (in its word, if given as words)."""
        return self._constant_row([sequence.offsets for sequence in self._sequences], NO_OFFSETS)

    @property
    def word_ids(self) -> list[int | None]:
        """The index of the word of each token."""
        return self._constant_row([sequence.word_ids for sequence in self._sequences], None)

    @property
    def sequence_ids(self) -> list[int | None]:
        """0 for tokens of the first text, 1 for tokens of the second."""
        return self._mask([0, 1], None, None)

    @property
    def type_ids(self) -> list[int]:
        """0 for the first text and its special tokens, 1 for the second and its `[SEP]`."""
        first = self._segment_length(0) + (self._frame.begin is not None)
        second = self._segment_length(1) if self.n_sequences == 2 else 0
        return [0] * (self.pad_left + first) + [1] * second + [0] * self.pad_right

    @property
    def special_tokens_mask(self) -> list[int]:
        """1 for special tokens around the texts and for padding, 0 for tokens of a text."""
        return self._mask([0, 0], 1, 1)

    @property
    def attention_mask(self) -> list[int]:
        """0 for padding, 1 for everything else."""
        return [0] * self.pad_left + [1] * self.unpadded_length + [0] * self.pad_right

    def sequence_range(self, sequence_index: int) -> range:
        """The positions of the tokens of one text."""
        start = self.pad_left + (self._frame.begin is not None)
        for index in range(sequence_index):
            start += self._segment_length(index)
        window_start, window_end = self._windows[sequence_index]
        return range(start, start + window_end - window_start)

    def _segment_length(self, index: int) -> int:
        start, end = self._windows[index]
        return end - start + (self._frame.end is not None)

    def _row(self, values: Sequence[Sequence[Any]], begin: Any, end: Any, pad: Any) -> list[Any]:
        row = [pad] * self.pad_left
        if self._frame.begin is not None:
            row.append(begin)
        for whole, (start, stop) in zip(values, self._windows, strict=True):
            row += whole[start:stop]
            if self._frame.end is not None:
                row.append(end)
        row += [pad] * self.pad_right
        return row

    def _constant_row(self, values: Sequence[Sequence[Any]], special: Any) -> list[Any]:
        return self._row(values, special, special, special)

    def _mask(self, texts: list[Any], special: Any, pad: Any) -> list[Any]:
        values = [[text] * end for text, (_, end) in zip(texts, self._windows, strict=False)]
        return self._row(values, special, special, pad)

    def token_to_sequence(self, token: int) -> int | None:
        """Which text a token belongs to."""
        for index in range(self.n_sequences):
            if token in self.sequence_range(index):
                return index
        return None

    def token_to_word(self, token: int) -> int | None:
        """The index of the word of a token."""
        return None if self.token_to_sequence(token) is None else self.word_ids[token]

    def token_to_chars(self, token: int) -> CharSpan | None:
        """The characters that a token covers."""
        if self.token_to_sequence(token) is None:
            return None
        return CharSpan(*self.offsets[token])

    def char_to_token(self, char: int, sequence_index: int = 0) -> int | None:
        """The first token that covers a character."""
        offsets = self.offsets
        for token in self._range_or_none(sequence_index):
            if offsets[token][0] <= char < offsets[token][1]:
                return token
        return None

    def char_to_word(self, char: int, sequence_index: int = 0) -> int | None:
        """The word that covers a character."""
        token = self.char_to_token(char, sequence_index)
        return None if token is None else self.word_ids[token]

    def word_to_tokens(self, word: int, sequence_index: int = 0) -> TokenSpan | None:
        """The tokens of a word."""
        word_ids = self.word_ids
        tokens = [t for t in self._range_or_none(sequence_index) if word_ids[t] == word]
        return TokenSpan(tokens[0], tokens[-1] + 1) if tokens else None

    def word_to_chars(self, word: int, sequence_index: int = 0) -> CharSpan | None:
        """The characters that a word covers."""
        span = self.word_to_tokens(word, sequence_index)
        if span is None:
            return None
        offsets = self.offsets
        return CharSpan(offsets[span.start][0], offsets[span.end - 1][1])

    def _range_or_none(self, sequence_index: int) -> range:
        return (
            self.sequence_range(sequence_index) if sequence_index < self.n_sequences else range(0)
        )
