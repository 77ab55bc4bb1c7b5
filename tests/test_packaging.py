"""The explicit lists of pyproject.toml name what the folders hold, and nothing else."""

import ast
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    """pyproject.toml."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def folders_with_code() -> set[str]:
    """Every folder that is an importable package of ours, as the wheel list writes it."""
    candidates = [*ROOT.glob("mobilebert*"), *ROOT.glob("*/mobilebert_*")]
    return {
        folder.relative_to(ROOT).as_posix()
        for folder in candidates
        if (folder / "__init__.py").is_file() and folder.parent.name != "examples"
    }


def test_wheel_lists_every_package(project: dict[str, Any]) -> None:
    listed = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]

    assert set(listed) == folders_with_code()


def test_every_backend_folder_has_its_entry_point(project: dict[str, Any]) -> None:
    listed = project["project"]["entry-points"]["mobilebert.backends"]
    folders = [path.name for path in (ROOT / "backends").glob("mobilebert_*")]

    expected = {name.removeprefix("mobilebert_"): f"{name}:BACKEND" for name in folders}
    assert listed == expected


@pytest.mark.parametrize("folder", ["backends", "conformance", "tests"])
def test_container_folders_are_no_packages(folder: str) -> None:
    assert not (ROOT / folder / "__init__.py").exists()


def test_every_dependency_says_why_it_is_there() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    block = re.search(r"^dependencies = \[\n(.*?)^\]", text, re.MULTILINE | re.DOTALL)
    assert block is not None
    lines = block[1].splitlines()

    assert lines
    assert all(re.search(r",\s+# \w", line) for line in lines)


def test_tested_versions_are_pinned(project: dict[str, Any]) -> None:
    pins = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = {line.split("==")[0].lower() for line in pins if "==" in line}
    extras = project["project"]["optional-dependencies"]
    groups = project["dependency-groups"]
    wanted = [*project["project"]["dependencies"]]
    wanted += [each for rows in (*extras.values(), *groups.values()) for each in rows]
    names = {re.match(r"[\w-]+", each)[0].lower().replace("_", "-") for each in wanted}  # type: ignore[index]

    assert {name.replace("_", "-") for name in pinned} >= names - {"mobilebert"}


def imported_modules(path: Path) -> set[str]:
    """Top-level names that a file imports when it is imported itself."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names: set[str] = set()
    for node in tree.body:
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.partition(".")[0])
    return names


FRAMEWORKS = {"torch", "tensorflow", "keras", "jax", "flax", "transformers", "onnxruntime"}


@pytest.mark.parametrize(
    "path",
    [
        *sorted((ROOT / "mobilebert_core").rglob("*.py")),
        *sorted((ROOT / "mobilebert").rglob("*.py")),
        *sorted((ROOT / "mobilebert_training").rglob("*.py")),
        *sorted((ROOT / "conformance").rglob("*.py")),
    ],
    ids=lambda path: path.relative_to(ROOT).as_posix(),
)
def test_neutral_packages_name_no_framework(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names = {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
    }
    names |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}

    assert not {name.partition(".")[0] for name in names} & FRAMEWORKS


@pytest.mark.parametrize(
    "path", sorted((ROOT / "backends").glob("*/__init__.py")), ids=lambda path: path.parent.name
)
def test_backend_descriptions_import_core_only(path: Path) -> None:
    assert imported_modules(path) == {"mobilebert_core"}


def test_files_are_small() -> None:
    folders = (
        "mobilebert",
        "mobilebert_core",
        "mobilebert_training",
        "backends",
        "conformance",
        "tests",
        "benchmarks",
    )
    large = [
        (path.relative_to(ROOT).as_posix(), path.stat().st_size)
        for folder in folders
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and path.stat().st_size > 6_000_000
    ]

    assert not large
