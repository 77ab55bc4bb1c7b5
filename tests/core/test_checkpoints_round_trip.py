"""What is saved comes back, bit for bit, and costs nothing until it is asked for."""

import json
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from safetensors import safe_open

from mobilebert_core import schema
from mobilebert_core.checkpoints import TensorStore, open_checkpoint, save_checkpoint
from mobilebert_core.config import MobileBertConfig
from mobilebert_core.errors import CheckpointError, ConfigError
from mobilebert_core.heads import HEADS

DTYPES = (np.float64, np.float32, np.float16, ml_dtypes.bfloat16)


@pytest.fixture
def config():
    return MobileBertConfig(
        vocab_size=53,
        hidden_size=22,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=17,
        max_position_embeddings=13,
        type_vocab_size=3,
        embedding_size=7,
        intra_bottleneck_size=10,
        num_feedforward_networks=2,
        num_labels=5,
    )


def random_weights(config, head, dtype=np.float32):
    generator = np.random.default_rng(0)
    specs = schema.owned_tensors(config, head)
    return {n: generator.standard_normal(spec.shape).astype(dtype) for n, spec in specs.items()}


def contents(weights):
    return {name: (a.shape, a.dtype.name, a.tobytes()) for name, a in weights.items()}


@pytest.mark.parametrize("head", HEADS)
def test_weights_return_bit_exact_for_every_head(tmp_path, config, head):
    weights = random_weights(config, head)
    checkpoint = open_checkpoint(save_checkpoint(tmp_path / "model", config, weights, head))
    assert contents(checkpoint.weights) == contents(weights)
    # transformers sizes this head's two outputs by the number of labels.
    outputs = {"num_labels": 2} if head == "question-answering" else {}
    assert checkpoint.config == config.replace(**outputs)
    assert checkpoint.head == head
    assert checkpoint.notes == ()


@pytest.mark.parametrize("dtype", DTYPES)
def test_weights_keep_their_dtype(tmp_path, config, dtype):
    weights = random_weights(config, "base", dtype)
    folder = save_checkpoint(tmp_path / "model", config, weights, "base")
    assert contents(open_checkpoint(folder).weights) == contents(weights)
    assert json.loads((folder / "config.json").read_text())["dtype"] == np.dtype(dtype).name


@pytest.mark.parametrize("dtype", DTYPES)
def test_weights_return_bit_exact_when_sharded(tmp_path, config, dtype):
    weights = random_weights(config, "pretraining", dtype)
    folder = save_checkpoint(
        tmp_path / "model", config, weights, "pretraining", max_shard_size=2000
    )
    assert len(list(folder.glob("model-*-of-*.safetensors"))) > 3
    assert contents(open_checkpoint(folder).weights) == contents(weights)


def test_shards_stay_below_the_limit_unless_one_tensor_is_larger(tmp_path, config):
    weights = random_weights(config, "base")
    folder = save_checkpoint(tmp_path / "model", config, weights, "base", max_shard_size=1000)
    index = json.loads((folder / "model.safetensors.index.json").read_text())
    assert index["metadata"]["total_size"] == sum(a.nbytes for a in weights.values())
    for shard in set(index["weight_map"].values()):
        names = [name for name, file in index["weight_map"].items() if file == shard]
        assert len(names) == 1 or sum(weights[f"mobilebert.{n}"].nbytes for n in names) <= 1000


def test_one_shard_is_written_without_index(tmp_path, config):
    weights = random_weights(config, "base")
    folder = save_checkpoint(tmp_path / "model", config, weights, "base", max_shard_size=10**9)
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "model.safetensors"]


def test_saving_twice_gives_the_same_bytes(tmp_path, config):
    weights = random_weights(config, "pretraining")
    first = save_checkpoint(tmp_path / "a", config, weights, "pretraining")
    second = save_checkpoint(tmp_path / "b", config, dict(reversed(weights.items())), "pretraining")
    for name in ("config.json", "model.safetensors"):
        assert (first / name).read_bytes() == (second / name).read_bytes()


def test_weights_that_are_not_contiguous_are_saved_by_value(tmp_path, config):
    weights = {n: np.asfortranarray(a) for n, a in random_weights(config, "base").items()}
    folder = save_checkpoint(tmp_path / "model", config, weights, "base")
    assert contents(open_checkpoint(folder).weights) == contents(weights)


def test_base_model_without_pooler_can_be_saved(tmp_path, config):
    weights = random_weights(config, "base")
    weights = {name: a for name, a in weights.items() if "pooler" not in name}
    folder = save_checkpoint(tmp_path / "model", config, weights, "base")
    assert contents(open_checkpoint(folder).weights) == contents(weights)


def test_a_store_can_be_saved_over_the_folder_it_reads(tmp_path, config):
    weights = random_weights(config, "masked-lm")
    folder = save_checkpoint(tmp_path / "model", config, weights, "masked-lm")
    store = open_checkpoint(folder).weights
    save_checkpoint(folder, config, store, "masked-lm", max_shard_size=4000)
    assert contents(open_checkpoint(folder).weights) == contents(weights)


def test_extra_files_appear_together_with_the_weights(tmp_path, config):
    seen = []

    def add_vocabulary(folder):
        seen.append((tmp_path / "model").exists())
        (folder / "vocab.txt").write_text("[PAD]\n")

    weights = random_weights(config, "base")
    save_checkpoint(tmp_path / "model", config, weights, "base", extra_files=add_vocabulary)
    assert seen == [False]
    assert (tmp_path / "model" / "vocab.txt").read_text() == "[PAD]\n"


def test_config_names_dtype_for_both_generations_of_transformers(tmp_path, config):
    folder = save_checkpoint(tmp_path / "m", config, random_weights(config, "base"), "base")
    values = json.loads((folder / "config.json").read_text())
    assert values["dtype"] == values["torch_dtype"] == "float32"
    assert values["architectures"] == ["MobileBertModel"]
    assert list(values) == sorted(values)


def test_file_names_the_format_that_transformers_4_asks_for(tmp_path, config):
    folder = save_checkpoint(tmp_path / "m", config, random_weights(config, "base"), "base")
    with safe_open(folder / "model.safetensors", framework="numpy") as file:
        assert file.metadata() == {"format": "pt"}


def test_shapes_and_dtypes_are_known_without_reading(tmp_path, config, monkeypatch):
    weights = random_weights(config, "base", ml_dtypes.bfloat16)
    store = open_checkpoint(save_checkpoint(tmp_path / "m", config, weights, "base")).weights
    monkeypatch.setattr(TensorStore, "__getitem__", lambda *_: pytest.fail("read a tensor"))
    assert {name: store.shape(name) for name in store} == {n: a.shape for n, a in weights.items()}
    assert {store.dtype(name) for name in store} == {np.dtype(ml_dtypes.bfloat16)}
    assert sum(store.nbytes(name) for name in store) == sum(a.nbytes for a in weights.values())
    assert "no such tensor" not in store
    assert schema.WORD_EMBEDDINGS in store


def test_each_access_gives_a_new_writable_array(tmp_path, config):
    weights = random_weights(config, "base")
    store = open_checkpoint(save_checkpoint(tmp_path / "m", config, weights, "base")).weights
    store[schema.WORD_EMBEDDINGS][:] = 0
    assert contents(store) == contents(weights)


def test_select_keeps_the_named_tensors_only(tmp_path, config):
    weights = random_weights(config, "base")
    store = open_checkpoint(save_checkpoint(tmp_path / "m", config, weights, "base")).weights
    assert list(store.select([schema.WORD_EMBEDDINGS])) == [schema.WORD_EMBEDDINGS]


def test_unknown_name_is_a_key_error(tmp_path, config):
    weights = random_weights(config, "base")
    store = open_checkpoint(save_checkpoint(tmp_path / "m", config, weights, "base")).weights
    with pytest.raises(KeyError):
        store["bert.embeddings"]


def test_saving_lists_everything_that_is_not_the_heads(tmp_path, config):
    weights = random_weights(config, "masked-lm")
    del weights[schema.WORD_EMBEDDINGS]
    weights["qa_outputs.bias"] = np.zeros(2, np.float32)
    with pytest.raises(CheckpointError, match=r"(?s)2 faults.*missing.*word_emb.*unexpected.*qa"):
        save_checkpoint(tmp_path / "model", config, weights, "masked-lm")
    assert list(tmp_path.iterdir()) == []


def test_saving_refuses_integers(tmp_path, config):
    weights = random_weights(config, "base")
    weights[schema.WORD_EMBEDDINGS] = weights[schema.WORD_EMBEDDINGS].astype(np.int64)
    with pytest.raises(CheckpointError, match=r"word_embeddings.weight is int64, expected one of"):
        save_checkpoint(tmp_path / "model", config, weights, "base")


@pytest.mark.parametrize("dtype", [">f4", "complex64"])
def test_saving_refuses_dtypes_that_files_cannot_hold(tmp_path, config, dtype):
    weights = {n: a.astype(dtype) for n, a in random_weights(config, "base").items()}
    with pytest.raises(CheckpointError, match="expected one of float64"):
        save_checkpoint(tmp_path / "model", config, weights, "base")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"format": "npz", "max_shard_size": 9}, "npz keeps its weights in one file"),
        ({"format": "pickle"}, "No format is called 'pickle'"),
        ({"max_shard_size": 0}, "max_shard_size is 0"),
    ],
)
def test_saving_refuses_impossible_arguments(tmp_path, config, arguments, message):
    weights = random_weights(config, "base")
    with pytest.raises(CheckpointError, match=message):
        save_checkpoint(tmp_path / "model", config, weights, "base", **arguments)


def test_saving_refuses_an_unknown_head(tmp_path, config):
    with pytest.raises(ConfigError, match="No head is called 'chat'"):
        save_checkpoint(tmp_path / "model", config, {}, "chat")


@pytest.mark.slow
def test_reading_the_default_model_needs_one_copy_at_a_time(tmp_path):
    status = Path("/proc/self/status")
    if not status.exists():
        pytest.skip("this system does not tell how much memory a process has of its own")

    def anonymous_bytes():
        (line,) = (line for line in status.read_text().splitlines() if "RssAnon" in line)
        return int(line.split()[1]) * 1024

    config = MobileBertConfig()
    weights = random_weights(config, "pretraining")
    largest = max(array.nbytes for array in weights.values())
    folder = save_checkpoint(tmp_path / "model", config, weights, "pretraining")
    del weights
    before = anonymous_bytes()
    store = open_checkpoint(folder).weights
    peaks = []
    for name in store:
        array = store[name]
        peaks.append(anonymous_bytes() - before)
        del array
    assert max(peaks) < 2.5 * largest
