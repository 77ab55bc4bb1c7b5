"""Two processes: the losses and the weights of one process with the same batches."""

from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from metrics import relative_error  # noqa: E402
from mobilebert_core.errors import ConfigError  # noqa: E402
from mobilebert_torch.training.processes import STYLES, Processes  # noqa: E402
from mobilebert_training.run_folder import RunFolder  # noqa: E402
from training_runs import Run, is_rounding, train_here, train_in_processes, what_is_left  # noqa: E402

SETTINGS = {"steps": 4, "batch_size": 7, "evaluate_every": 2, "save_every": 3, "clip_norm": 0.5}
CLOSE = 1e-5


def numbers(folder: Path) -> tuple[list[float], dict[str, Any]]:
    """Losses, norms and metrics by step; parameters and the optimiser's state."""
    run = RunFolder(folder)
    rows = run.log()
    found = [row["metrics"]["loss"] if "metrics" in row else row["loss"] for row in rows]
    saved = run.load()
    assert saved is not None
    return found + [row["gradient_norm"] for row in rows if "loss" in row], saved.arrays


def assert_same(found: Path, expected: Path, head: str) -> None:
    (found_losses, found_arrays), (losses, arrays) = numbers(found), numbers(expected)
    assert found_losses == pytest.approx(losses, rel=CLOSE)
    assert found_arrays.keys() == arrays.keys()
    for name in found_arrays.keys() - {name for name in arrays if is_rounding(name, head)}:
        limit = 1e-4 if name.startswith("model.") else 1e-3
        assert relative_error(found_arrays[name], arrays[name]) < limit, name


def compare(path: Path, **options: Any) -> None:
    style = options.pop("style")
    settings = SETTINGS | options.pop("settings", {})
    train_here(Run(path / "one", settings=settings, **options))
    codes = train_in_processes(Run(path / "two", settings=settings, style=style, **options))
    assert codes == [0, 0]
    assert_same(path / "two", path / "one", options["head"])
    assert what_is_left(path / "two").keys() == what_is_left(path / "one").keys()


@pytest.mark.parametrize("style", STYLES)
def test_two_processes_compute_what_one_does(style: str, tmp_path: Path) -> None:
    compare(tmp_path, style=style, head="pretraining", settings={"micro_batches": 2})


@pytest.mark.parametrize("style", STYLES)
def test_transfer_in_two_processes_is_that_in_one(style: str, tmp_path: Path) -> None:
    settings = {"steps": 7, "batch_size": 6}
    compare(tmp_path, style=style, head="pretraining", strategy="progressive", settings=settings)


@pytest.mark.long
@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize(
    ("head", "strategy"),
    [
        ("masked-lm", None),
        ("token-classification", None),
        ("question-answering", None),
        ("corpus", None),
        ("pretraining", "auxiliary"),
        ("masked-lm", "joint"),
    ],
)
@pytest.mark.parametrize("optimizer", ["adamw", "lamb"])
def test_two_processes_compute_what_one_does_for_all(
    style: str, head: str, strategy: str | None, optimizer: str, tmp_path: Path
) -> None:
    settings = {"steps": 8, "optimizer": optimizer, "micro_batches": 3}
    compare(tmp_path, style=style, head=head, strategy=strategy, settings=settings)


@pytest.mark.parametrize("style", STYLES)
def test_one_process_goes_on_with_what_two_have_written(style: str, tmp_path: Path) -> None:
    shorter = SETTINGS | {"steps": 6, "schedule": "constant", "warmup": 0.0, "save_every": 2}
    train_here(Run(tmp_path / "one", settings=shorter))
    halves = Run(tmp_path / "two", settings=shorter | {"steps": 4}, style=style)
    assert train_in_processes(halves) == [0, 0]
    train_here(Run(tmp_path / "two", settings=shorter))
    assert_same(tmp_path / "two", tmp_path / "one", "masked-lm")


@pytest.mark.long
@pytest.mark.parametrize("style", STYLES)
def test_two_processes_go_on_with_what_one_has_written(style: str, tmp_path: Path) -> None:
    shorter = SETTINGS | {"steps": 6, "schedule": "constant", "warmup": 0.0, "optimizer": "lamb"}
    train_here(Run(tmp_path / "one", settings=shorter))
    train_here(Run(tmp_path / "two", settings=shorter | {"steps": 4}))
    assert train_in_processes(Run(tmp_path / "two", settings=shorter, style=style)) == [0, 0]
    assert_same(tmp_path / "two", tmp_path / "one", "masked-lm")


def test_one_process_takes_all_rows() -> None:
    processes = Processes()
    assert (processes.size, processes.is_first) == (1, True)
    assert processes.own_rows(5).tolist() == [0, 1, 2, 3, 4]
    assert (processes.total(1.5), processes.same("x")) == (1.5, "x")


def test_an_unknown_style_is_refused() -> None:
    with pytest.raises(ConfigError, match="parallel is 'dp', expected one of ddp, fsdp"):
        Processes("dp")
