"""Names in files become canonical names; what is unknown or contradictory is an error."""

import json

import numpy as np
import pytest
from safetensors.numpy import save_file

from mobilebert_core import schema
from mobilebert_core.checkpoints import open_checkpoint
from mobilebert_core.checkpoints.google_tf1 import google_naming
from mobilebert_core.config import MobileBertConfig
from mobilebert_core.errors import CheckpointError
from mobilebert_core.heads import HEADS

DECODER = "cls.predictions.decoder.weight"
DECODER_BIAS = "cls.predictions.decoder.bias"


@pytest.fixture
def config():
    return MobileBertConfig(
        vocab_size=53,
        hidden_size=22,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=17,
        max_position_embeddings=13,
        embedding_size=7,
        intra_bottleneck_size=10,
        num_feedforward_networks=2,
    )


@pytest.fixture
def weights(config):
    generator = np.random.default_rng(1)
    specs = schema.owned_tensors(config, "pretraining")
    return {n: generator.standard_normal(s.shape, np.float32) for n, s in specs.items()}


@pytest.fixture
def write(tmp_path, config):
    def write_files(tensors, config=config):
        tensors = {name: np.ascontiguousarray(array) for name, array in tensors.items()}
        (tmp_path / "config.json").write_text(json.dumps(config.to_dict()))
        save_file(tensors, tmp_path / "model.safetensors")
        return tmp_path

    return write_files


def contents(weights):
    return {name: (a.shape, a.dtype.name, a.tobytes()) for name, a in weights.items()}


def test_names_without_prefix_get_it(write, config):
    specs = schema.owned_tensors(config, "base")
    weights = {name: np.ones(spec.shape, np.float32) for name, spec in specs.items()}
    bare = {name.removeprefix("mobilebert."): array for name, array in weights.items()}
    assert contents(open_checkpoint(write(bare)).weights) == contents(weights)


def test_old_gamma_and_beta_are_weight_and_bias(write, weights):
    old = {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace(
            "LayerNorm.bias", "LayerNorm.beta"
        ): array
        for name, array in weights.items()
    }
    assert old.keys() != weights.keys()
    assert contents(open_checkpoint(write(old)).weights) == contents(weights)


def test_position_ids_are_ignored_with_a_note(write, weights):
    extra = {"mobilebert.embeddings.position_ids": np.arange(13)}
    checkpoint = open_checkpoint(write(weights | extra))
    assert contents(checkpoint.weights) == contents(weights)
    assert checkpoint.notes == ("Ignored 1 tensor of position ids, which count from 0.",)


def test_unused_tensors_are_ignored_with_a_note(write, config, weights):
    config = config.replace(key_query_shared_bottleneck=True, use_bottleneck_attention=True)
    specs = schema.owned_tensors(config, "masked-lm")
    weights = {name: np.ones(spec.shape, np.float32) for name, spec in specs.items()}
    unused = {n: np.ones(s.shape) for n, s in schema.unused_tensors(config, "masked-lm").items()}
    checkpoint = open_checkpoint(write(weights | unused, config))
    assert contents(checkpoint.weights) == contents(weights)
    assert checkpoint.notes == ("Ignored 4 tensors that this configuration never uses.",)


def test_tied_copies_that_agree_are_dropped(write, weights):
    copies = {
        DECODER: weights[schema.WORD_EMBEDDINGS],
        DECODER_BIAS: weights["cls.predictions.bias"],
    }
    assert contents(open_checkpoint(write(weights | copies)).weights) == contents(weights)


def test_tied_copies_stand_in_for_their_owners(write, weights):
    moved = dict(weights)
    moved[DECODER] = moved.pop(schema.WORD_EMBEDDINGS)
    moved[DECODER_BIAS] = moved.pop(schema.PREDICTION_BIAS)
    assert contents(open_checkpoint(write(moved)).weights) == contents(weights)


@pytest.mark.parametrize("change", ["value", "sign of zero", "shape", "dtype"])
def test_tied_copies_that_disagree_are_an_error(write, weights, change):
    weights[schema.PREDICTION_BIAS][0] = 0.0
    copy = weights[schema.PREDICTION_BIAS].copy()
    if change == "value":
        copy[-1] += 1
    elif change == "sign of zero":
        copy[0] = -0.0
    elif change == "shape":
        copy = copy[None]
    else:
        copy = copy.astype(np.float64)
    with pytest.raises(
        CheckpointError, match=f"{DECODER_BIAS} and {schema.PREDICTION_BIAS} differ"
    ):
        open_checkpoint(write(weights | {DECODER_BIAS: copy}))


def test_all_unknown_tensors_are_listed(write, weights):
    unknown = {"bert.pooler.dense.weight": np.ones((2, 3)), "lm_head.weight": np.ones(5)}
    with pytest.raises(
        CheckpointError, match=r"(?s)2 faults.*bert.pooler.dense.weight \(2, 3\).*lm_head.weight"
    ):
        open_checkpoint(write(weights | unknown))


def test_layers_beyond_the_configuration_are_unknown(write, weights):
    extra = {"mobilebert.encoder.layer.1.output.dense.bias": np.ones(10)}
    with pytest.raises(CheckpointError, match=r"unknown: mobilebert.encoder.layer.1"):
        open_checkpoint(write(weights | extra))


def test_tensors_of_every_head_stay_in_the_store(write, weights):
    others = {"classifier.bias": np.ones(2, np.float32), "qa_outputs.bias": np.ones(2, np.float32)}
    assert open_checkpoint(write(weights | others)).weights.keys() == (weights | others).keys()


def test_two_names_for_one_tensor_are_an_error(write, weights):
    twice = {"embeddings.LayerNorm.gamma": weights["mobilebert.embeddings.LayerNorm.weight"]}
    with pytest.raises(CheckpointError, match=r"twice: .*LayerNorm.* stands for mobilebert.emb"):
        open_checkpoint(write(weights | twice))


def test_weights_that_are_integers_are_an_error(write, weights):
    weights[schema.PREDICTION_BIAS] = np.arange(53)
    with pytest.raises(CheckpointError, match=r"dtype: cls.predictions.bias is I64, expected"):
        open_checkpoint(write(weights))


def test_store_is_in_the_order_of_the_computation(write, config, weights):
    store = open_checkpoint(write(dict(sorted(weights.items())))).weights
    assert list(store) == list(weights)


def every_owned_name(config):
    return {
        name: spec for head in HEADS for name, spec in schema.owned_tensors(config, head).items()
    }


@pytest.mark.parametrize("preset", ["default", "opt", "tiny", "teacher"])
def test_google_table_has_every_owned_tensor_under_a_name_of_its_own(preset):
    config = MobileBertConfig.preset(preset, num_hidden_layers=2)
    place = google_naming(config).place
    names = every_owned_name(config)
    assert len({place(name, "base").name for name in names}) == len(names)


def test_google_table_transposes_kernels_only(config):
    for name, spec in every_owned_name(config).items():
        place = google_naming(config).place(name, "base")
        kernel = place.name.endswith(("/kernel", "extra_output_weights"))
        assert place.transposed == kernel, name
        assert len(spec.shape) == 2 or not place.transposed
