"""The command line: help, errors, `backends` and `inspect`."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mobilebert import cli
from mobilebert.cli import app
from mobilebert_conformance.cases import small_config
from mobilebert_conformance.weights import random_weights
from mobilebert_core import registry
from mobilebert_core.backend import BackendInfo
from mobilebert_core.checkpoints import save_checkpoint
from mobilebert_core.inspection import collapse, inspect_checkpoint

COMMANDS = (
    "backends", "inspect", "demo", "convert", "diff", "predict", "fill-mask", "train",
    "train-tokenizer",
)  # fmt: skip
FRAMEWORKS = "{'torch', 'tensorflow', 'keras', 'jax', 'flax'}"

runner = CliRunner()


def python(code: str) -> subprocess.CompletedProcess[str]:
    """Run code in a fresh interpreter, in an environment without colours."""
    environment = os.environ | {"NO_COLOR": "1", "TERM": "dumb"}
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False
    )


@pytest.fixture
def add_backend() -> Iterator[Callable[..., None]]:
    names: list[str] = []

    def add(implementation: str = "nowhere:Backend", requires: str = "numpy") -> None:
        info = BackendInfo(
            name="fake",
            implementation=implementation,
            requires=(requires,),
            install='pip install "somewhere[fake]"',
        )
        registry.register_backend(info)
        names.append(info.name)

    yield add
    for name in names:
        registry.unregister_backend(name)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    config = small_config()
    weights = random_weights(config, "pretraining")
    return save_checkpoint(tmp_path / "model", config, weights, "pretraining")


def test_help_names_every_command() -> None:
    result = runner.invoke(app, ["--help"])
    assert result.exit_code == 0
    assert all(command in result.stdout for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_command_has_examples(command: str) -> None:
    result = runner.invoke(app, [command, "--help"])
    assert result.exit_code == 0
    assert f"mobilebert {command}" in result.stdout.split("For example", maxsplit=1)[1]


def test_help_imports_no_arrays_when_shown() -> None:
    code = (
        "import sys; from mobilebert.cli import app; app(['--help'], standalone_mode=False); "
        "assert 'numpy' not in sys.modules"
    )
    assert python(code).returncode == 0


def test_library_does_not_import_the_command_line() -> None:
    code = (
        "import sys, mobilebert; mobilebert.load, mobilebert.backends(); "
        "assert not {'typer', 'rich', 'mobilebert.cli'} & set(sys.modules)"
    )
    assert python(code).returncode == 0


def test_version_is_that_of_the_distribution() -> None:
    result = runner.invoke(app, ["--version"])
    assert (result.exit_code, result.stdout) == (0, f"mobilebert {version('mobilebert')}\n")


def test_usage_error_has_exit_code_2() -> None:
    assert runner.invoke(app, ["diff"]).exit_code == 2


def test_library_error_is_one_line_and_exit_code_1(tmp_path: Path) -> None:
    result = runner.invoke(app, ["inspect", str(tmp_path / "nothing")])
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.startswith("Error: ")
    assert len(result.stderr.splitlines()) == 1


def test_library_error_has_no_traceback_when_run_as_a_module() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "mobilebert", "inspect", "no/such/folder/at/all"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1
    assert "does not exist" in result.stderr
    assert "Traceback" not in result.stderr


def test_backends_are_listed_with_their_versions() -> None:
    result = runner.invoke(app, ["backends"])
    assert result.exit_code == 0
    (row,) = _rows(result.stdout, "numpy")
    assert "ready" in row
    assert f"numpy {version('numpy')}" in row


def test_backends_mark_the_default() -> None:
    result = runner.invoke(app, ["backends"])
    assert f"{registry.default_name()} *" in result.stdout


def test_backends_say_how_to_get_what_is_missing(add_backend: Callable[..., None]) -> None:
    add_backend(requires="no_such_module")
    result = runner.invoke(app, ["backends"])
    (row,) = _rows(result.stdout, "fake")
    assert "no_such_module missing" in row
    assert 'pip install "somewhere[fake]"' in row


def test_backends_import_no_framework_when_not_verbose() -> None:
    code = (
        "import sys; from mobilebert.cli import app; app(['backends'], standalone_mode=False); "
        f"assert not {FRAMEWORKS} & set(sys.modules)"
    )
    assert python(code).returncode == 0


def test_backends_show_dtypes_and_features_when_verbose() -> None:
    result = runner.invoke(app, ["backends", "--verbose"])
    assert result.exit_code == 0
    assert "float64, float32, attentions, hidden states" in result.stdout


def test_backends_show_what_does_not_import_when_verbose(add_backend: Callable[..., None]) -> None:
    add_backend()
    result = runner.invoke(app, ["backends", "--verbose"])
    assert result.exit_code == 0
    (row,) = _rows(result.stdout, "fake")
    assert "broken" in row
    assert "does not import" in result.stdout


def test_backends_are_json_when_asked() -> None:
    values = json.loads(runner.invoke(app, ["backends", "--json", "--verbose"]).stdout)
    assert values["numpy"]["installed"] is True
    assert values["numpy"]["dtypes"] == ["float64", "float32"]
    assert [name for name, row in values.items() if row["default"]] == [registry.default_name()]


def test_inspect_shows_tensors_alike_in_one_row(checkpoint: Path) -> None:
    result = runner.invoke(app, ["inspect", str(checkpoint)])
    assert result.exit_code == 0
    assert "mobilebert.encoder.layer.{0..1}\n" in _trimmed(result.stdout)
    assert "ffn.{0..2}.intermediate.dense.weight" in result.stdout
    found = inspect_checkpoint(checkpoint)
    titles = [line for line in _trimmed(result.stdout).splitlines() if "tensors" in line]
    assert any(line.startswith(f"{len(found.tensors)} tensors") for line in titles)


def test_inspect_shows_the_rest_of_every_name_when_summarised(checkpoint: Path) -> None:
    output = runner.invoke(app, ["inspect", str(checkpoint)]).stdout
    words = set(output.split())
    for row in collapse(inspect_checkpoint(checkpoint).tensors):
        assert any(row.name.endswith(f".{word}") for word in words), row.name


def test_inspect_lists_every_tensor_when_asked(checkpoint: Path) -> None:
    result = runner.invoke(app, ["inspect", str(checkpoint), "--tensors"])
    words = set(result.stdout.split())
    assert {tensor.name for tensor in inspect_checkpoint(checkpoint).tensors} <= words


def test_inspect_shows_sizes_and_heads(checkpoint: Path) -> None:
    output = _trimmed(runner.invoke(app, ["inspect", str(checkpoint)]).stdout)
    found = inspect_checkpoint(checkpoint)
    assert f"{sum(found.parameters.values()):,} parameters" in output
    assert f"{found.parameters['encoder']:,}" in output
    assert "to be trained: fresh weights for qa_outputs" in output


def test_inspect_shows_the_default_where_a_setting_differs(checkpoint: Path) -> None:
    output = runner.invoke(app, ["inspect", str(checkpoint)]).stdout
    rows = {line.split()[0]: line.split()[1:] for line in output.splitlines() if line.strip()}
    assert rows["vocab_size"] == ["61", "30522"]
    assert rows["trigram_input"] == ["True"]


def test_inspect_is_json_when_asked(checkpoint: Path) -> None:
    values = json.loads(runner.invoke(app, ["inspect", str(checkpoint), "--json"]).stdout)
    expected = json.loads(json.dumps(inspect_checkpoint(checkpoint).to_dict()))
    assert values == expected


def test_inspect_imports_no_framework(checkpoint: Path) -> None:
    code = (
        "import sys; from mobilebert.cli import app; "
        f"app(['inspect', {str(checkpoint)!r}], standalone_mode=False); "
        f"assert not {FRAMEWORKS} & set(sys.modules)"
    )
    assert python(code).returncode == 0


def test_inspect_reads_the_dialect_that_is_forced(checkpoint: Path) -> None:
    values = json.loads((checkpoint / "config.json").read_text())
    del values["model_type"], values["layer_norm_eps"], values["num_feedforward_networks"]
    (checkpoint / "config.json").write_text(json.dumps(values))
    ambiguous = runner.invoke(app, ["inspect", str(checkpoint)])
    assert ambiguous.exit_code == 1
    assert "different models" in ambiguous.stderr
    forced = runner.invoke(app, ["inspect", str(checkpoint), "--dialect", "transformers"])
    assert forced.exit_code == 0


def test_inspect_reads_the_format_that_is_forced(checkpoint: Path) -> None:
    result = runner.invoke(app, ["inspect", str(checkpoint), "--format", "torch-bin"])
    assert result.exit_code == 1
    assert "pytorch_model.bin" in result.stderr


def _rows(text: str, start: str) -> list[str]:
    return [line for line in _trimmed(text).splitlines() if line.startswith(start)]


def _trimmed(text: str) -> str:
    return "\n".join(line.strip() for line in text.splitlines())


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="this system has no hangups")
@pytest.mark.parametrize("ignored", [True, False])
def test_a_hangup_ends_a_command_unless_nohup_has_it_ignored(
    ignored: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cli, "app", lambda **_: None)
    usual = {each: signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGHUP)}
    signal.signal(signal.SIGHUP, signal.SIG_IGN if ignored else signal.SIG_DFL)
    try:
        cli.main()
        assert (signal.getsignal(signal.SIGHUP) is signal.SIG_IGN) == ignored
    finally:
        for number, handler in usual.items():
            signal.signal(number, handler)
