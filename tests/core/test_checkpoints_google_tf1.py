"""Google's own checkpoints, and index files that lie."""

import json
import shutil
import struct
from pathlib import Path

import numpy as np
import pytest

from mobilebert_core import schema
from mobilebert_core.checkpoints import open_checkpoint
from mobilebert_core.checkpoints.crc32c import crc32c, masked_crc32c
from mobilebert_core.checkpoints.tensor_bundle import read_bundle
from mobilebert_core.errors import CheckpointError

DATA = Path(__file__).resolve().parents[1] / "data" / "google_tf1"
PREFIX = "mobilebert_variables.ckpt"


@pytest.fixture
def copy(tmp_path):
    return Path(shutil.copytree(DATA / "opt", tmp_path / "opt"))


def varint(value):
    if value < 0x80:
        return bytes([value])
    return bytes([value & 0x7F | 0x80]) + varint(value >> 7)


def block(entries, restarts=(0,)):
    body = b"".join(
        varint(0) + varint(len(key)) + varint(len(value)) + key + value for key, value in entries
    )
    return (
        body + b"".join(struct.pack("<I", r) for r in restarts) + struct.pack("<I", len(restarts))
    )


def with_trailer(content, compression=0):
    content += bytes([compression])
    return content + struct.pack("<I", masked_crc32c(content))


def table(content, compression=0):
    """A table of one data block whose content is given."""
    data = with_trailer(content, compression)
    index = with_trailer(block([(b"~", varint(0) + varint(len(content)))]))
    handles = varint(0) + varint(0) + varint(len(data)) + varint(len(index) - 5)
    return data + index + handles.ljust(40, b"\0") + struct.pack("<Q", 0xDB4775248B80FB57)


HEADER = b"\x08\x01"
VALUES = np.arange(6, dtype="<f4").tobytes()


def entry(dtype=1, shape=(2, 3), shard=0, offset=0, size=24, checksum=None, extra=b""):
    dims = b"".join(b"\x12" + bytes([len(d)]) + d for d in (b"\x08" + varint(s) for s in shape))
    checksum = masked_crc32c(VALUES) if checksum is None else checksum
    return (
        b"\x08" + varint(dtype) + b"\x12" + varint(len(dims)) + dims + b"\x18" + varint(shard)
        + b"\x20" + varint(offset) + b"\x28" + varint(size) + b"\x35" + struct.pack("<I", checksum)
        + extra
    )  # fmt: skip


@pytest.fixture
def bundle(tmp_path):
    def write(index, data=VALUES):
        (tmp_path / "x.ckpt.index").write_bytes(index)
        (tmp_path / "x.ckpt.data-00000-of-00001").write_bytes(data)
        return tmp_path / "x.ckpt.index"

    return write


@pytest.mark.parametrize("name", ["opt", "teacher"])
def test_googles_file_has_every_tensor_of_pretraining(name):
    checkpoint = open_checkpoint(DATA / name)
    shapes = {n: checkpoint.weights.shape(n) for n in checkpoint.weights}
    schema.validate(schema.tensors(checkpoint.config, "pretraining"), shapes, name)
    assert {n: a.shape for n, a in checkpoint.weights.items()} == shapes
    assert (checkpoint.format, checkpoint.head) == ("google-tf1", None)


def test_what_only_training_needs_is_ignored_with_notes():
    assert open_checkpoint(DATA / "opt").notes == (
        "Ignored 214 tensors of the Adam optimizer (adam_m, adam_v).",
        "Ignored 1 tensor that counts training steps (global_step).",
    )


def test_googles_configuration_is_read_in_its_dialect():
    config = open_checkpoint(DATA / "teacher").config
    assert (config.hidden_act, config.normalization_type) == ("gelu_tanh", "layer_norm")
    assert config.num_feedforward_networks == 1


@pytest.mark.parametrize("name", ["opt", "teacher"])
def test_values_give_googles_embedding_output(name):
    weights = open_checkpoint(DATA / name).weights
    with np.load(DATA / name / "outputs.npz") as file:
        ids, token_types, expected = file["ids"], file["tt"], file["embedding_output"]
    start = "mobilebert.embeddings"
    words = weights[f"{start}.word_embeddings.weight"][ids].astype(np.float64)
    after, before = np.zeros_like(words), np.zeros_like(words)
    after[:, :-1], before[:, 1:] = words[:, 1:], words[:, :-1]
    x = np.concatenate([after, words, before], -1)
    x = x @ weights[f"{start}.embedding_transformation.weight"].T
    x += weights[f"{start}.embedding_transformation.bias"]
    x += weights[f"{start}.position_embeddings.weight"][: ids.shape[1]]
    x += weights[f"{start}.token_type_embeddings.weight"][token_types]
    if name == "teacher":
        x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-12)
    x = x * weights[f"{start}.LayerNorm.weight"] + weights[f"{start}.LayerNorm.bias"]
    assert np.abs(x - expected).max() < 1e-6 * np.abs(expected).max()


def test_values_give_googles_next_sentence_logits():
    weights = open_checkpoint(DATA / "opt").weights
    with np.load(DATA / "opt" / "outputs.npz") as file:
        pooled, expected = file["pooled_output"].astype(np.float64), file["nsp"]
    logits = (
        pooled @ weights["cls.seq_relationship.weight"].T + weights["cls.seq_relationship.bias"]
    )
    assert np.abs(logits - expected).max() < 1e-6 * np.abs(expected).max()


def test_index_file_is_opened_directly():
    assert open_checkpoint(DATA / "opt" / f"{PREFIX}.index").format == "google-tf1"


def test_two_training_steps_in_a_folder_are_an_error(copy):
    shutil.copy(copy / f"{PREFIX}.index", copy / "model.ckpt-1000.index")
    with pytest.raises(
        CheckpointError, match=r"holds several checkpoints: .*model.ckpt-1000.index"
    ):
        open_checkpoint(copy)


def test_transformers_configuration_beside_googles_weights_is_read(copy):
    config = open_checkpoint(copy).config
    (copy / "bert_config.json").unlink()
    (copy / "config.json").write_text(json.dumps(config.to_dict()))
    assert open_checkpoint(copy).config == config


def test_missing_data_file_is_an_error(copy):
    (copy / f"{PREFIX}.data-00000-of-00001").unlink()
    with pytest.raises(CheckpointError, match=f"no {PREFIX}.data-00000-of-00001 in"):
        open_checkpoint(copy)


def test_truncated_data_file_is_an_error_on_opening(copy):
    path = copy / f"{PREFIX}.data-00000-of-00001"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(CheckpointError, match=r"data-00000-of-00001 is damaged .*306571 bytes"):
        open_checkpoint(copy)


def test_flipped_bit_in_a_tensor_is_an_error_on_reading(copy):
    path = copy / f"{PREFIX}.data-00000-of-00001"
    data = bytearray(path.read_bytes())
    data[len(data) // 2 :] = bytes(byte ^ 1 for byte in data[len(data) // 2 :])
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match=r"the checksum of bert/.* is wrong"):
        dict(open_checkpoint(copy).weights)


def test_flipped_bit_in_the_index_is_an_error(copy):
    path = copy / f"{PREFIX}.index"
    data = bytearray(path.read_bytes())
    data[100] ^= 4
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match="the checksum of the block at byte 0 is wrong"):
        open_checkpoint(copy)


@pytest.mark.parametrize("size", [0, 1, 47, 48, 5000])
def test_truncated_index_is_an_error(copy, size):
    path = copy / f"{PREFIX}.index"
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(CheckpointError, match=r"ckpt.index is damaged"):
        open_checkpoint(copy)


def test_small_bundle_is_read(bundle):
    (tensor,) = read_bundle(bundle(table(block([(b"", HEADER), (b"v", entry())])))).values()
    assert tensor.read().tolist() == [[0, 1, 2], [3, 4, 5]]


def test_other_dtypes_are_named(bundle):
    entries = [(b"", HEADER), (b"s", entry(7, (), size=3)), (b"t", entry(99, ()))]
    found = read_bundle(bundle(table(block(entries))))
    assert [tensor.dtype for tensor in found.values()] == ["string", "TensorFlow's dtype 99"]


ENTRIES = {
    "beyond the data": (entry(offset=1), "it has 24 bytes, v ends at 25"),
    "far beyond the data": (entry(offset=2**64 - 8), "v ends at"),
    "another size": (entry(size=20), "which \\(2, 3\\) does not fit"),
    "huge shape": (entry(shape=(2**62, 2**62)), "does not fit"),
    "negative shape": (entry(shape=(2**64 - 1, 3)), "the shape of 'v' is impossible"),
    "too many axes": (entry(shape=(1,) * 9), "the shape of 'v' is impossible"),
    "absent data file": (entry(shard=1), "v is in data file 1 of 1"),
    "partitioned": (entry(extra=b"\x3a\x00"), "v is a partitioned variable"),
    "unknown field": (entry(extra=b"\x40\x00"), "unknown field 8"),
    "unknown rank": (b"\x08\x01\x12\x02\x18\x01", "a variable of unknown shape"),
    "group": (entry(extra=b"\x0b"), "a message has a field of kind 3"),
    "cut": (entry()[:-1], "bytes are announced"),
    "endless number": (b"\x08" + b"\xff" * 12, "does not end"),
}


@pytest.mark.parametrize("case", ENTRIES)
def test_entry_that_lies_is_an_error(bundle, case):
    message, error = ENTRIES[case]
    path = bundle(table(block([(b"", HEADER), (b"v", message)])))
    with pytest.raises(CheckpointError, match=error):
        read_bundle(path)


HEADERS = {
    "no data files": (b"", "announces 0 data files"),
    "too many data files": (b"\x08" + varint(2**40), "announces 1099511627776 data files"),
    "big-endian": (b"\x08\x01\x10\x01", "big-endian"),
}


@pytest.mark.parametrize("case", HEADERS)
def test_header_that_lies_is_an_error(bundle, case):
    message, error = HEADERS[case]
    with pytest.raises(CheckpointError, match=error):
        read_bundle(bundle(table(block([(b"", message), (b"v", entry())]))))


def long_keys():
    chain = b"".join(varint(i) + b"\x01\x00k" for i in range(5000))
    return chain + struct.pack("<II", 0, 1)


BLOCKS = {
    "keys out of order": (block([(b"b", b""), (b"a", b"")]), "out of order"),
    "one key twice": (block([(b"a", b""), (b"a", b"")]), "out of order"),
    "repeats more than there is": (b"\x05\x01\x00k" + struct.pack("<II", 0, 1), "a key repeats 5"),
    "keys that grow without end": (long_keys(), "a key repeats 1024"),
    "too many restarts": (struct.pack("<I", 2**31), "announces 2147483648 restarts"),
    "value beyond the end": (
        b"\x00\x01\x7fk" + struct.pack("<II", 0, 1),
        "127 bytes are announced",
    ),
    "too small": (b"\x00", "a block has 1 bytes"),
}


@pytest.mark.parametrize("case", BLOCKS)
def test_block_that_lies_is_an_error(bundle, case):
    content, error = BLOCKS[case]
    with pytest.raises(CheckpointError, match=error):
        read_bundle(bundle(table(content)))


def test_compressed_index_is_an_error(bundle):
    path = bundle(table(block([(b"", HEADER)]), compression=1))
    with pytest.raises(CheckpointError, match=r"is compressed \(kind 1\)"):
        read_bundle(path)


def bitwise_crc(data):
    register = 0xFFFFFFFF
    for byte in data:
        register ^= byte
        for _ in range(8):
            register = register >> 1 ^ (0x82F63B78 if register & 1 else 0)
    return register ^ 0xFFFFFFFF


def test_checksum_is_that_of_the_standard():
    assert crc32c(np.frombuffer(b"123456789", np.uint8)) == 0xE3069283


@pytest.mark.parametrize("size", [0, 1, 2, 3, 4, 5, 31, 64, 1000, 262_144, 262_145, 600_001])
def test_checksum_is_that_of_the_definition_at_every_size(size):
    data = np.random.default_rng(size).integers(0, 256, size, np.uint8)
    assert crc32c(data) == bitwise_crc(data.tolist())
