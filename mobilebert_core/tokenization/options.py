"""The arguments of one call that say how rows are cut and filled up, checked and completed.

Rules: `True` means the usual choice, `None` and `False` mean none; a limit that is not given is
`model_max_length`. Read next: `base.py`.
"""

import warnings
from dataclasses import dataclass
from typing import Any, Literal, get_args

from mobilebert_core.errors import MobileBertWarning, TokenizerError, raise_faults
from mobilebert_core.tokenization.settings import Side, is_count
from mobilebert_core.tokenization.windows import Truncation

Padding = Literal["longest", "max_length", "do_not_pad"]


@dataclass(frozen=True, kw_only=True)
class PaddingOptions:
    """How rows are filled up.

    Attributes:
        strategy: to which length.
        max_length: the length for `"max_length"`.
        multiple: round the length up to a multiple of this.
        side: where the pad tokens stand.
    """

    strategy: Padding
    max_length: int
    multiple: int | None
    side: Side

    def target(self, lengths: list[int]) -> int:
        """The length that rows of these lengths get; longer rows stay as they are."""
        if self.strategy == "do_not_pad":
            return 0
        length = max(lengths) if self.strategy == "longest" else self.max_length
        return length if self.multiple is None else -(-length // self.multiple) * self.multiple


def read_truncation(truncation: Any, padding: Any, max_length: int | None) -> Truncation:
    """The strategy that an argument names.

    Raises:
        TokenizerError: there is no such strategy.

    Example:
        >>> read_truncation(True, False, None)
        'longest_first'
    """
    if truncation is None:
        # Giving only a limit is taken as a wish to keep it.
        is_limited = max_length is not None and read_padding(padding) == "do_not_pad"
        return "longest_first" if is_limited else "do_not_truncate"
    if isinstance(truncation, bool):
        return "longest_first" if truncation else "do_not_truncate"
    if isinstance(truncation, str) and truncation in get_args(Truncation):
        return truncation  # type: ignore[return-value]  # mypy does not narrow by get_args
    raise TokenizerError(
        f"truncation={truncation!r} is unknown; give True, False or one of "
        f"{', '.join(map(repr, get_args(Truncation)))}"
    )


def read_padding(padding: Any) -> Padding:
    """The strategy that an argument names.

    Raises:
        TokenizerError: there is no such strategy.

    Example:
        >>> read_padding(True)
        'longest'
    """
    if padding is None or isinstance(padding, bool):
        return "longest" if padding else "do_not_pad"
    if isinstance(padding, str) and padding in get_args(Padding):
        return padding  # type: ignore[return-value]  # mypy does not narrow by get_args
    raise TokenizerError(
        f"padding={padding!r} is unknown; give True, False or one of "
        f"{', '.join(map(repr, get_args(Padding)))}"
    )


def check_numbers(
    max_length: int | None, stride: int, pad_to_multiple_of: int | None, padding_side: str | None
) -> None:
    """Check the arguments that any call takes.

    Raises:
        TokenizerError: numbers are not whole or negative, or the side is none.
    """
    faults = []
    if max_length is not None and not is_count(max_length):
        faults.append(f"max_length={max_length!r}; give an int above 0")
    if stride != 0 and not is_count(stride):
        faults.append(f"stride={stride!r}; give an int from 0")
    if pad_to_multiple_of is not None and not is_count(pad_to_multiple_of):
        faults.append(f"pad_to_multiple_of={pad_to_multiple_of!r}; give an int above 0")
    if padding_side not in (None, "left", "right"):
        faults.append(f'padding_side={padding_side!r}; give "left" or "right"')
    raise_faults(TokenizerError, "The arguments are invalid", faults)


def warn_of_ignored_length(padding: Padding, truncation: Truncation, is_given: bool) -> None:
    """Warn of a `max_length` that neither padding nor truncation looks at."""
    if is_given and padding == "longest" and truncation == "do_not_truncate":
        warnings.warn(
            "max_length changes nothing here: padding=True fills up to the longest row and nothing "
            'is truncated; pass truncation=True or padding="max_length"',
            MobileBertWarning,
            stacklevel=4,
        )
