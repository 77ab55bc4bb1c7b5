"""What `inference.py` requires: ratios of times in one run, each with the most that it may be."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.table import Table

Results = dict[str, Any]
BASE, LIMIT = "transformers eager", "matrix products alone"
SMALL = ("1x16", "1x128", "8x128", "1x384")
TEXT = "real text"


@dataclass(frozen=True)
class Verdict:
    """One requirement and what was measured; no ratio where a subject failed."""

    name: str
    most: float
    ratio: float | None

    @property
    def missed(self) -> bool:
        """Whether it is not met; what could not be measured is not."""
        return self.ratio is None or self.ratio > self.most

    @property
    def measured(self) -> str:
        """The ratio in words."""
        return "-" if self.ratio is None else f"{self.ratio:.3f}"


def requirements() -> Iterator[tuple[str, str, str, float]]:
    """Subject, other subject, shape, and the most that their ratio may be."""
    for shape, most in zip(SMALL, (0.45, 0.62, 0.70, 0.65), strict=True):
        yield "torch folded", BASE, shape, most
        yield "torch folded", "ONNX Runtime", shape, 0.80
        yield "torch folded", "OpenVINO", shape, 0.95
        yield "jax folded", "torch folded", shape, 1.6
        if shape != "1x16":
            yield "torch folded", LIMIT, shape, 1.35
    for subject in ("tf folded", "tf folded XLA"):
        yield subject, "transformers TF function", "1x16", 0.6
        yield subject, "transformers TF eager", "1x16", 0.05
    yield "numpy folded", BASE, "1x128", 1.2
    yield "torch folded", BASE, TEXT, 1 / 3


def duration(result: dict[str, Any], shape: str) -> float | None:
    """Seconds of a call at a shape, or of a sentence of real text."""
    if shape != TEXT:
        return result.get("median", {}).get(shape)
    texts = result.get("texts")
    return texts["seconds"] / texts["sentences"] if texts else None


def verdicts(results: Results, shapes: list[str]) -> list[Verdict]:
    """Of all requirements whose subjects and shape are in this run."""
    found = []
    for subject, other, shape, most in requirements():
        pair = [results.get(name) for name in (subject, other)]
        if None in pair or shape not in (*shapes, TEXT):
            continue
        times = [duration(each, shape) for each in pair]
        name = f"{subject} / {other}, {shape}"
        if None not in times:
            found.append(Verdict(name, most, times[0] / times[1]))
        elif any(each["fault"] for each in pair):
            found.append(Verdict(name, most, None))
    return found


def check(found: list[Verdict]) -> int:
    """Print the requirements; 1 when one is missed."""
    if not found:
        Console().print("no requirement is about what was measured")
        return 0
    table = Table("required ratio", "measured", "at most", "")
    for each in found:
        table.add_row(
            each.name, each.measured, f"{each.most:.2f}", "MISSED" if each.missed else "met"
        )
    Console().print(table)
    return int(any(each.missed for each in found))
