"""Texts to ids and back, in pure Python and on the Rust library `tokenizers`.

Both tokenizers give the same tokens, offsets and errors. Importing this package is cheap: names
are imported when they are first used. Read next: `base.py`.

`vocab.txt` holds the 30,522 word pieces of uncased BERT and MobileBERT, published by Google under
the Apache License 2.0.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mobilebert_core.tokenization.added_tokens import AddedToken
    from mobilebert_core.tokenization.automatic import load_tokenizer
    from mobilebert_core.tokenization.batch_encoding import BatchEncoding
    from mobilebert_core.tokenization.fast import MobileBertTokenizerFast
    from mobilebert_core.tokenization.slow import MobileBertTokenizer

__all__ = [
    "AddedToken",
    "BatchEncoding",
    "MobileBertTokenizer",
    "MobileBertTokenizerFast",
    "load_tokenizer",
]

_MODULES = {
    "AddedToken": "added_tokens",
    "BatchEncoding": "batch_encoding",
    "MobileBertTokenizer": "slow",
    "MobileBertTokenizerFast": "fast",
    "load_tokenizer": "automatic",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
