"""`tokenizer.json`, the one-file format of the Rust library: read and written as plain JSON.

Rules: only the BERT pipeline is understood (BertNormalizer, BertPreTokenizer, WordPiece, `[CLS] A
[SEP] B [SEP]`), or splitting at whitespace without normalization; everything else is an error.
Read next: `loading.py`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mobilebert_core.errors import TokenizerError, raise_faults
from mobilebert_core.tokenization.added_tokens import AddedToken
from mobilebert_core.tokenization.settings import Settings
from mobilebert_core.tokenization.vocabulary import Vocabulary, checked_pieces
from mobilebert_core.tokenization.wordpiece import CONTINUATION

_BASIC = ("BertNormalizer", "BertPreTokenizer")
_PLAIN = (None, "WhitespaceSplit")


@dataclass(frozen=True)
class RustTokenizer:
    """What a `tokenizer.json` says.

    Attributes:
        arguments: arguments of a tokenizer: `vocab` and settings.
        added_tokens: the added tokens by id.
    """

    arguments: dict[str, Any]
    added_tokens: dict[int, AddedToken]


def read_rust_json(content: Mapping[str, Any], name: str) -> RustTokenizer:
    """Read the parts of a `tokenizer.json`.

    Args:
        content: the JSON object.
        name: the path, for messages.

    Raises:
        TokenizerError: it is damaged or describes another kind of tokenizer.
    """
    model = _part(content, "model", name)
    faults: list[str] = []
    model_type = model.get("type", "WordPiece")
    if model_type != "WordPiece":
        faults.append(f"the model is {model_type!r}, not 'WordPiece'; take a BERT tokenizer")
    prefix = model.get("continuing_subword_prefix", CONTINUATION)
    if prefix != CONTINUATION:
        faults.append(f"pieces continue words with {prefix!r}, not {CONTINUATION!r}")
    normalizer = _part(content, "normalizer", name)
    pipeline = (normalizer.get("type"), _part(content, "pre_tokenizer", name).get("type"))
    if pipeline not in (_BASIC, _PLAIN):
        faults.append(f"normalizer and pre-tokenizer are {pipeline}, not {_BASIC} or {_PLAIN}")
    if normalizer.get("clean_text", True) is not True:
        faults.append("the normalizer keeps control characters; set clean_text to true")
    special = _special_tokens(_part(content, "post_processor", name), faults)
    raise_faults(TokenizerError, f"{name} is no tokenizer of MobileBERT", faults)
    arguments = {
        "vocab": checked_pieces(model.get("vocab"), name),
        "do_basic_tokenize": pipeline == _BASIC,
        "do_lower_case": normalizer.get("lowercase", True),
        "strip_accents": normalizer.get("strip_accents"),
        "tokenize_chinese_chars": normalizer.get("handle_chinese_chars", True),
        "longest_word": model.get("max_input_chars_per_word", 100),
        "unk_token": model.get("unk_token", "[UNK]"),
        **special,
        **_sides(content, name),
    }
    return RustTokenizer(arguments, _read_added_tokens(content, name))


def _part(content: Mapping[str, Any], key: str, name: str) -> Mapping[str, Any]:
    """An object inside, empty where it is null."""
    value = content.get(key)
    if value is None and key != "model":
        return {}
    if not isinstance(value, Mapping):
        raise TokenizerError(f"{name}: {key!r} is {str(value)[:60]!r}; an object is expected")
    return value


def _special_tokens(processor: Mapping[str, Any], faults: list[str]) -> dict[str, Any]:
    """`cls_token` and `sep_token`, from what puts them around texts."""
    if not processor:
        return {}
    if processor.get("type") == "BertProcessing":
        pairs = {"cls_token": processor.get("cls"), "sep_token": processor.get("sep")}
        tokens = {
            key: value[0] for key, value in pairs.items() if isinstance(value, list) and value
        }
    else:
        tokens = _template_tokens(processor)
    if len(tokens) != 2:
        faults.append("the post-processor does not make [CLS] A [SEP] B [SEP] of a pair")
    return tokens


def _template_tokens(processor: Mapping[str, Any]) -> dict[str, Any]:
    template = processor.get("pair")
    if not isinstance(template, list) or not all(isinstance(part, Mapping) for part in template):
        return {}
    ids = [
        next((value.get("id") for value in part.values() if isinstance(value, Mapping)), None)
        for part in template
    ]
    if len(ids) != 5 or ids[1::2] != ["A", "B"] or ids[2] != ids[4]:
        return {}
    return {"cls_token": ids[0], "sep_token": ids[2]}


def _sides(content: Mapping[str, Any], name: str) -> dict[str, Any]:
    sides: dict[str, Any] = {}
    for key, setting in (("padding", "padding_side"), ("truncation", "truncation_side")):
        direction = _part(content, key, name).get("direction")
        if isinstance(direction, str):
            sides[setting] = direction.lower()
    pad_token = _part(content, "padding", name).get("pad_token")
    return {**sides, "pad_token": pad_token} if pad_token is not None else sides


def _read_added_tokens(content: Mapping[str, Any], name: str) -> dict[int, AddedToken]:
    added = content.get("added_tokens") or []
    if not isinstance(added, list) or not all(
        isinstance(token, Mapping) and type(token.get("id")) is int for token in added
    ):
        raise TokenizerError(f"{name}: added_tokens is no list of tokens with ids; save it again")
    return {token["id"]: AddedToken.of(token) for token in added}


def to_rust_json(settings: Settings, vocabulary: Vocabulary) -> dict[str, Any]:
    """The JSON object of a tokenizer.

    Args:
        settings: how it behaves.
        vocabulary: its tokens.
    """
    normalizer = {
        "type": _BASIC[0],
        "clean_text": True,
        "handle_chinese_chars": settings.tokenize_chinese_chars,
        "strip_accents": settings.strip_accents,
        "lowercase": settings.do_lower_case,
    }
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {"id": token_id, **token.to_json()}
            for token_id, token in sorted(vocabulary.added.items())
        ],
        "normalizer": normalizer if settings.do_basic_tokenize else None,
        "pre_tokenizer": {"type": _BASIC[1] if settings.do_basic_tokenize else _PLAIN[1]},
        "post_processor": _template(settings, vocabulary),
        "decoder": {"type": "WordPiece", "prefix": CONTINUATION, "cleanup": True},
        "model": {
            "type": "WordPiece",
            "unk_token": settings.unk_token,
            "continuing_subword_prefix": CONTINUATION,
            "max_input_chars_per_word": settings.longest_word,
            "vocab": vocabulary.pieces,
        },
    }


def _template(settings: Settings, vocabulary: Vocabulary) -> dict[str, Any]:
    def token(content: str, type_id: int) -> dict[str, Any]:
        return {"SpecialToken": {"id": content, "type_id": type_id}}

    def text(letter: str, type_id: int) -> dict[str, Any]:
        return {"Sequence": {"id": letter, "type_id": type_id}}

    begin, end = settings.cls_token, settings.sep_token
    single = [token(begin, 0), text("A", 0), token(end, 0)]
    return {
        "type": "TemplateProcessing",
        "single": single,
        "pair": [*single, text("B", 1), token(end, 1)],
        "special_tokens": {
            content: {"id": content, "ids": [vocabulary.find(content)], "tokens": [content]}
            for content in sorted({begin, end})
        },
    }
