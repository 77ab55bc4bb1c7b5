"""What a tokenizer call returns: lists or tensors by name, and the rows behind them.

Rules: a dict that a model takes as `model(**encoding)`; values can be read as attributes too.
Where a method takes one index, it is an index into the only row; with two, the first one is the
row. Read next: `encoding.py`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from mobilebert_core.errors import TokenizerError
from mobilebert_core.tokenization.encoding import CharSpan, Encoding, TokenSpan
from mobilebert_core.tokenization.tensors import converter


class BatchEncoding(dict[str, Any]):
    """Model inputs by name, with the way back from tokens to words and characters.

    Args:
        data: the values, e.g. `input_ids`.
        encodings: the rows that they came from, needed by the methods that ask about tokens.
        tensor_type: turn the values into tensors: `"np"`, `"pt"`, `"tf"` or `"jax"`.

    Example:
        >>> BatchEncoding({"input_ids": [[101, 102]]}, tensor_type="np").input_ids.shape
        (1, 2)
    """

    def __init__(
        self,
        data: Mapping[str, Any] | None = None,
        encodings: Sequence[Encoding] | None = None,
        tensor_type: str | None = None,
    ) -> None:
        super().__init__(data or {})
        self._encodings = None if encodings is None else list(encodings)
        if tensor_type is not None:
            self.convert_to_tensors(tensor_type)

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(
                f"this encoding has no {name!r}; it has {', '.join(map(repr, self))}"
            ) from None

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, int):
            return self._row(key)
        if isinstance(key, slice):
            return {name: value[key] for name, value in self.items()}
        return super().__getitem__(key)

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), (dict(self), self._encodings))

    @property
    def encodings(self) -> list[Encoding] | None:
        """The rows, None if this was made from values alone."""
        return self._encodings

    @property
    def n_sequences(self) -> int | None:
        """How many texts each row holds: 1 or 2, None if unknown."""
        return self._encodings[0].n_sequences if self._encodings else None

    def convert_to_tensors(self, tensor_type: str) -> "BatchEncoding":
        """Turn all values into tensors, in place.

        Raises:
            TokenizerError: rows differ in length.
            BackendError: the backend is unknown or cannot be used.
        """
        convert = converter(tensor_type)
        tensors = {name: convert(name, value) for name, value in self.items()}
        self.update(tensors)
        return self

    def to(self, device: Any) -> "BatchEncoding":
        """Move every value that can be moved to a device, in place."""
        for name, value in self.items():
            if hasattr(value, "to"):
                self[name] = value.to(device)
        return self

    def tokens(self, batch_index: int = 0) -> list[str]:
        """The tokens of a row as text."""
        return self._row(batch_index).tokens

    def word_ids(self, batch_index: int = 0) -> list[int | None]:
        """The index of the word of each token, None for special tokens."""
        return self._row(batch_index).word_ids

    def sequence_ids(self, batch_index: int = 0) -> list[int | None]:
        """0 or 1 for tokens of the first or second text, None for special tokens."""
        return self._row(batch_index).sequence_ids

    def token_to_sequence(self, index: int, token: int | None = None) -> int | None:
        """Which text a token belongs to."""
        row, token = self._locate_token(index, token)
        return row.token_to_sequence(token)

    def token_to_word(self, index: int, token: int | None = None) -> int | None:
        """The index of the word of a token."""
        row, token = self._locate_token(index, token)
        return row.token_to_word(token)

    def token_to_chars(self, index: int, token: int | None = None) -> CharSpan | None:
        """The characters that a token covers, None for special tokens."""
        row, token = self._locate_token(index, token)
        return row.token_to_chars(token)

    def word_to_tokens(
        self, index: int, word: int | None = None, sequence_index: int = 0
    ) -> TokenSpan | None:
        """The tokens of a word, None if the row does not hold it."""
        row, word = self._locate(index, word)
        return row.word_to_tokens(word, sequence_index)

    def word_to_chars(
        self, index: int, word: int | None = None, sequence_index: int = 0
    ) -> CharSpan | None:
        """The characters of a word, None if the row does not hold it."""
        row, word = self._locate(index, word)
        return row.word_to_chars(word, sequence_index)

    def char_to_token(
        self, index: int, char: int | None = None, sequence_index: int = 0
    ) -> int | None:
        """The token that covers a character, None for whitespace and characters cut off."""
        row, char = self._locate(index, char)
        return row.char_to_token(char, sequence_index)

    def char_to_word(
        self, index: int, char: int | None = None, sequence_index: int = 0
    ) -> int | None:
        """The word that covers a character."""
        row, char = self._locate(index, char)
        return row.char_to_word(char, sequence_index)

    def _locate(self, index: int, position: int | None) -> tuple[Encoding, int]:
        return (self._row(0), index) if position is None else (self._row(index), position)

    def _locate_token(self, index: int, token: int | None) -> tuple[Encoding, int]:
        row, token = self._locate(index, token)
        if not -len(row) <= token < len(row):
            raise TokenizerError(f"token {token} is none of the {len(row)} tokens of the row")
        return row, token % len(row)

    def _row(self, index: int) -> Encoding:
        if self._encodings is None:
            raise TokenizerError(
                "this encoding holds values only; call the tokenizer on the text to ask about "
                "its tokens"
            )
        if not -len(self._encodings) <= index < len(self._encodings):
            raise TokenizerError(
                f"there is no row {index}; the encoding has {len(self._encodings)} rows"
            )
        return self._encodings[index]
