"""Which checkpoint a folder holds, and clear words when it holds none or several."""

import json

import numpy as np
import pytest

from mobilebert_conformance.cases import tiny_config
from mobilebert_core import schema
from mobilebert_core.checkpoints import open_checkpoint, save_checkpoint
from mobilebert_core.errors import CheckpointError, ConfigError


@pytest.fixture
def folder(tmp_path):
    config = tiny_config()
    specs = schema.owned_tensors(config, "base")
    weights = {name: np.ones(spec.shape, np.float32) for name, spec in specs.items()}
    return save_checkpoint(tmp_path / "model", config, weights, "base")


def set_config(folder, **changes):
    values = json.loads((folder / "config.json").read_text()) | changes
    values = {key: value for key, value in values.items() if value is not None}
    (folder / "config.json").write_text(json.dumps(values))


@pytest.mark.parametrize("as_type", [str, lambda path: path])
def test_folder_is_opened_by_string_or_path(folder, as_type):
    checkpoint = open_checkpoint(as_type(folder))
    assert (checkpoint.format, checkpoint.path) == ("safetensors", folder)


def test_weights_file_is_opened_with_the_config_beside_it(folder):
    (folder / "model.safetensors").rename(folder / "best.safetensors")
    checkpoint = open_checkpoint(folder / "best.safetensors")
    assert (checkpoint.format, checkpoint.path) == ("safetensors", folder)


def test_file_of_an_unknown_name_is_opened_when_the_format_is_given(folder):
    (folder / "model.safetensors").rename(folder / "weights")
    with pytest.raises(CheckpointError, match="of no known format"):
        open_checkpoint(folder / "weights")
    assert open_checkpoint(folder / "weights", format="safetensors").head == "base"


def test_safetensors_is_taken_where_both_formats_of_pytorch_are(folder):
    (folder / "pytorch_model.bin").write_bytes(b"never opened")
    assert open_checkpoint(folder).format == "safetensors"


def test_format_can_be_forced(folder):
    (folder / "pytorch_model.bin").write_bytes(b"opened")
    with pytest.raises(CheckpointError, match=r"pytorch_model.bin is damaged"):
        open_checkpoint(folder, format="torch-bin")


def test_unknown_format_is_an_error(folder):
    with pytest.raises(CheckpointError, match="No format is called 'onnx'; expected one of safet"):
        open_checkpoint(folder, format="onnx")


def test_folder_with_two_checkpoints_is_an_error_that_names_both(folder):
    (folder / "mobilebert_variables.ckpt.index").write_bytes(b"")
    with pytest.raises(
        CheckpointError,
        match=r"model.safetensors \(safetensors\), mobilebert_variables.ckpt.index \(google-tf1\)",
    ):
        open_checkpoint(folder)


def test_single_file_beside_an_index_is_an_error(folder):
    (folder / "model.safetensors.index.json").write_text("{}")
    with pytest.raises(CheckpointError, match="holds several checkpoints"):
        open_checkpoint(folder)


def test_absent_folder_is_an_error(tmp_path):
    with pytest.raises(CheckpointError, match="nowhere does not exist, expected a checkpoint"):
        open_checkpoint(tmp_path / "nowhere")


def test_absent_folder_mentions_what_an_interrupted_save_left(folder):
    backup = folder.with_name("model.mobilebert-backup-0123abcd")
    folder.rename(backup)
    with pytest.raises(CheckpointError, match=r"model.mobilebert-backup-0123abcd: rename it back"):
        open_checkpoint(folder)


def test_folder_without_weights_says_what_it_looked_for(folder):
    (folder / "model.safetensors").unlink()
    with pytest.raises(
        CheckpointError, match=r"no weights; looked for model.safetensors, .*pytorch_model.bin,"
    ):
        open_checkpoint(folder)


def test_folder_without_config_says_what_it_looked_for(folder):
    (folder / "config.json").unlink()
    with pytest.raises(CheckpointError, match=r"looked for config.json and bert_config.json"):
        open_checkpoint(folder)


def test_dialect_is_passed_on_to_the_configuration(folder):
    set_config(folder, model_type=None, hidden_act="gelu")
    with pytest.raises(ConfigError, match="means different models"):
        open_checkpoint(folder)
    assert open_checkpoint(folder, dialect="transformers").config.hidden_act == "gelu"
    assert open_checkpoint(folder, dialect="google").config.hidden_act == "gelu_tanh"


def test_another_models_folder_is_an_error(folder):
    set_config(folder, model_type="bert")
    with pytest.raises(ConfigError, match="model_type 'bert'"):
        open_checkpoint(folder)


@pytest.mark.parametrize("architectures", [None, [], ["BertModel"], "MobileBertModel", [3], 5])
def test_head_is_none_when_the_config_names_none(folder, architectures):
    set_config(folder, architectures=architectures)
    assert open_checkpoint(folder).head is None


@pytest.mark.parametrize("architecture", ["MobileBertForMaskedLM", "TFMobileBertForMaskedLM"])
def test_head_is_that_of_the_architecture(folder, architecture):
    set_config(folder, architectures=[architecture])
    assert open_checkpoint(folder).head == "masked-lm"
