"""`mobilebert demo`, on the packaged model and on a small one of random weights."""

import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mobilebert.cli import app
from mobilebert_core import demonstration, registry
from mobilebert_core.config import MobileBertConfig
from mobilebert_core.demonstration import Measurement, Participant
from mobilebert_core.heads import HEADS
from mobilebert_core.loading import load
from mobilebert_core.showcase import showcase
from mobilebert_core.tokenization import load_tokenizer

runner = CliRunner()


@pytest.fixture(autouse=True)
def small_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """The demonstration with the real vocabulary and small sizes."""

    def config(layers: int) -> MobileBertConfig:
        return MobileBertConfig(
            hidden_size=24,
            num_hidden_layers=layers,
            num_attention_heads=3,
            intermediate_size=20,
            embedding_size=10,
            intra_bottleneck_size=12,
            max_position_embeddings=80,
            initializer_range=0.2,
        )

    monkeypatch.setattr(demonstration, "demonstration_config", config)


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary folders are made."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return folder


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> None:
    """Results that are given, not measured: one of each kind."""
    found = [
        Participant("numpy"),
        Participant("gone", 'pip install "somewhere[gone]"'),
        Participant("bad", "it does not import", broken=True),
    ]
    results = [
        Measurement("base", "numpy", 2e-7, 12.5),
        Measurement("masked-lm", "numpy", math.inf, 12.5, "not finite"),
        Measurement("question-answering", "numpy", None, None, "ValueError: [red]what"),
    ]
    monkeypatch.setattr(demonstration, "participants", lambda names, dtype: found)
    monkeypatch.setattr(demonstration, "make_checkpoint", lambda folder, config, seed: folder)
    monkeypatch.setattr(demonstration, "demonstrate", lambda *args, **kwargs: iter(results))


def run(*arguments: str) -> tuple[int, str, str]:
    result = runner.invoke(app, ["demo", "--layers", "1", *arguments], catch_exceptions=False)
    return result.exit_code, result.stdout, result.stderr


def packaged_run(*arguments: str) -> tuple[int, str, str]:
    result = runner.invoke(app, ["demo", *arguments], catch_exceptions=False)
    return result.exit_code, result.stdout, result.stderr


@pytest.mark.parametrize("runs", [run, packaged_run])
def test_demo_shows_every_head_in_every_installed_backend(
    temporary: Path, runs: Callable[..., tuple[int, str, str]]
) -> None:
    code, output, _ = runs()
    assert code == 0
    rows = {line.split()[0]: line for line in output.splitlines() if line.strip()}
    assert all(name in rows["head"] for name in registry.usable_names())
    for head in HEADS:
        assert rows[head].count(" ms") == len(registry.usable_names())
    assert list(temporary.glob("mobilebert-*")) == []


def test_demo_takes_the_packaged_model_when_no_layers_are_asked_for() -> None:
    code, output, _ = packaged_run("--backend", "numpy", "--dtype", "float64", "--json")
    values = json.loads(output)
    assert code == 0
    assert (values["model"], values["layers"]) == ("mobilebert-nano", None)
    assert {row["deviation"] for row in values["results"]} == {0.0}


def test_demo_begins_with_what_the_packaged_models_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")  # nothing is wrapped
    _, output, _ = packaged_run("--backend", "numpy")
    told = list(showcase())
    assert told
    assert all(each.text in output and each.said in output for each in told)
    assert output.index(told[-1].said) < output.index("Largest deviation")


def test_demo_tells_what_the_packaged_models_say_when_json_is_asked_for() -> None:
    values = json.loads(packaged_run("--backend", "numpy", "--json")[1])
    assert [(row["text"], row["said"]) for row in values["showcase"]] == [
        (each.text, each.said) for each in showcase()
    ]


def test_demo_says_nothing_of_sentences_when_weights_are_random() -> None:
    _, output, _ = run("--backend", "numpy")
    assert "packaged models say" not in output
    assert "means nothing" in output


def test_demo_refuses_a_folder_when_nothing_is_made(tmp_path: Path) -> None:
    code, _, error = packaged_run("--folder", str(tmp_path / "new"))
    assert code == 2
    assert "--layers" in error
    assert not (tmp_path / "new").exists()


def test_demo_runs_the_named_backend_alone(temporary: Path) -> None:
    code, output, _ = run("--backend", "numpy", "--json")
    values = json.loads(output)
    assert code == 0
    assert [(row["head"], row["backend"]) for row in values["results"]] == [
        (head, "numpy") for head in HEADS
    ]
    assert values["passed"] is True


def test_demo_passes_its_options_on(temporary: Path) -> None:
    values = json.loads(run("--backend", "numpy", "--dtype", "float64", "--seed", "7", "--json")[1])
    assert (values["dtype"], values["seed"], values["layers"]) == ("float64", 7, 1)
    assert {row["deviation"] for row in values["results"]} == {0.0}


def test_demo_keeps_the_checkpoint_when_a_folder_is_given(tmp_path: Path) -> None:
    folder = tmp_path / "kept"
    code, output, _ = run("--backend", "numpy", "--folder", str(folder))
    assert code == 0
    assert f"mobilebert inspect {folder}" in output
    assert load(folder, backend="numpy").config.num_hidden_layers == 1
    assert load_tokenizer(folder).vocab_size == 30522


def test_demo_touches_nothing_when_the_folder_is_not_empty(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_text("mine")
    code, _, error = run("--folder", str(tmp_path))
    assert code == 2
    assert "not empty" in error
    assert [path.name for path in tmp_path.iterdir()] == ["model.safetensors"]
    assert (tmp_path / "model.safetensors").read_text() == "mine"


@pytest.mark.usefixtures("given")
def test_demo_fails_when_something_is_wrong() -> None:
    code, output, _ = run()
    assert code == 1
    assert "numpy, masked-lm: not finite" in output
    assert "numpy, question-answering: ValueError: [red]what" in output


@pytest.mark.usefixtures("given")
def test_demo_says_how_to_get_a_backend_when_it_is_absent() -> None:
    _, output, _ = run()
    assert 'pip install "somewhere[gone]"' in output
    assert "it does not import" in output


@pytest.mark.usefixtures("given")
def test_demo_is_valid_json_when_values_are_not_finite() -> None:
    code, output, _ = run("--json")
    values = json.loads(output)
    assert code == 1
    assert values["passed"] is False
    assert values["results"][1]["deviation"] is None
    assert values["absent"]["gone"] == 'pip install "somewhere[gone]"'


@pytest.mark.usefixtures("given")
def test_demo_fails_when_a_backend_is_broken_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(demonstration, "demonstrate", lambda *args, **kwargs: iter([]))
    assert run()[0] == 1


def test_demo_leaves_no_folder_when_it_fails(
    temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: object, **kwargs: object) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr(demonstration, "demonstrate", fail)
    with pytest.raises(OSError, match="full"):
        run("--backend", "numpy")
    assert list(temporary.glob("mobilebert-*")) == []


def test_demo_names_the_backends_when_one_is_unknown() -> None:
    code, output, error = run("--backend", "nupy")
    assert (code, output) == (1, "")
    assert "did you mean 'numpy'" in error


def test_demo_refuses_a_model_without_layers() -> None:
    assert runner.invoke(app, ["demo", "--layers", "0"]).exit_code == 2
