"""The tables of `inference.py`, on the terminal and in Markdown.

Read next: `inference_requirements.py` for the ratios that are required, `inference_plot.py`.
"""

import datetime
import platform
from dataclasses import dataclass
from pathlib import Path

from inference_plot import draw
from inference_requirements import BASE, LIMIT, TEXT, Results, duration, verdicts
from rich.console import Console
from rich.table import Table as Rich

QUIET = 0.05  # the most of the processors that others may use
THEIRS = "transformers TF"  # with versions of their own
EXPLANATION = (
    "Inference with sequence classification in float32, but where a name says otherwise; random "
    "weights, full mask; medians of one run, in turns, on all cores. `load` is from the "
    "checkpoint, `first` the slowest first call of a shape, with compilation; `peak` is the memory "
    "of the whole process, `deviation` how far logits are from those in float64, over the "
    "largest. `sentences/s` is over real sentences of all lengths: `mobilebert.predict`, or the "
    "text-classification pipeline of transformers in batches of 32; `scores off` is the largest "
    "difference from its scores, over their range. Made by `nox -s benchmarks`."
)


@dataclass(frozen=True)
class Table:
    """A table with a title; the first cell of each row is its name."""

    title: str
    columns: list[str]
    rows: list[list[str]]

    def markdown(self) -> list[str]:
        """Lines of Markdown."""
        lines = [f"## {self.title}", "", f"|  | {' | '.join(self.columns)} |"]
        lines.append("|---|" + "--:|" * len(self.columns))
        return [*lines, *(f"| {' | '.join(row)} |" for row in self.rows), ""]

    def rich(self) -> Rich:
        """The same for a terminal."""
        table = Rich("", *self.columns, title=self.title)
        for row in self.rows:
            table.add_row(*row)
        return table


class Report:
    """All that is said about a run.

    Args:
        results: of each subject.
        shapes: that were measured.
        layers: of the model.
        busy: the share of the processors that other processes used meanwhile.
    """

    def __init__(self, results: Results, shapes: list[str], layers: int, busy: float) -> None:
        self.results = results
        self.shapes = shapes
        self.layers = layers
        self.busy = busy
        self.verdicts = verdicts(results, shapes)

    def print(self) -> None:
        """Show the tables and why subjects failed."""
        console = Console(width=max(100, Console().width))
        for table in self.tables():
            console.print(table.rich())
        for note in self.notes():
            console.print(note, markup=False)

    def write(self, folder: Path) -> None:
        """Write `performance.md` and `performance.svg`."""
        folder.mkdir(parents=True, exist_ok=True)
        lines = self.heading()
        ratios = self.ratios()
        if any(any(each) for each in ratios.values()):
            draw(ratios, self.shapes, folder / "performance.svg")
            lines += ["![ratios to transformers](performance.svg)", ""]
        for table in (*self.tables(), self.required()):
            lines += table.markdown() if table.rows else []
        lines += self.notes()
        (folder / "performance.md").write_text("\n".join(lines).rstrip() + "\n", "utf-8")

    def tables(self) -> list[Table]:
        """Times, ratios, costs."""
        times = [
            [name, *(f"{time * 1000:.1f}" if time else "-" for time in self.times(name))]
            for name in self.results
        ]
        found = [Table("Milliseconds of a call", self.shapes, times)]
        for title, ratios in (
            ("Ratios to transformers eager", self.ratios()),
            ("Ratios to the matrix products alone", self.ratios(LIMIT)),
        ):
            rows = [
                [name, *(f"{each:.2f}" if each else "-" for each in ratio)]
                for name, ratio in ratios.items()
            ]
            if any(any(ratio) for ratio in ratios.values()):
                found.append(Table(title, self.shapes, rows))
        return [*found, self.costs()]

    def times(self, name: str) -> list[float | None]:
        """A subject's time at each shape."""
        return [duration(self.results.get(name, {}), shape) for shape in self.shapes]

    def ratios(self, other: str = "") -> dict[str, list[float | None]]:
        """Of each subject at each shape, to another subject or else to transformers eager."""
        found = {}
        for name in self.results:
            pairs = zip(self.times(name), self.times(other or base_of(name)), strict=True)
            found[name] = [time / base if time and base else None for time, base in pairs]
        return found

    def costs(self) -> Table:
        """What else a subject takes, and how exact it is."""
        names = ["load s", "first s", "peak MB", "deviation", "sentences/s", "scores off"]
        rows = []
        for name, result in self.results.items():
            first = max(result["first"].values(), default=None)
            memory, seconds = result.get("memory"), duration(result, TEXT)
            values = (
                ("{:.1f}", result.get("load")),
                ("{:.1f}", first),
                ("{:.0f}", memory and memory / 1e6),
                ("{:.1e}", result.get("deviation")),
                ("{:.0f}", seconds and 1 / seconds),
                ("{:.1e}", result.get("score deviation")),
            )
            cells = ["-" if value is None else form.format(value) for form, value in values]
            rows.append([name, *cells])
        return Table("Cost, exactness, real text", names, rows)

    def required(self) -> Table:
        """The requirements."""
        rows = [
            [each.name, each.measured, f"{each.most:.2f}", "**missed**" if each.missed else "met"]
            for each in self.verdicts
        ]
        return Table("Required ratios", ["measured", "at most", ""], rows)

    def notes(self) -> list[str]:
        """Why subjects failed, and what is left out."""
        notes = [f"- {name}: {each['fault']}" for name, each in self.results.items()
                 if each["fault"]]  # fmt: skip
        if self.busy > QUIET:
            notes.insert(0, f"- The machine was not quiet: other processes used {self.busy:.0%} of "
                            "it, which slows subjects unevenly. Measure again.")  # fmt: skip
        if not any(name.startswith((THEIRS, "cuda")) for name in self.results):
            notes.append("- transformers' TensorFlow models were left out: no --transformers-tf.")
        return notes

    def heading(self) -> list[str]:
        """What the tables are about: when, where, what, how often."""
        own: dict[str, str] = {}
        theirs: dict[str, str] = {}
        for name, result in self.results.items():
            (theirs if name.startswith(THEIRS) else own).update(result.get("versions", {}))
        facts = [
            f"{datetime.datetime.now(datetime.UTC):%d %B %Y}, {processor()}",
            f"{self.busy:.0%} of them used by other processes, Python {platform.python_version()}",
            ", ".join(f"{name} {version}" for name, version in sorted(own.items())),
        ]
        for package in ("transformers", "tensorflow"):
            if package in theirs:
                facts.append(f"in `{THEIRS}` {package} {theirs[package]}")
        calls = [f"{shape} {self.calls(shape)}" for shape in self.shapes]
        counted = (
            f"{self.layers} layers. Calls timed of each subject, at least: {', '.join(calls)}."
        )
        return ["# Inference, measured", "", ", ".join(facts) + ".", "", EXPLANATION, "",
                counted, ""]  # fmt: skip

    def calls(self, shape: str) -> int:
        """Of the subject that was timed least, among those that did not fail."""
        counts = [len(each["times"].get(shape, [])) for each in self.results.values()]
        return min((count for count in counts if count), default=0)


def base_of(name: str) -> str:
    """What a subject is compared with: the same device, and on CUDA the same dtype."""
    return f"cuda {BASE} {name.split()[-1]}" if name.startswith("cuda ") else BASE


def processor() -> str:
    """The processor's name."""
    info = Path("/proc/cpuinfo")
    names = info.read_text().splitlines() if info.exists() else []
    models = [line.partition(":")[2].strip() for line in names if line.startswith("model name")]
    return f"{len(models)} cores of {models[0]}" if models else platform.processor()
