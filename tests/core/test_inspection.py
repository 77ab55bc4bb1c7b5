"""What `mobilebert inspect` finds in a checkpoint."""

import json
import math
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from mobilebert_conformance.cases import small_config
from mobilebert_conformance.weights import random_weights
from mobilebert_core.checkpoints import TensorStore, save_checkpoint
from mobilebert_core.errors import CheckpointError, MobileBertWarning
from mobilebert_core.heads import HEADS
from mobilebert_core.inspection import HeadRow, TensorRow, collapse, inspect_checkpoint
from mobilebert_core.loading import load
from mobilebert_core.schema import owned_tensors

CONFIG = small_config()


def make(folder: Path, head: str, *, leave_out: str = "") -> Path:
    weights = random_weights(CONFIG, head)
    kept = {
        name: value for name, value in weights.items() if not leave_out or leave_out not in name
    }
    return save_checkpoint(folder, CONFIG, kept, head)


@pytest.mark.parametrize("head", list(HEADS))
def test_parameters_are_those_of_the_head_when_the_checkpoint_is_complete(
    head: str, tmp_path: Path
) -> None:
    found = inspect_checkpoint(make(tmp_path / "model", head))
    counts: Counter[str] = Counter()
    for spec in owned_tensors(CONFIG, head).values():
        counts[spec.part] += math.prod(spec.shape)
    assert found.parameters == counts
    assert (found.head, found.format) == (head, "safetensors")
    assert found.config.true_hidden_size == CONFIG.true_hidden_size
    assert found.dtypes == ("float64",)
    assert found.nbytes == 8 * sum(found.parameters.values())


def test_values_are_not_read_when_inspected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: TensorStore, name: str) -> Any:
        raise AssertionError(f"{name} was read")

    folder = make(tmp_path / "model", "pretraining")
    monkeypatch.setattr(TensorStore, "__getitem__", refuse)
    assert len(inspect_checkpoint(folder).tensors) == len(random_weights(CONFIG, "pretraining"))


@pytest.mark.parametrize("saved", list(HEADS))
@pytest.mark.parametrize("asked", list(HEADS))
def test_heads_are_told_as_loading_will_have_it(saved: str, asked: str, tmp_path: Path) -> None:
    folder = make(tmp_path / "model", saved)
    row = {row.name: row for row in inspect_checkpoint(folder).heads}[asked]
    if not row.loads:
        with pytest.raises(CheckpointError):
            load(folder, asked, "numpy")
    elif row.lacking:
        with pytest.warns(MobileBertWarning, match=row.lacking[-1]):
            load(folder, asked, "numpy")
    else:
        load(folder, asked, "numpy")


def test_base_lacks_nothing_when_it_was_saved_without_pooler(tmp_path: Path) -> None:
    found = inspect_checkpoint(make(tmp_path / "model", "base", leave_out="pooler"))
    assert found.heads[0] == HeadRow("base", True, ())
    assert "pooler" not in found.parameters


def test_no_head_loads_when_a_tensor_of_the_encoder_has_another_shape(tmp_path: Path) -> None:
    folder = make(tmp_path / "model", "base")
    values = json.loads((folder / "config.json").read_text())
    values["intermediate_size"] += 1
    (folder / "config.json").write_text(json.dumps(values))
    rows = inspect_checkpoint(folder).heads
    assert not any(row.loads for row in rows)
    assert all("encoder" in row.lacking for row in rows)


def test_notes_are_those_of_the_checkpoint_when_it_is_of_googles_code(shared_data: Path) -> None:
    found = inspect_checkpoint(shared_data / "google_tf1" / "opt")
    assert found.format == "google-tf1"
    assert found.notes


def test_json_has_everything_when_written(tmp_path: Path) -> None:
    found = inspect_checkpoint(make(tmp_path / "model", "masked-lm"))
    values = json.loads(json.dumps(found.to_dict()))
    assert values["parameters"]["total"] == sum(found.parameters.values())
    assert values["heads"]["masked-lm"] == {"loads": True, "lacking": []}
    assert len(values["tensors"]) == len(found.tensors)
    assert values["config"]["vocab_size"] == CONFIG.vocab_size
    assert values["bytes"] == found.nbytes


def rows(*names: str, shape: tuple[int, ...] = (4,)) -> list[TensorRow]:
    return [TensorRow(name, shape, "float32", 16) for name in names]


def test_collapse_joins_layers_when_they_are_alike() -> None:
    collapsed = collapse(rows("a.layer.0.bias", "a.layer.1.bias", "a.layer.2.bias"))
    assert collapsed == [TensorRow("a.layer.{0..2}.bias", (4,), "float32", 48, count=3)]


def test_collapse_joins_networks_within_layers_when_they_are_alike() -> None:
    names = [f"layer.{layer}.ffn.{network}.bias" for layer in range(2) for network in range(3)]
    collapsed = collapse(rows(*(f"a.{name}" for name in names)))
    assert [(row.name, row.count) for row in collapsed] == [("a.layer.{0..1}.ffn.{0..2}.bias", 6)]


def test_collapse_keeps_tensors_apart_when_shapes_differ() -> None:
    mixed = rows("a.layer.0.bias", "a.layer.1.bias") + rows("a.layer.2.bias", shape=(5,))
    assert [row.name for row in collapse(mixed)] == ["a.layer.{0..1}.bias", "a.layer.2.bias"]


def test_collapse_tells_the_numbers_when_some_are_missing() -> None:
    names = [row.name for row in collapse(rows("a.layer.0.bias", "a.layer.2.bias"))]
    assert names == ["a.layer.{0,2}.bias"]


def test_collapse_claims_no_tensor_that_is_not_there() -> None:
    given = rows("a.layer.0.ffn.0.bias", "a.layer.0.ffn.1.bias", "a.layer.1.ffn.0.bias")
    assert collapse(given) == given


def test_collapse_loses_nothing_when_a_model_is_summarised(tmp_path: Path) -> None:
    found = inspect_checkpoint(make(tmp_path / "model", "pretraining"))
    collapsed = collapse(found.tensors)
    assert sum(row.count for row in collapsed) == len(found.tensors)
    assert sum(row.nbytes for row in collapsed) == found.nbytes
    assert len(collapsed) < len(found.tensors) / 1.5
