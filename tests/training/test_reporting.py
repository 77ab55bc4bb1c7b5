"""What is shown and drawn of a run, from lines of its log alone."""

import io
import json
import struct
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from mobilebert_core.errors import CheckpointError, InputError, MissingDependencyError
from mobilebert_training.curves import learning_curve
from mobilebert_training.reporting import ShowProgress
from mobilebert_training.tensorboard_log import TensorboardLog

BEGIN = {"event": "begin", "folder": "run", "step": 0, "steps": 40, "batch_size": 8, "examples": 50}


def step(number: int, stage: str = "training", **changes: Any) -> dict[str, Any]:
    row = {"step": number, "stage": stage, "loss": 4.0 / number, "learning_rate": 1e-3}
    return {**row, "gradient_norm": 2.0, "steps_per_second": 2.5, **changes}


def evaluation(number: int, **metrics: float) -> dict[str, Any]:
    return {"step": number, "metrics": metrics}


def shown(*rows: Mapping[str, Any], terminal: bool = False, seconds: float = 0.0) -> str:
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=terminal, width=120, color_system=None)
    with ShowProgress(console, seconds=seconds) as progress:
        for row in rows:
            progress(row)
    return stream.getvalue()


@pytest.mark.parametrize(("count", "told"), [(2, "2 labels: a0, a1"), (14, "14 labels: a0, a1")])
def test_labels_are_told_so_that_a_wrong_one_is_seen(count: int, told: str) -> None:
    text = shown({**BEGIN, "labels": [f"a{number}" for number in range(count)]})
    assert told in text
    assert ("a13" in text, ", ..." in text) == (False, count > 12)


def write_log(folder: Path, *rows: Mapping[str, Any]) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "log.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return folder


def scalars(run: Path) -> dict[str, list[tuple[int, float]]]:
    accumulator = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator"
    ).EventAccumulator(str(run / "tensorboard"))
    accumulator.Reload()
    return {
        tag: [(event.step, event.value) for event in accumulator.Scalars(tag)]
        for tag in accumulator.Tags()["scalars"]
    }


def test_progress_prints_lines_when_there_is_no_terminal() -> None:
    lines = shown(BEGIN, step(10), evaluation(10, accuracy=0.75)).splitlines()
    assert lines == [
        "Training in run: 50 examples, 8 in each of 40 steps",
        "step 10/40  loss 0.4000  learning rate 1.0e-03  20 rows/s  0:12 left",
        "step 10: accuracy 0.75",
    ]


def test_progress_leaves_lines_out_when_they_come_quickly_but_never_the_last() -> None:
    lines = shown(BEGIN, *(step(10 * n) for n in range(1, 5)), seconds=1e6).splitlines()
    assert [line.split()[1] for line in lines[1:]] == ["10/40", "40/40"]


def test_progress_says_where_a_run_goes_on() -> None:
    assert "goes on from step 20 of 40" in shown({**BEGIN, "step": 20})
    assert "is finished: all 40 steps" in shown({**BEGIN, "step": 40})


def test_progress_shows_a_bar_when_there_is_a_terminal() -> None:
    output = shown(BEGIN, step(10, "layer 1"), evaluation(10, f1=0.5), terminal=True)
    assert "step 10/40" in output
    assert "layer 1" in output
    assert "step 10: f1 0.5" in output
    assert output.endswith("\x1b[2K")  # the bar is taken away


def test_a_learning_curve_is_a_png_when_there_are_stages_and_metrics(tmp_path: Path) -> None:
    rows = [step(n, "layer 0" if n <= 20 else "distillation") for n in range(1, 61)]
    run = write_log(tmp_path / "run", *rows, evaluation(60, loss=1.5, accuracy=0.5))
    picture = learning_curve(run)
    content = picture.read_bytes()
    assert picture == run / "learning_curve.png"
    assert content[:8] == b"\x89PNG\r\n\x1a\n"
    assert struct.unpack(">II", content[16:24]) == (1080, 810)


def test_a_learning_curve_has_one_panel_when_nothing_was_measured(tmp_path: Path) -> None:
    picture = learning_curve(write_log(tmp_path / "run", step(1), step(2)))
    assert struct.unpack(">II", picture.read_bytes()[16:24]) == (1080, 540)


def test_a_learning_curve_is_refused_when_there_is_no_log(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has no log of a run"):
        learning_curve(tmp_path)


def test_an_unwritable_picture_is_one_message(tmp_path: Path) -> None:
    run = write_log(tmp_path / "run", step(1))
    (run / "learning_curve.png").mkdir()
    with pytest.raises(CheckpointError, match=r"learning_curve\.png cannot be written"):
        learning_curve(run)


def test_tensorboard_reads_the_numbers_that_were_logged(tmp_path: Path) -> None:
    log = TensorboardLog(tmp_path)
    for row in (BEGIN, step(10), evaluation(10, accuracy=0.75), step(20, loss=0.125)):
        log(row)
    found = scalars(tmp_path)
    assert found["training/loss"] == [(10, pytest.approx(0.4)), (20, 0.125)]
    assert found["validation/accuracy"] == [(10, 0.75)]
    assert found["training/learning_rate"][0] == (10, pytest.approx(1e-3))


def test_tensorboard_has_each_step_once_when_a_run_was_resumed(tmp_path: Path) -> None:
    first = TensorboardLog(tmp_path)
    for row in (BEGIN, step(10), step(20), step(30), step(40)):
        first(row)
    (file,) = (tmp_path / "tensorboard").iterdir()
    file.write_bytes(file.read_bytes()[:-5])  # killed while it wrote
    second = TensorboardLog(tmp_path)
    for row in ({**BEGIN, "step": 20}, step(30, loss=7.0), step(40)):
        second(row)
    assert len(list((tmp_path / "tensorboard").iterdir())) == 1
    found = scalars(tmp_path)["training/loss"]
    assert [number for number, _ in found] == [10, 20, 30, 40]
    assert found[2][1] == 7.0


def test_an_unwritable_tensorboard_log_is_one_message(tmp_path: Path) -> None:
    log = TensorboardLog(tmp_path / "absent")
    with pytest.raises(CheckpointError, match="--no-tensorboard"):
        log(BEGIN)


@pytest.mark.parametrize(
    ("module", "call"), [("matplotlib", learning_curve), ("tensorboard", TensorboardLog)]
)
def test_a_missing_package_is_named_with_what_to_type(
    module: str, call: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_log(tmp_path, step(1))
    for name in [each for each in sys.modules if each.partition(".")[0] == module]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingDependencyError, match=r'pip install "mobilebert\[train\]"'):
        call(tmp_path)


def test_reporting_imports_no_heavy_package_until_it_is_used() -> None:
    code = (
        "import sys, mobilebert_training.curves, mobilebert_training.tensorboard_log, "
        "mobilebert_training.training; "
        "print({'torch', 'tensorflow', 'jax', 'matplotlib', 'tensorboard'} & set(sys.modules))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "set()\n"
