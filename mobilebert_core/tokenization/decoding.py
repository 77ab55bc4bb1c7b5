"""From tokens back to text.

Rules: pieces that continue a word join the one before, other tokens follow a space; spaces before
punctuation and contractions close. Read next: `base.py`.
"""

from collections.abc import Iterable

from mobilebert_core.tokenization.wordpiece import CONTINUATION

# In this order, because each looks at what the ones before have left.
_TIGHT = (" .", " ?", " !", " ,", " ' ", " n't", " 'm", " 's", " 've", " 're")


def join_tokens(tokens: Iterable[str]) -> str:
    """The text of tokens.

    Spaces close within each token only, as the Rust decoder does: `" ' "` keeps its spaces.

    Example:
        >>> join_tokens(["un", "##able", "to", "stop", "!"])
        'unable to stop!'
    """
    parts: list[str] = []
    for token in tokens:
        if not parts:
            parts.append(_close(token))
        elif token.startswith(CONTINUATION):
            parts.append(_close(token.removeprefix(CONTINUATION)))
        else:
            parts.append(_close(f" {token}"))
    return "".join(parts)


def _close(token: str) -> str:
    for spaced in _TIGHT[:7]:
        token = token.replace(spaced, spaced.strip())
    token = token.replace(" do not", " don't")
    for spaced in _TIGHT[7:]:
        token = token.replace(spaced, spaced.strip())
    return token


def clean_up(text: str) -> str:
    """The text with all spaces before punctuation and contractions closed.

    Example:
        >>> clean_up("it ' s n't far .")
        "it'sn't far."
    """
    for spaced in _TIGHT:
        text = text.replace(spaced, spaced.strip())
    return text
