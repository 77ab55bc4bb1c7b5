"""Damaged or hostile safetensors files and index files: one clear error each."""

import json
import struct

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import save_file

from mobilebert_conformance.cases import tiny_config
from mobilebert_core import schema
from mobilebert_core.checkpoints import open_checkpoint, save_checkpoint
from mobilebert_core.checkpoints.hf_tf_h5 import hf_tf_h5_naming
from mobilebert_core.checkpoints.safetensors_format import read_safetensors
from mobilebert_core.errors import CheckpointError


@pytest.fixture
def config():
    return tiny_config()


@pytest.fixture
def weights(config):
    specs = schema.owned_tensors(config, "base")
    generator = np.random.default_rng(2)
    return {n: generator.standard_normal(s.shape, np.float32) for n, s in specs.items()}


@pytest.fixture
def sharded(tmp_path, config, weights):
    return save_checkpoint(tmp_path / "model", config, weights, "base", max_shard_size=1000)


def entry(shape, offsets, dtype="F32"):
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


def header_text(header):
    return json.dumps(header).encode()


def change_index(folder, change):
    path = folder / "model.safetensors.index.json"
    values = json.loads(path.read_text())
    change(values["weight_map"])
    path.write_text(json.dumps(values))


FILES = {
    "empty": b"",
    "shorter than its length field": b"\x01\x02\x03",
    "huge header": b"\xff" * 8 + b"{}",
    "header beyond the end": struct.pack("<Q", 100) + b"{}",
    "header of no JSON": struct.pack("<Q", 4) + b"{{{{",
    "header of another type": struct.pack("<Q", 2) + b"[]",
    "deeply nested header": struct.pack("<Q", 100_000) + b"[" * 100_000,
    "git lfs pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n",
}
HEADERS = {
    "missing data": ({"a": entry([2], [0, 8])}, 7),
    "data to spare": ({"a": entry([2], [0, 8])}, 9),
    "overlap": ({"a": entry([2], [0, 8]), "b": entry([2], [4, 12])}, 12),
    "same place": ({"a": entry([2], [0, 8]), "b": entry([2], [0, 8])}, 8),
    "negative size": ({"a": entry([-2], [0, 8])}, 8),
    "shape overflows": ({"a": entry([2**62, 8], [0, 8])}, 8),
    "shape beyond NumPy": ({"a": entry([1] * 70, [0, 4])}, 4),
    "offsets backwards": ({"a": entry([2], [8, 0])}, 8),
    "unknown dtype": ({"a": entry([2], [0, 8], "F99")}, 8),
    "no dtype": ({"a": {"shape": [2], "data_offsets": [0, 8]}}, 8),
}


@pytest.mark.parametrize("case", FILES)
def test_file_that_is_no_safetensors_is_an_error(tmp_path, case):
    path = tmp_path / "model.safetensors"
    path.write_bytes(FILES[case])
    with pytest.raises(CheckpointError, match=r"model\.safetensors is "):
        read_safetensors(path)


@pytest.mark.parametrize("case", HEADERS)
def test_header_that_lies_is_an_error(tmp_path, case):
    header, size = HEADERS[case]
    text = header_text(header)
    path = tmp_path / "model.safetensors"
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(size))
    with pytest.raises(CheckpointError, match=r"model\.safetensors is damaged"):
        read_safetensors(path)


def test_tensor_given_twice_is_an_error(tmp_path):
    one = json.dumps(entry([2], [0, 8]))
    text = f'{{"a": {one}, "a": {one}}}'.encode()
    path = tmp_path / "model.safetensors"
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(8))
    with pytest.raises(CheckpointError, match="the key 'a' is twice"):
        read_safetensors(path)


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16, ml_dtypes.bfloat16])
def test_values_are_those_of_the_bytes(tmp_path, dtype):
    array = np.array([[1, -2, 3.5], [0, -0.0, 1e4]], dtype)
    code = {2: "F16", 4: "F32", 8: "F64"}[array.dtype.itemsize]
    code = "BF16" if dtype is ml_dtypes.bfloat16 else code
    text = header_text({"a": entry([2, 3], [0, array.nbytes], code)})
    path = tmp_path / "model.safetensors"
    path.write_bytes(struct.pack("<Q", len(text)) + text + array.tobytes())
    tensor = read_safetensors(path)["a"]
    assert (tensor.shape, tensor.dtype) == ((2, 3), array.dtype.name)
    assert tensor.read().dtype == array.dtype
    assert tensor.read().tobytes() == array.tobytes()


@pytest.mark.parametrize(
    "name", ["../x.safetensors", "/etc/passwd", "a/b", "..", "", "a\\b", "c:x"]
)
def test_index_that_leaves_its_folder_is_an_error(sharded, name):
    change_index(sharded, lambda weight_map: weight_map.update({"embeddings.LayerNorm.bias": name}))
    with pytest.raises(CheckpointError, match="names files outside its folder"):
        open_checkpoint(sharded)


def test_all_missing_shards_are_listed(sharded):
    shards = sorted(sharded.glob("model-*"))
    shards[0].unlink()
    shards[-1].unlink()
    with pytest.raises(
        CheckpointError, match=rf"(?s)2 faults.*{shards[0].name}.*{shards[-1].name}"
    ):
        open_checkpoint(sharded)


def test_shard_without_a_promised_tensor_is_an_error(sharded):
    first = "model-00001-of-00003.safetensors"
    change_index(sharded, lambda weight_map: weight_map.update({"pooler.dense.x": first}))
    with pytest.raises(CheckpointError, match=f"{first} lacks pooler.dense.x"):
        open_checkpoint(sharded)


def test_shard_with_a_tensor_that_the_index_omits_is_an_error(sharded):
    change_index(sharded, lambda weight_map: weight_map.pop("pooler.dense.bias"))
    with pytest.raises(CheckpointError, match=r"also holds pooler.dense.bias"):
        open_checkpoint(sharded)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"weight_map": []}', '{"weight_map": {}}', "\xff"]
)
def test_index_that_is_none_is_an_error(sharded, text):
    (sharded / "model.safetensors.index.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(CheckpointError, match=r"index.json is damaged"):
        open_checkpoint(sharded)


def test_index_with_a_key_twice_is_an_error(sharded):
    text = '{"weight_map": {"a": "x", "a": "y"}}'
    (sharded / "model.safetensors.index.json").write_text(text)
    with pytest.raises(CheckpointError, match="the key 'a' is twice"):
        open_checkpoint(sharded)


def test_links_to_a_download_cache_are_followed(tmp_path, sharded, weights):
    snapshot, blobs = tmp_path / "snapshots" / "main", tmp_path / "blobs"
    snapshot.mkdir(parents=True)
    blobs.mkdir()
    for number, path in enumerate(sorted(sharded.iterdir())):
        path.rename(blobs / str(number))
        (snapshot / path.name).symlink_to(f"../../blobs/{number}")
    loaded = open_checkpoint(snapshot).weights
    assert {n: a.tobytes() for n, a in loaded.items()} == {
        n: a.tobytes() for n, a in weights.items()
    }


def test_git_lfs_pointer_is_told_from_weights(tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_bytes(FILES["git lfs pointer"])
    with pytest.raises(CheckpointError, match=r"is a Git LFS pointer.*run 'git lfs pull'"):
        read_safetensors(path)


def test_variables_of_tensorflow_are_read_by_their_slashes(tmp_path, config, weights):
    folder = save_checkpoint(tmp_path / "model", config, weights, "base")
    written = {}
    for name, values in weights.items():
        place = hf_tf_h5_naming(config).place(name, "base")
        variable = place.name.split("/", 2)[2]  # without layer and model, as transformers wrote it
        written[variable] = np.ascontiguousarray(values.T) if place.transposed else values
    save_file(written, folder / "model.safetensors", metadata={"format": "tf"})
    found = open_checkpoint(folder).weights
    assert {n: a.tobytes() for n, a in found.items()} == {
        n: a.tobytes() for n, a in weights.items()
    }
    kernel = "encoder/layer_._0/attention/self/query/kernel:0"
    assert f"mobilebert/{kernel}" in written
