"""The errors of the library.

Every message says what was given, what was expected and what to do. Checks collect all faults and
raise once; `raise_faults` formats them. All errors derive from `MobileBertError` and from the
built-in error that a Python programmer would expect.
"""

import reprlib
from collections.abc import Sequence
from typing import Any


class MobileBertError(Exception):
    """Base class of every error that this library raises on purpose."""


class ConfigError(MobileBertError, ValueError):
    """A configuration is invalid, ambiguous or belongs to another model."""


class CheckpointError(MobileBertError, ValueError):
    """A checkpoint is missing, damaged, unsafe or does not fit the model."""


class InputError(MobileBertError, ValueError):
    """Model inputs or labels do not fit the model."""


class TrainingError(MobileBertError, RuntimeError):
    """Training cannot go on: what it computes is no number any more."""


class TokenizerError(MobileBertError, ValueError):
    """A tokenizer, its files or its arguments are invalid."""


class BackendError(MobileBertError, RuntimeError):
    """A backend cannot be used; the four children say why."""


class UnknownBackendError(BackendError):
    """No installed distribution offers a backend of this name."""


class MissingDependencyError(BackendError, ImportError):
    """A package that an optional part needs is not installed."""


class BrokenBackendError(BackendError, ImportError):
    """The framework of a backend is installed, but does not import."""


class DuplicateBackendError(BackendError):
    """Two distributions claim one backend name."""


class MobileBertWarning(UserWarning):
    """Something worth knowing happened that changes no number the caller asked for."""


def brief(value: Any) -> str:
    """A short `repr` for error messages: values of untrusted files may be huge or deeply nested."""
    shortener = reprlib.Repr()
    shortener.maxlevel, shortener.maxstring, shortener.maxother = 3, 80, 80
    try:
        return shortener.repr(value)
    except (ValueError, RecursionError):  # an integer of more digits than Python prints
        return f"a {type(value).__name__} too large to print"


def raise_faults(error: type[MobileBertError], heading: str, faults: Sequence[str]) -> None:
    """Raise `error` with all faults in one message; return when there are none.

    Args:
        error: The class to raise.
        heading: What was checked, e.g. `"The configuration is invalid"`.
        faults: One sentence each: given, expected, what to do.
    """
    if not faults:
        return
    if len(faults) == 1:
        raise error(f"{heading}: {faults[0]}")
    lines = "\n".join(f"  - {fault}" for fault in faults)
    raise error(f"{heading} ({len(faults)} faults):\n{lines}")
