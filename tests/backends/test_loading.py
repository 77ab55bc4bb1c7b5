"""Loading, creating and saving through every backend: checkpoint -> model -> checkpoint."""

import warnings
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import save_file

import mobilebert
from metrics import output_errors
from mobilebert_conformance.cases import small_config
from mobilebert_conformance.weights import random_weights
from mobilebert_core.backend import Feature
from mobilebert_core.checkpoints import open_checkpoint, save_checkpoint
from mobilebert_core.errors import (
    CheckpointError,
    ConfigError,
    MobileBertWarning,
    UnknownBackendError,
)
from mobilebert_core.heads import HEADS
from mobilebert_core.initialization import initial_weights
from mobilebert_core.schema import owned_tensors
from models import random_batch


def write(folder: Path, head: str, **changes: Any) -> dict[str, Any]:
    """A checkpoint with random float64 weights, which are returned."""
    config = small_config(**changes)
    weights = random_weights(config, head)
    save_checkpoint(folder, config, weights, head)
    return weights


def same(one: dict[str, Any], other: dict[str, Any], names: Any = None) -> bool:
    """Whether tensors are the same bit for bit."""
    return all(one[name].tobytes() == other[name].tobytes() for name in (names or other))


@pytest.mark.parametrize("head", HEADS)
def test_head_and_weights_come_from_the_checkpoint(head: str, backend: Any, tmp_path: Path) -> None:
    weights = write(tmp_path, head)

    model = mobilebert.load(tmp_path, backend=backend.name)

    assert model.head == head
    assert same(backend.weights(model), weights)


@pytest.mark.parametrize("head", HEADS)
def test_saved_model_loads_as_it_was(head: str, backend: Any, tmp_path: Path) -> None:
    config = small_config(trigram_padding="masked", id2label={0: "no", 1: "yes"}, num_labels=2)
    model = mobilebert.create(config, head, backend.name, seed=5)

    mobilebert.save(model, tmp_path / "model")
    again = mobilebert.load(tmp_path / "model", backend=backend.name)

    assert again.config == config
    assert same(backend.weights(again), backend.weights(model))


@pytest.mark.parametrize("head", HEADS)
def test_fresh_weights_are_those_of_the_seed(head: str, backend: Any) -> None:
    config = small_config()

    model = mobilebert.create(config, head, backend.name, seed=11)

    assert same(backend.weights(model), initial_weights(config, head, 11))


@pytest.mark.parametrize("head", ["masked-lm", "next-sentence-prediction", "base"])
def test_pretraining_checkpoint_lends_its_parts(head: str, backend: Any, tmp_path: Path) -> None:
    weights = write(tmp_path, "pretraining")

    model = mobilebert.load(tmp_path, head, backend.name)

    assert same(backend.weights(model), weights, owned_tensors(model.config, head))


def test_fresh_head_is_announced_and_seeded(backend: Any, tmp_path: Path) -> None:
    weights = write(tmp_path, "pretraining")

    with pytest.warns(MobileBertWarning, match=r"classifier\.weight.*fresh \(seed 9\)"):
        model = mobilebert.load(
            tmp_path, "sequence-classification", backend.name, seed=9, num_labels=3
        )

    own = backend.weights(model)
    config = small_config(num_labels=3)
    expected = initial_weights(config, "sequence-classification", 9)["classifier.weight"]
    assert own["classifier.weight"].tobytes() == expected.astype(np.float64).tobytes()
    assert same(own, weights, owned_tensors(config, "base"))


def test_base_model_without_pooler_has_none(backend: Any, tmp_path: Path) -> None:
    config = small_config()
    weights = random_weights(config, "base")
    kept = {name: each for name, each in weights.items() if "pooler" not in name}
    save_checkpoint(tmp_path, config, kept, "base")

    model = mobilebert.load(tmp_path, backend=backend.name)

    assert backend.run(model, {"input_ids": [[1, 2]]}).pooler_output is None
    assert same(backend.weights(model), kept)


def test_masked_lm_checkpoint_gives_the_base_model_a_fresh_pooler(
    backend: Any, tmp_path: Path
) -> None:
    write(tmp_path, "masked-lm")

    with pytest.warns(MobileBertWarning, match=r"pooler\.dense\.weight"):
        model = mobilebert.load(tmp_path, "base", backend.name)

    assert backend.run(model, {"input_ids": [[1, 2]]}).pooler_output.shape == (1, 24)


def test_missing_tensor_is_an_error_when_the_head_is_the_same(backend: Any, tmp_path: Path) -> None:
    weights = write(tmp_path, "token-classification")
    del weights["classifier.bias"], weights["mobilebert.embeddings.LayerNorm.weight"]
    save_file(weights, tmp_path / "model.safetensors")

    with pytest.raises(
        CheckpointError, match=r"(?s)2 faults.*missing: mobile.*missing: classifier"
    ):
        mobilebert.load(tmp_path, backend=backend.name)


def test_other_label_count_is_an_error_that_says_what_to_do(backend: Any, tmp_path: Path) -> None:
    write(tmp_path, "sequence-classification")

    with pytest.raises(
        CheckpointError,
        match=r"(?s)classifier\.weight is \(5, 24\), expected \(3, 24\).*ignore_mismatched_sizes",
    ):
        mobilebert.load(tmp_path, backend=backend.name, num_labels=3)


def test_other_label_count_is_fresh_when_asked_for(backend: Any, tmp_path: Path) -> None:
    write(tmp_path, "sequence-classification")

    with pytest.warns(MobileBertWarning, match="classifier"):
        model = mobilebert.load(
            tmp_path, backend=backend.name, num_labels=3, ignore_mismatched_sizes=True
        )

    config = small_config(num_labels=3)
    expected = initial_weights(config, "sequence-classification", 0)
    assert backend.weights(model)["classifier.bias"].shape == expected["classifier.bias"].shape


def test_encoder_of_another_size_is_an_error(backend: Any, tmp_path: Path) -> None:
    write(tmp_path, "base")

    with pytest.raises(CheckpointError, match=r"missing: .*encoder\.layer\.2"):
        mobilebert.load(tmp_path, backend=backend.name, num_hidden_layers=3)


def test_checkpoints_dtype_is_kept_where_the_backend_computes_in_it(
    backend: Any, tmp_path: Path
) -> None:
    offered = [
        name for name in ("float64", "float32", "bfloat16") if Feature(name) in backend.features
    ]
    for name in offered:
        config = small_config()
        weights = {
            key: each.astype(ml_dtypes.bfloat16 if name == "bfloat16" else name)
            for key, each in random_weights(config, "base").items()
        }
        save_checkpoint(tmp_path / name, config, weights, "base")

        model = mobilebert.load(tmp_path / name, backend=backend.name)

        assert {str(each.dtype) for each in backend.weights(model).values()} == {name}


def test_float16_checkpoint_becomes_float32(backend: Any, tmp_path: Path) -> None:
    config = small_config()
    weights = {
        name: each.astype(np.float16) for name, each in random_weights(config, "base").items()
    }
    save_checkpoint(tmp_path, config, weights, "base")

    own = backend.weights(mobilebert.load(tmp_path, backend=backend.name))

    assert same(own, {name: each.astype(np.float32) for name, each in weights.items()})


def test_float16_is_refused_when_asked_for(backend: Any, tmp_path: Path) -> None:
    write(tmp_path, "base")

    with pytest.raises(ConfigError, match=r"does not compute in float16: activations"):
        mobilebert.load(tmp_path, backend=backend.name, dtype="float16")


def test_class_loads_and_saves_itself(backend: Any, tmp_path: Path) -> None:
    weights = write(tmp_path / "one", "masked-lm")
    prefix = {"numpy": "Numpy", "torch": "", "tf": "TF", "jax": "Flax"}[backend.name]
    model_class = getattr(mobilebert, f"{prefix}MobileBertForMaskedLM")

    model = model_class.from_pretrained(tmp_path / "one")
    model.save_pretrained(tmp_path / "two")

    assert type(model) is model_class
    assert same(dict(open_checkpoint(tmp_path / "two").weights), weights)


def test_tokenizer_is_saved_beside_the_model(backend: Any, tmp_path: Path) -> None:
    model = mobilebert.create(small_config(), "base", backend.name)
    tokenizer = mobilebert.load_tokenizer("mobilebert-uncased")

    mobilebert.save(model, tmp_path / "model", tokenizer=tokenizer)

    again = mobilebert.load_tokenizer(tmp_path / "model")
    assert again("It was a dark night.") == tokenizer("It was a dark night.")


def test_resized_model_keeps_what_it_knew(backend: Any) -> None:
    config = small_config()
    weights = random_weights(config, "masked-lm")
    model = backend.build(config, "masked-lm", weights, dtype="float64", device=None)
    batch = random_batch(config, "masked-lm")
    before = backend.run(model, batch).logits

    larger = mobilebert.resize_token_embeddings(model, 70)

    after = backend.run(larger, batch).logits
    assert larger.config.vocab_size == 70
    errors = output_errors({"logits": after[..., :61]}, {"logits": before})
    assert max(errors.values()) <= 1e-14


def test_object_of_another_library_is_refused(backend: Any, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="A dict is no model of this library"):
        mobilebert.save({}, tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_unknown_head_lists_the_heads(backend: Any, tmp_path: Path) -> None:
    write(tmp_path, "base")

    with pytest.raises(ConfigError, match=r"No head is called 'mlm'; expected one of base, pretr"):
        mobilebert.load(tmp_path, "mlm", backend.name)


def test_unknown_source_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="does not exist"):
        mobilebert.load(tmp_path / "nowhere", backend="numpy")


def test_unknown_backend_is_found_out_before_the_checkpoint_is_opened(tmp_path: Path) -> None:
    with pytest.raises(UnknownBackendError, match="did you mean 'numpy'"):
        mobilebert.load(tmp_path / "nowhere", backend="nunpy")


def test_head_that_is_left_out_is_told(
    backend: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(tmp_path, "pretraining")

    mobilebert.load(tmp_path, "base", backend=backend.name)

    (record,) = (record for record in caplog.records if record.name == "mobilebert")
    told = f"{tmp_path}: the base model leaves out its cls.predictions, cls.seq_relationship"
    assert (record.levelname, record.getMessage()) == ("WARNING", told)


def test_loading_the_same_head_says_nothing(backend: Any, tmp_path: Path) -> None:
    write(tmp_path, "question-answering")

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        mobilebert.load(tmp_path, backend=backend.name)


def test_configuration_may_be_given_in_place_of_the_checkpoints(
    backend: Any, tmp_path: Path
) -> None:
    write(tmp_path, "base")
    config = small_config(trigram_padding="masked")

    assert mobilebert.load(tmp_path, backend=backend.name, config=config).config == config


def test_unknown_option_is_told_from_a_field(backend: Any, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"'torch_dtype' is no option .*called dtype here.*seed"):
        mobilebert.load(tmp_path, backend=backend.name, torch_dtype="float32")


def test_class_takes_the_old_name_of_dtype(backend: Any, tmp_path: Path) -> None:
    write(tmp_path, "base")
    numpy_class = mobilebert.NumpyMobileBertModel

    model = numpy_class.from_pretrained(tmp_path, torch_dtype=np.float32)

    assert {each.dtype for each in model.parameters.values()} == {np.dtype(np.float32)}


@pytest.mark.parametrize("config", ["base", {"num_hidden_layers": 1}, 3])
def test_something_else_is_refused_as_configuration(config: Any, backend: Any) -> None:
    with pytest.raises(ConfigError, match=r"expected a mobilebert\.Config"):
        mobilebert.create(config, "base", backend.name)


@pytest.mark.parametrize("source", [{}, 5])
def test_something_else_is_refused_as_source(source: Any) -> None:
    with pytest.raises(CheckpointError, match="expected a folder, a file or a hub id"):
        mobilebert.load(source, backend="numpy")


def test_something_else_is_refused_as_tokenizer(backend: Any, tmp_path: Path) -> None:
    model = mobilebert.create(small_config(), "base", backend.name)

    with pytest.raises(ConfigError, match="tokenizer is a str"):
        mobilebert.save(model, tmp_path / "model", tokenizer="uncased")


def test_question_answering_is_written_with_two_outputs(backend: Any, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers", reason="the reference is not installed")
    model = mobilebert.create(small_config(num_labels=3), "question-answering", backend.name)

    mobilebert.save(model, tmp_path / "model")

    reference = transformers.MobileBertForQuestionAnswering.from_pretrained(tmp_path / "model")
    assert reference.qa_outputs.weight.shape == (2, 24)


def test_classifier_of_another_task_is_not_reused(backend: Any, tmp_path: Path) -> None:
    weights = write(tmp_path, "sequence-classification")

    with pytest.warns(MobileBertWarning, match=r"classifier\.weight"):
        model = mobilebert.load(tmp_path, "token-classification", backend.name)

    own = backend.weights(model)["classifier.weight"]
    assert own.tobytes() != weights["classifier.weight"].tobytes()


def test_folder_named_like_a_checkpoint_file_stays(backend: Any, tmp_path: Path) -> None:
    (tmp_path / "model" / "checkpoint").mkdir(parents=True)
    (tmp_path / "model" / "checkpoint" / "state").write_text("mine")

    mobilebert.save(mobilebert.create(small_config(), "base", backend.name), tmp_path / "model")

    assert (tmp_path / "model" / "checkpoint" / "state").read_text() == "mine"


def test_shard_size_must_be_a_number(backend: Any, tmp_path: Path) -> None:
    model = mobilebert.create(small_config(), "base", backend.name)

    with pytest.raises(CheckpointError, match="max_shard_size is '5GB', expected a number of byte"):
        mobilebert.save(model, tmp_path / "model", max_shard_size="5GB")
