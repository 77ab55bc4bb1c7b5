"""Cleaning, lower-casing and accent stripping that remember where each character came from.

Rules: every character is mapped on its own (so a final sigma is an ordinary sigma), in this
order: remove control characters and make every whitespace a space, put spaces around ideographs,
decompose and drop accents, lower-case. All characters made from one original character keep its
position; offsets follow from that. Read next: `wordpiece.py`.
"""

import re
import unicodedata
from collections.abc import Iterable

from mobilebert_core.tokenization.unicode_tables import (
    CHINESE,
    DECOMPOSED_BEYOND_BMP,
    KEPT_MARKS,
    LOWER_SINCE_UNICODE_14,
    NONSPACING_MARKS,
    REMOVED,
    WHITESPACE,
    character_class,
    contains,
)

_ASCII_CLEAN = re.compile(r"[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f]*")
_ASCII_WHITESPACE = {9: " ", 10: " ", 13: " "}


def decompose(character: str) -> str:
    """The canonical decomposition of one character, as of Unicode 9.

    >>> [hex(ord(part)) for part in decompose("é")]
    ['0x65', '0x301']
    """
    if character > "\uffff" and not contains(DECOMPOSED_BEYOND_BMP, character):
        return character
    return unicodedata.normalize("NFD", character)


def combining_class(character: str) -> int:
    """The canonical combining class, 0 for marks newer than Unicode 9."""
    if contains(NONSPACING_MARKS, character) or contains(KEPT_MARKS, character):
        return unicodedata.combining(character)
    return 0


def lower(character: str) -> str:
    """The lower case of one character, whatever its neighbours are.

    >>> lower("Σ"), len(lower("İ"))
    ('σ', 2)
    """
    return LOWER_SINCE_UNICODE_14.get(character) or character.lower()


# Only where such a mark stands can canonical ordering change the text that is left in the end.
_MOVED = re.compile(
    "["
    + character_class(KEPT_MARKS)
    + "".join(
        chr(code)
        for first, last in DECOMPOSED_BEYOND_BMP
        for code in range(first, last + 1)
        if any(contains(KEPT_MARKS, part) for part in decompose(chr(code)))
    )
    + "]"
)


class Normalizer:
    """Maps a text to the form that is looked up in the vocabulary.

    Args:
        lower_case: make letters lower case.
        strip_accents: drop nonspacing marks; None does so when `lower_case` is set.
        space_chinese: put spaces around ideographs.

    Example:
        >>> Normalizer().normalize("Café")
        ('cafe', [0, 1, 2, 3])
        >>> Normalizer().normalize("plain")
        ('plain', None)
    """

    def __init__(
        self,
        *,
        lower_case: bool = True,
        strip_accents: bool | None = None,
        space_chinese: bool = True,
    ) -> None:
        self._lower_case = lower_case
        self._strip_accents = lower_case if strip_accents is None else strip_accents
        self._space_chinese = space_chinese
        self._images: dict[str, str] = {}

    def normalize(self, text: str) -> tuple[str, list[int] | None]:
        """The normalized text and the index of the original character of each of its characters.

        Returns:
            The text, and the indices, or None where character `i` came from character `i`.
        """
        if text.isascii() and _ASCII_CLEAN.fullmatch(text):
            spaced = text.translate(_ASCII_WHITESPACE)
            return (spaced.lower() if self._lower_case else spaced), None
        if self._strip_accents and _MOVED.search(text):
            return self._normalize_ordered(text)
        images = self._images
        parts: list[str] = []
        sources: list[int] = []
        for index, character in enumerate(text):
            image = images.get(character)
            if image is None:
                image = images[character] = self._image(character)
            parts.append(image)
            if len(image) == 1:
                sources.append(index)
            else:
                sources.extend([index] * len(image))
        return "".join(parts), sources

    def _image(self, character: str) -> str:
        """What becomes of one character."""
        spaced = self._clean(character)
        if self._strip_accents:
            spaced = "".join(
                part
                for whole in spaced
                for part in decompose(whole)
                if not contains(NONSPACING_MARKS, part)
            )
        return "".join(map(lower, spaced)) if self._lower_case else spaced

    def _clean(self, character: str) -> str:
        """The character without control characters, with spaces around an ideograph."""
        if contains(REMOVED, character):
            return ""
        if contains(WHITESPACE, character):
            return " "
        if self._space_chinese and contains(CHINESE, character):
            return f" {character} "
        return character

    def _normalize_ordered(self, text: str) -> tuple[str, list[int]]:
        """`normalize` with canonical ordering, which moves marks but not positions.

        Ordered characters take their positions in turn: whichever character comes to stand first
        gets the first position. Characters that a decomposition adds share the one before.
        """
        cleaned = [
            (part, index) for index, character in enumerate(text) for part in self._clean(character)
        ]
        positions = [index for _, index in cleaned]
        parts: list[str] = []
        sources: list[int] = []
        taken = -1
        for part, is_added in _canonical_order(character for character, _ in cleaned):
            taken += not is_added
            if contains(NONSPACING_MARKS, part):
                continue
            image = lower(part) if self._lower_case else part
            parts.append(image)
            sources.extend([positions[taken]] * len(image))
        return "".join(parts), sources


def _canonical_order(characters: Iterable[str]) -> list[tuple[str, bool]]:
    """Decomposed characters in canonical order, and whether each is a further part of one."""
    ordered: list[tuple[str, bool]] = []
    marks: list[tuple[str, bool]] = []
    for character in characters:
        for place, part in enumerate(decompose(character)):
            if combining_class(part):
                marks.append((part, place > 0))
                continue
            ordered += sorted(marks, key=lambda mark: combining_class(mark[0]))
            marks = []
            ordered.append((part, place > 0))
    return ordered + sorted(marks, key=lambda mark: combining_class(mark[0]))
