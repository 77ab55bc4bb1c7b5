"""The tokens and their ids: the word pieces of a file, and the tokens added to them.

Rules: the ids of the word pieces are 0, 1, 2, ... without gaps; an added token that is no word
piece gets the next free id; adding a token again changes how it is matched, never its id. Read
next: `base.py`.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from mobilebert_core.errors import TokenizerError, raise_faults
from mobilebert_core.tokenization.added_tokens import AddedToken, is_valid_text
from mobilebert_core.tokenization.unicode_tables import WHITESPACE_CHARACTERS

PACKAGED_VOCABULARY = Path(__file__).with_name("vocab.txt")
"""The 30,522 word pieces of uncased BERT and MobileBERT (Google, Apache-2.0)."""


def parse_vocabulary(content: str, name: str) -> dict[str, int]:
    r"""Word pieces and ids of a `vocab.txt`: one piece a line, the line number is the id.

    Raises:
        TokenizerError: lines are empty or repeat an earlier one.

    Example:
        >>> parse_vocabulary("[PAD]\nthe\n", "vocab.txt")
        {'[PAD]': 0, 'the': 1}
    """
    pieces: dict[str, int] = {}
    faults: list[str] = []
    for index, line in enumerate(content.removesuffix("\n").split("\n")):
        piece = line.rstrip(WHITESPACE_CHARACTERS)
        if not piece:
            faults.append(f"line {index + 1} is empty; give one word piece a line")
        elif piece in pieces:
            faults.append(
                f"line {index + 1} repeats {piece!r} of line {pieces[piece] + 1}; remove one"
            )
        pieces.setdefault(piece, index)
    raise_faults(TokenizerError, f"The vocabulary {name} is invalid", faults[:20])
    return pieces


def checked_pieces(pieces: Any, name: str) -> dict[str, int]:
    """Word pieces by id order, checked: strings with the ids 0, 1, 2, ...

    Raises:
        TokenizerError: it is no such mapping.
    """
    if not isinstance(pieces, Mapping) or not pieces:
        raise TokenizerError(
            f"The vocabulary of {name} is {_brief(pieces)}; give a mapping from token to id"
        )
    faults = [
        f"{piece!r}: {piece_id!r}; give an int, and a str that does not end in whitespace"
        for piece, piece_id in pieces.items()
        if type(piece_id) is not int
        or not isinstance(piece, str)
        or not is_valid_text(piece)
        or "\n" in piece
        or piece.rstrip(WHITESPACE_CHARACTERS) != piece
        or not piece
    ]
    raise_faults(TokenizerError, f"The vocabulary of {name} is invalid", faults[:20])
    ordered = sorted(pieces.items(), key=lambda item: item[1])
    for expected, (piece, piece_id) in enumerate(ordered):
        if piece_id != expected:
            raise TokenizerError(
                f"The vocabulary of {name} is invalid: {piece!r} has id {piece_id} where "
                f"{expected} is next; number {len(ordered)} tokens from 0 without gaps"
            )
    return dict(ordered)


class Vocabulary:
    """Word pieces, added tokens and their ids.

    Args:
        pieces: the word pieces, with ids 0, 1, 2, ...

    Attributes:
        pieces: the word pieces by token.
        added: the added tokens by id.
    """

    def __init__(self, pieces: dict[str, int]) -> None:
        self.pieces = pieces
        self.added: dict[int, AddedToken] = {}
        self._ids = dict(pieces)
        self._tokens = list(pieces)

    def __len__(self) -> int:
        return len(self._tokens)

    def add(self, tokens: Iterable[AddedToken]) -> int:
        """Register tokens; returns how many of them are new or matched differently now."""
        changed = 0
        for token in tokens:
            token_id = self._ids.setdefault(token.content, len(self._tokens))
            if token_id == len(self._tokens):
                self._tokens.append(token.content)
            if self.added.get(token_id) != token:
                self.added[token_id] = token
                changed += 1
        return changed

    def find(self, token: str) -> int | None:
        """The id of a token, or None."""
        return self._ids.get(token)

    def find_added(self, token: str) -> AddedToken | None:
        """The added token with this content, or None."""
        token_id = self._ids.get(token)
        return None if token_id is None else self.added.get(token_id)

    def token(self, token_id: int) -> str:
        """The token of an id.

        Raises:
            TokenizerError: there is none.
        """
        if not 0 <= token_id < len(self._tokens):
            raise TokenizerError(
                f"Id {token_id} has no token; ids are 0 to {len(self._tokens) - 1}. Replace "
                "ignored labels such as -100 by pad_token_id before decoding"
            )
        return self._tokens[token_id]

    def added_in_order(self) -> list[tuple[AddedToken, int]]:
        """Added tokens and ids, special ones first, so that these win equal matches."""
        by_id = sorted(self.added.items())
        return sorted(
            ((token, token_id) for token_id, token in by_id),
            key=lambda item: not item[0].special,
        )

    def to_dict(self) -> dict[str, int]:
        """All tokens and their ids."""
        return dict(self._ids)


def _brief(value: Any) -> str:
    return f"empty ({value!r})" if not value else f"a {type(value).__name__}"
