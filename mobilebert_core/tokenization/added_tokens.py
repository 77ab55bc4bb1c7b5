"""Tokens added to the vocabulary, and where a text contains them.

Rules: added tokens are found before a text is split into words; those with `normalized=False` in
the text as given, the others in the normalized text. The leftmost match wins, the longest of
those that begin there. Read next: `vocabulary.py`.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from mobilebert_core.errors import TokenizerError
from mobilebert_core.tokenization.unicode_tables import (
    WHITESPACE,
    WORD_CHARACTERS_SINCE_UNICODE_14,
    character_class,
    contains,
    parse_ranges,
)

_SPACES_BEFORE = re.compile(f"[{character_class(WHITESPACE)}]*\\Z")
_SPACES_AFTER = re.compile(f"[{character_class(WHITESPACE)}]*")
_WORD_CATEGORIES = ("L", "M", "Nd", "Nl", "Pc")
# Join controls, and circled or squared letters, which are symbols by category only.
_WORD_SYMBOLS = parse_ranges("200C-200D 24B6-24E9 1F130-1F149 1F150-1F169 1F170-1F189")
_FLAGS = ("single_word", "lstrip", "rstrip", "normalized", "special")


@dataclass(frozen=True)
class AddedToken:
    """A token that is found in texts as a whole, and how.

    Attributes:
        content: the token.
        single_word: match only where no word character stands next to it.
        lstrip: swallow the whitespace on the left.
        rstrip: swallow the whitespace on the right.
        normalized: match in the normalized text (lower-cased, without accents) and normalize the
            token alike; None means: unless it is special.
        special: has a meaning for the model; left out by `decode(..., skip_special_tokens=True)`.

    Example:
        >>> str(AddedToken("[USER]", lstrip=True))
        '[USER]'
    """

    content: str
    single_word: bool = False
    lstrip: bool = False
    rstrip: bool = False
    normalized: bool | None = None
    special: bool = False

    def __str__(self) -> str:
        return self.content

    @classmethod
    def of(cls, value: Any, *, special: bool = False) -> "AddedToken":
        """The token that a string, a mapping or another library's `AddedToken` describes.

        Args:
            value: what describes the token.
            special: mark it as special even if it does not say so.

        Raises:
            TokenizerError: it is none of these, has no content or a flag that is not a bool.
        """
        if isinstance(value, str):
            fields: dict[str, Any] = {"content": value}
        elif isinstance(value, Mapping):
            fields = {name: value[name] for name in ("content", *_FLAGS) if name in value}
        else:
            fields = {
                name: getattr(value, name) for name in ("content", *_FLAGS) if hasattr(value, name)
            }
        content = fields.get("content")
        if not isinstance(content, str) or not content:
            raise TokenizerError(
                f"{value!r} is no token; give a non-empty str or an AddedToken with such content"
            )
        if not is_valid_text(content):
            raise TokenizerError(f"{content!r} holds a lone surrogate; give valid Unicode")
        flags = {name: fields[name] for name in _FLAGS if fields.get(name) is not None}
        for name, flag in flags.items():
            if not isinstance(flag, bool):
                raise TokenizerError(f"token {content!r}: {name} is {flag!r}; give True or False")
        flags["special"] = special or flags.get("special", False)
        flags.setdefault("normalized", not flags["special"])
        return cls(content, **flags)

    def to_json(self) -> dict[str, str | bool]:
        """The fields as JSON files of tokenizers hold them."""
        return asdict(AddedToken.of(self))


def is_valid_text(text: str) -> bool:
    """Whether a str has no lone surrogates, which no file and no other program can hold."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def is_word_character(character: str) -> bool:
    """Whether `single_word` tokens may not stand next to this character."""
    category = unicodedata.category(character)
    return (
        category.startswith(_WORD_CATEGORIES)
        or contains(_WORD_SYMBOLS, character)
        or contains(WORD_CHARACTERS_SINCE_UNICODE_14, character)
    )


class Matcher:
    """Finds added tokens in a text.

    Args:
        tokens: what to look for in the text, the token and its id, the preferred ones first.
    """

    def __init__(self, tokens: Iterable[tuple[str, AddedToken, int]]) -> None:
        self._tokens: dict[str, tuple[AddedToken, int]] = {}
        for pattern, token, token_id in tokens:
            self._tokens.setdefault(pattern, (token, token_id))
        longest_first = sorted(self._tokens, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, longest_first)))

    def split(self, text: str) -> Iterator[tuple[int, int, int | None]]:
        """The text in parts: start, end and the id of the added token, None between them."""
        position = 0
        for match in self._pattern.finditer(text) if self._tokens else ():
            token, token_id = self._tokens[match.group()]
            start, end = match.span()
            if token.single_word and not _stands_alone(text, start, end):
                continue
            if token.lstrip:
                spaces = _SPACES_BEFORE.search(text, position, start)
                # The match may begin in spaces that the token before has swallowed.
                start = spaces.start() if spaces else position
            if token.rstrip:
                spaces = _SPACES_AFTER.match(text, end)
                end = spaces.end() if spaces else end
            if position < start:
                yield position, start, None
            yield start, end, token_id
            position = end
        if position < len(text):
            yield position, len(text), None


def _stands_alone(text: str, start: int, end: int) -> bool:
    before, after = text[:start][-1:], text[end : end + 1]
    return not any(is_word_character(character) for character in before + after)
