"""Files go to and fro between this library, transformers and PyTorch."""

import json

import pytest

from mobilebert_core import schema
from mobilebert_core.checkpoints import open_checkpoint, save_checkpoint
from mobilebert_core.config import MobileBertConfig
from mobilebert_core.heads import HEADS

torch = pytest.importorskip("torch", reason="PyTorch writes the files that are read here")
transformers = pytest.importorskip("transformers", reason="the files of transformers are read here")

SIZES = {
    "vocab_size": 53,
    "hidden_size": 22,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 17,
    "max_position_embeddings": 13,
    "type_vocab_size": 3,
    "embedding_size": 7,
    "intra_bottleneck_size": 10,
    "num_feedforward_networks": 3,
}
VARIANTS = {
    "default": {},
    "opt": {"classifier_activation": False},
    "tiny": {"use_bottleneck_attention": True, "key_query_shared_bottleneck": False},
    "no bottleneck": {"use_bottleneck": False, "key_query_shared_bottleneck": False},
    "layer norm": {"normalization_type": "layer_norm", "hidden_act": "gelu"},
    "no trigram": {"trigram_input": False},
    "labels": {"num_labels": 5},
}


@pytest.fixture(autouse=True)
def quiet():
    transformers.utils.logging.disable_progress_bar()


def make_model(head, **changes):
    torch.manual_seed(0)
    config = transformers.MobileBertConfig(**SIZES, **changes)
    model = getattr(transformers, HEADS[head].class_name)(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_()
    return model


def raw_bytes(tensor):
    return tensor.detach().contiguous().flatten().view(torch.uint8).numpy().tobytes()


def assert_has_weights_of(checkpoint, model, head):
    state = model.state_dict()
    expected = schema.owned_tensors(checkpoint.config, head)
    assert list(checkpoint.weights) == list(expected)
    for name, array in checkpoint.weights.items():
        tensor = state[name if name in state else name.removeprefix("mobilebert.")]
        assert array.shape == tuple(tensor.shape)
        assert array.tobytes() == raw_bytes(tensor), name


@pytest.mark.parametrize("shard_size", ["5GB", "10KB"])
@pytest.mark.parametrize("head", HEADS)
def test_files_of_transformers_are_read(tmp_path, head, shard_size):
    model = make_model(head)
    model.save_pretrained(tmp_path, max_shard_size=shard_size)
    checkpoint = open_checkpoint(tmp_path)
    assert checkpoint.head == head
    assert checkpoint.config == MobileBertConfig(**SIZES)
    assert_has_weights_of(checkpoint, model, head)


@pytest.mark.parametrize("variant", VARIANTS)
def test_files_of_transformers_are_read_for_every_variant(tmp_path, variant):
    model = make_model("sequence-classification", **VARIANTS[variant])
    model.save_pretrained(tmp_path)
    checkpoint = open_checkpoint(tmp_path)
    assert checkpoint.config == MobileBertConfig(**SIZES).replace(**VARIANTS[variant])
    assert_has_weights_of(checkpoint, model, "sequence-classification")


@pytest.mark.parametrize("zipped", [True, False], ids=["archive", "legacy"])
@pytest.mark.parametrize("head", HEADS)
def test_files_of_torch_save_are_read(tmp_path, head, zipped):
    model = make_model(head)
    model.config.save_pretrained(tmp_path)
    path = tmp_path / "pytorch_model.bin"
    torch.save(model.state_dict(), path, _use_new_zipfile_serialization=zipped)
    checkpoint = open_checkpoint(tmp_path)
    assert checkpoint.format == "torch-bin"
    assert_has_weights_of(checkpoint, model, head)


@pytest.mark.parametrize("zipped", [True, False], ids=["archive", "legacy"])
@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16"])
def test_dtypes_of_torch_save_are_kept(tmp_path, dtype, zipped):
    model = make_model("base").to(getattr(torch, dtype))
    model.config.save_pretrained(tmp_path)
    path = tmp_path / "pytorch_model.bin"
    torch.save(model.state_dict(), path, _use_new_zipfile_serialization=zipped)
    checkpoint = open_checkpoint(tmp_path)
    assert {checkpoint.weights.dtype(name).name for name in checkpoint.weights} == {dtype}
    assert_has_weights_of(checkpoint, model, "base")


@pytest.mark.parametrize("zipped", [True, False], ids=["archive", "legacy"])
def test_views_and_parameters_of_torch_save_are_read(tmp_path, zipped):
    model = make_model("base")
    model.config.save_pretrained(tmp_path)
    state = dict(model.named_parameters())
    everything = torch.cat([tensor.detach().flatten() for tensor in state.values()])
    views, start = {}, 0
    for name, tensor in state.items():
        flat = everything[start : start + tensor.numel()]
        views[name] = flat.view(tensor.shape)
        start += tensor.numel()
    name = "embeddings.word_embeddings.weight"
    views[name] = torch.nn.Parameter(state[name].detach().t().contiguous().t())
    assert not views[name].is_contiguous()
    path = tmp_path / "pytorch_model.bin"
    torch.save(views, path, _use_new_zipfile_serialization=zipped)
    assert_has_weights_of(open_checkpoint(tmp_path), model, "base")


def test_sharded_files_of_torch_are_read(tmp_path):
    model = make_model("masked-lm")
    model.config.save_pretrained(tmp_path)
    state = list(model.state_dict().items())
    halves = {"pytorch_model-00001-of-00002.bin": state[:40]}
    halves["pytorch_model-00002-of-00002.bin"] = state[40:]
    for file, half in halves.items():
        torch.save(dict(half), tmp_path / file)
    weight_map = {name: file for file, half in halves.items() for name, _ in half}
    text = json.dumps({"weight_map": weight_map})
    (tmp_path / "pytorch_model.bin.index.json").write_text(text)
    assert_has_weights_of(open_checkpoint(tmp_path), model, "masked-lm")


@pytest.mark.parametrize("limit", [None, 10_000])
@pytest.mark.parametrize("head", HEADS)
def test_our_files_are_read_by_transformers(tmp_path, head, limit):
    model = make_model(head)
    model.save_pretrained(tmp_path / "theirs")
    checkpoint = open_checkpoint(tmp_path / "theirs")
    save_checkpoint(
        tmp_path / "ours", checkpoint.config, checkpoint.weights, head, max_shard_size=limit
    )
    loaded, information = type(model).from_pretrained(tmp_path / "ours", output_loading_info=True)
    assert not any(information.values()), information
    state = loaded.state_dict()
    assert state.keys() == model.state_dict().keys()
    for name, tensor in model.state_dict().items():
        assert raw_bytes(state[name]) == raw_bytes(tensor), name


@pytest.mark.parametrize("dtype", ["float64", "float16", "bfloat16"])
def test_our_dtype_is_that_of_transformers(tmp_path, dtype):
    make_model("base").to(getattr(torch, dtype)).save_pretrained(tmp_path / "theirs")
    checkpoint = open_checkpoint(tmp_path / "theirs")
    save_checkpoint(tmp_path / "ours", checkpoint.config, checkpoint.weights, "base")
    loaded = transformers.MobileBertModel.from_pretrained(tmp_path / "ours")
    assert loaded.dtype == getattr(torch, dtype)


@pytest.mark.parametrize("variant", VARIANTS)
def test_our_files_of_every_variant_are_read_by_transformers(tmp_path, variant):
    head = "token-classification"
    model = make_model(head, **VARIANTS[variant])
    model.save_pretrained(tmp_path / "theirs")
    checkpoint = open_checkpoint(tmp_path / "theirs")
    save_checkpoint(tmp_path / "ours", checkpoint.config, checkpoint.weights, head)
    loaded, information = type(model).from_pretrained(tmp_path / "ours", output_loading_info=True)
    assert not any(information.values()), information
    assert loaded.config.to_dict() | {"transformers_version": 0, "_name_or_path": 0} == (
        model.config.to_dict() | {"transformers_version": 0, "_name_or_path": 0}
    )
