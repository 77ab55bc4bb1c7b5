"""A run that is killed, at any moment and as often as one likes, ends with the same bits."""

import random
import shutil
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from mobilebert_core.errors import CheckpointError  # noqa: E402
from training_runs import Run, train_elsewhere, train_here, what_is_left  # noqa: E402

PLAIN = {"steps": 10, "evaluate_every": 2, "save_every": 3, "micro_batches": 2}
RUNS: dict[str, dict[str, Any]] = {
    "masked-lm": {"head": "masked-lm", "settings": PLAIN, "dropout": 0.2},
    "stops early": {
        "head": "token-classification",
        "settings": {"steps": 40, "evaluate_every": 1, "save_every": 3, "patience": 3,
                     "learning_rate": 0.1},
        "dropout": 0.2,
    },
    "progressive": {
        "head": "pretraining",
        "settings": {"steps": 12, "save_every": 1, "keep": 3},
        "strategy": "progressive",
        "dropout": 0.2,
    },
    "lamb": {
        "head": "corpus",
        "settings": PLAIN | {"optimizer": "lamb", "schedule": "cosine"},
        "dropout": 0.1,
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What runs leave that nobody kills, and how many calls they make, in all and in saving."""
    known: dict[str, Any] = {}

    def find(name: str) -> Any:
        if name not in known:
            folders = [tmp_path_factory.mktemp("whole") for _ in range(2)]
            calls = [
                train_elsewhere(Run(folder, **RUNS[name]), only_saving=only_saving)
                for folder, only_saving in zip(folders, (False, True), strict=True)
            ]
            left = [what_is_left(folder) for folder in folders]
            assert left[0] == left[1]
            known[name] = left[0], calls
        return known[name]

    return find


def kill_and_resume(uninterrupted: Any, path: Path, name: str, seed: int, kills: int) -> None:
    expected, calls = uninterrupted(name)
    draw, run, killed = random.Random(seed), Run(path, **RUNS[name]), 0
    for _ in range(kills):
        only_saving = draw.random() < 0.5
        moment = draw.randrange(1, calls[only_saving] // 2)
        killed += train_elsewhere(run, kill_at=moment, only_saving=only_saving) == -9
    assert killed
    assert train_elsewhere(run) > 0
    assert what_is_left(path) == expected


@pytest.mark.parametrize("name", RUNS)
def test_a_run_ends_with_the_same_bits_when_it_is_killed(
    name: str, uninterrupted: Any, tmp_path: Path
) -> None:
    kill_and_resume(uninterrupted, tmp_path, name, seed=0, kills=2)


@pytest.mark.long
@pytest.mark.parametrize("name", RUNS)
@pytest.mark.parametrize("seed", range(1, 16))
def test_a_run_ends_with_the_same_bits_whenever_it_is_killed(
    name: str, seed: int, uninterrupted: Any, tmp_path: Path
) -> None:
    kill_and_resume(uninterrupted, tmp_path, name, seed, kills=5)


def test_early_stopping_stops_the_run_early(uninterrupted: Any) -> None:
    rows = uninterrupted("stops early")[0]["log"]
    measured = [row["metrics"]["loss"] for row in rows if "metrics" in row]
    assert len(measured) < 40
    assert len(measured) - 1 - measured.index(min(measured)) == 3


@pytest.mark.parametrize("name", ["masked-lm", "stops early", "progressive"])
def test_nothing_changes_when_a_finished_run_goes_on(name: str, tmp_path: Path) -> None:
    run = Run(tmp_path, **RUNS[name])
    first = train_here(run)
    left = what_is_left(tmp_path)
    assert train_here(run) == first
    assert what_is_left(tmp_path) == left
    assert first.stopped_early == (name == "stops early")


def test_patience_counts_nothing_while_layers_are_transferred(tmp_path: Path) -> None:
    settings = {"steps": 20, "evaluate_every": 1, "patience": 1, "learning_rate": 1e-9}
    run = Run(tmp_path, "pretraining", settings, "progressive")
    assert train_here(run).step > 8  # of the 20 steps, 8 are of layers


@pytest.mark.parametrize("damage", ["cut", "flipped"])
def test_a_damaged_checkpoint_is_told_and_without_it_the_run_ends_with_the_same_bits(
    damage: str, tmp_path: Path
) -> None:
    run = Run(tmp_path, **RUNS["masked-lm"])
    train_here(run)
    expected = what_is_left(tmp_path)
    newest = tmp_path / "checkpoints" / "step-00000010"
    content = bytearray((newest / "arrays.safetensors").read_bytes())
    content[-5] ^= 1
    cut = content[:-1] if damage == "cut" else content
    (newest / "arrays.safetensors").write_bytes(cut)
    with pytest.raises(CheckpointError, match=r"step-00000010 is damaged.*the one of step 9"):
        train_here(run)
    shutil.rmtree(newest)
    train_here(run)
    assert what_is_left(tmp_path) == expected


def test_the_best_model_is_kept_when_later_ones_are_worse(tmp_path: Path) -> None:
    run = Run(tmp_path, **RUNS["stops early"])
    result = train_here(run)
    until_best = dict(run.settings) | {"steps": 40, "save_every": 1, "keep": 99}
    train_here(Run(tmp_path / "all", run.head, until_best, dropout=run.dropout))
    trainer_model = what_is_left(tmp_path)["model/model.safetensors"]
    assert trainer_model == what_is_left(tmp_path / "all")["model/model.safetensors"]
    assert result.best_step < result.step
    assert result.metrics["loss"] == min(
        row["metrics"]["loss"] for row in what_is_left(tmp_path)["log"] if "metrics" in row
    )


def test_a_full_disk_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(tmp_path / "run", **RUNS["masked-lm"])
    train_here(Run(tmp_path / "whole", **RUNS["masked-lm"]))

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    for place in ("mobilebert_training.run_folder.save_file",
                  "mobilebert_core.checkpoints.writing.replace_folder"):  # fmt: skip
        with monkeypatch.context() as patches:
            patches.setattr(place, full)
            with pytest.raises(CheckpointError, match=r"No space left.*Make room, then give the"):
                train_here(run)
    train_here(run)
    assert what_is_left(run.folder) == what_is_left(tmp_path / "whole")
