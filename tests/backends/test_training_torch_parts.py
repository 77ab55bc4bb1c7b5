"""A batch in parts, in micro-batches of one process: the loss and the update of the whole."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from metrics import relative_error  # noqa: E402
from mobilebert_core.errors import ConfigError, InputError  # noqa: E402
from mobilebert_torch.training.objective import Objective  # noqa: E402
from mobilebert_torch.training.processes import Processes  # noqa: E402
from mobilebert_torch.training.trainer import Trainer  # noqa: E402
from mobilebert_training.counting import label_counts, rows_of, split_batch  # noqa: E402
from mobilebert_training.run_folder import RunFolder  # noqa: E402
from mobilebert_training.settings import TrainingSettings  # noqa: E402
from training_runs import (  # noqa: E402
    RandomRows,
    Run,
    is_rounding,
    make_model,
    make_trainer,
    train_here,
)

HEADS = [
    "masked-lm",
    "pretraining",
    "token-classification",
    "question-answering",
    "sequence-classification",
    "corpus",
]


def three_steps(run: Run) -> tuple[list[float], list[float], dict[str, Any]]:
    """Losses, norms of gradients, and the parameters after three updates."""
    trainer = make_trainer(run)
    train_here(run)
    rows = [row for row in RunFolder(run.folder).log() if "loss" in row]
    saved = trainer.folder.load()
    assert saved is not None
    return [r["loss"] for r in rows], [r["gradient_norm"] for r in rows], saved.arrays


def assert_same(path: Path, parts: int, **options: Any) -> None:
    settings = {"steps": 3, "batch_size": 8, "learning_rate": 1e-2}
    whole = three_steps(Run(path / "whole", settings=settings, **options))
    cut = settings | {"micro_batches": parts}
    found = three_steps(Run(path / "parts", settings=cut, **options))
    assert found[0] == pytest.approx(whole[0], rel=1e-6)
    assert found[1] == pytest.approx(whole[1], rel=1e-5)
    errors = {
        name: relative_error(found[2][name], whole[2][name])
        for name in whole[2]
        if name.startswith("model.") and not is_rounding(name, options["head"])
    }
    assert max(errors.values()) < 1e-4, errors


@pytest.mark.parametrize("head", HEADS)
def test_updates_are_the_same_when_a_batch_is_cut(head: str, tmp_path: Path) -> None:
    assert_same(tmp_path, 3, head=head)


def test_updates_are_the_same_when_every_row_is_a_part(tmp_path: Path) -> None:
    assert_same(tmp_path, 8, head="pretraining")


@pytest.mark.parametrize("strategy", ["auxiliary", "progressive"])
def test_transfer_is_the_same_when_a_batch_is_cut(strategy: str, tmp_path: Path) -> None:
    settings = {"steps": 6, "batch_size": 8, "learning_rate": 1e-2}
    losses = []
    for parts in (1, 3):
        run = Run(
            tmp_path / str(parts), "pretraining", settings | {"micro_batches": parts}, strategy
        )
        losses.append(three_steps(run)[0])
    assert losses[1] == pytest.approx(losses[0], rel=2e-6)


@pytest.mark.parametrize("head", HEADS[:-1])
def test_the_share_of_a_whole_batch_is_the_models_own_loss(head: str) -> None:
    model = make_model(head)
    rows = RandomRows(head).rows(np.arange(1, 6))
    inputs, labels = split_batch(rows, head)
    counts = label_counts(labels) | {"rows": 5}
    loss = Objective(model)(inputs, labels, counts)
    assert loss.item() == pytest.approx(model(**inputs, **labels).loss.item(), rel=1e-6)


def test_nothing_is_learnt_when_no_label_counts() -> None:
    model = make_model("masked-lm")
    rows = rows_of(RandomRows("masked-lm").rows(np.arange(5)), np.arange(5))
    inputs, labels = split_batch(rows, "masked-lm")
    labels["labels"] = np.full_like(labels["labels"], -100)
    loss = Objective(model)(inputs, labels, label_counts(labels) | {"rows": 5})
    loss.backward()
    assert loss.item() == 0
    assert all(not each.grad.any() for each in model.parameters() if each.grad is not None)


def test_gradients_are_shortened_to_the_norm_and_only_then(tmp_path: Path) -> None:
    moves = []
    for clip in (0.0, 1e6, 0.1):
        trainer = make_trainer(Run(tmp_path, settings={"clip_norm": clip}))
        trainer.enter_stage(0)
        row = trainer.update(0)
        gradients = [each.grad for each in trainer.parameters.values()]
        norm = float(torch.stack([each.norm() for each in gradients]).norm())
        moves.append((row["gradient_norm"], norm))
    assert moves[0] == moves[1] == pytest.approx((moves[0][0],) * 2, rel=1e-6)
    assert moves[2] == pytest.approx((moves[0][0], 0.1), rel=1e-5)
    assert moves[0][0] > 0.2


class OneRow(RandomRows):
    """The same row in every batch."""

    def batch(self, indices: Any, key: tuple[int, ...]) -> dict[str, Any]:
        return self.rows(np.zeros_like(indices))


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_dropout_acts_and_is_drawn_anew_in_every_step(dropout: float, tmp_path: Path) -> None:
    settings = {"steps": 3, "batch_size": 1, "learning_rate": 1e-30}  # changes nothing
    found = []
    for name in ("once", "again"):
        trainer = make_trainer(Run(tmp_path / name, settings=settings, dropout=dropout))
        trainer.task = OneRow("masked-lm")
        trainer.enter_stage(0)
        found.append([trainer.update(step)["loss"] for step in range(3)])
    assert found[0] == found[1]
    assert len(set(found[0])) == (3 if dropout else 1)


def test_the_learning_rate_warms_up_in_every_stage(tmp_path: Path) -> None:
    settings = {"steps": 24, "warmup": 0.5}
    trainer = make_trainer(Run(tmp_path, "pretraining", settings, strategy="progressive"))
    step = 0
    for stage in trainer.stages:
        rates = []
        for _ in range(stage.steps):
            trainer.enter_stage(step)
            rates.append(trainer.update(step)["learning_rate"])
            step += 1
        assert rates[0] < max(rates) > rates[-1], stage.name


def test_a_run_that_diverges_is_refused_before_it_is_saved(tmp_path: Path) -> None:
    run = Run(tmp_path, settings={"save_every": 1, "learning_rate": 1e30, "warmup": 0.0})
    with pytest.raises(Exception, match=r"training diverged\. Take a smaller learning rate"):
        train_here(run)
    saved = RunFolder(tmp_path).load()
    assert saved is None or all(np.isfinite(each).all() for each in saved.arrays.values())


def test_a_task_of_another_head_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="The model is for masked-lm, the task for pretraining"):
        Trainer(
            make_model("masked-lm"),
            RandomRows("pretraining"),
            TrainingSettings(steps=1),
            RunFolder(tmp_path),
        )


def test_a_batch_too_small_for_its_processes_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    processes = Processes()
    processes.size = 2
    processes.check_parts(4, 2)
    with pytest.raises(ConfigError, match=r"batch_size is 5 for 2 processes .* 3 .* at least 6"):
        processes.check_parts(5, 3)
