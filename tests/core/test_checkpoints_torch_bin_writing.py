"""PyTorch files that are written without PyTorch, as PyTorch and transformers read them."""

import json
import struct
import zipfile
from collections import OrderedDict

import ml_dtypes
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from formats import tensors_that_live_alone
from mobilebert_conformance.cases import small_config
from mobilebert_conformance.weights import random_weights
from mobilebert_core.checkpoints import open_checkpoint, save_checkpoint
from mobilebert_core.checkpoints.store import DTYPES, stored_tensors
from mobilebert_core.checkpoints.torch_bin import read_torch_bin
from mobilebert_core.checkpoints.torch_bin_writing import write_torch_bin
from mobilebert_core.heads import HEADS

FILE = "pytorch_model.bin"
BITS = np.array([0x7FC00001, 0xFF800001, 0x80000000, 0x7F800000, 1], np.uint32)


def normal(*shape, dtype="float32"):
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(DTYPES[dtype])


TENSORS = {
    **{dtype: normal(5, 3, dtype=dtype) for dtype in DTYPES},
    "NaN with a payload, signalling NaN, -0, infinity, subnormal": BITS.view(np.float32),
    "scalar": np.array(1.5, ml_dtypes.bfloat16),
    "cube": normal(3, 2, 4),
    "no rows": normal(0, 4),
    "no columns": normal(3, 0, 2),
    "bytes that end within a word": normal(7, dtype="float16"),
    "ünïcode": normal(300, 2),
}


@pytest.fixture
def write(tmp_path):
    def run(arrays, limit=None):
        write_torch_bin(tmp_path, stored_tensors(arrays), limit)
        return tmp_path / FILE

    return run


def contents(arrays):
    return {name: (a.shape, a.dtype.name, a.tobytes()) for name, a in arrays.items()}


def read(path):
    return {name: tensor.read() for name, tensor in read_torch_bin(path).items()}


def content_starts(path):
    data = path.read_bytes()
    for member in zipfile.ZipFile(path).infolist():
        sizes = struct.unpack_from("<HH", data, member.header_offset + 26)
        yield member.header_offset + 30 + sum(sizes)


def test_tensors_return_bit_exact(write):
    assert contents(read(write(TENSORS))) == contents(TENSORS)


def test_tensors_keep_their_order(write):
    assert list(read(write(TENSORS))) == list(TENSORS)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(
    arrays=st.dictionaries(
        st.text(min_size=1),
        st.lists(st.integers(0, 300), max_size=2).map(lambda shape: normal(*shape)),
        max_size=5,
    )
)
def test_tensors_return_whatever_their_names_and_shapes(write, arrays):
    assert contents(read(write(arrays))) == contents(arrays)


def test_archive_has_the_members_that_pytorch_looks_for(write):
    with zipfile.ZipFile(write({"a": normal(2), "b": normal(3)})) as archive:
        names = [f"archive/{name}" for name in ("data.pkl", "byteorder", "data/0", "data/1")]
        assert archive.namelist() == [*names, "archive/version"]
        assert archive.read("archive/byteorder") == b"little"
        assert archive.read("archive/version") == b"3\n"
        assert {member.compress_type for member in archive.infolist()} == {zipfile.ZIP_STORED}


def test_every_member_starts_at_a_multiple_of_64_bytes(write):
    assert {start % 64 for start in content_starts(write(TENSORS))} == {0}


def test_tensors_are_read_one_at_a_time(tmp_path):
    tensors, alive = tensors_that_live_alone(3)
    write_torch_bin(tmp_path, tensors, None)
    assert len(alive) == 3


def test_limit_spreads_tensors_over_files_with_an_index(tmp_path, write):
    write({"a": normal(3), "b": normal(4), "c": normal(5)}, limit=28)
    first, second = (f"pytorch_model-0000{number}-of-00002.bin" for number in (1, 2))
    assert {path.name for path in tmp_path.iterdir()} == {first, second, f"{FILE}.index.json"}
    index = json.loads((tmp_path / f"{FILE}.index.json").read_text())
    assert index["weight_map"] == {"a": first, "b": first, "c": second}
    assert index["metadata"] == {"total_size": 48}


@pytest.fixture
def torch():
    return pytest.importorskip("torch", reason="PyTorch owns the format")


def as_contents(torch, state):
    return {
        name: (
            tuple(tensor.shape),
            str(tensor.dtype).removeprefix("torch."),
            tensor.reshape(-1).view(torch.uint8).numpy().tobytes() if tensor.numel() else b"",
        )
        for name, tensor in state.items()
    }


@pytest.fixture(params=[False, True], ids=["copied", "mapped"])
def load(request, torch):
    return lambda path: torch.load(path, mmap=request.param, weights_only=True)


def test_pytorch_reads_every_bit(torch, load, write):
    assert as_contents(torch, load(write(TENSORS))) == contents(TENSORS)


def test_pytorch_reads_as_many_tensors_as_the_default_model_has(torch, load, write):
    arrays = {f"layer.{number}.weight": normal(number % 7, number) for number in range(1, 1115)}
    assert as_contents(torch, load(write(arrays))) == contents(arrays)


def test_pytorch_finds_its_own_strides(torch, load, write):
    found = {name: tensor.stride() for name, tensor in load(write(TENSORS)).items()}
    assert found == {name: torch.empty(a.shape).stride() for name, a in TENSORS.items()}


def test_pytorch_maps_tensors_at_aligned_addresses(torch, write):
    state = torch.load(write(TENSORS), mmap=True, weights_only=True)
    assert {tensor.data_ptr() % 64 for tensor in state.values() if tensor.numel()} == {0}


def test_pickle_makes_what_that_of_pytorch_makes(torch, load, write, tmp_path):
    ours = load(write(TENSORS))
    torch.save(OrderedDict(ours), tmp_path / "theirs.bin")
    theirs = load(tmp_path / "theirs.bin")
    assert type(ours) is type(theirs)
    assert as_contents(torch, ours) == as_contents(torch, theirs)
    assert not any(tensor.requires_grad for tensor in ours.values())


@pytest.fixture
def transformers(torch):
    module = pytest.importorskip("transformers", reason="transformers reads the files")
    module.utils.logging.disable_progress_bar()
    return module


def load_model(transformers, folder, head):
    model, report = getattr(transformers, HEADS[head].class_name).from_pretrained(
        folder, use_safetensors=False, output_loading_info=True
    )
    assert not report["missing_keys"] | report["unexpected_keys"] | report["mismatched_keys"]
    return model.eval()


@pytest.mark.parametrize("limit", [None, 5000])
@pytest.mark.parametrize("head", ["base", "pretraining", "question-answering"])
def test_transformers_computes_the_same_from_both_pytorch_formats(
    torch, transformers, tmp_path, head, limit
):
    config = small_config(head)
    weights = {n: a.astype(np.float32) for n, a in random_weights(config, head).items()}
    folder, other = tmp_path / "torch-bin", tmp_path / "safetensors"
    save_checkpoint(folder, config, weights, head, format="torch-bin", max_shard_size=limit)
    save_checkpoint(other, config, weights, head)
    model = load_model(transformers, folder, head)
    reference = getattr(transformers, HEADS[head].class_name).from_pretrained(other)
    ids = torch.arange(12).reshape(2, 6)
    with torch.no_grad():
        found, expected = model(ids).to_tuple(), reference.eval()(ids).to_tuple()
    assert len(found) == len(expected)
    for ours, theirs in zip(found, expected, strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("head", HEADS)
def test_saved_checkpoint_returns_bit_exact_for_every_head(tmp_path, head):
    config = small_config(head)
    weights = random_weights(config, head)
    found = open_checkpoint(save_checkpoint(tmp_path, config, weights, head, format="torch-bin"))
    assert (found.format, found.config, found.head) == ("torch-bin", config, head)
    assert contents(found.weights) == contents(weights)
