"""The backends are parallel: same files and, in them, the same classes and functions in one order.

Open `encoder.py` of each side by side and the rows line up. Change one, change all.
"""

import ast
import re
from pathlib import Path

import pytest

BACKENDS = Path(__file__).resolve().parents[1] / "backends"
FOLDERS = sorted(BACKENDS.glob("mobilebert_*"))
FILES = (
    "backend.py",
    "encoder.py",
    "folded.py",
    "heads.py",
    "losses.py",
    "params.py",
    "pretrained.py",
)

COMPARED = ("encoder.py", "folded.py", "heads.py", "losses.py", "pretrained.py")

# `MobileBertModel` has a prefix of its backend, and the backend class the backend's name.
_PREFIX = re.compile(r"^(Numpy|TF|Flax)(?=MobileBert)|^(Numpy|Torch|TF|Jax)(?=Backend$)")


def public_names(path: Path) -> list[str]:
    """Names of public classes and functions in order, own prefixes removed.

    A module that lists `__all__` may import what it offers instead of defining it.
    """
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in tree.body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__":
            return [_PREFIX.sub("", name) for name in ast.literal_eval(node.value)]
    return [
        _PREFIX.sub("", node.name)
        for node in tree.body
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and not node.name.startswith("_")
    ]


def methods(path: Path) -> dict[str, list[str]]:
    """Public method names of every class, in order; a call is `forward` in PyTorch."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {
        _PREFIX.sub("", node.name): [
            each.name
            for each in node.body
            if isinstance(each, ast.FunctionDef) and not each.name.startswith("_")
        ]
        for node in tree.body
        if isinstance(node, ast.ClassDef)
    }


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_backend_has_the_common_files(folder: Path) -> None:
    assert set(FILES) <= {path.name for path in folder.glob("*.py")}


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
@pytest.mark.parametrize("file", COMPARED)
def test_common_classes_and_functions_are_in_one_order(file: str, folder: Path) -> None:
    names, reference = public_names(folder / file), public_names(FOLDERS[0] / file)
    common = [name for name in reference if name in names]

    assert [name for name in names if name in reference] == common


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
@pytest.mark.parametrize("file", COMPARED)
def test_nothing_of_the_reference_is_missing(file: str, folder: Path) -> None:
    names, reference = (
        public_names(folder / file),
        public_names(BACKENDS / "mobilebert_numpy" / file),
    )

    assert [name for name in reference if name not in names] == []


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_backend_class_has_the_protocols_methods_in_order(folder: Path) -> None:
    protocol = methods(BACKENDS.parent / "mobilebert_core" / "backend.py")["Backend"]

    (found,) = [
        names for name, names in methods(folder / "backend.py").items() if name == "Backend"
    ]
    assert [name for name in found if name in protocol] == protocol
