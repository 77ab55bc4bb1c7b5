"""Orbax folders against their owner, and what is refused in them."""

import json
import logging
import os
import random
import shutil
from collections.abc import Callable
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
jax = pytest.importorskip("jax")
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


def test_what_we_write_restores_into_an_abstract_state(tmp_path: Path) -> None:
    folder = save(tmp_path, "masked-lm")
    config = small_config("masked-lm")
    model = mobilebert.create(config, "masked-lm", backend="jax", seed=3)
    graph, state, others = nnx.split(model, nnx.Param, ...)
    abstract = jax.tree.map(checkpoint.utils.to_shape_dtype_struct, state)
    with checkpoint.StandardCheckpointer() as checkpointer:
        restored = nnx.merge(graph, checkpointer.restore(folder, abstract), others)
    found = mobilebert.get_backend("jax").weights(restored)
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


def test_tokenizer_beside_the_orbax_folder_comes_along(tmp_path: Path) -> None:
    folder = save(tmp_path / "model")
    (tmp_path / "model" / "vocab.txt").write_text("[PAD]\n")
    found = mobilebert.convert(folder, tmp_path / "new", to="npz")
    assert found.files == ("vocab.txt",)


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


@pytest.mark.parametrize("format", ["safetensors", "orbax"])
def test_saving_into_a_folder_of_orbax_itself_is_refused(tmp_path: Path, format: str) -> None:
    folder = save(tmp_path)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    with pytest.raises(CheckpointError, match="is a folder of Orbax itself"):
        save_checkpoint(
            folder, small_config(), weights_of("base"), "base", format=format, overwrite=True
        )
    assert {path: path.read_bytes() for path in before} == before


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


def save_tree(folder: Path, tree: Any, ocdbt: bool = False) -> Path:
    """An Orbax folder with a file for each chunk, or with a database."""
    handler = checkpoint.PyTreeCheckpointHandler(use_ocdbt=ocdbt)
    with checkpoint.Checkpointer(handler) as checkpointer:
        checkpointer.save(folder, tree)
    return folder


def plain_arrays(folder: Path) -> Path:
    return save_tree(folder, {"a": np.arange(6, dtype=np.float32)})


@pytest.mark.parametrize("ocdbt", [True, False])
def test_scalars_are_arrays_and_empty_places_are_passed_over(tmp_path: Path, ocdbt: bool) -> None:
    tree = {"a": np.ones(2), "step": 3, "rate": np.float32(0.5), "b": {}, "c": None, "d": []}
    folder = save_tree(tmp_path / "orbax", tree, ocdbt)
    found = read_orbax(folder / "_METADATA")
    shapes = {name: (each.shape, each.dtype) for name, each in found.items()}
    assert shapes == {"a": ((2,), "float64"), "step": ((), "int64"), "rate": ((), "float32")}
    assert found["rate"].read() == 0.5


@pytest.mark.parametrize("part", ["a", "a/0"])
def test_link_out_of_the_folder_is_an_error(tmp_path: Path, part: str) -> None:
    folder = plain_arrays(tmp_path / "orbax")
    (folder / part).rename(tmp_path / "elsewhere")
    (folder / part).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(CheckpointError, match="a symbolic link out of its folder"):
        read_orbax(folder / "_METADATA")


def test_link_within_the_folder_is_followed(tmp_path: Path) -> None:
    folder = plain_arrays(tmp_path / "orbax")
    (folder / "a" / "0").rename(folder / "values")
    (folder / "a" / "0").symlink_to(folder / "values")
    assert read_orbax(folder / "_METADATA")["a"].read().tolist() == [0, 1, 2, 3, 4, 5]


def link_to_itself(path: Path) -> None:
    path.symlink_to(path)


@pytest.mark.parametrize("make", [link_to_itself, os.mkfifo], ids=["loop", "pipe"])
def test_what_is_no_file_is_an_error(tmp_path: Path, make: Callable[[Path], None]) -> None:
    folder = plain_arrays(tmp_path / "orbax")
    (folder / "a" / "0").unlink()
    make(folder / "a" / "0")
    with pytest.raises(CheckpointError, match="neither a file nor a folder"):
        read_orbax(folder / "_METADATA")


@pytest.mark.parametrize("name", ["a b", "é☃", "p%41?x#y", "[v1]"])
def test_folder_may_have_any_name_when_read(tmp_path: Path, name: str) -> None:
    save(tmp_path / "model").parent.rename(tmp_path / name)
    assert contents(open_checkpoint(tmp_path / name).weights) == contents(weights_of("base"))


@pytest.mark.parametrize("name", ["[v1]", "back\\slash"])
def test_folder_in_which_orbax_would_lose_weights_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(CheckpointError, match="save elsewhere and move the folder"):
        save(tmp_path / name / "model")
    assert not (tmp_path / name / "model").exists()


def test_failure_in_the_background_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Full(checkpoint.StandardCheckpointer):
        def close(self) -> None:
            super().close()
            logging.getLogger("absl").error("a long stack")
            raise ValueError("OUT_OF_RANGE: No space left [tensorstore_spec='...']\nmore")

    caplog.set_level(17, logger="absl")
    monkeypatch.setattr(checkpoint, "StandardCheckpointer", Full)
    with pytest.raises(CheckpointError, match=r"Orbax could not write .*: .*No space left$"):
        save(tmp_path / "model")
    assert not (tmp_path / "model").exists()
    assert (caplog.messages, logging.getLogger("absl").level) == ([], 17)


@pytest.mark.parametrize("ocdbt", [True, False], ids=["database", "files"])
def test_changed_and_cut_files_are_arrays_or_an_error(tmp_path: Path, ocdbt: bool) -> None:
    tree = {"a": np.arange(15, dtype=np.float32).reshape(5, 3), "b": {"c": np.zeros(7)}}
    folder, chance = save_tree(tmp_path / "orbax", tree, ocdbt), random.Random(4)
    refused = 0
    for path in [path for path in folder.rglob("*") if path.is_file()]:
        content = path.read_bytes()
        for _ in range(30):
            changed = bytearray(content)
            changed[chance.randrange(len(content))] = chance.randrange(256)
            cut = content[: chance.randrange(len(content))]
            for damaged in (changed, cut):
                path.write_bytes(damaged)
                try:
                    [each.read() for each in read_orbax(folder / "_METADATA").values()]
                except CheckpointError as error:
                    refused += str(folder) in str(error)
        path.write_bytes(content)
    assert refused > 100


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
