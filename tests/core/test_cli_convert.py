"""The commands `convert` and `diff`."""

import json
import subprocess
import sys
from pathlib import Path
from typing import get_args, get_type_hints

import numpy as np
import pytest
from typer.testing import CliRunner

from mobilebert.cli import app
from mobilebert.commands import Dialect, convert
from mobilebert_conformance.cases import small_config
from mobilebert_conformance.weights import random_weights
from mobilebert_core import dialects
from mobilebert_core.checkpoints import open_checkpoint, save_checkpoint
from mobilebert_core.checkpoints.formats import FORMATS

GOOGLE = Path(__file__).resolve().parents[1] / "data" / "google_tf1" / "opt"

runner = CliRunner()


@pytest.fixture
def source(tmp_path: Path) -> str:
    weights = random_weights(small_config(), "pretraining")
    weights = {name: array.astype(np.float32) for name, array in weights.items()}
    return str(save_checkpoint(tmp_path / "source", small_config(), weights, "pretraining"))


def test_formats_offered_are_those_there_are() -> None:
    hint = get_type_hints(convert.command, include_extras=True)["to"]
    assert [each.value for each in get_args(hint)[0]] == list(FORMATS)
    assert tuple(each.value for each in Dialect) == dialects.DIALECTS


def test_convert_shows_what_it_did(tmp_path: Path) -> None:
    result = runner.invoke(app, ["convert", str(GOOGLE), str(tmp_path / "new")])
    assert result.exit_code == 0
    assert "(google-tf1)" in result.stdout
    assert "verified" in result.stdout
    assert "renamed" in result.stdout
    assert "transposed" in result.stdout
    assert "a tensor of the Adam optimizer (adam_m, adam_v)" in result.stdout
    assert open_checkpoint(tmp_path / "new").format == "safetensors"


def test_convert_lists_every_tensor_when_asked(tmp_path: Path) -> None:
    result = runner.invoke(app, ["convert", str(GOOGLE), str(tmp_path / "new"), "--tensors"])
    assert "bert/encoder/layer_0/attention/self/query/kernel" in result.stdout
    assert "mobilebert.encoder.layer.0.attention.self.query.weight" in result.stdout


def test_convert_is_json_when_asked(source: str, tmp_path: Path) -> None:
    result = runner.invoke(app, ["convert", source, str(tmp_path / "new"), "--to", "npz", "--json"])
    values = json.loads(result.stdout)
    assert (values["source_format"], values["format"]) == ("safetensors", "npz")
    assert len(values["tensors"]) == len(open_checkpoint(source).weights)


def test_convert_notes_fresh_weights_without_file_and_line(source: str, tmp_path: Path) -> None:
    arguments = ["--head", "sequence-classification", "--num-labels", "3"]
    result = runner.invoke(app, ["convert", source, str(tmp_path / "new"), *arguments])
    assert result.exit_code == 0
    assert result.stderr.startswith("Note: ")
    assert ".py" not in result.stderr
    assert open_checkpoint(tmp_path / "new").config.num_labels == 3


def test_convert_refuses_to_overwrite_and_says_how(source: str) -> None:
    result = runner.invoke(app, ["convert", source, source, "--to", "npz"])
    assert result.exit_code == 1
    assert "--force" in result.stderr
    assert open_checkpoint(source).format == "safetensors"


def test_convert_writes_a_manifest_when_asked(source: str, tmp_path: Path) -> None:
    runner.invoke(app, ["convert", source, str(tmp_path / "new"), "--manifest"])
    assert (tmp_path / "new" / "mobilebert-manifest.json").is_file()


def test_convert_names_settings_that_it_leaves_out(source: str, tmp_path: Path) -> None:
    path = Path(source) / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"adapters": [1]}))
    result = runner.invoke(app, ["convert", source, str(tmp_path / "new")])
    assert "left out of the configuration" in result.stdout
    assert "adapters" in result.stdout


def test_convert_says_how_to_change_the_number_of_labels(tmp_path: Path) -> None:
    config, head = small_config(), "sequence-classification"
    source = save_checkpoint(tmp_path / "a", config, random_weights(config, head), head)
    arguments = ["convert", str(source), str(tmp_path / "new"), "--num-labels", "3"]
    result = runner.invoke(app, arguments)
    assert result.exit_code == 1
    assert "--ignore-mismatched-sizes" in result.stderr
    assert runner.invoke(app, [*arguments, "--ignore-mismatched-sizes"]).exit_code == 0
    assert open_checkpoint(tmp_path / "new").weights.shape("classifier.weight") == (3, 24)


def test_convert_that_is_told_to_end_leaves_nothing(source: str, tmp_path: Path) -> None:
    code = (
        "import os, signal\n"
        "from mobilebert import cli\n"
        "from mobilebert.commands import convert\n"
        "from contextlib import contextmanager\n"
        "@contextmanager\n"
        "def bar():\n"
        "    yield lambda *_: os.kill(os.getpid(), signal.SIGTERM)\n"
        "convert._bar = bar\n"
        "cli.main()\n"
    )
    command = [sys.executable, "-c", code, "convert", source, str(tmp_path / "new")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 128 + 15, done.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"source"}


@pytest.mark.parametrize(("size", "shards"), [("4KB", True), ("4000", True), ("1GB", False)])
def test_convert_takes_sizes_with_units(
    source: str, tmp_path: Path, size: str, shards: bool
) -> None:
    arguments = ["convert", source, str(tmp_path / "new"), "--max-shard-size", size]
    assert runner.invoke(app, arguments).exit_code == 0
    assert (tmp_path / "new" / "model.safetensors").is_file() != shards


@pytest.mark.parametrize("size", ["0", "-1", "large", "3 apples"])
def test_convert_refuses_sizes_that_are_none(source: str, tmp_path: Path, size: str) -> None:
    arguments = ["convert", source, str(tmp_path / "new"), f"--max-shard-size={size}"]
    assert runner.invoke(app, arguments).exit_code == 2
    assert not (tmp_path / "new").exists()


def test_diff_exits_0_when_nothing_differs(source: str, tmp_path: Path) -> None:
    runner.invoke(app, ["convert", source, str(tmp_path / "new"), "--to", "npz"])
    result = runner.invoke(app, ["diff", source, str(tmp_path / "new")])
    assert result.exit_code == 0
    assert result.stdout.startswith("The same: ")


@pytest.fixture
def changed(tmp_path: Path) -> str:
    """The source with one layer's numbers doubled."""
    weights = random_weights(small_config(), "pretraining")
    weights = {
        name: array.astype(np.float32) * (2 if ".layer.1." in name else 1)
        for name, array in weights.items()
    }
    return str(save_checkpoint(tmp_path / "changed", small_config(), weights, "pretraining"))


def test_diff_exits_1_and_lists_what_differs(source: str, changed: str) -> None:
    result = runner.invoke(app, ["diff", source, changed, "--limit", "3"])
    assert result.exit_code == 1
    assert result.stdout.count("mobilebert.encoder.layer.1.") == 3
    assert "layer.0" not in result.stdout
    assert "3 of" in result.stdout


def test_diff_lists_all_when_the_limit_is_0(source: str, changed: str) -> None:
    result = runner.invoke(app, ["diff", source, changed, "--limit", "0"])
    names = [name for name in open_checkpoint(source).weights if ".layer.1." in name]
    assert result.stdout.count("mobilebert.encoder.layer.1.") == len(names)


def test_diff_is_json_when_asked(source: str, changed: str) -> None:
    result = runner.invoke(app, ["diff", source, changed, "--json"])
    values = json.loads(result.stdout)
    sizes = [row["largest"] for row in values["tensors"]]
    assert result.exit_code == 1
    assert sizes == sorted(sizes, reverse=True)


def test_diff_exits_2_when_it_cannot_compare(source: str, tmp_path: Path) -> None:
    result = runner.invoke(app, ["diff", source, str(tmp_path / "nothing")])
    assert result.exit_code == 2
    assert result.stderr.startswith("Error: ")
