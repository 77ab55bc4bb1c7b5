"""Fixtures of the tests of training."""

import importlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def load() -> Iterator[Callable[[str], Any]]:
    """Imports a script of `benchmarks/` or `examples/nano/`, as its neighbours do.

    For all tests of a module: properties want fixtures that outlive an example.
    """
    with pytest.MonkeyPatch.context() as patch:
        for folder in ("benchmarks", "examples/nano"):
            patch.syspath_prepend(str(ROOT / folder))
        yield importlib.import_module
