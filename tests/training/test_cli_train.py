"""The commands `train` and `train-tokenizer`, as a user types them."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import mobilebert
from mobilebert.cli import app
from mobilebert_core.errors import MissingDependencyError
from mobilebert_training.reporting import ShowProgress
from small_training import opinions, running_text, tiny_model

FINE = "sequence-classification"

runner = CliRunner()


def run(*arguments: str | Path) -> tuple[int, str, str]:
    result = runner.invoke(app, [str(each) for each in arguments], catch_exceptions=False)
    return result.exit_code, result.stdout, result.stderr


@pytest.fixture
def command(tmp_path: Path) -> list[str | Path]:
    """A run of six steps, without its output."""
    pytest.importorskip("torch", reason="PyTorch's trainer is the only one")
    model = tiny_model(tmp_path / "source")
    options = ["--steps=6", "--batch-size=4", "--save-every=2", "--evaluate-every=3"]
    return [
        *("train", FINE, "--train", opinions(tmp_path), "--model", model, "--device", "cpu"),
        *options,
    ]


def test_a_run_says_where_the_result_is_and_how_good(
    command: list[str | Path], tmp_path: Path
) -> None:
    output = tmp_path / "run"
    code, told, notes = run(*command, "--output", output)
    assert code == 0
    assert f"{output}/model" in told.replace("\\", "/")
    assert "6 of 6, finished" in told
    assert "(always the most frequent: " in told
    assert "Note: " in notes  # on the head's fresh weights
    assert "fresh (seed 0)" in notes
    assert "step 6/6" in notes
    assert (output / "learning_curve.png").read_bytes()[:4] == b"\x89PNG"
    assert list((output / "tensorboard").iterdir())


@pytest.mark.parametrize(
    ("stop", "code"), [(KeyboardInterrupt(), 130), (SystemExit(143), 143)], ids=["Ctrl-C", "TERM"]
)
def test_a_stopped_run_goes_on_with_the_same_command(
    stop: BaseException,
    code: int,
    command: list[str | Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def interrupt(self: ShowProgress, row: Mapping[str, Any]) -> None:
        if row["step"] == 3:
            raise stop

    command += ["--output", tmp_path / "run", "--no-plot", "--no-tensorboard"]
    with monkeypatch.context() as patches:
        patches.setattr(ShowProgress, "__call__", interrupt)
        ended, _, notes = run(*command)
    assert ended == code
    assert "The same command goes on from step 2" in notes
    ended, told, notes = run(*command)
    assert ended == 0
    assert "goes on from step 2 of 6" in notes
    assert "Note: " not in notes
    assert "went on from step 2" in told
    _, told, notes = run(*command)
    assert "is finished: all 6 steps are done" in notes
    assert "was finished already" in told


def test_the_result_is_nothing_but_json_when_asked_for(
    command: list[str | Path], tmp_path: Path
) -> None:
    options = ("--json", "--no-plot", "--no-tensorboard")
    code, told, _ = run(*command, "--output", tmp_path / "run", *options)
    found = json.loads(told)
    assert code == 0
    assert found["step"] == found["steps"] == 6
    assert set(found["metrics"]) >= {"accuracy", "loss"}
    assert not (tmp_path / "run" / "learning_curve.png").exists()
    assert not (tmp_path / "run" / "tensorboard").exists()


def test_a_file_for_each_label_is_a_run_too(command: list[str | Path], tmp_path: Path) -> None:
    for label in ("good", "bad"):
        (tmp_path / f"rt.{label}").write_text(f"the film was {label}\n" * 12)
    files = [f"--train={label}={tmp_path / f'rt.{label}'}" for label in ("good", "bad")]
    options = ["--json", "--no-plot", "--no-tensorboard", "--labels", "good,bad"]
    code, told, _ = run("train", FINE, *files, *command[4:], "--output", tmp_path / "run", *options)
    assert code == 0
    assert mobilebert.Config.from_json_file(
        Path(json.loads(told)["model"]) / "config.json"
    ).id2label == {0: "good", 1: "bad"}
    code, _, notes = run("train", FINE, *files, "--train", tmp_path, "--output", tmp_path / "run")
    assert code == 2
    assert "LABEL=FILE" in notes


def test_options_of_the_task_are_handed_on(command: list[str | Path], tmp_path: Path) -> None:
    options = ["--problem-type=multi_label_classification", "--threshold=0.3", "--no-plot"]
    code, _, _ = run(*command, "--output", tmp_path / "run", "--no-tensorboard", *options)
    assert code == 0
    assert json.loads((tmp_path / "run" / "run.json").read_text())["threshold"] == 0.3
    code, _, notes = run(*command, "--output", tmp_path / "other", "--stride=5")
    assert code == 1
    assert "'stride' is no option" in notes


def test_files_are_read_as_the_options_say(command: list[str | Path], tmp_path: Path) -> None:
    file = tmp_path / "reviews.csv"
    file.write_bytes(
        "Urteil;Text\n".replace(";", ",").encode() + "gut,schön\nmies,öd\n".encode("latin-1") * 6
    )
    options = ["--encoding=latin-1", "--header", "--text=Text", "--label=Urteil", "--no-plot"]
    code, _, notes = run(
        *("train", FINE, "--train", file, *command[4:], "--output", tmp_path / "run"),
        *("--no-tensorboard", *options),
    )
    assert code == 0, notes
    config = mobilebert.Config.from_json_file(tmp_path / "run" / "model" / "config.json")
    assert config.id2label == {0: "gut", 1: "mies"}


def test_labels_are_names_even_where_they_are_longer_than_a_path(
    command: list[str | Path], tmp_path: Path
) -> None:
    labels = "good,bad," + ",".join(f"label number {number}" for number in range(40))
    options = [f"--labels={labels}", "--no-plot", "--no-tensorboard"]
    code, _, notes = run(*command, "--output", tmp_path / "run", *options)
    assert code == 0, notes
    config = mobilebert.Config.from_json_file(tmp_path / "run" / "model" / "config.json")
    assert len(config.id2label) == 42


def test_a_malformed_line_is_named_and_no_folder_is_made(
    command: list[str | Path], tmp_path: Path
) -> None:
    file = tmp_path / "opinions.tsv"
    file.write_text(file.read_text() + "no label here\n")
    code, told, notes = run(*command, "--output", tmp_path / "run")
    assert code == 1
    assert told == ""
    assert notes.startswith("Error: ")
    assert f"{file} cannot be used: line 42: 1 column" in notes
    assert not (tmp_path / "run").exists()


def test_a_process_that_is_not_the_first_says_nothing(
    command: list[str | Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert run(*command, "--output", tmp_path / "run", "--device", "nowhere") == (1, "", "")


def test_a_run_ends_well_when_nothing_can_draw_or_log(
    command: list[str | Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(*_: object) -> None:
        raise MissingDependencyError('type: pip install "mobilebert[train]"')

    monkeypatch.setattr("mobilebert_training.curves.learning_curve", missing)
    monkeypatch.setattr("mobilebert_training.tensorboard_log.TensorboardLog", missing)
    code, told, notes = run(*command, "--output", tmp_path / "run")
    assert code == 0
    assert "6 of 6, finished" in told
    assert notes.count('pip install "mobilebert[train]"') == 2
    assert "--no-plot" in notes
    assert "--no-tensorboard" in notes


def test_help_has_panels_and_examples() -> None:
    code, told, _ = run("train", "--help")
    assert code == 0
    for expected in ("Data", "Teacher", "Updates", "torchrun", "negative=rt.neg", "goes on"):
        assert expected in told


def test_a_tokenizer_is_trained_and_never_overwritten(tmp_path: Path) -> None:
    words = [f"{first}{second}ing" for first in "bdfglmnp" for second in "aeiou"]
    text = tmp_path / "text.txt"
    text.write_text("\n".join(f"{word} {word.upper()} {word}" for word in words * 3))
    arguments = ("train-tokenizer", text, running_text(tmp_path, "b.txt"), "--vocab-size", "100")
    code, told, _ = run(*arguments, "--output", tmp_path / "pieces")
    assert code == 0
    assert "100 pieces" in told
    tokenizer = mobilebert.load_tokenizer(tmp_path / "pieces")
    assert len(tokenizer) == 100
    assert tokenizer.tokenize("BADING") == tokenizer.tokenize("bading")
    code, _, notes = run(*arguments, "--output", tmp_path / "pieces")
    assert code == 1
    assert "holds a vocabulary" in notes
