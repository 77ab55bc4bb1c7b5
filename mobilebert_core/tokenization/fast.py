"""`MobileBertTokenizerFast`: the same tokenizer on the Rust library `tokenizers`.

Rules: Rust splits and looks up, a whole batch in one call and in parallel; cutting, special
tokens and padding are the list operations of `base.py`, so that both tokenizers share them.
"""

from functools import cached_property
from typing import Any

from mobilebert_core.errors import MissingDependencyError
from mobilebert_core.tokenization.added_tokens import AddedToken
from mobilebert_core.tokenization.base import Tokenizer
from mobilebert_core.tokenization.encoding import Offsets, TokenSequence
from mobilebert_core.tokenization.inputs import Text

try:
    from tokenizers import AddedToken as RustAddedToken
    from tokenizers import Encoding as RustEncoding
    from tokenizers import Tokenizer as RustTokenizer
    from tokenizers import models, normalizers, pre_tokenizers
except ImportError as error:
    raise MissingDependencyError(
        "the fast tokenizer needs the package tokenizers, which does not import; type: pip install "
        "tokenizers, or pass fast=False"
    ) from error


class _RustSequence:
    """One text tokenized by Rust; most lists become Python lists when asked for, and once."""

    def __init__(self, encoding: RustEncoding) -> None:
        self._encoding = encoding
        self.ids: list[int] = encoding.ids

    @cached_property
    def tokens(self) -> list[str]:
        return self._encoding.tokens

    @cached_property
    def offsets(self) -> list[Offsets]:
        return self._encoding.offsets

    @cached_property
    def word_ids(self) -> list[int | None]:
        return self._encoding.word_ids


class MobileBertTokenizerFast(Tokenizer):
    """Turns texts into model inputs, on the Rust library `tokenizers`.

    See `Tokenizer` for arguments, settings and methods.

    Example:
        >>> tokenizer = MobileBertTokenizerFast()
        >>> tokenizer("Small and fast.")["input_ids"]
        [101, 2235, 1998, 3435, 1012, 102]
    """

    is_fast = True
    _rust: RustTokenizer | None = None

    @property
    def backend_tokenizer(self) -> RustTokenizer:
        """The `tokenizers.Tokenizer` that splits texts; it adds no special tokens."""
        if self._rust is None:
            self._rust = self._build()
        return self._rust

    def _refresh(self) -> None:
        # Built anew when next used: Rust would keep what a token matched before it was changed.
        self._rust = None

    def _build(self) -> RustTokenizer:
        settings = self.settings
        rust = RustTokenizer(
            models.WordPiece(
                self.vocabulary.pieces,
                unk_token=settings.unk_token,
                max_input_chars_per_word=settings.longest_word,
            )
        )
        if settings.do_basic_tokenize:
            rust.normalizer = normalizers.BertNormalizer(
                clean_text=True,
                handle_chinese_chars=settings.tokenize_chinese_chars,
                strip_accents=settings.strip_accents,
                lowercase=settings.do_lower_case,
            )
            rust.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        else:
            rust.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
        # In the order they came, because Rust numbers new tokens in turn.
        rust.add_tokens([_rust_token(token) for token in self.vocabulary.added.values()])
        return rust

    def _tokenize(self, texts: list[Text], *, is_split_into_words: bool) -> list[TokenSequence]:
        encodings = self.backend_tokenizer.encode_batch(
            texts, is_pretokenized=is_split_into_words, add_special_tokens=False
        )
        return [_RustSequence(encoding) for encoding in encodings]


def _rust_token(token: AddedToken) -> RustAddedToken:
    fields: dict[str, Any] = token.to_json()
    return RustAddedToken(fields.pop("content"), **fields)
