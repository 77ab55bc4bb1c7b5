"""Tables, plot and requirements of `inference.py`."""

import datetime
import importlib.metadata
import platform
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

Results = dict[str, Any]
BASE, LIMIT = "transformers eager", "matrix products alone"
PACKAGES = ("torch", "transformers", "tensorflow", "jax", "numpy", "onnxruntime", "openvino")
SMALL = ("1x16", "1x128", "8x128", "1x384")


def requirements() -> Iterator[tuple[str, str, str, float]]:
    """Subject, other subject, shape, and the most that their ratio may be."""
    for shape, most in zip(SMALL, (0.45, 0.62, 0.70, 0.65), strict=True):
        yield "torch folded", BASE, shape, most
        yield "torch folded", "ONNX Runtime", shape, 0.80
        yield "torch folded", "OpenVINO", shape, 0.95
        yield "jax folded", "torch folded", shape, 1.6
        if shape != "1x16":
            yield "torch folded", LIMIT, shape, 1.35
    yield "tf folded", "transformers TF function", "1x16", 0.6
    yield "tf folded", "transformers TF eager", "1x16", 0.05
    yield "numpy folded", BASE, "1x128", 1.2


def verdicts(results: Results) -> list[tuple[str, float, float]]:
    """What is required, what was measured, and the limit; what was not measured is left out."""
    found = []
    for subject, other, shape, most in requirements():
        times = [results.get(name, {}).get("median", {}).get(shape) for name in (subject, other)]
        if None not in times:
            found.append((f"{subject} / {other}, {shape}", times[0] / times[1], most))
    speeds = [speed(results.get(name, {})) for name in (BASE, "torch folded")]
    if None not in speeds:
        found.append(
            ("pipeline / torch folded, seconds for real text", speeds[0] / speeds[1], 1 / 3)
        )
    return found


def speed(result: Results) -> float | None:
    """Sentences per second."""
    texts = result.get("texts")
    return texts["sentences"] / texts["seconds"] if texts else None


def check(results: Results) -> int:
    """Print the requirements; 1 when one is missed."""
    table = Table("required ratio", "measured", "at most", "")
    missed = 0
    for name, ratio, most in verdicts(results):
        missed += ratio > most
        table.add_row(name, f"{ratio:.3f}", f"{most:.2f}", "met" if ratio <= most else "MISSED")
    Console().print(table)
    return int(missed > 0)


def rows(results: Results, shapes: list[str]) -> Iterator[list[str]]:
    """A row for each subject: milliseconds and the ratio to transformers at each shape."""
    for name, result in results.items():
        cells = [name]
        for shape in shapes:
            time, base = (
                each.get("median", {}).get(shape) for each in (result, results.get(BASE, {}))
            )
            cells.append("-" if time is None else f"{time * 1000:.1f}")
            cells.append(f"{time / base:.2f}" if time and base else "-")
        deviation, load = result.get("deviation"), result.get("load")
        cells.append("-" if load is None else f"{load:.1f}")
        cells.append("-" if not result["first"] else f"{max(result['first'].values()):.1f}")
        cells.append("-" if "memory" not in result else f"{result['memory'] / 1e6:.0f}")
        cells.append("-" if deviation is None else f"{deviation:.1e}")
        rate = speed(result)
        cells.append("-" if rate is None else f"{rate:.0f}")
        yield cells


def write_report(results: Results, shapes: list[str], folder: Path | None) -> int:
    """Print the table and, with a folder, write it as Markdown and draw it; 0."""
    names = ["", *(name for shape in shapes for name in (f"{shape} ms", "ratio"))]
    names += ["load s", "first s", "peak MB", "deviation", "sentences/s"]
    table = Table(*names)
    lines = [f"| {' | '.join(names)} |", "|---|" + "--:|" * (len(names) - 1)]
    for cells in rows(results, shapes):
        table.add_row(*cells)
        lines.append(f"| {' | '.join(cells)} |")
    Console(width=220).print(table)
    faults = {name: each["fault"] for name, each in results.items() if each.get("fault")}
    notes = [f"- {name}: {fault}" for name, fault in faults.items()]
    for note in notes:
        Console().print(note, markup=False)
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        page = [*heading(), *lines, "", *required(results), *notes]
        (folder / "performance.md").write_text("\n".join(page).rstrip() + "\n")
        draw(results, shapes, folder / "performance.svg")
    return 0


def heading() -> list[str]:
    """What the tables are about."""
    versions = []
    for name in PACKAGES:
        try:
            versions.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    return [
        "# Inference, measured",
        "",
        f"{datetime.datetime.now(datetime.UTC):%d %B %Y}, {processor()}, Python "
        f"{platform.python_version()}, {', '.join(versions)}; transformers' TensorFlow models with "
        "transformers 4.57.",
        "",
        "24 layers, sequence classification, float32 but where a name says otherwise, random "
        "weights, full mask; all in one run, in turns, all cores. `ratio` is to transformers "
        "eager. "
        "`load` is from the checkpoint, `first` the slowest first call of a shape (compilation), "
        "`peak` the whole process, `deviation` the largest of the logits from float64, over the "
        "largest logit. `sentences/s` is over real sentences of all lengths: "
        "`mobilebert.predict`, or the text-classification pipeline of transformers in batches of "
        "32. Made by `python benchmarks/inference.py --output docs`.",
        "",
        "![ratios](performance.svg)",
        "",
    ]


def required(results: Results) -> list[str]:
    """The requirements as a Markdown table."""
    lines = ["| required ratio | measured | at most | |", "|---|--:|--:|---|"]
    for name, ratio, most in verdicts(results):
        lines.append(
            f"| {name} | {ratio:.3f} | {most:.2f} | {'met' if ratio <= most else '**missed**'} |"
        )
    return [*lines, ""]


def processor() -> str:
    """The processor's name."""
    info = Path("/proc/cpuinfo")
    names = info.read_text().splitlines() if info.exists() else []
    models = [line.partition(":")[2].strip() for line in names if line.startswith("model name")]
    return f"{len(models)} cores of {models[0]}" if models else platform.processor()


def draw(results: Results, shapes: list[str], path: Path) -> None:
    """Bars of the ratios to transformers eager, a group for each shape."""
    import matplotlib as mpl

    mpl.use("svg")
    import matplotlib.pyplot as plt

    mpl.rcParams["svg.hashsalt"] = "mobilebert"
    drawn = [
        name
        for name, each in results.items()
        if each.get("median") and name not in (BASE, "transformers TF eager")
    ]
    figure, axes = plt.subplots(figsize=(11, 0.19 * len(drawn) * len(shapes) + 1))
    colours = plt.get_cmap("cividis")
    for group, shape in enumerate(shapes):
        base = results[BASE]["median"][shape]
        for place, name in enumerate(drawn):
            time = results[name]["median"].get(shape)
            if time is None:
                continue
            height = group * (len(drawn) + 2) + place
            ours = "folded" in name
            axes.barh(height, time / base, color=colours(0.75 if ours else 0.3))
            axes.text(time / base, height, f" {name} {time / base:.2f}", va="center", fontsize=6.5,
                      fontweight="bold" if ours else "normal")  # fmt: skip
    axes.axvline(1, color="black", linewidth=0.8)
    middle = [group * (len(drawn) + 2) + len(drawn) / 2 for group in range(len(shapes))]
    axes.set_yticks(middle, [shape.replace("x", " x ") for shape in shapes])
    axes.invert_yaxis()
    axes.set_xlabel("time of a call / transformers 5 eager in the same run; shorter is faster")
    axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
