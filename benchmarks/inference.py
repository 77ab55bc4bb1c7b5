"""How fast is inference, next to everything else that runs the same model?

One run, in turns: every subject of `inference_subjects.py` is a process that waits for its turn, so
that a slow minute hits all of them. Ratios of medians are what counts. The model has 24 layers and
random weights; all subjects load the same checkpoint, and their logits are compared.
"""

import argparse
import contextlib
import fnmatch
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from inference_report import check, write_report
from inference_subjects import CUDA, HEAD, SUBJECTS, TEXT_SUBJECTS, random_ids
from rich.console import Console
from rich.progress import track

import mobilebert

ROOT = Path(__file__).resolve().parents[1]
SHAPES = ("1x16", "1x128", "8x128", "1x384", "32x128")
TEXTS = ROOT.parent / "shared" / "data" / "sentence_polarity" / "sentence_polarity.zip"
SLICE = 533  # sentences of a turn
PAUSE = 0.3  # seconds before a turn: idle threads of the subject before it spin for a while
console = Console(stderr=True)


class Subject:
    """A subject's process.

    Args:
        name: of `SUBJECTS`.
        folder: of the checkpoint.
        python: the interpreter.
    """

    def __init__(self, name: str, folder: Path, python: str) -> None:
        self.name = name
        environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3", "TF_USE_LEGACY_KERAS": "1"}
        if python == sys.executable:
            del environment["TF_USE_LEGACY_KERAS"]
        else:
            environment["PYTHONPATH"] = str(ROOT)
        self.errors = tempfile.TemporaryFile("w+")  # noqa: SIM115, it lives as long as the process
        command = [python, str(ROOT / "benchmarks" / "inference_subjects.py"), name, str(folder)]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors, text=True,
            env=environment,
        )  # fmt: skip
        self.results: dict[str, Any] = {"times": {}, "first": {}}
        self.fault = ""
        self.results["load"] = self._read().get("load")

    def ask(self, **request: Any) -> dict[str, Any]:
        """The answer to one request; empty once the process has failed."""
        if self.fault:
            return {}
        time.sleep(PAUSE)
        with contextlib.suppress(BrokenPipeError):
            print(json.dumps(request), file=self.process.stdin, flush=True)
        return self._read()

    def _read(self) -> dict[str, Any]:
        line = self.process.stdout.readline()
        if line:
            return dict(json.loads(line))
        self.process.wait()
        self.errors.seek(0)
        lines = self.errors.read().strip().splitlines()
        self.fault = lines[-1] if lines else f"exit code {self.process.returncode}"
        return {}

    def close(self) -> None:
        """End the process."""
        self.process.stdin.close()
        self.process.wait()


def make_checkpoint(folder: Path, layers: int) -> None:
    """The model that all subjects load, the tokenizer's files, and a copy for TensorFlow."""
    config = mobilebert.Config(num_labels=2, num_hidden_layers=layers, pad_token_id=0)
    model = mobilebert.create(config, HEAD, backend="numpy", seed=0)
    mobilebert.save(model, folder, tokenizer=mobilebert.load_tokenizer())
    mobilebert.convert(folder, tensorflow_folder(folder), to="hf-tf-h5")


def tensorflow_folder(folder: Path) -> Path:
    """The same checkpoint as transformers 4 wrote it for TensorFlow."""
    return folder.with_name("tensorflow")


def truth(folder: Path) -> np.ndarray[Any, Any]:
    """Logits in float64, at the shape that comes first."""
    model = mobilebert.load(folder, backend="numpy", dtype="float64")
    return np.asarray(model(input_ids=random_ids((1, 16))).logits)


def measure(subjects: list[Subject], shape: str, rounds: int) -> None:
    """Time all subjects at one shape, in turns."""
    size = [int(each) for each in shape.split("x")]
    calls = {}
    for subject in subjects:
        first = subject.ask(shape=size, calls=1, warm_up=False)
        warm = subject.ask(shape=size, calls=2)
        if warm:
            subject.results["first"][shape] = first["times"][0]
            calls[subject.name] = max(1, min(20, int(0.15 / min(warm["times"]))))
    for _ in track(range(rounds), f"{shape:>7}", console=console):
        for subject in subjects:
            answer = subject.ask(shape=size, calls=calls.get(subject.name, 1))
            if answer:
                subject.results["times"].setdefault(shape, []).extend(answer["times"])
                subject.results["memory"] = answer["memory"]
                if shape == "1x16":
                    subject.results["logits"] = answer["logits"]


def measure_texts(subjects: list[Subject], texts: list[str], turns: int) -> None:
    """Time real sentences, slice by slice in turns, after a slice that warms all of them up."""
    chosen = [each for each in subjects if each.name in TEXT_SUBJECTS]
    for subject in track(chosen, "warm up", console=console):
        subject.ask(texts=texts[:SLICE])
    slices = [texts[start : start + SLICE] for start in range(0, len(texts), SLICE)][:turns]
    for part in track(slices, "   text", console=console):
        for subject in chosen:
            answer = subject.ask(texts=part)
            if answer:
                found = subject.results.setdefault("texts", {"sentences": 0, "seconds": 0.0})
                found["sentences"] += len(part)
                found["seconds"] += answer["seconds"]


def read_texts(files: list[Path]) -> list[str]:
    """Sentences, one a line; without files those of the sentence polarity data, if there."""
    if files:
        return [line for file in files for line in file.read_text("utf-8").splitlines() if line]
    if not TEXTS.exists():
        return []
    with zipfile.ZipFile(TEXTS) as archive:
        names = [name for name in archive.namelist() if name.endswith((".pos", ".neg"))]
        lines = [archive.read(name).decode("latin-1").splitlines() for name in sorted(names)]
    mixed = [line.strip() for both in zip(*lines, strict=True) for line in both]
    return [line for line in mixed if line]


def chosen_subjects(options: argparse.Namespace) -> list[str]:
    """Names of the subjects of this run."""
    names = list(CUDA if options.device == "cuda" else SUBJECTS)
    if options.transformers_tf is None:
        names = [name for name in names if not name.startswith("transformers TF")]
    return [name for name in names if fnmatch.fnmatch(name, options.subjects)]


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shapes", default=",".join(SHAPES), help="batch x length, by commas")
    parser.add_argument("--subjects", default="*", help="a pattern, e.g. 'torch*'")
    parser.add_argument("--rounds", type=int, default=9, help="turns of every subject at a shape")
    parser.add_argument("--quick", action="store_true", help="3 rounds, a fifth of the sentences")
    parser.add_argument("--layers", type=int, default=24)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--transformers-tf", metavar="PYTHON", help="with transformers 4.57")
    parser.add_argument("--text", type=Path, nargs="*", default=[], help="one sentence a line")
    parser.add_argument("--no-text", action="store_true", help="leave real sentences out")
    parser.add_argument("--output", type=Path, help="a folder for performance.md and .svg")
    parser.add_argument("--json", type=Path, help="a file for all figures")
    return parser.parse_args()


def run(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """All figures, by subject."""
    make_checkpoint(folder, options.layers)
    names = chosen_subjects(options)
    if any(name.startswith(("ONNX", "OpenVINO")) for name in names):
        script = str(ROOT / "benchmarks" / "inference_subjects.py")
        subprocess.run([sys.executable, script, "export", str(folder)], check=False,
                       capture_output=True)  # fmt: skip
    subjects = []
    for name in track(names, "   load", console=console):
        other = name.startswith("transformers TF")
        python = options.transformers_tf if other else sys.executable
        source = tensorflow_folder(folder) if other else folder
        subjects.append(Subject(name, source, python))
    rounds = 3 if options.quick else options.rounds
    for shape in options.shapes.split(","):
        measure(subjects, shape, max(3, rounds // 2) if shape == "32x128" else rounds)
    texts = [] if options.no_text else read_texts(options.text)
    if texts and options.device == "cpu":
        measure_texts(subjects, texts, 2 if options.quick else len(texts))
    expected = truth(folder)
    for subject in subjects:
        subject.results["fault"] = subject.fault
        logits = subject.results.pop("logits", None)
        if logits:
            off = np.abs(np.asarray(logits) - expected).max() / np.abs(expected).max()
            subject.results["deviation"] = float(off)
        subject.results["median"] = {
            shape: statistics.median(times) for shape, times in subject.results["times"].items()
        }
        subject.close()
    return {subject.name: subject.results for subject in subjects}


def main() -> int:
    """Run, report, check."""
    options = parse()
    with tempfile.TemporaryDirectory() as folder:
        results = run(options, Path(folder) / "model")
    if options.json:
        options.json.write_text(json.dumps(results, indent=1))
    return write_report(results, options.shapes.split(","), options.output) or check(results)


if __name__ == "__main__":
    sys.exit(main())
