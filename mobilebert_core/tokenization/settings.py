"""Everything that decides how a tokenizer behaves, checked once.

Rules: frozen; the two tokenizers take the same settings and keep them; files are turned into
settings (`files.py`) before a tokenizer is made. Read next: `base.py`.
"""

from dataclasses import dataclass, fields
from typing import Any, Literal

from mobilebert_core.errors import TokenizerError, raise_faults
from mobilebert_core.tokenization.added_tokens import AddedToken

Side = Literal["left", "right"]
SPECIAL_TOKEN_NAMES = ("unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
MODEL_INPUT_NAMES = ("input_ids", "token_type_ids", "attention_mask")
DEFAULT_MAXIMUM_LENGTH = 512
_NO_LIMIT = 10**20  # transformers writes 1e30 where nobody said how long a text may be
_BOOLS = (
    "do_lower_case",
    "do_basic_tokenize",
    "tokenize_chinese_chars",
    "clean_up_tokenization_spaces",
)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How a tokenizer behaves; the attributes are the keyword arguments of both tokenizers.

    Attributes:
        do_lower_case: make letters lower case.
        do_basic_tokenize: clean, normalize and split at punctuation; otherwise split at
            whitespace only.
        never_split: words of the vocabulary that stay whole and as they are written.
        unk_token: stands for words that the vocabulary cannot cover.
        sep_token: ends each text.
        pad_token: fills rows up.
        cls_token: begins a row.
        mask_token: hides a token.
        tokenize_chinese_chars: make every ideograph a word.
        strip_accents: drop accents; None does so when `do_lower_case` is set.
        model_max_length: the longest row the model takes, special tokens included.
        padding_side: where rows are filled up.
        truncation_side: where texts are cut.
        clean_up_tokenization_spaces: whether `decode` closes the spaces before punctuation.
        model_input_names: what a call returns when nothing else is asked for.
        additional_special_tokens: further special tokens.
        longest_word: words with more characters become the unknown token.
    """

    do_lower_case: bool = True
    do_basic_tokenize: bool = True
    never_split: tuple[str, ...] = ()
    unk_token: str = "[UNK]"
    sep_token: str = "[SEP]"
    pad_token: str = "[PAD]"
    cls_token: str = "[CLS]"
    mask_token: str = "[MASK]"
    tokenize_chinese_chars: bool = True
    strip_accents: bool | None = None
    model_max_length: int = DEFAULT_MAXIMUM_LENGTH
    padding_side: Side = "right"
    truncation_side: Side = "right"
    clean_up_tokenization_spaces: bool = True
    model_input_names: tuple[str, ...] = MODEL_INPUT_NAMES
    additional_special_tokens: tuple[str, ...] = ()
    longest_word: int = 100

    def __post_init__(self) -> None:
        faults = [
            f"{name} is {getattr(self, name)!r}; give True or False"
            for name in _BOOLS
            if not isinstance(getattr(self, name), bool)
        ]
        if self.strip_accents not in (None, True, False):
            faults.append(f"strip_accents is {self.strip_accents!r}; give True, False or None")
        faults += [
            f"{name} is {getattr(self, name)!r}; give a non-empty str"
            for name in SPECIAL_TOKEN_NAMES
            if not (isinstance(getattr(self, name), str) and getattr(self, name))
        ]
        faults += [
            f"{name} is {getattr(self, name)!r}; give an int above 0"
            for name in ("model_max_length", "longest_word")
            if not is_count(getattr(self, name))
        ]
        faults += [
            f'{name} is {getattr(self, name)!r}; give "left" or "right"'
            for name in ("padding_side", "truncation_side")
            if getattr(self, name) not in ("left", "right")
        ]
        faults += [
            f"{name} is {getattr(self, name)!r}; give strings"
            for name in ("never_split", "model_input_names", "additional_special_tokens")
            if not all(isinstance(item, str) for item in getattr(self, name))
        ]
        raise_faults(TokenizerError, "The tokenizer settings are invalid", faults)


def is_count(value: Any) -> bool:
    """Whether a value is an int above 0 (and no bool)."""
    return type(value) is int and value > 0


def make_settings(values: dict[str, Any]) -> tuple[Settings, list[AddedToken]]:
    """Settings from keyword arguments, and the special tokens that were given with flags.

    Raises:
        TokenizerError: a name is unknown or a value is invalid.
    """
    values = dict(values)
    if "extra_special_tokens" in values:
        values["additional_special_tokens"] = values.pop("extra_special_tokens")
    names = [field.name for field in fields(Settings)]
    unknown = sorted(set(values) - set(names))
    if unknown:
        raise TokenizerError(
            f"Unknown tokenizer setting {', '.join(map(repr, unknown))}; known: {', '.join(names)}"
        )
    flagged: list[AddedToken] = []
    for name in SPECIAL_TOKEN_NAMES:
        if name in values and not isinstance(values[name], str):
            flagged.append(AddedToken.of(values[name], special=True))
            values[name] = flagged[-1].content
    for name in ("never_split", "model_input_names"):
        if name in values:
            values[name] = _as_tuple(name, values[name])
    extra = _as_tuple("additional_special_tokens", values.get("additional_special_tokens"))
    tokens = [AddedToken.of(token, special=True) for token in extra]
    flagged += [
        token for token, given in zip(tokens, extra, strict=True) if not isinstance(given, str)
    ]
    values["additional_special_tokens"] = tuple(token.content for token in tokens)
    limit = values.get("model_max_length")
    if "model_max_length" in values and (limit is None or is_number_above(limit, _NO_LIMIT)):
        values["model_max_length"] = DEFAULT_MAXIMUM_LENGTH
    return Settings(**values), flagged


def is_number_above(value: Any, limit: int) -> bool:
    """Whether a value is a number above a limit."""
    return isinstance(value, int | float) and value > limit


def _as_tuple(name: str, value: Any) -> tuple[Any, ...]:
    if value is None:
        return ()
    if isinstance(value, str) or not isinstance(value, list | tuple | set | frozenset):
        raise TokenizerError(f"{name} is {value!r}; give a list of tokens")
    return tuple(sorted(value)) if isinstance(value, set | frozenset) else tuple(value)
