"""What `convert` writes, tells, refuses and leaves behind."""

import hashlib
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import mobilebert
from mobilebert_conformance.cases import small_config
from mobilebert_conformance.weights import random_weights
from mobilebert_core.checkpoints import StoredTensor, open_checkpoint, save_checkpoint, writing
from mobilebert_core.checkpoints.formats import FORMATS, get_format
from mobilebert_core.conversion import convert
from mobilebert_core.errors import CheckpointError, ConfigError, MobileBertWarning

GOOGLE = Path(__file__).resolve().parents[1] / "data" / "google_tf1"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A pretraining checkpoint in float32, with the packaged tokenizer."""
    weights = random_weights(small_config(), "pretraining")
    weights = {name: array.astype(np.float32) for name, array in weights.items()}
    tokenizer = mobilebert.load_tokenizer("mobilebert-uncased")
    return save_checkpoint(
        tmp_path / "source",
        small_config(),
        weights,
        "pretraining",
        extra_files=tokenizer.save_pretrained,
    )


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_conversion_tells_renamed_transposed_and_dropped_tensors(tmp_path: Path) -> None:
    found = convert(GOOGLE / "opt", tmp_path / "new")
    rows = {row.name: row for row in found.tensors}
    query = rows["mobilebert.encoder.layer.0.attention.self.query.weight"]
    assert query.source == "bert/encoder/layer_0/attention/self/query/kernel"
    assert query.destination == query.name
    assert query.changes == ("renamed", "transposed")
    bias = rows["mobilebert.encoder.layer.0.attention.self.query.bias"]
    assert bias.changes == ("renamed",)
    kinds = {each.kind for each in found.dropped}
    assert kinds == {
        "of the Adam optimizer (adam_m, adam_v)",
        "that counts training steps (global_step)",
    }
    assert len(found.dropped) > 2 * len(rows)


def test_nothing_changes_within_one_format(source: Path, tmp_path: Path) -> None:
    found = convert(source, tmp_path / "new")
    assert {row.changes for row in found.tensors} == {()}
    assert (tmp_path / "new" / "model.safetensors").read_bytes() == (
        source / "model.safetensors"
    ).read_bytes()


def test_tokenizer_files_come_along_unchanged(source: Path, tmp_path: Path) -> None:
    found = convert(source, tmp_path / "new", to="npz")
    assert "vocab.txt" in found.files
    for name in found.files:
        assert (tmp_path / "new" / name).read_bytes() == (source / name).read_bytes()


def test_google_gets_the_vocabulary_that_only_tokenizer_json_has(
    source: Path, tmp_path: Path
) -> None:
    vocabulary = (source / "vocab.txt").read_text()
    (source / "vocab.txt").unlink()
    convert(source, tmp_path / "new", to="google-tf1")
    assert (tmp_path / "new" / "vocab.txt").read_text() == vocabulary


@pytest.mark.parametrize("to", ["npz", "google-tf1"])
def test_configuration_is_written_in_the_dialect_of_the_format(
    source: Path, tmp_path: Path, to: str
) -> None:
    convert(source, tmp_path / "new", to=to)
    name = {"npz": "config.json", "google-tf1": "bert_config.json"}[to]
    values = json.loads((tmp_path / "new" / name).read_text())
    assert ("model_type" in values) == (to == "npz")
    assert open_checkpoint(tmp_path / "new").config == open_checkpoint(source).config


def test_configuration_that_google_cannot_express_is_an_error(tmp_path: Path) -> None:
    config = small_config(hidden_act="gelu")
    source = save_checkpoint(tmp_path / "a", config, random_weights(config, "base"), "base")
    with pytest.raises(ConfigError, match="hidden_act is 'gelu'"):
        convert(source, tmp_path / "b", to="google-tf1")
    assert not (tmp_path / "b").exists()


def test_dtype_casts_every_tensor_and_says_so(source: Path, tmp_path: Path) -> None:
    found = convert(source, tmp_path / "new", dtype="bfloat16")
    original, new = open_checkpoint(source).weights, open_checkpoint(tmp_path / "new").weights
    for name in original:
        expected = original[name].astype(ml_dtypes.bfloat16)
        assert new[name].tobytes() == expected.tobytes()
    assert {row.changes for row in found.tensors} == {("float32 to bfloat16",)}
    assert found.nbytes == sum(original.nbytes(name) for name in original) // 2


def test_numbers_beyond_the_dtype_are_an_error(tmp_path: Path) -> None:
    weights = random_weights(small_config(), "base")
    weights["mobilebert.pooler.dense.bias"][3] = -1e5
    source = save_checkpoint(tmp_path / "a", small_config(), weights, "base")
    message = "pooler.dense.bias has 1 numbers beyond the range of float16, the largest 1e"
    with pytest.raises(CheckpointError, match=message):
        convert(source, tmp_path / "b", dtype="float16")
    assert not (tmp_path / "b").exists()


def test_infinity_survives_a_cast(tmp_path: Path) -> None:
    weights = random_weights(small_config(), "base")
    weights["mobilebert.pooler.dense.bias"][3] = -np.inf
    source = save_checkpoint(tmp_path / "a", small_config(), weights, "base")
    convert(source, tmp_path / "b", dtype="float16")
    assert open_checkpoint(tmp_path / "b").weights["mobilebert.pooler.dense.bias"][3] == -np.inf


def test_another_head_gets_fresh_weights_of_the_seed(source: Path, tmp_path: Path) -> None:
    with pytest.warns(MobileBertWarning, match="classifier"):
        found = convert(
            source, tmp_path / "new", head="sequence-classification", num_labels=3, seed=9
        )
    fresh = [row.name for row in found.tensors if row.changes == ("fresh",)]
    assert fresh == ["classifier.weight", "classifier.bias"]
    with pytest.warns(MobileBertWarning):
        model = mobilebert.load(
            source, "sequence-classification", backend="numpy", num_labels=3, seed=9
        )
    expected = mobilebert.get_backend("numpy").weights(model)["classifier.weight"]
    made = open_checkpoint(tmp_path / "new")
    assert made.weights["classifier.weight"].tobytes() == expected.tobytes()
    assert (made.head, made.config.num_labels) == ("sequence-classification", 3)


def test_base_drops_the_head_and_says_so(source: Path, tmp_path: Path) -> None:
    found = convert(source, tmp_path / "new", head="base")
    dropped = {each.name for each in found.dropped}
    assert dropped == {name for name in open_checkpoint(source).weights if name.startswith("cls.")}
    assert {each.kind for each in found.dropped} == {"of a head that this one does not have"}
    assert found.head == open_checkpoint(tmp_path / "new").head == "base"


def test_fresh_weights_have_the_dtype_of_the_others(source: Path, tmp_path: Path) -> None:
    convert(source, tmp_path / "half", dtype="bfloat16")
    with pytest.warns(MobileBertWarning):
        found = convert(tmp_path / "half", tmp_path / "new", head="token-classification")
    assert {row.dtype for row in found.tensors} == {"bfloat16"}


def test_manifest_has_the_digest_of_every_tensor_in_the_canonical_layout(
    source: Path, tmp_path: Path
) -> None:
    convert(source, tmp_path / "new", to="google-tf1", manifest=True)
    tensors = json.loads((tmp_path / "new" / "mobilebert-manifest.json").read_text())["tensors"]
    weights = open_checkpoint(source).weights
    assert list(tensors) == list(weights)
    for name, row in tensors.items():
        assert row["sha256"] == hashlib.sha256(weights[name].tobytes()).hexdigest()
        assert tuple(row["shape"]) == weights.shape(name)


def test_manifests_of_two_formats_have_the_same_digests(source: Path, tmp_path: Path) -> None:
    def digests(to: str) -> dict[str, str]:
        convert(source, tmp_path / to, to=to, manifest=True)
        tensors = json.loads((tmp_path / to / "mobilebert-manifest.json").read_text())["tensors"]
        return {name: row["sha256"] for name, row in tensors.items()}

    assert digests("npz") == digests("torch-bin") == digests("google-tf1")


def test_destination_that_holds_something_is_refused(source: Path, tmp_path: Path) -> None:
    destination = tmp_path / "new"
    destination.mkdir()
    (destination / "thesis.tex").write_text("years of work")
    with pytest.raises(CheckpointError, match=r"exists and holds thesis.tex; give a new folder"):
        convert(source, destination)
    assert names_in(destination) == {"thesis.tex"}


def test_force_replaces_a_checkpoint_of_another_format_and_nothing_else(
    source: Path, tmp_path: Path
) -> None:
    destination = tmp_path / "new"
    convert(source, destination, to="torch-bin")
    (destination / "notes.md").write_text("mine")
    convert(source, destination, to="npz", force=True)
    assert open_checkpoint(destination).format == "npz"
    assert "pytorch_model.bin" not in names_in(destination)
    assert (destination / "notes.md").read_text() == "mine"


def test_checkpoint_can_be_converted_in_its_own_folder(source: Path) -> None:
    before = {name: array.tobytes() for name, array in open_checkpoint(source).weights.items()}
    convert(source, source, to="npz", force=True)
    after = open_checkpoint(source)
    assert after.format == "npz"
    assert {name: array.tobytes() for name, array in after.weights.items()} == before
    assert (source / "vocab.txt").is_file()


def other_values(tensors: dict[str, StoredTensor], name: str) -> None:
    tensor = tensors[name]
    zeros = np.zeros(tensor.shape, np.float32)
    tensors[name] = StoredTensor(tensor.shape, tensor.dtype, lambda: zeros)


def missing(tensors: dict[str, StoredTensor], name: str) -> None:
    del tensors[name]


def other_shape(tensors: dict[str, StoredTensor], name: str) -> None:
    tensors[name] = StoredTensor((7,), "float32", lambda: np.zeros(7, np.float32))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (other_values, "pooler.dense.weight has other values"),
        (missing, "pooler.dense.weight is missing"),
        (other_shape, r"pooler.dense.weight is float32 \(7,\)"),
    ],
)
def test_what_does_not_read_back_never_appears(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Any, message: str
) -> None:
    row = get_format("npz")

    def wrong(folder: Path, tensors: dict[str, StoredTensor], limit: int | None) -> None:
        changed = dict(tensors)
        change(changed, "mobilebert.pooler.dense.weight")
        for tensor in tensors.values():
            tensor.read()
        row.write(folder, changed, limit)

    monkeypatch.setitem(FORMATS, "npz", replace(row, write=wrong))
    with pytest.raises(CheckpointError, match=f"does not read back as it should.*{message}"):
        convert(source, tmp_path / "new", to="npz")
    assert names_in(tmp_path) == {"source"}


def test_configuration_that_does_not_read_back_never_appears(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = writing._config_values
    monkeypatch.setattr(
        writing, "_config_values", lambda *given: values(*given) | {"hidden_act": "gelu"}
    )
    with pytest.raises(CheckpointError, match=r"reads back as .*'gelu'.*, expected .*'relu'"):
        convert(source, tmp_path / "new", to="npz")
    assert names_in(tmp_path) == {"source"}


def test_manifest_goes_with_the_weights_that_it_describes(source: Path, tmp_path: Path) -> None:
    convert(source, tmp_path / "new", manifest=True)
    convert(source, tmp_path / "new", head="base", force=True)
    assert "mobilebert-manifest.json" not in names_in(tmp_path / "new")


def test_layouts_that_agree_are_no_transposition(source: Path, tmp_path: Path) -> None:
    convert(source, tmp_path / "google", to="google-tf1")
    found = convert(tmp_path / "google", tmp_path / "flax", to="flax-msgpack")
    rows = {row.name: row.changes for row in found.tensors}
    assert rows["mobilebert.pooler.dense.weight"] == ("renamed",)
    # Google keeps the extra block as (V, H - E), Flax as (H - E, V).
    assert rows["cls.predictions.dense.weight"] == ("renamed", "transposed")


def test_settings_of_other_programs_are_told(source: Path, tmp_path: Path) -> None:
    path = source / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"adapters": [1], "use_cache": True}))
    assert convert(source, tmp_path / "new").dropped_settings == ("adapters", "use_cache")


def test_home_folder_is_expanded(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert convert(source, "~/new").destination == tmp_path / "new"
    assert open_checkpoint(tmp_path / "new").head == "pretraining"


@pytest.mark.parametrize("destination", [None, "", "a\0b", "x" * 300, 7])
def test_destination_that_is_no_path_is_an_error(source: Path, destination: Any) -> None:
    with pytest.raises(CheckpointError, match=r"folder is|no possible folder"):
        convert(source, destination)


def test_interrupted_conversion_leaves_nothing(source: Path, tmp_path: Path) -> None:
    def interrupt(stage: str, done: int, total: int) -> None:
        if stage == "verifying":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        convert(source, tmp_path / "new", to="torch-bin", progress=interrupt)
    assert names_in(tmp_path) == {"source"}


def test_progress_counts_every_byte_of_both_stages(source: Path, tmp_path: Path) -> None:
    calls: list[tuple[str, int, int]] = []
    found = convert(source, tmp_path / "new", to="npz", progress=lambda *call: calls.append(call))
    for stage in ("writing", "verifying"):
        counts = [done for name, done, _ in calls if name == stage]
        assert counts == sorted(counts)
        assert counts[-1] == found.nbytes
    assert {total for _, _, total in calls} == {found.nbytes}


def test_shards_are_written_where_the_format_has_them(source: Path, tmp_path: Path) -> None:
    convert(source, tmp_path / "new", to="torch-bin", max_shard_size=4000)
    assert len(list((tmp_path / "new").glob("pytorch_model-*-of-*.bin"))) > 3
    assert mobilebert.diff(source, tmp_path / "new").same


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"to": "pickle"}, CheckpointError, "No format is called 'pickle'; expected one of safe"),
        ({"dtype": "int8"}, ConfigError, "dtype is 'int8', expected one of float64"),
        ({"head": "maskedlm"}, ConfigError, "did you mean 'masked-lm'"),
        ({"labels": 3}, ConfigError, "'labels' is no option of convert and no configuration"),
        ({"to": "npz", "max_shard_size": 9}, CheckpointError, "keeps its weights in one file"),
    ],
)
def test_impossible_options_are_errors_and_write_nothing(
    source: Path, tmp_path: Path, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        convert(source, tmp_path / "new", **options)
    assert names_in(tmp_path) == {"source"}


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "vocab.txt"])
def test_links_out_of_the_source_are_refused(source: Path, tmp_path: Path, name: str) -> None:
    (source / name).rename(tmp_path / "elsewhere")
    (source / name).symlink_to("../elsewhere")
    with pytest.raises(CheckpointError, match=f"{name} is a symbolic link out of its folder"):
        convert(source, tmp_path / "new")
    assert names_in(tmp_path) == {"source", "elsewhere"}


def test_links_within_the_source_are_followed(source: Path, tmp_path: Path) -> None:
    (source / "model.safetensors").rename(source / "v2")
    (source / "model.safetensors").symlink_to("v2")
    convert(source, tmp_path / "new")
    assert not (tmp_path / "new" / "model.safetensors").is_symlink()


def test_destination_gets_the_permissions_of_any_new_folder(source: Path, tmp_path: Path) -> None:
    convert(source, tmp_path / "new", to="npz")
    (tmp_path / "made").mkdir()
    assert (tmp_path / "new").stat().st_mode == (tmp_path / "made").stat().st_mode
    mask = os.umask(0)
    os.umask(mask)
    assert (tmp_path / "new" / "weights.npz").stat().st_mode & 0o777 == 0o666 & ~mask
