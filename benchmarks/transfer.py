"""Does a student learn more from a teacher than alone, in the same number of steps and tokens?

Reads the folders of finished or running runs. A table of what each run cost and how its model does
on held-out text, measured as `nano.py` does, and a picture of loss and accuracy on the validation
text over the steps. While layers are transferred the student predicts nothing yet: that part of a
curve is drawn thin. Read next: `nano_text.py`, `docs/training.md`.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from nano_text import LENGTH, held_out_texts, mask_text, measure, shared_tokenizer
from rich.console import Console
from rich.table import Table
from typer import Option

import mobilebert
from mobilebert_training.run_folder import RunFolder

PREDICTING = ("training", "distillation", "auxiliary")  # stages in which the head learns
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")  # Okabe and Ito
STATUS = Console(stderr=True)


def read_run(name: str, folder: Path) -> dict[str, Any]:
    """What a run's log says.

    Args:
        name: of the run, for table and picture.
        folder: of a `RunFolder`.

    Returns:
        `curve`: rows of step, stage, loss and accuracy on the validation text; `stages`: the last
        step of each; `steps`, and `seconds` where the log tells the pace.
    """
    run = RunFolder(folder)
    log = run.log()
    if not log:
        raise typer.BadParameter(f"{folder} has no log.jsonl of a run", param_hint=name)
    stages: dict[str, int] = {}
    curve, stage = [], ""
    for row in log:
        stage = row.get("stage", stage)
        if "metrics" in row:
            measured = {key: row["metrics"].get(key) for key in ("loss", "accuracy")}
            curve.append({"step": row["step"], "stage": stage, **measured})
        else:
            stages[stage] = row["step"]
    last = [row for row in log if "steps_per_second" in row][-1]
    return {
        "name": name,
        "folder": run,
        "curve": curve,
        "stages": stages,
        "steps": last["step"],
        "seconds": last["step"] / last["steps_per_second"],
        "description": json.loads((folder / "run.json").read_text(encoding="utf-8")),
    }


def tokens_of(run: dict[str, Any], batch: int, length: int) -> int:
    """How many tokens a run has seen, by its description, or else by what is told."""
    told = run["description"]
    rows, width = told.get("batch_size", batch), told.get("max_length", length)
    return int(run["steps"] * rows * width)


def measure_run(run: dict[str, Any], texts: Sequence[Path], backend: str, rows: int) -> list[Any]:
    """How the run's model does on held-out texts."""
    place = run["folder"].model_path
    tokenizer = mobilebert.load_tokenizer(place)
    model = mobilebert.load(place, "masked-lm", backend, dtype="float32")
    found = []
    for text in texts:
        with STATUS.status(f"{run['name']} reads {text.stem}"):
            masked = mask_text(text, tokenizer, rows or None)
            found.append({"text": text.stem, **measure(model, masked)})
    return found


def show(results: Sequence[dict[str, Any]]) -> None:
    """Print the table."""
    table = Table(title="Runs, and their models on held-out text", title_justify="left")
    left = ("run", "held-out text")
    right = ("steps", "million tokens", "minutes", "loss", "perplexity", "accuracy")
    for column in (left[0], *right[:3], left[1], *right[3:]):
        table.add_column(column, justify="left" if column in left else "right")
    for each in results:
        first = [each["name"], f"{each['steps']:,}", f"{each['tokens'] / 1e6:.1f}"]
        first.append(f"{each['seconds'] / 60:.0f}")
        for row in each["held_out"]:
            figures = (f"{row['loss']:.3f}", f"{row['perplexity']:.1f}", f"{row['accuracy']:.1%}")
            table.add_row(*first, row["text"], *figures)
            first = [""] * len(first)
    Console(width=None if Console().is_terminal else 100).print(table)
    for place, text in enumerate(row["text"] for row in results[0]["held_out"]):
        best = min(results, key=lambda each: each["held_out"][place]["loss"])
        print(f"{text}: the lowest loss is that of {best['name']}")
    if len({each["tokens"] for each in results}) > 1:
        print("The runs have not seen equally many tokens.")
    for each in results:
        best = min(each["curve"], key=lambda row: row["loss"], default={"step": each["steps"]})
        if best["step"] != each["steps"]:
            print(f"{each['name']}: its model is of step {best['step']:,}, the best on this text.")


def draw(runs: Sequence[dict[str, Any]], path: Path) -> None:
    """Loss and accuracy on the validation text over the steps."""
    import matplotlib as mpl

    mpl.use("svg")
    import matplotlib.pyplot as plt

    mpl.rcParams |= {"svg.hashsalt": "mobilebert", "svg.fonttype": "none", "font.size": 8}
    figure, panels = plt.subplots(1, 2, figsize=(7.5, 3), layout="constrained")
    for axes, metric in zip(panels, ("loss", "accuracy"), strict=True):
        for run, colour in zip(runs, COLOURS, strict=False):
            draw_curve(axes, run, metric, colour)
        axes.set_xlabel("steps")
        axes.set_title(f"validation {metric} at masked tokens", fontsize=8)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.3, linewidth=0.5)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center",
                  ncols=len(runs), frameon=False)  # fmt: skip
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


def draw_curve(axes: Any, run: dict[str, Any], metric: str, colour: str) -> None:
    """One run: thin while layers are transferred, from then on full."""
    points = [row for row in run["curve"] if row[metric] is not None]
    predicting = [row for row in points if row["stage"] in PREDICTING]
    before = points[: len(points) - len(predicting) + 1] if len(predicting) < len(points) else []
    steps = [row["step"] for row in predicting]
    axes.plot(steps, [row[metric] for row in predicting], "o-", color=colour, markersize=3,
              linewidth=1.4, label=run["name"])  # fmt: skip
    axes.plot([row["step"] for row in before], [row[metric] for row in before], ":", color=colour,
              linewidth=0.9)  # fmt: skip


def main(
    runs: Annotated[list[str], typer.Argument(help="name=folder of each run, as it is drawn.")],
    text: Annotated[Path, Option(help="The folder that prepare_corpus.py wrote.", exists=True)],
    plot: Annotated[Path | None, Option(help="Where the picture goes, an SVG file.")] = None,
    batch: Annotated[int, Option(help="Rows of a step, where run.json does not tell.")] = 64,
    length: Annotated[int, Option(help="Tokens of a row, likewise.")] = LENGTH,
    backend: Annotated[str, Option(help="Which one measures.")] = "torch",
    rows: Annotated[int, Option(min=0, help="Of each held-out text at most; 0: all.")] = 0,
    as_json: Annotated[bool, Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Compare runs on validation and held-out text.

    Example: python benchmarks/transfer.py alone=RUNS/alone PKT=RUNS/pkt --text TEXT
    """
    pairs = [each.partition("=") for each in runs]
    if not all(sign and Path(folder).is_dir() for _, sign, folder in pairs):
        raise typer.BadParameter("expected name=folder of runs that exist", param_hint="runs")
    found = [read_run(name, Path(folder)) for name, _, folder in pairs]
    shared_tokenizer({run["name"]: str(run["folder"].model_path) for run in found})
    texts = held_out_texts(text)
    results = [
        {
            **{key: run[key] for key in ("name", "steps", "seconds", "stages", "curve")},
            "tokens": tokens_of(run, batch, length),
            "held_out": measure_run(run, texts, backend, rows),
        }
        for run in found
    ]
    if plot is not None:
        draw(found, plot)
    if as_json:
        print(json.dumps(results, indent=2))
    else:
        show(results)


if __name__ == "__main__":
    typer.run(main)
