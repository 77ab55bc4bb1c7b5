"""Tokens and ids: the special tokens by name, look-ups in both directions, adding tokens.

Rules: a special token is always in the vocabulary; `add_special_tokens` puts it there. Read next:
`base.py`.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, overload

from mobilebert_core.errors import TokenizerError, raise_faults
from mobilebert_core.tokenization.added_tokens import AddedToken
from mobilebert_core.tokenization.normalization import Normalizer
from mobilebert_core.tokenization.settings import SPECIAL_TOKEN_NAMES, Settings
from mobilebert_core.tokenization.tensors import to_list
from mobilebert_core.tokenization.unicode_tables import WHITESPACE_CHARACTERS
from mobilebert_core.tokenization.vocabulary import Vocabulary


class SpecialTokens(ABC):
    """What both tokenizers know about single tokens.

    Attributes:
        settings: how the tokenizer behaves.
        vocabulary: the tokens and their ids.
    """

    settings: Settings
    vocabulary: Vocabulary
    _normalizer: Normalizer

    @abstractmethod
    def _refresh(self) -> None:
        """Prepare for the tokens that the vocabulary holds now."""

    def __len__(self) -> int:
        return len(self.vocabulary)

    def __bool__(self) -> bool:
        return True

    @property
    def vocab_size(self) -> int:
        """How many word pieces there are; `len(tokenizer)` counts added tokens too."""
        return len(self.vocabulary.pieces)

    def get_vocab(self) -> dict[str, int]:
        """All tokens, added ones included, and their ids."""
        return self.vocabulary.to_dict()

    @property
    def vocab(self) -> dict[str, int]:
        """All tokens, added ones included, and their ids."""
        return self.get_vocab()

    def get_added_vocab(self) -> dict[str, int]:
        """The added tokens, special ones included, and their ids."""
        return {token.content: token_id for token_id, token in self.added_tokens_decoder.items()}

    @property
    def added_tokens_decoder(self) -> dict[int, AddedToken]:
        """The added tokens by id."""
        return dict(sorted(self.vocabulary.added.items()))

    unk_token = property(lambda self: self.settings.unk_token, doc="Stands for unknown words.")
    sep_token = property(lambda self: self.settings.sep_token, doc="Ends each text.")
    pad_token = property(lambda self: self.settings.pad_token, doc="Fills rows up.")
    cls_token = property(lambda self: self.settings.cls_token, doc="Begins a row.")
    mask_token = property(lambda self: self.settings.mask_token, doc="Hides a token.")
    unk_token_id = property(lambda self: self._id(self.unk_token), doc="Id of `unk_token`.")
    sep_token_id = property(lambda self: self._id(self.sep_token), doc="Id of `sep_token`.")
    pad_token_id = property(lambda self: self._id(self.pad_token), doc="Id of `pad_token`.")
    cls_token_id = property(lambda self: self._id(self.cls_token), doc="Id of `cls_token`.")
    mask_token_id = property(lambda self: self._id(self.mask_token), doc="Id of `mask_token`.")

    @property
    def additional_special_tokens(self) -> list[str]:
        """The special tokens without a name of their own."""
        return list(self.settings.additional_special_tokens)

    @property
    def special_tokens_map(self) -> dict[str, Any]:
        """The special tokens by name."""
        names = {name: getattr(self.settings, name) for name in SPECIAL_TOKEN_NAMES}
        extra = self.additional_special_tokens
        return {**names, "additional_special_tokens": extra} if extra else names

    @property
    def all_special_tokens(self) -> list[str]:
        """All special tokens, each once."""
        named = [getattr(self.settings, name) for name in SPECIAL_TOKEN_NAMES]
        return list(dict.fromkeys([*named, *self.additional_special_tokens]))

    @property
    def all_special_ids(self) -> list[int]:
        """The ids of `all_special_tokens`."""
        return [self._id(token) for token in self.all_special_tokens]

    def _id(self, token: str) -> int:
        token_id = self.vocabulary.find(token)
        return self.unk_token_id if token_id is None else token_id

    @overload
    def convert_tokens_to_ids(self, tokens: str) -> int: ...
    @overload
    def convert_tokens_to_ids(self, tokens: list[str] | tuple[str, ...]) -> list[int]: ...
    def convert_tokens_to_ids(self, tokens: str | list[str] | tuple[str, ...]) -> int | list[int]:
        """The id of a token, or of each of several; unknown tokens get that of `unk_token`.

        Raises:
            TokenizerError: something is no str.
        """
        if isinstance(tokens, str):
            return self._id(tokens)
        if not isinstance(tokens, list | tuple) or not all(isinstance(t, str) for t in tokens):
            raise TokenizerError(f"{tokens!r} are no tokens; give a str or a list of str")
        return [self._id(token) for token in tokens]

    @overload
    def convert_ids_to_tokens(self, ids: int, skip_special_tokens: bool = False) -> str: ...
    @overload
    def convert_ids_to_tokens(
        self, ids: Sequence[int], skip_special_tokens: bool = False
    ) -> list[str]: ...
    def convert_ids_to_tokens(self, ids: Any, skip_special_tokens: bool = False) -> str | list[str]:
        """The token of an id, or of each of several ids (a list or an array).

        Args:
            ids: one id or several.
            skip_special_tokens: leave special tokens out.

        Raises:
            TokenizerError: something is no id of the vocabulary.
        """
        ids = to_list(ids)
        if type(ids) is int:
            return self.vocabulary.token(ids)
        if not isinstance(ids, list) or not all(type(item) is int for item in ids):
            raise TokenizerError(f"{str(ids)[:60]} are no ids; give an int or a list of int")
        added = self.vocabulary.added
        special = {token_id for token_id, token in added.items() if token.special}
        return [
            self.vocabulary.token(token_id)
            for token_id in ids
            if not (skip_special_tokens and token_id in special)
        ]

    def get_special_tokens_mask(
        self,
        token_ids_0: Any,
        token_ids_1: Any = None,
        already_has_special_tokens: bool = False,
    ) -> list[int]:
        """1 for each special token of a row, 0 for the others.

        Args:
            token_ids_0: the ids of the first text, or of a whole row.
            token_ids_1: the ids of the second text, or None.
            already_has_special_tokens: whether `token_ids_0` is a whole row; otherwise the mask
                is that of the row that `[CLS]` and `[SEP]` make of the ids.
        """
        first = to_list(token_ids_0)
        if already_has_special_tokens:
            special = set(self.all_special_ids)
            return [int(token_id in special) for token_id in first]
        mask = [1, *[0] * len(first), 1]
        return mask if token_ids_1 is None else [*mask, *[0] * len(to_list(token_ids_1)), 1]

    def add_tokens(self, new_tokens: Any, special_tokens: bool = False) -> int:
        """Add tokens that texts are never split in.

        Args:
            new_tokens: a str or `AddedToken`, or a list of them.
            special_tokens: mark them as special.

        Returns:
            How many of them are new, or are matched differently now. `len(tokenizer)` tells how
            large the embedding of the model has to be.

        Raises:
            TokenizerError: something is no token, or is nothing after normalization.

        Example:
            >>> from mobilebert_core.tokenization import MobileBertTokenizer
            >>> tokenizer = MobileBertTokenizer()
            >>> tokenizer.add_tokens(["covid-19"])
            1
            >>> tokenizer.tokenize("COVID-19 cases")
            ['covid-19', 'cases']
        """
        tokens = new_tokens if isinstance(new_tokens, list | tuple) else [new_tokens]
        checked = [AddedToken.of(token, special=special_tokens) for token in tokens]
        added = self._register(checked)
        self._refresh()
        return added

    def add_special_tokens(self, special_tokens_dict: Mapping[str, Any]) -> int:
        """Give special tokens another form, or add further ones.

        Args:
            special_tokens_dict: tokens by name, e.g. `{"cls_token": "<s>"}`;
                `additional_special_tokens` takes a list and replaces the one before.

        Returns:
            How many tokens are new, or are matched differently now.

        Raises:
            TokenizerError: a name is unknown or a value is no token.
        """
        given = dict(special_tokens_dict)
        if "extra_special_tokens" in given:
            given["additional_special_tokens"] = given.pop("extra_special_tokens")
        known = (*SPECIAL_TOKEN_NAMES, "additional_special_tokens")
        faults = [
            f"{name!r} is no special token; known: {', '.join(known)}"
            for name in given
            if name not in known
        ]
        raise_faults(TokenizerError, "The special tokens are invalid", faults)
        extra = given.pop("additional_special_tokens", None)
        if extra is not None and not isinstance(extra, list | tuple):
            raise TokenizerError(f"additional_special_tokens is {extra!r}; give a list of tokens")
        named = {name: AddedToken.of(value, special=True) for name, value in given.items()}
        tokens = [AddedToken.of(value, special=True) for value in extra or ()]
        added = self._register([*named.values(), *tokens])
        changes: dict[str, Any] = {name: token.content for name, token in named.items()}
        if extra is not None:
            changes["additional_special_tokens"] = tuple(token.content for token in tokens)
        self.settings = replace(self.settings, **changes)
        self._refresh()
        return added

    def _register(self, tokens: Iterable[AddedToken]) -> int:
        """Put checked tokens into the vocabulary."""
        tokens = list(tokens)
        # The Rust library panics on matches that are all whitespace, where tokens swallow spaces.
        faults = [
            f"{token.content!r} has nothing but whitespace or nothing left to match; give it "
            "other characters, or normalized=False"
            for token in tokens
            if not self._pattern(token).strip(WHITESPACE_CHARACTERS)
        ]
        # Which of two equal patterns wins is up to chance in the Rust library.
        patterns = {
            self._pattern(token): token.content
            for token in self.vocabulary.added.values()
            if token.normalized
        }
        for token in tokens:
            if token.normalized:
                other = patterns.setdefault(self._pattern(token), token.content)
                if other != token.content:
                    faults.append(
                        f"{token.content!r} and {other!r} match the same normalized text; give "
                        "one of them normalized=False"
                    )
        raise_faults(TokenizerError, "The tokens cannot be added", faults)
        return self.vocabulary.add(tokens)

    def _pattern(self, token: AddedToken) -> str:
        """What a token looks like where it is looked for."""
        if token.normalized and self.settings.do_basic_tokenize:
            return self._normalizer.normalize(token.content)[0]
        return token.content
