"""Google's checkpoints, written without TensorFlow and held to its bytes."""

from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from formats import tensors_that_live_alone
from mobilebert_conformance.cases import SMALL, small_config
from mobilebert_conformance.weights import random_weights
from mobilebert_core.checkpoints import (
    open_checkpoint,
    save_checkpoint,
    sorted_table,
    sorted_table_writing,
)
from mobilebert_core.checkpoints.crc32c import crc32c
from mobilebert_core.checkpoints.files import ByteReader, map_file
from mobilebert_core.checkpoints.sorted_table import read_table
from mobilebert_core.checkpoints.sorted_table_writing import write_table
from mobilebert_core.checkpoints.store import DTYPES, stored_tensors
from mobilebert_core.checkpoints.tensor_bundle import read_bundle
from mobilebert_core.checkpoints.tensor_bundle_writing import write_bundle
from mobilebert_core.config import MobileBertConfig
from mobilebert_core.errors import ConfigError
from mobilebert_core.heads import HEADS

DATA = Path(__file__).resolve().parents[1] / "data" / "google_tf1"
PREFIX = "mobilebert_variables.ckpt"
INDEX, VALUES = f"{PREFIX}.index", f"{PREFIX}.data-00000-of-00001"
BITS = np.array([0x7FC00001, 0xFF800001, 0x80000000, 0x7F800000, 1], np.uint32)


def normal(*shape, dtype="float32"):
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(DTYPES[dtype])


VARIABLES = {
    **{f"z/{dtype}": normal(5, 3, dtype=dtype) for dtype in DTYPES},
    "NaN with a payload, signalling NaN, -0, infinity, subnormal": BITS.view(np.float32),
    "scalar": np.array(1.5, ml_dtypes.bfloat16),
    "cube": normal(3, 2, 4),
    "empty/rows": normal(0, 4),
    "empty/columns": normal(3, 0, 2),
    "sizes of two and three bytes": normal(130, 140),
}


def contents(arrays):
    return {name: (a.shape, a.dtype.name, a.tobytes()) for name, a in arrays.items()}


def write(folder, arrays):
    folder.mkdir(exist_ok=True)
    write_bundle(folder, stored_tensors(arrays), None)
    return folder / INDEX


def read(path):
    return {name: tensor.read() for name, tensor in read_bundle(path).items()}


def test_variables_return_bit_exact(tmp_path):
    assert contents(read(write(tmp_path, VARIABLES))) == contents(VARIABLES)


@pytest.mark.parametrize("name", ["opt", "teacher"])
def test_table_is_googles_byte_by_byte(tmp_path, name):
    write_table(tmp_path / INDEX, read_table(DATA / name / INDEX))
    assert (tmp_path / INDEX).read_bytes() == (DATA / name / INDEX).read_bytes()


@pytest.mark.parametrize("name", ["opt", "teacher"])
def test_messages_and_values_are_googles_byte_by_byte(tmp_path, name):
    entries, values = read_table(DATA / name / INDEX), (DATA / name / VALUES).read_bytes()
    variables = read_bundle(DATA / name / INDEX)
    del entries[b"global_step"], variables["global_step"]  # an integer, and the last by name
    write_bundle(tmp_path, variables, None)
    assert read_table(tmp_path / INDEX) == entries
    assert (tmp_path / VALUES).read_bytes() == values[:-8]


def test_file_that_names_the_latest_checkpoint_is_googles(tmp_path):
    write(tmp_path, VARIABLES)
    assert (tmp_path / "checkpoint").read_bytes() == (DATA / "opt" / "checkpoint").read_bytes()


def test_files_are_the_same_whatever_the_order(tmp_path):
    write(tmp_path / "a", VARIABLES)
    write(tmp_path / "b", dict(reversed(VARIABLES.items())))
    for name in (INDEX, VALUES):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_variables_are_read_one_at_a_time(tmp_path):
    variables, alive = tensors_that_live_alone(3)
    write_bundle(tmp_path, variables, None)
    assert len(alive) == 3


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=100)
@given(
    entries=st.dictionaries(
        st.one_of(st.binary(max_size=4), st.binary(max_size=300)), st.binary(max_size=300)
    ),
    block_size=st.integers(1, 2000),
)
def test_table_returns_whatever_its_entries_and_blocks(tmp_path, monkeypatch, entries, block_size):
    monkeypatch.setattr(sorted_table_writing, "_BLOCK_SIZE", block_size)
    write_table(tmp_path / INDEX, entries)
    assert read_table(tmp_path / INDEX) == entries


def index_keys(path):
    data = map_file(path)
    footer = ByteReader(data, path, len(data) - sorted_table.FOOTER_SIZE)
    *_, start, size = (footer.varint() for _ in range(4))
    return [key for key, _ in sorted_table._entries(sorted_table._block(data, path, start, size))]


def test_blocks_are_told_apart_by_the_short_keys_of_leveldb(tmp_path, monkeypatch):
    monkeypatch.setattr(sorted_table_writing, "_BLOCK_SIZE", 1)
    separators = {
        b"abc1": b"abd",
        b"abz": b"abz",  # its next is ac
        b"ac": b"ac",  # its next begins with it
        b"acd": b"b",
        b"\xff\xfe\x01": b"\xff\xff",  # the last
    }
    write_table(tmp_path / INDEX, dict.fromkeys(separators, b""))
    assert index_keys(tmp_path / INDEX) == list(separators.values())


def test_last_short_key_is_the_key_when_none_is_above_it(tmp_path):
    write_table(tmp_path / INDEX, {b"\xff\xff": b""})
    assert index_keys(tmp_path / INDEX) == [b"\xff\xff"]


@pytest.mark.parametrize(("block_size", "blocks"), [(22, 2), (23, 1)])
def test_block_is_closed_when_entries_and_restarts_reach_its_size(
    tmp_path, monkeypatch, block_size, blocks
):
    monkeypatch.setattr(sorted_table_writing, "_BLOCK_SIZE", block_size)
    write_table(tmp_path / INDEX, {b"a": bytes(10), b"b": b""})  # 3 + 1 + 10, 4 for restarts, 4
    assert len(index_keys(tmp_path / INDEX)) == blocks


def crc_by_table(data):
    table = list(range(256))
    for _ in range(8):
        table = [value >> 1 ^ (0x82F63B78 if value & 1 else 0) for value in table]
    register = 0xFFFFFFFF
    for byte in data:
        register = register >> 8 ^ table[(register ^ byte) & 0xFF]
    return register ^ 0xFFFFFFFF


@pytest.mark.parametrize("size", [32_767, 32_768, 32_769, 65_535, 98_304, 98_305])
def test_checksum_is_that_of_the_definition_around_the_size_of_a_chunk(size):
    data = np.random.default_rng(size).integers(0, 256, size, np.uint8)
    assert crc32c(data) == crc_by_table(data.tolist())


CONFIGS = {
    "default": {},
    "layer_norm": {"normalization_type": "layer_norm"},
    "no_trigram": {"trigram_input": False},
    "everything": {
        "pad_token_id": 7,
        "classifier_dropout": 0.25,
        "hidden_dropout_prob": 0.5,
        "problem_type": "regression",
        "initializer_range": 0.5,
    },
}


def make_config(name, head):
    if name in CONFIGS:
        return small_config(head, **CONFIGS[name])
    sizes = {key: size for key, size in SMALL.items() if key != "num_labels"}
    return MobileBertConfig.preset(name, **sizes)


@pytest.mark.parametrize("name", [*CONFIGS, "opt", "tiny", "teacher"])
@pytest.mark.parametrize("head", HEADS)
def test_saved_checkpoint_returns_bit_exact(tmp_path, head, name):
    config = make_config(name, head)
    weights = {n: a.astype(np.float32) for n, a in random_weights(config, head).items()}
    found = open_checkpoint(save_checkpoint(tmp_path, config, weights, head, format="google-tf1"))
    assert (found.format, found.head, found.notes) == ("google-tf1", head, ())
    assert found.config == config
    assert contents(found.weights) == contents(weights)


PREDICTIONS = {
    f"cls/predictions/{name}"
    for name in (
        "transform/dense/kernel",
        "transform/dense/bias",
        "transform/LayerNorm/gamma",
        "transform/LayerNorm/beta",
        "extra_output_weights",
        "output_bias",
    )
}
NEXT_SENTENCE = {"cls/seq_relationship/output_weights", "cls/seq_relationship/output_bias"}
CLASSIFIER = {"output_weights", "output_bias"}
OUTSIDE_BERT = {
    "base": set(),
    "pretraining": PREDICTIONS | NEXT_SENTENCE,
    "masked-lm": PREDICTIONS,
    "next-sentence-prediction": NEXT_SENTENCE,
    "sequence-classification": CLASSIFIER,
    "question-answering": {"cls/squad/output_weights", "cls/squad/output_bias"},
    "multiple-choice": CLASSIFIER,
    "token-classification": CLASSIFIER,
}


@pytest.mark.parametrize("head", HEADS)
def test_saved_checkpoint_has_googles_names_for_a_head(tmp_path, head):
    config = small_config(head)
    weights = random_weights(config, head)
    save_checkpoint(tmp_path, config, weights, head, format="google-tf1")
    names = read_bundle(tmp_path / INDEX).keys()
    assert {name for name in names if not name.startswith("bert/")} == OUTSIDE_BERT[head]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hidden_act": "gelu"}, "hidden_act is 'gelu'"),
        ({"layer_norm_eps": 1e-6}, "layer_norm_eps is 1e-06"),
        ({"trigram_padding": "masked"}, "trigram_padding is 'masked'"),
    ],
)
def test_configuration_that_google_cannot_express_is_refused(tmp_path, changes, message):
    config = small_config("base", **changes)
    with pytest.raises(ConfigError, match=message):
        save_checkpoint(
            tmp_path / "new", config, random_weights(config, "base"), "base", format="google-tf1"
        )
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def tf():
    return pytest.importorskip("tensorflow", reason="TensorFlow owns the format")


@pytest.fixture
def saved(tmp_path):
    config = small_config("pretraining")
    weights = {n: a.astype(np.float32) for n, a in random_weights(config, "pretraining").items()}
    save_checkpoint(tmp_path, config, weights, "pretraining", format="google-tf1")
    return tmp_path, read(tmp_path / INDEX)


SCATTERED = (number * 0x9E37_79B9_7F4A_7C15 % 2**64 for number in range(4000))
LONG_NAMES = {f"{number:016x}" * 10: normal(number % 3) for number in SCATTERED}
BYTES = {chr(0x7F + i % 900) * (i % 4 + 1) + str(i): normal(2) for i in range(500)}


@pytest.mark.parametrize(
    "variables", [VARIABLES, LONG_NAMES, BYTES], ids=["kinds", "several blocks", "beyond ASCII"]
)
def test_files_are_those_of_tensorflow_byte_by_byte(tf, tmp_path, variables):
    write(tmp_path, variables)
    names = sorted(variables)
    tf.raw_ops.SaveV2(
        prefix=str(tmp_path / "theirs"),
        tensor_names=names,
        shape_and_slices=[""] * len(names),
        tensors=[variables[name] for name in names],
    )
    for ours in (INDEX, VALUES):
        theirs = tmp_path / ours.replace(PREFIX, "theirs")
        assert (tmp_path / ours).read_bytes() == theirs.read_bytes()


def test_tensorflow_finds_the_latest_checkpoint_and_lists_it(tf, saved):
    folder, variables = saved
    prefix = tf.train.latest_checkpoint(str(folder))
    assert prefix == str(folder / PREFIX)
    expected = [(name, list(array.shape)) for name, array in sorted(variables.items())]
    assert tf.train.list_variables(prefix) == expected


def test_tensorflow_reads_every_bit(tf, tmp_path):
    write(tmp_path, VARIABLES)
    reader = tf.train.load_checkpoint(str(tmp_path / PREFIX))
    found = {name: np.asarray(reader.get_tensor(name)) for name in VARIABLES}
    assert contents(found) == contents(VARIABLES)


def test_tensorflow_restores_every_bit(tf, tmp_path):
    write(tmp_path, VARIABLES)
    found = tf.raw_ops.RestoreV2(
        prefix=str(tmp_path / PREFIX),
        tensor_names=list(VARIABLES),
        shape_and_slices=[""] * len(VARIABLES),
        dtypes=[array.dtype.name for array in VARIABLES.values()],
    )
    arrays = {name: tensor.numpy() for name, tensor in zip(VARIABLES, found, strict=True)}
    assert contents(arrays) == contents(VARIABLES)


def test_saver_of_tensorflow_1_restores_variables_of_these_names(tf, saved):
    folder, expected = saved
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        variables = {
            name: tf.compat.v1.get_variable(name, array.shape) for name, array in expected.items()
        }
        tf.compat.v1.train.Saver().restore(session, str(folder / PREFIX))
        found = session.run(variables)
    assert contents(found) == contents(expected)
