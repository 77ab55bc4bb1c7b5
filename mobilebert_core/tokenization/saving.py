"""Writing a tokenizer so that this and the transformers library read it.

Rules: every file is complete on its own as far as its format allows; `tokenizer.json` alone
suffices. Read next: `loading.py`.
"""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from mobilebert_core.errors import TokenizerError
from mobilebert_core.tokenization.added_tokens import AddedToken
from mobilebert_core.tokenization.files import write_json, write_text
from mobilebert_core.tokenization.loading import (
    CONFIG_FILE,
    RUST_FILE,
    SPECIAL_TOKENS_FILE,
    VOCABULARY_FILE,
)
from mobilebert_core.tokenization.rust_json import to_rust_json
from mobilebert_core.tokenization.settings import SPECIAL_TOKEN_NAMES, Settings
from mobilebert_core.tokenization.vocabulary import Vocabulary


def save(folder: Any, settings: Settings, vocabulary: Vocabulary) -> tuple[Path, ...]:
    """Write the files of a tokenizer into a folder, which is made if it is missing.

    Returns:
        The paths of the files.

    Raises:
        TokenizerError: the folder is a file or cannot be written.
    """
    if not isinstance(folder, str | Path):
        raise TokenizerError(f"folder is {folder!r}; give the path of a folder")
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TokenizerError(f"{folder} is no folder that can be written: {error}") from error
    pieces = "".join(f"{piece}\n" for piece in vocabulary.pieces)
    write_text(folder / VOCABULARY_FILE, pieces)
    write_json(folder / RUST_FILE, to_rust_json(settings, vocabulary))
    write_json(folder / SPECIAL_TOKENS_FILE, _special_tokens(settings, vocabulary))
    write_json(folder / CONFIG_FILE, _config(settings, vocabulary))
    names = (VOCABULARY_FILE, RUST_FILE, SPECIAL_TOKENS_FILE, CONFIG_FILE)
    return tuple(folder / name for name in names)


def _config(settings: Settings, vocabulary: Vocabulary) -> dict[str, Any]:
    values = asdict(settings)
    values["never_split"] = list(settings.never_split) or None
    values["model_input_names"] = list(settings.model_input_names)
    # `longest_word` has its place in tokenizer.json; transformers would not know it here.
    del values["longest_word"]
    if not values.pop("additional_special_tokens"):
        extra = {}
    else:
        extra = {"additional_special_tokens": list(settings.additional_special_tokens)}
    decoder = {
        str(token_id): token.to_json() for token_id, token in sorted(vocabulary.added.items())
    }
    return {
        **dict(sorted((values | extra).items())),
        "added_tokens_decoder": decoder,
        "tokenizer_class": "MobileBertTokenizer",
    }


def _special_tokens(settings: Settings, vocabulary: Vocabulary) -> dict[str, Any]:
    """Special tokens by name, as plain strings unless their matching differs from the usual."""

    def entry(content: str) -> Any:
        token = vocabulary.find_added(content)
        if token is None or token == AddedToken.of(content, special=True):
            return content
        return token.to_json()

    named = {name: entry(getattr(settings, name)) for name in SPECIAL_TOKEN_NAMES}
    extra = [entry(token) for token in settings.additional_special_tokens]
    return {**named, "additional_special_tokens": extra} if extra else named
