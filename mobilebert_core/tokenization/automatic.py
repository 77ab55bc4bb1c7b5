"""One function for whoever does not mind which tokenizer it is. Read next: `base.py`."""

from pathlib import Path
from typing import Any

from mobilebert_core import packaged
from mobilebert_core.tokenization.base import Tokenizer


def load_tokenizer(
    source: str | Path | None = None, *, fast: bool = True, **settings: Any
) -> Tokenizer:
    """A tokenizer from files: without a source, the one that fits `mobilebert.load()`.

    Args:
        source: a folder, a `vocab.txt`, a `tokenizer.json`, a packaged name or a hub id. None takes
            that of the packaged `mobilebert-nano`; `mobilebert-uncased` is the packaged vocabulary
            of the published checkpoints.
        fast: the Rust tokenizer; False takes the pure Python one, which gives the same.
        settings: attributes of `Settings` that replace those of the files.

    Raises:
        TokenizerError: files are missing, damaged or describe another kind of tokenizer.
        MissingDependencyError: the Rust library is not installed.

    Example:
        >>> load_tokenizer("mobilebert-uncased")("Small and fast.")["input_ids"]
        [101, 2235, 1998, 3435, 1012, 102]
    """
    chosen = packaged.default() if source is None else source
    return _tokenizer_class(fast).from_pretrained(chosen, **settings)


def _tokenizer_class(fast: bool) -> type[Tokenizer]:
    # Imported here, so that the pure Python tokenizer does without the Rust library.
    if fast:
        from mobilebert_core.tokenization.fast import MobileBertTokenizerFast

        return MobileBertTokenizerFast
    from mobilebert_core.tokenization.slow import MobileBertTokenizer

    return MobileBertTokenizer
