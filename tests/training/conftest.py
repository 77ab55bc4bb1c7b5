"""Fixtures of the tests of training."""

import importlib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Imports a script of `benchmarks/` or `examples/nano/`, as its neighbours do."""
    for folder in ("benchmarks", "examples/nano"):
        monkeypatch.syspath_prepend(str(ROOT / folder))
    return importlib.import_module
