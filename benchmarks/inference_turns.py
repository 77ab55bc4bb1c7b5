"""The turns of `inference.py`: all subjects at one shape, all subjects over real sentences.

Subjects take turns, so that a slow minute hits all of them. Rounds go on until their share of the
time is used up, but there are never fewer than the least.
"""

import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from inference_process import ROOT, Subject
from inference_subjects import TEXT_SUBJECTS
from rich.console import Console
from rich.progress import Progress

TEXTS = ROOT.parent / "shared" / "data" / "sentence_polarity" / "sentence_polarity.zip"
SLICE = 533  # sentences of a turn
TURN = 0.2  # seconds of calls in a turn, or one call
REST = 0.2  # seconds before a turn: threads spin after a call, those of OpenBLAS for 0.1
SAMPLED = 4  # subjects without a requirement compute every so many slices
LEAST, MOST = 3, 15  # rounds at a shape


def measure(subjects: list[Subject], shape: str, seconds: float, console: Console) -> None:
    """Time all subjects at one shape, in about so many seconds."""
    end = time.monotonic() + seconds
    size = [int(each) for each in shape.split("x")]
    with Progress(console=console) as progress:
        task = progress.add_task(f"{shape:>7}", total=len(subjects) * (1 + MOST))
        for subject in subjects:
            first = subject.ask(shape=size, seconds=0)
            if first:
                subject.results["first"][shape] = first["times"][0]
            subject.ask(shape=size, seconds=TURN)
            progress.advance(task)
        for count in range(MOST):
            if count >= LEAST and time.monotonic() > end:
                break
            for subject in subjects:
                take_turn(subject, shape, size)
                progress.advance(task)
        progress.update(task, total=1, completed=1)


def take_turn(subject: Subject, shape: str, size: list[int]) -> None:
    """A few calls of one subject."""
    time.sleep(REST)
    answer = subject.ask(shape=size, seconds=TURN)
    if answer:
        subject.results["times"].setdefault(shape, []).extend(answer["times"])
        subject.results["memory"] = answer["memory"]


def measure_texts(
    subjects: list[Subject], texts: list[str], seconds: float, console: Console
) -> None:
    """Time real sentences, slice by slice; the first slice warms up, and its scores are kept."""
    end = time.monotonic() + seconds
    chosen = [each for each in subjects if each.name in TEXT_SUBJECTS]
    slices = [texts[start : start + SLICE] for start in range(0, len(texts), SLICE)]
    with Progress(console=console) as progress:
        task = progress.add_task("   text", total=len(slices))
        warming = progress.add_task("warm up", total=len(chosen))
        for subject in chosen:
            progress.advance(warming)
            subject.results["scores"] = subject.ask(texts=slices[0]).get("scores")
        for place, part in enumerate(slices):
            if place and time.monotonic() > end:
                break
            for subject in chosen:
                if not TEXT_SUBJECTS[subject.name] and place % SAMPLED:
                    continue
                time.sleep(REST)
                add_slice(subject, part)
            progress.advance(task)
        progress.update(task, total=1, completed=1)


def add_slice(subject: Subject, part: list[str]) -> None:
    """The sentences of one turn."""
    answer = subject.ask(texts=part)
    if answer:
        found = subject.results.setdefault("texts", {"sentences": 0, "seconds": 0.0})
        found["sentences"] += len(part)
        found["seconds"] += answer["seconds"]


def read_texts(files: list[Path]) -> list[str]:
    """Sentences, one a line; without files those of the sentence polarity data, if there."""
    if files:
        lines = [line for file in files for line in file.read_text("utf-8").splitlines()]
    elif TEXTS.exists():
        with zipfile.ZipFile(TEXTS) as archive:
            names = [name for name in archive.namelist() if name.endswith((".pos", ".neg"))]
            parts = [archive.read(name).decode("latin-1").splitlines() for name in sorted(names)]
        lines = [line for both in zip(*parts, strict=True) for line in both]
    else:
        lines = []
    return [line.strip() for line in lines if line.strip()]


def disagreement(scores: list[float], expected: list[float]) -> float:
    """The largest difference of scores, over the range that the expected ones have."""
    wanted = np.asarray(expected)
    return float(np.abs(np.asarray(scores) - wanted).max() / np.ptp(wanted))


def deviation(subject: Subject, size: list[int], expected: np.ndarray[Any, Any]) -> float | None:
    """How far its logits are from the expected ones, over the largest of those."""
    answer = subject.ask(shape=size, logits=True)
    if not answer or answer["logits"] is None:
        return None
    found = np.asarray(answer["logits"])
    return float(np.abs(found - expected).max() / np.abs(expected).max())
