"""Fixtures that every test folder shares."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real texts and checkpoints beside the repository."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        message = f"real data is absent: no folder {folder.name!r} beside the repository"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    return folder
