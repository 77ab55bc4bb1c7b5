"""From the files of this and the transformers library to the arguments of a tokenizer.

Rules: later beats earlier: `tokenizer.json`, `special_tokens_map.json`, `tokenizer_config.json`,
arguments; what describes another kind of tokenizer is an error, never ignored. Read next:
`saving.py`.
"""

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from mobilebert_core import packaged
from mobilebert_core.errors import CheckpointError, TokenizerError, raise_faults
from mobilebert_core.tokenization.added_tokens import AddedToken
from mobilebert_core.tokenization.files import read_json, read_vocabulary
from mobilebert_core.tokenization.rust_json import read_rust_json
from mobilebert_core.tokenization.settings import SPECIAL_TOKEN_NAMES, Settings
from mobilebert_core.tokenization.vocabulary import PACKAGED_VOCABULARY

VOCABULARY_FILE = "vocab.txt"
RUST_FILE = "tokenizer.json"
CONFIG_FILE = "tokenizer_config.json"
SPECIAL_TOKENS_FILE = "special_tokens_map.json"
ADDED_TOKENS_FILE = "added_tokens.json"
FILES = (VOCABULARY_FILE, RUST_FILE, CONFIG_FILE, SPECIAL_TOKENS_FILE, ADDED_TOKENS_FILE)
_EXTRA_NAMES = ("additional_special_tokens", "extra_special_tokens")


def load(source: Any, overrides: dict[str, Any]) -> dict[str, Any]:
    """The arguments of a tokenizer that files describe.

    Args:
        source: a folder, a file, a packaged name or a hub id.
        overrides: arguments that replace those of the files.

    Raises:
        TokenizerError: files are missing, damaged or describe another kind of tokenizer.
    """
    path = _resolve(source)
    if path.is_file():
        name = RUST_FILE if path.suffix == ".json" else VOCABULARY_FILE
        present = {name: path}
    else:
        present = {name: path / name for name in FILES if (path / name).is_file()}
    if not present.keys() & {VOCABULARY_FILE, RUST_FILE}:
        raise TokenizerError(
            f"{path} has neither {RUST_FILE} nor {VOCABULARY_FILE}; one of them is needed"
        )
    arguments: dict[str, Any] = {}
    added: dict[int, AddedToken] = {}
    if RUST_FILE in present:
        rust = read_rust_json(read_json(present[RUST_FILE]), str(present[RUST_FILE]))
        arguments, added = rust.arguments, rust.added_tokens
    else:
        arguments["vocab"] = read_vocabulary(present[VOCABULARY_FILE])
    jsons = {name: read_json(file) for name, file in present.items() if _is_side_file(name)}
    for name in (SPECIAL_TOKENS_FILE, CONFIG_FILE):
        arguments |= _settings(jsons.get(name, {}))
    added |= _added_tokens(jsons, arguments)
    return arguments | {"added_tokens_decoder": added} | overrides


def _is_side_file(name: str) -> bool:
    return name not in (VOCABULARY_FILE, RUST_FILE)


def _resolve(source: Any) -> Path:
    if not isinstance(source, str | Path):
        raise TokenizerError(f"source is {source!r}; give a folder, a file or a hub id")
    path = Path(source).expanduser()
    if path.exists():
        return path
    if source == packaged.VOCABULARY:
        return PACKAGED_VOCABULARY
    from mobilebert_core import hub

    try:
        return hub.resolve(source, FILES)
    except CheckpointError as error:
        raise TokenizerError(str(error)) from error


def _settings(values: Mapping[str, Any]) -> dict[str, Any]:
    """Those values of a JSON file that are settings; null leaves the default."""
    names = {field.name for field in fields(Settings)} - set(_EXTRA_NAMES)
    settings = {
        name: value
        for name, value in values.items()
        if name in names and (value is not None or name == "strip_accents")
    }
    extra: list[Any] = []
    for name in _EXTRA_NAMES:
        value = values.get(name) or ()
        if not isinstance(value, list | tuple | Mapping):
            raise TokenizerError(f"{name} in a file is {value!r}; a list of tokens is expected")
        extra += value.values() if isinstance(value, Mapping) else value
    return {**settings, "additional_special_tokens": extra} if extra else settings


def _added_tokens(
    jsons: Mapping[str, Mapping[str, Any]], arguments: Mapping[str, Any]
) -> dict[int, AddedToken]:
    """The added tokens that the files beside the vocabulary list, by id."""
    special = {str(_content(arguments.get(name))) for name in SPECIAL_TOKEN_NAMES}
    special |= {str(_content(token)) for token in arguments.get(_EXTRA_NAMES[0], ())}
    added: dict[int, AddedToken] = {}
    for content, token_id in jsons.get(ADDED_TOKENS_FILE, {}).items():
        added[_as_id(token_id, ADDED_TOKENS_FILE)] = AddedToken.of(
            content, special=content in special
        )
    decoder = jsons.get(CONFIG_FILE, {}).get("added_tokens_decoder") or {}
    if not isinstance(decoder, Mapping):
        raise TokenizerError(f"added_tokens_decoder in {CONFIG_FILE} is no object")
    for token_id, token in decoder.items():
        added[_as_id(token_id, CONFIG_FILE)] = AddedToken.of(token)
    return added


def _content(token: Any) -> Any:
    return token.get("content") if isinstance(token, Mapping) else token


def _as_id(value: Any, name: str) -> int:
    try:
        return int(value)
    except (TypeError, ValueError) as error:
        raise TokenizerError(
            f"{name}: {value!r} is no id of an added token; give an int"
        ) from error


def ordered_added_tokens(added: Mapping[Any, Any], pieces: Mapping[str, int]) -> list[AddedToken]:
    """Added tokens in the order of their ids, checked against the word pieces.

    Raises:
        TokenizerError: an id is that of another token, or ids leave a gap.
    """
    tokens = {
        _as_id(token_id, "added_tokens_decoder"): AddedToken.of(token)
        for token_id, token in added.items()
    }
    by_id = {piece_id: piece for piece, piece_id in pieces.items()}
    faults: list[str] = []
    following = len(pieces)
    for token_id, token in sorted(tokens.items()):
        known_id = pieces.get(token.content)
        if known_id is not None and known_id != token_id:
            faults.append(f"{token.content!r} has id {token_id}, but {known_id} in the vocabulary")
        elif by_id.get(token_id, token.content) != token.content:
            faults.append(f"{token.content!r} has id {token_id}, which is {by_id[token_id]!r}")
        elif known_id is None and token_id != following:
            faults.append(f"{token.content!r} has id {token_id} where {following} is next")
        elif known_id is None:
            following += 1
    contents = [token.content for token in tokens.values()]
    repeated = sorted({content for content in contents if contents.count(content) > 1})
    faults += [f"{content!r} has several ids; keep one" for content in repeated]
    raise_faults(TokenizerError, "The added tokens do not fit the vocabulary", faults[:20])
    return [token for _, token in sorted(tokens.items())]
