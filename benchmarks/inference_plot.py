"""The picture of `inference.py`: ratios to transformers, a panel for each shape."""

from pathlib import Path
from typing import Any

EDGE = 2.0  # longer bars are cut; the number beside them says how long they are
FOLDED, PLAIN, THEIRS = "#0072B2", "#56B4E9", "#E69F00"  # Okabe and Ito: told apart by everyone


def draw(ratios: dict[str, list[float | None]], shapes: list[str], path: Path) -> None:
    """Draw bars of the ratios that each subject has at the shapes."""
    import matplotlib as mpl

    mpl.use("svg")
    import matplotlib.pyplot as plt

    mpl.rcParams |= {"svg.hashsalt": "mobilebert", "svg.fonttype": "none", "font.size": 8}
    drawn = {name: each for name, each in ratios.items() if any(each)}
    size = (2.2 + 1.9 * len(shapes), 1.2 + 0.22 * len(drawn))
    figure, panels = plt.subplots(
        1, len(shapes), figsize=size, sharey=True, squeeze=False, layout="constrained"
    )
    for place, (axes, shape) in enumerate(zip(panels[0], shapes, strict=True)):
        fill_panel(axes, {name: each[place] for name, each in drawn.items()})
        axes.set_title(shape.replace("x", " x "))
    panels[0][0].set_yticks(range(len(drawn)), list(drawn))
    panels[0][0].invert_yaxis()
    figure.supxlabel("time of a call / transformers eager in the same run; shorter is faster")
    marks = [plt.Rectangle((0, 0), 1, 1, color=each) for each in (FOLDED, PLAIN, THEIRS)]
    labels = ["this library, folded", "this library, plain", "others"]
    figure.legend(marks, labels, loc="outside upper center", ncols=3, frameon=False)
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


def fill_panel(axes: Any, ratios: dict[str, float | None]) -> None:
    """The bars of one shape."""
    for row, (name, ratio) in enumerate(ratios.items()):
        if ratio is None:
            continue
        words = name.split()
        colour = FOLDED if "folded" in words else PLAIN if "plain" in words else THEIRS
        axes.barh(row, min(ratio, EDGE), color=colour)
        axes.text(min(ratio, EDGE) + 0.04, row, f"{ratio:.2f}", va="center", fontsize=7)
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_xlim(0, EDGE + 0.5)
    axes.set_xticks([0, 0.5, 1, 1.5, 2])
    axes.spines[["top", "right"]].set_visible(False)
