"""Every backend against outputs of Google's original code (float32), from its own checkpoints.

It alone can build the teacher (bottleneck on, nothing shared), and it defines its config dialect.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from metrics import channel_error, token_error
from mobilebert_core import loading

FOLDER = Path(__file__).resolve().parents[1] / "data" / "google_tf1"
LIMIT = 1e-5  # the truth itself was computed in float32


@pytest.fixture(params=["opt", "teacher"])
def folder(request: pytest.FixtureRequest) -> Path:
    """One of the two checkpoints."""
    return FOLDER / request.param


@pytest.fixture
def truth(folder: Path) -> dict[str, Any]:
    """Inputs and outputs of Google's code."""
    with np.load(folder / "outputs.npz") as arrays:
        return dict(arrays)


@pytest.fixture
def output(folder: Path, truth: dict[str, Any], backend: Any) -> Any:
    """Our output in float64 on the same inputs."""
    model = loading.load(folder, "pretraining", backend.name, dtype="float64")
    batch = {
        "input_ids": truth["ids"],
        "token_type_ids": truth["tt"],
        "attention_mask": truth["am"],
    }
    return backend.run(model, batch, collect=("hidden_states",))


def test_hidden_states_agree_with_googles_code(output: Any, truth: dict[str, Any]) -> None:
    assert channel_error(np.stack(output.hidden_states), truth["layers"]) <= LIMIT
    assert channel_error(output.hidden_states[0], truth["embedding_output"]) <= LIMIT
    assert channel_error(output.hidden_states[-1], truth["sequence_output"]) <= LIMIT


def test_predictions_agree_with_googles_code(output: Any, truth: dict[str, Any]) -> None:
    assert token_error(output.prediction_logits, truth["mlm"]) <= LIMIT
    assert token_error(output.seq_relationship_logits, truth["nsp"]) <= LIMIT


def test_pooled_output_agrees_with_googles_code(
    folder: Path, truth: dict[str, Any], backend: Any
) -> None:
    model = loading.load(folder, "base", backend.name, dtype="float64")
    output = backend.run(model, {"input_ids": truth["ids"], "token_type_ids": truth["tt"]})

    assert channel_error(output.pooler_output, truth["pooled_output"]) <= LIMIT


def test_head_is_inferred_when_googles_file_names_none(folder: Path, backend: Any) -> None:
    assert loading.load(folder, backend=backend.name).head == "pretraining"
