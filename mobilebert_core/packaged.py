"""The checkpoints that travel with the library, by name: `mobilebert-nano` and what is tuned on it.

Rules: a folder of `nano/` is a name, found at run time; something local of the same name comes
first, a hub id last; no name at all is `DEFAULT`, whatever lies in the current folder. Of
`VOCABULARY` the word pieces alone are here. Read next: `hub.py`, which asks this module.
"""

import difflib
from pathlib import Path

from mobilebert_core.errors import CheckpointError

DEFAULT = "mobilebert-nano"
VOCABULARY = "mobilebert-uncased"
"""A name for tokenizers: the vocabulary of the published checkpoints."""

_FOLDER = Path(__file__).with_name("nano")


def names() -> tuple[str, ...]:
    """The packaged models, the default first."""
    found = {path.parent.name for path in _FOLDER.glob("*/config.json")}
    return tuple(sorted(found, key=lambda name: (name != DEFAULT, name)))


def default() -> Path:
    """The folder of the model that is taken when none is named."""
    return _FOLDER / DEFAULT


def find(source: str | Path, revision: str | None = None) -> Path | None:
    """The folder of a packaged model, or None where the source names none.

    Raises:
        CheckpointError: a revision is given, or only the vocabulary of this name is packaged.
    """
    if source == VOCABULARY:
        raise CheckpointError(
            f"Of {VOCABULARY!r} only the vocabulary is packaged, for load_tokenizer; the weights "
            f"are on the hub: load 'google/{VOCABULARY}', or take {_listed()}, packaged whole"
        )
    if source not in names():
        return None
    if revision is not None:
        raise CheckpointError(
            f"revision is {revision!r}, but {source!r} is packaged with the library and has no "
            "other; leave revision out"
        )
    return _FOLDER / source


def hint(source: str | Path) -> str:
    """The end of an error message on a name that is not known; empty for what looks like a path."""
    if not isinstance(source, str) or "/" in source or "\\" in source:
        return ""
    close = difflib.get_close_matches(source, [*names(), VOCABULARY], n=1)
    question = f"; did you mean {close[0]!r}?" if close else ""
    return f"{question} (packaged with the library: {_listed()})"


def _listed() -> str:
    return ", ".join(map(repr, names()))
