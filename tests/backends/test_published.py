"""The published google/mobilebert-uncased: runs only where the model hub answers."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mobilebert
from metrics import absolute_error
from mobilebert_core import hub
from mobilebert_core.errors import CheckpointError, MissingDependencyError

pytestmark = pytest.mark.hub
NAME = "google/mobilebert-uncased"


@pytest.fixture(scope="module")
def published() -> Path:
    """The downloaded checkpoint."""
    try:
        return hub.resolve_checkpoint(NAME)
    except (CheckpointError, MissingDependencyError) as error:
        pytest.skip(f"the model hub does not answer: {error}")


def test_hidden_states_are_the_known_ones(published: Path, backend: Any) -> None:
    model = mobilebert.load(published, "base", backend.name)
    ids = [[101, 7110, 1005, 1056, 2023, 11333, 17413, 1029, 102]]
    known = [
        [-2.4736526e7, 8.2691656e4, 1.6521838e5],
        [-0.57541704, 3.9056022, 4.4011507],
        [2.6047359, 1.5677652, -0.17324188],
    ]

    found = backend.run(model, {"input_ids": ids}).last_hidden_state[0, :3, :3]

    assert absolute_error(found / known, np.ones((3, 3))) <= 1e-3


def test_masked_word_is_guessed_as_known(published: Path, backend: Any) -> None:
    model = mobilebert.load(published, "masked-lm", backend.name)
    tokenizer = mobilebert.load_tokenizer(NAME)
    batch = tokenizer("the man worked as a [MASK].", return_tensors="np")
    place = int(np.flatnonzero(batch["input_ids"][0] == tokenizer.mask_token_id)[0])

    logits = backend.run(model, dict(batch)).logits[0, place]

    best = tokenizer.convert_ids_to_tokens(np.argsort(-logits)[:5].tolist())
    assert best == ["carpenter", "waiter", "mechanic", "teacher", "clerk"]
