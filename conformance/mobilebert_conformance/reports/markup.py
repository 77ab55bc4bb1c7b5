"""HTML by construction: what is not `Markup` is escaped, so that nothing has to be remembered."""

import html

from mobilebert_conformance.reports.wording import visible


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


def tag(name: str, /, *children: str, **attributes: str | int | None) -> Markup:
    """An element.

    Args:
        name: of the element.
        children: `Markup` stands as it is, other text is escaped.
        attributes: `data_head` becomes `data-head`, `class_` becomes `class`; None leaves one out.
    """
    text = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{html.escape(visible(str(value)))}"'
        for key, value in attributes.items()
        if value is not None
    )
    return Markup(f"<{name}{text}>{join(*children)}</{name}>")


def join(*children: str) -> Markup:
    """Elements and texts, one after the other."""
    return Markup(
        "".join(
            each if isinstance(each, Markup) else html.escape(visible(each)) for each in children
        )
    )
