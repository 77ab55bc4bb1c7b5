"""Checkpoints that travel with the library: names, what comes first, and errors that help."""

import json
from pathlib import Path

import pytest

import mobilebert
from mobilebert_conformance.cases import small_config
from mobilebert_core import packaged
from mobilebert_core.checkpoints import open_checkpoint
from mobilebert_core.config import MobileBertConfig
from mobilebert_core.errors import CheckpointError, TokenizerError
from mobilebert_core.inspection import inspect_checkpoint

FILES = {"config.json", "model.safetensors", "vocab.txt", "tokenizer_config.json"}
ENCODER_FIELDS = (
    "vocab_size",
    "hidden_size",
    "embedding_size",
    "intra_bottleneck_size",
    "intermediate_size",
    "num_attention_heads",
    "num_hidden_layers",
    "num_feedforward_networks",
    "max_position_embeddings",
    "classifier_activation",
)


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def folder_of(name: str) -> Path:
    found = packaged.find(name)
    assert found is not None
    return found


# What is packaged ---------------------------------------------------------------------------------


def test_default_is_the_first_of_the_names() -> None:
    assert packaged.names()[0] == packaged.DEFAULT


@pytest.mark.parametrize("name", packaged.names())
def test_packaged_folder_is_whole_and_small(name: str) -> None:
    sizes = {path.name: path.stat().st_size for path in folder_of(name).iterdir()}
    assert sizes.keys() >= FILES
    assert sum(sizes.values()) < 6_200_000


@pytest.mark.parametrize("name", packaged.names())
def test_packaged_weights_are_float16(name: str) -> None:
    store = open_checkpoint(folder_of(name)).weights
    assert {str(store.dtype(each)) for each in store} == {"float16"}


@pytest.mark.parametrize("name", packaged.names())
def test_packaged_encoder_is_that_of_the_preset(name: str) -> None:
    config = inspect_checkpoint(name).config
    expected = MobileBertConfig.preset("nano")
    assert [getattr(config, each) for each in ENCODER_FIELDS] == [
        getattr(expected, each) for each in ENCODER_FIELDS
    ]


@pytest.mark.parametrize("name", packaged.names())
def test_packaged_tokenizer_fits_its_model(name: str) -> None:
    tokenizer, config = mobilebert.load_tokenizer(name), inspect_checkpoint(name).config
    assert len(tokenizer) == config.vocab_size
    assert tokenizer.model_max_length == config.max_position_embeddings
    assert tokenizer.pad_token_id == config.pad_token_id


@pytest.mark.parametrize("name", packaged.names())
def test_packaged_vocabulary_is_that_of_the_default(name: str) -> None:
    assert mobilebert.load_tokenizer(name).get_vocab() == mobilebert.load_tokenizer().get_vocab()


def test_vocabulary_of_the_published_checkpoints_has_a_name() -> None:
    tokenizer = mobilebert.load_tokenizer("mobilebert-uncased")
    assert tokenizer("Small and fast.")["input_ids"] == [101, 2235, 1998, 3435, 1012, 102]


# What a name means --------------------------------------------------------------------------------


def test_default_model_is_loaded_when_no_source_is_named() -> None:
    model = mobilebert.load(backend="numpy")
    assert model.head == "masked-lm"
    assert model.config.vocab_size == len(mobilebert.load_tokenizer())


def test_default_model_computes_in_float32_though_stored_in_float16() -> None:
    output = mobilebert.load(backend="numpy")(
        **mobilebert.load_tokenizer()("It was a dark [MASK].", return_tensors="np")
    )
    assert output.logits.dtype == "float32"


def test_class_loads_a_packaged_name() -> None:
    model = mobilebert.NumpyMobileBertForMaskedLM.from_pretrained("mobilebert-nano")
    assert model.config == inspect_checkpoint("mobilebert-nano").config


def test_local_folder_comes_first_when_it_has_a_packaged_name(elsewhere: Path) -> None:
    made = mobilebert.create(small_config(), "masked-lm", "numpy")
    mobilebert.save(made, elsewhere / packaged.DEFAULT)
    assert mobilebert.load(packaged.DEFAULT, backend="numpy").config == small_config()


def test_default_stays_packaged_when_a_local_folder_has_its_name(elsewhere: Path) -> None:
    (elsewhere / packaged.DEFAULT).mkdir()
    assert mobilebert.load(backend="numpy").config.vocab_size == 8000
    assert mobilebert.load_tokenizer().vocab_size == 8000
    assert inspect_checkpoint().config.vocab_size == 8000


def test_new_folder_is_a_name_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packaged, "_FOLDER", tmp_path)
    for name in ("mobilebert-abc", packaged.DEFAULT):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(json.dumps({"model_type": "mobilebert"}))
    (tmp_path / "no-checkpoint").mkdir()
    assert packaged.names() == (packaged.DEFAULT, "mobilebert-abc")
    assert packaged.find("mobilebert-abc") == tmp_path / "mobilebert-abc"
    assert packaged.find("no-checkpoint") is None


def test_conversion_of_a_packaged_model_takes_its_tokenizer_along(tmp_path: Path) -> None:
    report = mobilebert.convert("mobilebert-nano", tmp_path / "new", dtype="float32")
    assert "vocab.txt" in report.files
    assert mobilebert.load_tokenizer(tmp_path / "new").vocab_size == 8000


def test_diff_takes_packaged_names() -> None:
    assert mobilebert.diff("mobilebert-nano", "mobilebert-nano").same


# Errors -------------------------------------------------------------------------------------------


def test_closest_name_is_told_when_none_fits() -> None:
    assert "did you mean 'mobilebert-nano'?" in packaged.hint("mobilebert_nano")
    assert "did you mean 'mobilebert-uncased'?" in packaged.hint("moblebert-uncased")


def test_packaged_names_are_told_when_a_source_is_no_name_at_all() -> None:
    with pytest.raises(CheckpointError, match=r"does not exist.*packaged.*'mobilebert-nano'"):
        mobilebert.load("no such model", backend="numpy")


def test_packaged_names_are_not_told_when_a_path_is_absent() -> None:
    with pytest.raises(CheckpointError) as raised:
        mobilebert.load("./no/such/folder", backend="numpy")
    assert "packaged" not in str(raised.value)


def test_weights_of_the_packaged_vocabulary_are_refused_with_where_they_are() -> None:
    with pytest.raises(CheckpointError, match=r"only the vocabulary.*google/mobilebert-uncased"):
        mobilebert.load("mobilebert-uncased", backend="numpy")


def test_revision_of_a_packaged_model_is_refused() -> None:
    with pytest.raises(CheckpointError, match=r"'main'.*packaged.*leave revision out"):
        mobilebert.load("mobilebert-nano", backend="numpy", revision="main")


def test_format_that_a_packaged_model_has_not_is_refused() -> None:
    with pytest.raises(CheckpointError, match=r"mobilebert-nano holds no weights"):
        mobilebert.load("mobilebert-nano", backend="numpy", format="torch-bin")


def test_unknown_tokenizer_raises_its_own_error() -> None:
    with pytest.raises(TokenizerError, match="packaged"):
        mobilebert.load_tokenizer("no such tokenizer")
