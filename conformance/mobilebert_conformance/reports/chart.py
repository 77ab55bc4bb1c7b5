"""The locality chart of the HTML report: the error of each layer alone, as inline SVG.

Rules: a logarithmic axis, one panel for each case and dtype, one line for each backend with its own
marker, the worst head at each layer; zero lies on the floor, infinity at the ceiling.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from mobilebert_conformance.records import Record
from mobilebert_conformance.reports.markup import Markup, join, tag
from mobilebert_conformance.reports.summary import worst_by
from mobilebert_conformance.reports.wording import error_text, tooltip

_WIDTH, _HEIGHT = 400, 210
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 12, 14, 34
_LAYER = re.compile(r"layer\[(\d+)\]")
_MARKERS = (
    "M-3.5 0a3.5 3.5 0 1 0 7 0a3.5 3.5 0 1 0 -7 0z",
    "M-3 -3h6v6h-6z",
    "M0 -4l4 7h-8z",
    "M0 -4.5l4.5 4.5l-4.5 4.5l-4.5 -4.5z",
    "M-4 -3h8l-4 7z",
    "M-4 -1.2h2.8v-2.8h2.4v2.8h2.8v2.4h-2.8v2.8h-2.4v-2.8h-2.8z",
)
_PANELS = 8

Points = dict[tuple[str, int], Record]


@dataclass(frozen=True)
class Scale:
    """Where a panel puts its numbers.

    Attributes:
        low: exponent of the decade at the floor.
        high: exponent of the decade at the ceiling.
        layers: the largest layer.
    """

    low: int
    high: int
    layers: int

    def x(self, layer: int) -> float:
        """Where a layer is."""
        return _LEFT + 10 + (_WIDTH - _LEFT - _RIGHT - 20) * layer / max(self.layers, 1)

    def y(self, error: float) -> float:
        """Where an error is; what is not finite is at the ceiling."""
        exponent = math.log10(error) if 0 < error < math.inf else self.low
        if not math.isfinite(error):
            exponent = self.high
        share = (exponent - self.low) / (self.high - self.low)
        return _HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * min(max(share, 0.0), 1.0)


def locality(records: Sequence[Record], backends: Sequence[str]) -> Markup | None:
    """All panels, or None where no record of clause 4 names a layer."""
    panels: dict[tuple[str, str], list[Record]] = {}
    for record in records:
        named = record.clause.split(".")[0] == "4" and _LAYER.search(record.quantity)
        if named and record.error is not None:
            panels.setdefault((record.case, record.dtype), []).append(record)
    if not panels:
        return None
    most = sorted(panels.items(), key=lambda panel: -max(map(_layer, panel[1])))
    figures = [_panel(case, some, backends) for case, some in most[:_PANELS]]
    rest = len(panels) - _PANELS
    if rest > 0:
        figures.append(tag("p", f"{rest} more are among the comparisons below.", class_="quiet"))
    return tag("div", *figures, class_="panels")


def _layer(record: Record) -> int:
    found = _LAYER.search(record.quantity)
    return int(found.group(1)) if found else 0


def _panel(case: tuple[str, str], records: Sequence[Record], backends: Sequence[str]) -> Markup:
    points = worst_by(records, lambda record: (record.backend, _layer(record)))
    limits = [record.limit for record in records if record.limit]
    limit = min(limits, default=0.0)
    scale = _scale([*(record.error or 0.0 for record in points.values()), limit], points)
    names = [name for name in backends if any(backend == name for backend, _ in points)]
    title = ", ".join(part for part in case if part) or "all cases"
    drawing = [*_grid(scale), *_limit(scale, limit)]
    drawing += [_series(scale, points, name, backends.index(name)) for name in names]
    failed = sum(not record.passed for record in points.values())
    outcome = f"{failed} points above the limit" if failed else "every point within the limit"
    picture = tag(
        "svg",
        *drawing,
        viewBox=f"0 0 {_WIDTH} {_HEIGHT}",
        role="img",
        aria_label=f"Error per layer, {title}: {outcome}",
    )
    legend = tag("p", *(_key(name, backends.index(name)) for name in names), class_="keys")
    return tag("figure", tag("figcaption", title), picture, legend)


def _scale(errors: Sequence[float], points: Points) -> Scale:
    exponents = [math.log10(error) for error in errors if 0 < error < math.inf] or [0.0]
    low, high = math.floor(min(exponents)), math.ceil(max(exponents))
    return Scale(low, max(high, low + 1), max(layer for _, layer in points))


def _grid(scale: Scale) -> list[Markup]:
    """Lines at decades, and the names of both axes."""
    found = []
    for exponent in range(scale.low, scale.high + 1, max(1, (scale.high - scale.low) // 5)):
        y = f"{scale.y(10.0**exponent):.1f}"
        found.append(tag("line", x1=_LEFT, x2=_WIDTH - _RIGHT, y1=y, y2=y, class_="grid"))
        found.append(tag("text", f"1e{exponent}", x=_LEFT - 7, y=y, dy="0.32em", class_="tick end"))
    for layer in range(0, scale.layers + 1, 1 if scale.layers < 14 else 4):
        x = f"{scale.x(layer):.1f}"
        found.append(tag("text", str(layer), x=x, y=_HEIGHT - _BOTTOM + 16, class_="tick middle"))
    middle = (_LEFT + _WIDTH - _RIGHT) // 2
    found.append(tag("text", "layer", x=middle, y=_HEIGHT - 3, class_="tick middle"))
    return found


def _limit(scale: Scale, limit: float) -> list[Markup]:
    if not limit:
        return []
    y = f"{scale.y(limit):.1f}"
    line = tag("line", x1=_LEFT, x2=_WIDTH - _RIGHT, y1=y, y2=y, class_="limit")
    text = f"limit {error_text(limit)}"
    label = tag("text", text, x=_WIDTH - _RIGHT, y=y, dy="-0.4em", class_="tick end limit-text")
    return [line, label]


def _series(scale: Scale, points: Points, backend: str, number: int) -> Markup:
    own = sorted(
        ((layer, record) for (name, layer), record in points.items() if name == backend),
        key=lambda point: point[0],
    )
    places = [(scale.x(layer), scale.y(record.error or 0.0), record) for layer, record in own]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y, _ in places)
    shape = _MARKERS[number % len(_MARKERS)]
    marks = [
        tag(
            "path",
            tag("title", tooltip(record)),
            d=shape,
            transform=f"translate({x:.1f} {y:.1f})",
            class_=None if record.passed else "failed",
        )
        for x, y, record in places
    ]
    return tag("g", tag("polyline", points=line), *marks, class_=f"series series-{number % 6}")


def _key(backend: str, number: int) -> Markup:
    shape = tag("path", d=_MARKERS[number % len(_MARKERS)], transform="translate(6 6)")
    symbol = tag("svg", shape, viewBox="0 0 12 12", aria_hidden="true")
    return tag("span", symbol, join(backend), class_=f"series series-{number % 6}")
