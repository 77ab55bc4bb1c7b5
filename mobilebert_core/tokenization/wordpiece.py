"""WordPiece: the longest known prefix of a word first, then of what is left.

Rules: pieces that continue a word start with `##`; a word that is too long or that cannot be
covered becomes one unknown token. Read next: `slow.py`.
"""

from collections.abc import Mapping
from typing import NamedTuple

CONTINUATION = "##"
_CACHED_WORDS = 100_000


class Piece(NamedTuple):
    """One piece of a word: `word[start:end]`."""

    id: int
    token: str
    start: int
    end: int


class WordPiece:
    """Splits words into pieces of a vocabulary; remembers the words it has seen.

    Args:
        vocabulary: the pieces and their ids.
        unknown_token: stands for words that cannot be covered.
        longest_word: words with more characters than that are unknown.

    Example:
        >>> pieces = WordPiece({"[UNK]": 0, "un": 1, "##able": 2}, "[UNK]").split("unable")
        >>> [piece.token for piece in pieces]
        ['un', '##able']
    """

    def __init__(
        self, vocabulary: Mapping[str, int], unknown_token: str, longest_word: int = 100
    ) -> None:
        self._vocabulary = vocabulary
        self._unknown_token = unknown_token
        self._longest_word = longest_word
        self._longest_piece = max(map(len, vocabulary), default=0)
        self._seen: dict[str, tuple[Piece, ...]] = {}

    def split(self, word: str) -> tuple[Piece, ...]:
        """The pieces of one word that holds no whitespace."""
        pieces = self._seen.get(word)
        if pieces is None:
            if len(self._seen) >= _CACHED_WORDS:
                self._seen.clear()
            pieces = self._seen[word] = self._split(word)
        return pieces

    def _split(self, word: str) -> tuple[Piece, ...]:
        unknown_id = self._vocabulary[self._unknown_token]
        unknown = (Piece(unknown_id, self._unknown_token, 0, len(word)),)
        if len(word) > self._longest_word:
            return unknown
        pieces: list[Piece] = []
        start = 0
        while start < len(word):
            piece = self._longest(word, start)
            if piece is None:
                return unknown
            pieces.append(piece)
            start = piece.end
        return tuple(pieces)

    def _longest(self, word: str, start: int) -> Piece | None:
        """The longest piece that begins at `start`."""
        prefix = CONTINUATION if start else ""
        for end in range(min(len(word), start + self._longest_piece), start, -1):
            token = prefix + word[start:end]
            piece_id = self._vocabulary.get(token)
            if piece_id is not None:
                return Piece(piece_id, token, start, end)
        return None
