"""How fast is inference, next to everything else that runs the same model?

One run, in turns: every subject of `inference_subjects.py` is a process that waits for its turn, so
that a slow minute hits all of them. Ratios of medians are what counts. The model has 24 layers and
random weights; all subjects load the same checkpoint, and their logits are compared.
"""

import argparse
import fnmatch
import importlib.util
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from inference_process import SCRIPT, Subject, foreign_seconds
from inference_report import Report
from inference_requirements import check
from inference_subjects import CUDA, HEAD, SUBJECTS, THREADS, random_ids
from inference_turns import deviation, disagreement, measure, measure_texts, read_texts
from rich.console import Console
from rich.progress import track

import mobilebert

SHAPES = ("1x16", "1x128", "8x128", "1x384", "32x128")
TEXT_SHARE = 0.45  # of the time that is left when subjects are loaded
console = Console(stderr=True)


def make_checkpoint(folder: Path, layers: int) -> None:
    """The model that all subjects load, the tokenizer's files, and a copy for TensorFlow."""
    config = mobilebert.Config(num_labels=2, num_hidden_layers=layers, pad_token_id=0)
    model = mobilebert.create(config, HEAD, backend="numpy", seed=0)
    mobilebert.save(model, folder, tokenizer=mobilebert.load_tokenizer("mobilebert-uncased"))
    mobilebert.convert(folder, tensorflow_folder(folder), to="hf-tf-h5")


def tensorflow_folder(folder: Path) -> Path:
    """The same checkpoint as transformers 4 wrote it for TensorFlow."""
    return folder.with_name("tensorflow")


def export(folder: Path) -> str:
    """Write the ONNX files, in a process whose memory goes with it; why not, if it fails."""
    command = [sys.executable, str(SCRIPT), "export", str(folder)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    return done.stderr.strip().splitlines()[-1] if done.returncode else ""


def expected_logits(folder: Path, size: list[int]) -> np.ndarray[Any, Any]:
    """The truth, in float64."""
    model = mobilebert.load(folder, backend="numpy", dtype="float64")
    return np.asarray(model(input_ids=random_ids(tuple(size))).logits)


def chosen_subjects(options: argparse.Namespace) -> list[str]:
    """Names of the subjects of this run."""
    names = list(CUDA if options.device == "cuda" else SUBJECTS)
    if options.transformers_tf is None:
        names = [name for name in names if not name.startswith("transformers TF")]
    return [name for name in names if fnmatch.fnmatch(name, options.subjects)]


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shapes", help=f"batch x length, by commas; without it {SHAPES}")
    parser.add_argument("--subjects", default="*", help="a pattern, e.g. 'torch*'")
    parser.add_argument("--minutes", type=float, default=12, help="about so long; 12")
    parser.add_argument("--quick", action="store_true", help="fewest rounds, not 32x128")
    parser.add_argument("--layers", type=int, default=24, help=argparse.SUPPRESS)
    parser.add_argument("--device", choices=("cpu", "cuda"), help="cuda where there is one")
    parser.add_argument("--transformers-tf", metavar="PYTHON", help="with transformers 4.57")
    parser.add_argument("--text", type=Path, nargs="*", default=[], help="one sentence a line")
    parser.add_argument("--no-text", action="store_true", help="leave real sentences out")
    parser.add_argument("--output", type=Path, help="a folder for performance.md and .svg")
    parser.add_argument("--json", type=Path, help="a file for all figures")
    options = parser.parse_args()
    options.shapes = (options.shapes or ",".join(SHAPES[: 4 if options.quick else 5])).split(",")
    options.minutes = 0 if options.quick else options.minutes
    options.device = options.device or ("cuda" if has_cuda() else "cpu")
    return options


def has_cuda() -> bool:
    """Whether torch finds a GPU."""
    if importlib.util.find_spec("torch") is None:
        return False
    import torch

    return torch.cuda.is_available()


def start(options: argparse.Namespace, folder: Path) -> list[Subject]:
    """All subjects, loaded one after the other."""
    make_checkpoint(folder, options.layers)
    names = chosen_subjects(options)
    exported = [name for name in names if name.startswith(("ONNX", "OpenVINO"))]
    fault = export(folder) if exported else ""
    subjects = []
    for name in track(names, "   load", console=console):
        if name.startswith("transformers TF"):
            subject = Subject(name, tensorflow_folder(folder), options.transformers_tf)
        else:
            subject = Subject(name, folder)
        if fault and name in exported:
            subject.fault = f"export: {fault}"
        subjects.append(subject)
    return subjects


def run(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """All figures, by subject."""
    end = time.monotonic() + 60 * options.minutes
    subjects = start(options, folder)
    texts = [] if options.no_text or options.device == "cuda" else read_texts(options.text)
    share = max(0.0, end - time.monotonic()) * TEXT_SHARE if texts else 0.0
    for place, shape in enumerate(options.shapes):  # what a shape does not use is for the next
        left = max(0.0, end - share - time.monotonic())
        measure(subjects, shape, left / (len(options.shapes) - place), console)
    if texts:
        measure_texts(subjects, texts, max(0.0, end - time.monotonic()), console)
    summarise(subjects, folder, options.shapes)
    return {subject.name: subject.results for subject in subjects}


def summarise(subjects: list[Subject], folder: Path, shapes: list[str]) -> None:
    """Medians, deviations and faults; ends the processes."""
    sizes = [[int(each) for each in shape.split("x")] for shape in shapes]
    size = min(sizes, key=np.prod)
    expected = expected_logits(folder, size)
    scores = {subject.name: subject.results.pop("scores", None) for subject in subjects}
    for subject in subjects:
        found = subject.results
        found["deviation"] = deviation(subject, size, expected)
        if scores[subject.name] and scores.get("transformers eager"):
            theirs = scores["transformers eager"]
            found["score deviation"] = disagreement(scores[subject.name], theirs)
        found["median"] = {name: statistics.median(each) for name, each in found["times"].items()}
        found["fault"] = subject.fault
        subject.close()


def main() -> int:
    """Run, report, check."""
    options = parse()
    others, started = foreign_seconds(), time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        results = run(options, Path(folder) / "model")
    busy = (foreign_seconds() - others) / (time.monotonic() - started) / THREADS
    report = Report(results, options.shapes, options.layers, busy)
    if options.json:
        options.json.write_text(json.dumps({"busy": busy, "subjects": results}, indent=1))
    report.print()
    if options.output:
        report.write(options.output)
    return check(report.verdicts)


if __name__ == "__main__":
    sys.exit(main())
