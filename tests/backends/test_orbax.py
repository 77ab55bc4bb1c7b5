"""Orbax folders against their owner, and what is refused in them."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mobilebert
from formats import contents
from mobilebert_conformance.cases import small_config
from mobilebert_conformance.weights import Array, random_weights
from mobilebert_core.checkpoints import open_checkpoint, save_checkpoint
from mobilebert_core.checkpoints.orbax_format import read_orbax
from mobilebert_core.errors import CheckpointError
from mobilebert_core.heads import HEADS

checkpoint = pytest.importorskip("orbax.checkpoint")
nnx = pytest.importorskip("flax.nnx")


def weights_of(head: str) -> dict[str, Array]:
    random = random_weights(small_config(head), head)
    return {name: array.astype(np.float32) for name, array in random.items()}


def save(folder: Path, head: str = "base") -> Path:
    config = small_config(head)
    return save_checkpoint(folder, config, weights_of(head), head, format="orbax") / "orbax"


@pytest.mark.parametrize("head", HEADS)
def test_state_that_orbax_saves_is_read(tmp_path: Path, head: str) -> None:
    save(tmp_path, head)
    model = mobilebert.load(tmp_path, backend="jax")
    shutil.rmtree(tmp_path / "orbax")
    with checkpoint.StandardCheckpointer() as checkpointer:
        checkpointer.save(tmp_path / "orbax", nnx.state(model, nnx.Param))
    assert contents(open_checkpoint(tmp_path).weights) == contents(weights_of(head))


@pytest.mark.parametrize("ocdbt", [True, False], ids=["database", "files"])
@pytest.mark.parametrize("zarr3", [True, False], ids=["zarr 3", "zarr 2"])
def test_plain_tree_in_every_container_is_read(tmp_path: Path, ocdbt: bool, zarr3: bool) -> None:
    folder = save(tmp_path)
    model = mobilebert.load(tmp_path, backend="jax")
    tree = nnx.to_pure_dict(nnx.state(model, nnx.Param))
    shutil.rmtree(folder)
    handler = checkpoint.PyTreeCheckpointHandler(use_ocdbt=ocdbt, use_zarr3=zarr3)
    with checkpoint.Checkpointer(handler) as checkpointer:
        checkpointer.save(folder, tree)
    assert contents(open_checkpoint(tmp_path).weights) == contents(weights_of("base"))


def test_what_we_write_restores_into_our_model(tmp_path: Path) -> None:
    folder = save(tmp_path, "masked-lm")
    model = mobilebert.create(small_config("masked-lm"), "masked-lm", backend="jax", seed=3)
    with checkpoint.StandardCheckpointer() as checkpointer:
        state = checkpointer.restore(folder, nnx.state(model, nnx.Param))
    nnx.update(model, state)
    found = mobilebert.get_backend("jax").weights(model)
    assert contents(found) == contents(weights_of("masked-lm"))


def test_what_we_write_restores_as_dictionaries(tmp_path: Path) -> None:
    folder = save(tmp_path)
    with checkpoint.StandardCheckpointer() as checkpointer:
        tree = checkpointer.restore(folder)
    kernel = np.asarray(
        tree["encoder"]["layer"]["1"]["attention"]["self"]["query"]["kernel"]["value"]
    )
    expected = weights_of("base")["mobilebert.encoder.layer.1.attention.self.query.weight"].T
    assert kernel.tobytes() == np.ascontiguousarray(expected).tobytes()


def test_orbax_folder_itself_can_be_given(tmp_path: Path) -> None:
    folder = save(tmp_path)
    assert contents(open_checkpoint(folder).weights) == contents(weights_of("base"))


def test_folder_knows_no_absolute_path(tmp_path: Path) -> None:
    folder = save(tmp_path / "model")
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert not [path for path in files if str(tmp_path).encode() in path.read_bytes()]
    (tmp_path / "model").rename(tmp_path / "moved")
    assert contents(open_checkpoint(tmp_path / "moved").weights) == contents(weights_of("base"))


def test_next_save_removes_the_folder(tmp_path: Path) -> None:
    save(tmp_path)
    weights = weights_of("base")
    save_checkpoint(tmp_path, small_config(), weights, "base", overwrite=True)
    assert not (tmp_path / "orbax").exists()
    assert open_checkpoint(tmp_path).format == "safetensors"


def test_folder_of_that_name_that_is_none_of_orbax_stays(tmp_path: Path) -> None:
    (tmp_path / "orbax").mkdir()
    (tmp_path / "orbax" / "thesis.tex").write_text("years of work")
    save_checkpoint(tmp_path, small_config(), weights_of("base"), "base", overwrite=True)
    assert (tmp_path / "orbax" / "thesis.tex").is_file()


def change_metadata(folder: Path, change: Any) -> None:
    path = folder / "_METADATA"
    values = json.loads(path.read_text())
    change(values)
    path.write_text(json.dumps(values))


def first_key(values: dict[str, Any]) -> dict[str, Any]:
    key: dict[str, Any] = next(iter(values["tree_metadata"].values()))["key_metadata"][0]
    return key


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda values: first_key(values).update(key="../../secret"), "the impossible part"),
        (lambda values: first_key(values).update(key=".."), "the impossible part"),
        (lambda values: first_key(values).update(key="absent"), "cannot be opened"),
        (lambda values: values.update(tree_metadata={}), "no 'tree_metadata'"),
        (lambda values: values.update(tree_metadata={"a": 7}), "an array has no path"),
        (lambda values: values.update(use_zarr3=True), "cannot be opened"),
    ],
)
def test_metadata_that_lie_are_an_error(tmp_path: Path, change: Any, message: str) -> None:
    folder = save(tmp_path)
    change_metadata(folder, change)
    with pytest.raises(CheckpointError, match=message):
        read_orbax(folder / "_METADATA")


def plain_arrays(folder: Path) -> Path:
    """An Orbax folder with a file for each chunk."""
    handler = checkpoint.PyTreeCheckpointHandler(use_ocdbt=False)
    with checkpoint.Checkpointer(handler) as checkpointer:
        checkpointer.save(folder, {"a": np.arange(6, dtype=np.float32)})
    return folder


def test_missing_chunk_is_an_error_and_not_zeros(tmp_path: Path) -> None:
    folder = plain_arrays(tmp_path / "orbax")
    (folder / "a" / "0").unlink()
    with pytest.raises(CheckpointError, match="'a' cannot be read"):
        read_orbax(folder / "_METADATA")["a"].read()


def test_chunk_larger_than_its_array_is_an_error(tmp_path: Path) -> None:
    folder = plain_arrays(tmp_path / "orbax")
    path = folder / "a" / ".zarray"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"chunks": [1 << 40]}))
    with pytest.raises(CheckpointError, match=r"is in chunks of shape \(1099511627776,\)"):
        read_orbax(folder / "_METADATA")


def test_packages_that_are_missing_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = save(tmp_path)
    monkeypatch.setitem(__import__("sys").modules, "tensorstore", None)
    with pytest.raises(mobilebert.MobileBertError, match=r'pip install "mobilebert\[jax\]"'):
        read_orbax(folder / "_METADATA")
