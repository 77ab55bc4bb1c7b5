"""What the documents show works: every README snippet and every docstring example is executed."""

import doctest
import importlib
import os
import pkgutil
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
# Package -> the framework that it needs.
PACKAGES = {
    "mobilebert_core": "numpy",
    "mobilebert_training": "numpy",
    "mobilebert_numpy": "numpy",
    "mobilebert_torch": "torch",
    "mobilebert_tf": "tensorflow",
    "mobilebert_jax": "jax",
    "mobilebert_conformance": "hypothesis",
}


def blocks(language: str) -> list[str]:
    """The code blocks of a language in the README."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def test_readme_shows_the_library_working() -> None:
    assert blocks("python")
    assert blocks("bash")


@pytest.mark.slow
def test_readme_snippets_and_commands_run(tmp_path: Path) -> None:
    for framework in ("torch", "tensorflow", "jax"):
        pytest.importorskip(framework, reason="the README shows all backends")
    (tmp_path / "snippets.py").write_text("\n".join(blocks("python")), encoding="utf-8")
    lines = [line for block in blocks("bash") for line in block.splitlines()]
    commands = [line for line in lines if line.startswith("mobilebert ")]
    assert commands
    scripts = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"

    # The commands look at what the snippets made.
    for command in ["python -W error::DeprecationWarning:__main__ snippets.py", *commands]:
        done = subprocess.run(
            shlex.split(command, comments=True), cwd=tmp_path, capture_output=True, text=True,
            check=False, env=os.environ | {"PATH": scripts},
        )  # fmt: skip
        assert done.returncode == 0, (command, done.stdout, done.stderr)


def test_readme_names_the_two_commands() -> None:
    start = "python3 -m venv .venv && .venv/bin/pip install nox && .venv/bin/nox -s"
    lines = [line for block in blocks("bash") for line in block.splitlines()]

    assert [line for line in lines if line == f"{start} demo"]
    assert [line for line in lines if line == f"{start} tests"]


def test_ci_runs_the_readmes_test_command() -> None:
    text = (ROOT / ".ci" / "run").read_text(encoding="utf-8")

    assert "python3 -m venv .venv && .venv/bin/pip install nox && .venv/bin/nox -s tests" in text


def modules() -> list[str]:
    """All modules of the packages at hand."""
    names = []
    for package_name, framework in PACKAGES.items():
        if not importlib.util.find_spec(framework):
            continue
        package = importlib.import_module(package_name)
        names.append(package_name)
        names += [each.name for each in pkgutil.walk_packages(package.__path__, f"{package_name}.")]
    return names


@pytest.mark.parametrize("name", modules())
def test_docstring_examples_run(name: str) -> None:
    failures, _ = doctest.testmod(
        importlib.import_module(name), optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    )

    assert failures == 0
