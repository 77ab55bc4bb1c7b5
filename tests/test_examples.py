"""The examples run, learn, agree with each other and save what other backends read."""

import ast
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from metrics import relative_error

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
NEEDS = {"torch": ("torch",), "keras": ("tensorflow",), "jax": ("jax", "flax", "optax")}
# The CPU, whose float32 is one and the same; an error of the script's own making counts.
ENVIRONMENT = {"CUDA_VISIBLE_DEVICES": "", "JAX_PLATFORMS": "cpu", "OMP_NUM_THREADS": "1"}
COMMAND = [sys.executable, "-W", "error::DeprecationWarning:__main__"]


def run_example(name: str, folder: Path, *options: str, kind: str = "fine_tune") -> str:
    """What an example prints, with a folder of its own."""
    missing = [module for module in NEEDS[name] if not importlib.util.find_spec(module)]
    if missing:
        pytest.skip(f"{kind}_{name}.py needs {' and '.join(missing)}")
    done = subprocess.run(
        [*COMMAND, str(EXAMPLES / f"{kind}_{name}.py"), *options],
        cwd=folder, capture_output=True, text=True, check=False, env=os.environ | ENVIRONMENT,
    )  # fmt: skip
    assert done.returncode == 0, (name, options, done.stdout, done.stderr)
    return done.stdout


@pytest.fixture(scope="module", params=NEEDS)
def example(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """An example's result, and the folder that it saved."""
    name, folder = request.param, tmp_path_factory.mktemp(request.param)
    result = json.loads(run_example(name, folder, "--save", "saved", "--json"))
    return SimpleNamespace(name=name, saved=folder / "saved", result=result)


@pytest.fixture(scope="module")
def torch_losses(tmp_path_factory: pytest.TempPathFactory) -> list[float]:
    """The first ten losses of the PyTorch example."""
    folder = tmp_path_factory.mktemp("reference")
    return json.loads(run_example("torch", folder, "--steps", "10", "--json"))["losses"]


def test_loss_falls(example: Any) -> None:
    result = example.result

    assert len(result["losses"]) == 60
    assert result["first_loss"] == pytest.approx(sum(result["losses"][:10]) / 10)
    assert result["last_loss"] < 0.6 * result["first_loss"]


def test_saved_folder_predicts_the_same_in_numpy(example: Any) -> None:
    assert example.result["same_predictions"] == example.result["sentences"] == 80
    assert example.result["logit_difference"] <= 1e-4


def test_losses_are_those_of_the_torch_example(example: Any, torch_losses: list[float]) -> None:
    # Until the loss falls steeply, about step 40, rounding is not amplified. What is left of Keras'
    # other place for epsilon counts a little.
    limit = 1e-3 if example.name == "keras" else 1e-4

    pairs = zip(example.result["losses"], torch_losses, strict=False)

    errors = [relative_error(*pair) for pair in pairs]
    assert len(errors) == 10
    assert max(errors) <= limit, errors


def test_torch_example_goes_on_from_what_was_saved(example: Any, tmp_path: Path) -> None:
    options = ("--source", str(example.saved), "--steps", "1", "--json")

    result = json.loads(run_example("torch", tmp_path, *options))

    assert result["accuracy_before"] == example.result["accuracy_after"]
    assert result["accuracy_before"] != example.result["accuracy_before"]


def test_text_names_losses_and_accuracy(tmp_path: Path) -> None:
    text = run_example("torch", tmp_path, "--steps", "2")

    assert [line.split(":")[0] for line in text.splitlines()] == [
        "Loss", "Accuracy on 80 other sentences", "Loaded in NumPy",
    ]  # fmt: skip
    assert (tmp_path / "polarity-torch" / "model.safetensors").is_file()


@pytest.mark.parametrize("name", NEEDS)
def test_help_explains(name: str, tmp_path: Path) -> None:
    assert "Fine-tune a sentence classifier" in run_example(name, tmp_path, "--help")


def test_examples_differ_only_where_the_frameworks_do() -> None:
    common = []
    for name in NEEDS:
        tree = ast.parse((EXAMPLES / f"fine_tune_{name}.py").read_text(encoding="utf-8"))
        functions = {
            each.name: ast.dump(each) for each in tree.body if isinstance(each, ast.FunctionDef)
        }
        common.append([functions[each] for each in ("read_data", "draw_batches", "predict")])
        assert {"train", "main"} <= functions.keys()

    assert common[0] == common[1] == common[2]


@pytest.fixture(scope="module", params=NEEDS)
def pretrained(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The result of pretraining for twenty steps."""
    folder = tmp_path_factory.mktemp(f"pretrained-{request.param}")
    text = run_example(request.param, folder, "--steps", "20", "--json", kind="pretrain")
    return SimpleNamespace(name=request.param, result=json.loads(text))


@pytest.fixture(scope="module")
def torch_pretraining_losses(tmp_path_factory: pytest.TempPathFactory) -> list[float]:
    """The losses of pretraining in PyTorch."""
    folder = tmp_path_factory.mktemp("pretraining-reference")
    options = ("--steps", "20", "--json")
    return json.loads(run_example("torch", folder, *options, kind="pretrain"))["losses"]


def test_pretraining_lowers_the_loss_of_text_not_trained_on(pretrained: Any) -> None:
    result = pretrained.result

    assert result["last_loss"] < result["first_loss"] - 0.5
    assert result["loss_after"] < result["loss_before"] - 0.5


def test_pretrained_folder_has_the_same_loss_in_numpy(pretrained: Any) -> None:
    result = pretrained.result

    assert result["loss_in_numpy"] == pytest.approx(result["loss_after"], rel=1e-5)


def test_pretraining_losses_are_those_of_the_torch_example(
    pretrained: Any, torch_pretraining_losses: list[float]
) -> None:
    # Measured: 1.0e-5 for Keras, because of its epsilon, and 1.9e-6 for JAX.
    limit = 1e-4 if pretrained.name == "keras" else 2e-5

    pairs = zip(pretrained.result["losses"], torch_pretraining_losses, strict=True)

    errors = [relative_error(*pair) for pair in pairs]
    assert len(errors) == 20
    assert max(errors) <= limit, errors


def test_text_of_pretraining_names_losses(tmp_path: Path) -> None:
    text = run_example("torch", tmp_path, "--steps", "1", "--layers", "1", kind="pretrain")

    assert [line.split(":")[0].split(" of")[0] for line in text.splitlines()] == [
        "Loss", "Loss", "Loaded in NumPy",
    ]  # fmt: skip
    assert (tmp_path / "pretrained-torch" / "model.safetensors").is_file()
