"""`Tokenizer`: everything that the two tokenizers share, which is all but splitting texts.

Rules: one interface with the names, arguments and results of the transformers library; wrong
input raises one `TokenizerError`, the same from both tokenizers. Read next: `slow.py`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

from mobilebert_core.errors import TokenizerError, raise_faults
from mobilebert_core.tokenization.added_tokens import AddedToken
from mobilebert_core.tokenization.calls import Calls
from mobilebert_core.tokenization.decoding import clean_up, join_tokens
from mobilebert_core.tokenization.files import read_vocabulary
from mobilebert_core.tokenization.loading import load, ordered_added_tokens
from mobilebert_core.tokenization.normalization import Normalizer
from mobilebert_core.tokenization.saving import save
from mobilebert_core.tokenization.settings import SPECIAL_TOKEN_NAMES, Side, make_settings
from mobilebert_core.tokenization.tensors import to_list
from mobilebert_core.tokenization.vocabulary import (
    PACKAGED_VOCABULARY,
    Vocabulary,
    checked_pieces,
)


class Tokenizer(Calls):
    """Turns texts into model inputs and ids back into text.

    Args:
        vocab_file: a `vocab.txt`; without it and `vocab`, the packaged uncased vocabulary.
        vocab: the word pieces and their ids, in place of a file.
        added_tokens_decoder: added tokens by id.
        settings: the attributes of `Settings`, e.g. `do_lower_case=False`.

    Raises:
        TokenizerError: the vocabulary or a setting is invalid; every fault is listed.
    """

    is_fast: bool

    def __init__(
        self,
        vocab_file: str | Path | None = None,
        *,
        vocab: Mapping[str, int] | None = None,
        added_tokens_decoder: Mapping[Any, Any] | None = None,
        **settings: Any,
    ) -> None:
        if vocab_file is not None and vocab is not None:
            raise TokenizerError("vocab_file and vocab are both given; give one of them")
        self.settings, flagged = make_settings(settings)
        if vocab is None:
            pieces = read_vocabulary(PACKAGED_VOCABULARY if vocab_file is None else vocab_file)
        else:
            pieces = checked_pieces(vocab, "vocab")
        self._normalizer = Normalizer(
            lower_case=self.settings.do_lower_case,
            strip_accents=self.settings.strip_accents,
            space_chinese=self.settings.tokenize_chinese_chars,
        )
        self.vocabulary = Vocabulary(pieces)
        self._register(ordered_added_tokens(added_tokens_decoder or {}, pieces))
        self._register(flagged)
        self._register_special_tokens()
        self._refresh()

    def _register_special_tokens(self) -> None:
        """Make sure that special tokens and words that are never split are found as a whole."""
        faults = [
            f"{name} {token!r} is missing; add it to the vocabulary or name another token"
            for name in SPECIAL_TOKEN_NAMES
            if self.vocabulary.find(token := getattr(self.settings, name)) is None
        ]
        faults += [
            f"never_split word {word!r} is missing; add it to the vocabulary with add_tokens"
            for word in self.settings.never_split
            if self.vocabulary.find(word) is None
        ]
        raise_faults(TokenizerError, "The vocabulary does not fit", faults)
        for token in self.all_special_tokens:
            present = self.vocabulary.find_added(token)
            if present is None:
                self._register([AddedToken.of(token, special=True)])
            elif not present.special:
                self._register([replace(present, special=True)])
        self._register(
            AddedToken(word, single_word=True, normalized=False)
            for word in self.settings.never_split
            if self.vocabulary.find_added(word) is None
        )

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(vocab_size={self.vocab_size}, length={len(self)}, "
            f"model_max_length={self.model_max_length}, special_tokens={self.special_tokens_map})"
        )

    @property
    def model_max_length(self) -> int:
        """The longest row that the model takes, special tokens included."""
        return self.settings.model_max_length

    @model_max_length.setter
    def model_max_length(self, value: int) -> None:
        self.settings = replace(self.settings, model_max_length=value)

    @property
    def padding_side(self) -> Side:
        """Where rows are filled up: `"left"` or `"right"`."""
        return self.settings.padding_side

    @padding_side.setter
    def padding_side(self, value: Side) -> None:
        self.settings = replace(self.settings, padding_side=value)

    @property
    def truncation_side(self) -> Side:
        """Where texts are cut: `"left"` or `"right"`."""
        return self.settings.truncation_side

    @truncation_side.setter
    def truncation_side(self, value: Side) -> None:
        self.settings = replace(self.settings, truncation_side=value)

    def encode(
        self,
        text: str | Sequence[Any],
        text_pair: str | Sequence[Any] | None = None,
        **options: Any,
    ) -> Any:
        """The `input_ids` of a call with these arguments.

        Example:
            >>> from mobilebert_core.tokenization import MobileBertTokenizer
            >>> MobileBertTokenizer().encode("One.")
            [101, 2028, 1012, 102]
        """
        return self(text, text_pair, **options)["input_ids"]

    def tokenize(
        self,
        text: str | Sequence[str],
        pair: str | Sequence[str] | None = None,
        add_special_tokens: bool = False,
        **options: Any,
    ) -> list[str]:
        """The tokens of one text or pair.

        Example:
            >>> from mobilebert_core.tokenization import MobileBertTokenizer
            >>> MobileBertTokenizer().tokenize("Unaffable!")
            ['una', '##ffa', '##ble', '!']
        """
        options.setdefault("verbose", False)
        return self(text, pair, add_special_tokens=add_special_tokens, **options).tokens()

    def convert_tokens_to_string(self, tokens: Sequence[str]) -> str:
        """The text of tokens, special ones included.

        Example:
            >>> from mobilebert_core.tokenization import MobileBertTokenizer
            >>> MobileBertTokenizer().convert_tokens_to_string(["una", "##ffa", "##ble"])
            'unaffable'
        """
        return join_tokens(tokens)

    def decode(
        self,
        token_ids: Any,
        skip_special_tokens: bool = False,
        clean_up_tokenization_spaces: bool | None = None,
    ) -> Any:
        """The text of ids; a list of texts for a batch of rows.

        Args:
            token_ids: an id, a list or array of ids, or a batch of such.
            skip_special_tokens: leave special tokens out.
            clean_up_tokenization_spaces: close the spaces in contractions such as `don ' t`;
                None takes the setting. Spaces before punctuation close in any case.

        Raises:
            TokenizerError: something is no id of the vocabulary.

        Example:
            >>> from mobilebert_core.tokenization import MobileBertTokenizer
            >>> MobileBertTokenizer().decode([101, 2028, 1010, 2048, 1012, 102])
            '[CLS] one, two. [SEP]'
        """
        ids = to_list(token_ids)
        if isinstance(ids, list) and ids and isinstance(ids[0], list):
            return [
                self.decode(row, skip_special_tokens, clean_up_tokenization_spaces) for row in ids
            ]
        tokens = self.convert_ids_to_tokens([ids] if type(ids) is int else ids, skip_special_tokens)
        text = join_tokens(tokens)
        if clean_up_tokenization_spaces is None:
            clean_up_tokenization_spaces = self.settings.clean_up_tokenization_spaces
        return clean_up(text) if clean_up_tokenization_spaces else text

    def batch_decode(
        self,
        sequences: Any,
        skip_special_tokens: bool = False,
        clean_up_tokenization_spaces: bool | None = None,
    ) -> list[str]:
        """The text of each row of ids; see `decode`."""
        return [
            self.decode(row, skip_special_tokens, clean_up_tokenization_spaces)
            for row in to_list(sequences)
        ]

    @classmethod
    def from_pretrained(cls, source: str | Path, **settings: Any) -> Self:
        """A tokenizer from files that this library or the transformers library wrote.

        Args:
            source: a folder with `tokenizer.json` or `vocab.txt`, one of these files, a
                packaged name, or a hub id. `tokenizer.json` is taken where both exist.
            settings: attributes of `Settings` that replace those of the files.

        Raises:
            TokenizerError: files are missing, damaged or describe another kind of tokenizer.
        """
        return cls(**load(source, settings))

    def save_pretrained(self, folder: str | Path) -> tuple[Path, ...]:
        """Write `vocab.txt`, `tokenizer.json`, `tokenizer_config.json`, `special_tokens_map.json`.

        Both this library and the transformers library read them. Each file is written under
        another name and then renamed, so that an interrupted save leaves no half a file.

        Returns:
            The paths of the files.

        Raises:
            TokenizerError: the folder is a file or cannot be written.
        """
        return save(folder, self.settings, self.vocabulary)
