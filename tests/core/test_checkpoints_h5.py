"""The two HDF5 formats: what is saved comes back, and no file does harm.

What their owners read and write is in `backends/test_keras_weights.py` and `reference_tf`.
"""

import struct
import sys

import ml_dtypes
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mobilebert_conformance.cases import ALL_VARIANTS, small_config
from mobilebert_conformance.weights import random_weights
from mobilebert_core import schema
from mobilebert_core.checkpoints import hf_tf_h5, open_checkpoint, save_checkpoint
from mobilebert_core.checkpoints.h5_files import read_h5
from mobilebert_core.checkpoints.store import DTYPES
from mobilebert_core.errors import CheckpointError, MissingDependencyError
from mobilebert_core.heads import HEADS

h5py = pytest.importorskip("h5py", reason="the formats are HDF5")

FILES = {"hf-tf-h5": "tf_model.h5", "keras-weights": "model.weights.h5"}
VARIANTS = ("layer_norm", "no_trigram", "tiny", "bert_like", "full_width_embeddings", "teacher")
WORDS = {
    "hf-tf-h5": "mobilebert/tf_mobile_bert/mobilebert/embeddings/word_embeddings/weight:0",
    "keras-weights": "layers/backbone/embeddings/word_embeddings/vars/0",
}

both = pytest.mark.parametrize("format", FILES)


def weights_for(config, head, dtype="float32"):
    return {n: a.astype(DTYPES[dtype]) for n, a in random_weights(config, head).items()}


def contents(weights):
    return {name: (a.shape, a.dtype.name, a.tobytes()) for name, a in weights.items()}


def save(folder, format, head="masked-lm", dtype="float32", config=None):
    """A saved model, its configuration and its weights."""
    config = config or small_config(head)
    weights = weights_for(config, head, dtype)
    return save_checkpoint(folder, config, weights, head, format=format), weights


@both
@pytest.mark.parametrize("head", HEADS)
def test_weights_return_bit_exact_for_every_head(tmp_path, format, head):
    folder, weights = save(tmp_path / "model", format, head)
    checkpoint = open_checkpoint(folder)
    assert checkpoint.format == format
    assert contents(checkpoint.weights) == contents(weights)
    assert checkpoint.notes == ()


@both
@pytest.mark.parametrize("variant", VARIANTS)
def test_weights_return_bit_exact_for_every_variant(tmp_path, format, variant):
    config = small_config(**ALL_VARIANTS[variant])
    folder, weights = save(tmp_path / "model", format, "pretraining", config=config)
    assert contents(open_checkpoint(folder).weights) == contents(weights)


@both
@pytest.mark.parametrize("dtype", DTYPES)
def test_weights_keep_their_dtype(tmp_path, format, dtype):
    folder, weights = save(tmp_path / "model", format, dtype=dtype)
    assert contents(open_checkpoint(folder).weights) == contents(weights)


@both
def test_saving_twice_gives_the_same_bytes(tmp_path, format):
    first, _ = save(tmp_path / "a", format)
    second, _ = save(tmp_path / "b", format)
    assert (first / FILES[format]).read_bytes() == (second / FILES[format]).read_bytes()


@both
def test_each_access_gives_a_new_writable_array(tmp_path, format):
    folder, weights = save(tmp_path / "model", format)
    store = open_checkpoint(folder).weights
    store[schema.WORD_EMBEDDINGS][:] = 0
    assert contents(store) == contents(weights)


@both
def test_format_of_a_file_is_known_by_its_name(tmp_path, format):
    folder, _ = save(tmp_path / "model", format)
    assert open_checkpoint(folder / FILES[format]).format == format


def test_attributes_list_layers_and_variables(tmp_path):
    folder, _ = save(tmp_path / "model", "hf-tf-h5", "question-answering")
    with h5py.File(folder / "tf_model.h5") as file:
        assert file.attrs["backend"] == b"tensorflow"
        assert list(file.attrs["layer_names"]) == [b"mobilebert", b"qa_outputs"]
        assert list(file["qa_outputs"].attrs["weight_names"]) == [
            b"tf_mobile_bert/qa_outputs/kernel:0",
            b"tf_mobile_bert/qa_outputs/bias:0",
        ]


def test_lists_of_names_are_split_when_hdf5_cannot_hold_them(tmp_path, monkeypatch):
    monkeypatch.setattr(hf_tf_h5, "_MAX_ATTRIBUTE", 300)
    folder, _ = save(tmp_path / "model", "hf-tf-h5", "token-classification")
    with h5py.File(folder / "tf_model.h5") as file:
        group = file["mobilebert"]
        parts = [group.attrs[f"weight_names{number}"] for number in range(len(group.attrs))]
        names = [name.decode() for part in parts for name in part]
        assert all(part.nbytes <= 300 for part in parts)
        assert all(name in group for name in names)
    assert len(set(names)) == len(schema.owned_tensors(small_config(), "masked-lm")) - 6


@pytest.mark.parametrize("level", ["x", "tf_mobile_bert_for_masked_lm_7", "me & you"])
def test_name_of_the_model_does_not_matter(tmp_path, level):
    folder, weights = save(tmp_path / "model", "hf-tf-h5")
    with h5py.File(folder / "tf_model.h5", "a") as file:
        for layer in file:
            file.move(f"{layer}/tf_mobile_bert", f"{layer}/{level}")
    assert contents(open_checkpoint(folder).weights) == contents(weights)


def test_tied_decoder_is_repeated_and_must_agree(tmp_path):
    folder, weights = save(tmp_path / "model", "hf-tf-h5")
    name = "predictions___cls/tf_mobile_bert/predictions___cls/predictions/decoder/weight:0"
    with h5py.File(folder / "tf_model.h5", "a") as file:
        assert file[name][()].tobytes() == weights[schema.WORD_EMBEDDINGS].tobytes()
        file[name][2, 3] += 1
    with pytest.raises(CheckpointError, match=r"tied: cls.predictions.decoder.weight and mobile"):
        open_checkpoint(folder)


def test_bfloat16_is_marked_as_keras_marks_it(tmp_path):
    folder, _ = save(tmp_path / "model", "keras-weights", dtype="bfloat16")
    with h5py.File(folder / "model.weights.h5") as file:
        dataset = file[WORDS["keras-weights"]]
        assert dataset.attrs["dtype"] == "bfloat16"
        assert dataset.dtype == np.dtype("V2")


@both
def test_file_is_read_without_h5py_and_writing_says_what_to_install(tmp_path, monkeypatch, format):
    folder, weights = save(tmp_path / "model", format)
    monkeypatch.setitem(sys.modules, "h5py", None)
    assert contents(open_checkpoint(folder).weights) == contents(weights)
    with pytest.raises(MissingDependencyError, match=r'Writing.*pip install "mobilebert\[h5\]"'):
        save(tmp_path / "other", format)


@pytest.fixture
def limit_files():
    """Sets how large files may become; beyond it, writing fails as on a full disk."""
    resource = pytest.importorskip("resource", reason="this system has no such limit")
    usual = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, usual[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, usual)


@both
@pytest.mark.parametrize("size", [2_000, 20_000, 150_000])
def test_save_fails_and_changes_nothing_when_the_disk_is_full(tmp_path, limit_files, format, size):
    limit_files(size)
    with pytest.raises(CheckpointError, match=r"could not be written, nothing changed.*too large"):
        save(tmp_path / "model", format)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def change(tmp_path):
    """Changes the file of a saved model, with the name of its word embeddings, and opens it."""

    def open_changed(action, format="keras-weights"):
        folder, _ = save(tmp_path / "model", format)
        path = folder / FILES[format]
        with h5py.File(path, "a") as file:
            action(file, WORDS[format])
        return open_checkpoint(folder)

    return open_changed


def replaced(**options):
    """An action that puts another dataset in the place of the word embeddings."""

    def action(file, name):
        values = file[name][()]
        del file[name]
        file.create_dataset(name, **{"data": values} | options)

    return action


def soft_link(file, name):
    file["other"] = h5py.SoftLink(f"/{name}")


def dangling_link(file, name):
    file["other"] = h5py.SoftLink("/nowhere")


def external_link(file, name):
    file["other"] = h5py.ExternalLink("/etc/passwd", "/")


def second_name(file, name):
    file["other"] = file[name]


def cycle(file, name):
    file["layers/again"] = file["/"]


def external_values(file, name):
    del file[name]
    external = [("/etc/passwd", 0, 61 * 10 * 4)]
    file.create_dataset(name, (61, 10), np.float32, external=external)


def virtual_values(file, name):
    del file[name]
    layout = h5py.VirtualLayout((61, 10), np.float32)
    layout[:] = h5py.VirtualSource("/etc/passwd", "x", (61, 10))
    file.create_virtual_dataset(name, layout)


def never_written(file, name):
    del file[name]
    file.create_dataset(name, (61, 10), np.float32)


def larger_than_the_file(file, name):
    del file[name]
    file.create_dataset(name, (1 << 40, 1 << 10), np.float32)


def empty_but_wide(file, name):
    del file[name]
    file.create_dataset(name, (0, 1 << 62), np.float32)


def many_axes(file, name):
    del file[name]
    file.create_dataset(name, (1,) * 9, data=np.zeros((1,) * 9, np.float32))


def compact(file, name):
    del file[name]
    layout = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    layout.set_layout(h5py.h5d.COMPACT)
    space = h5py.h5s.create_simple((61, 10))
    h5py.h5d.create(file.id, b"compact", h5py.h5t.IEEE_F32LE, space, dcpl=layout)


def deep(file, name):
    file.create_group("/".join("a" * 40))


def named_type(file, name):
    file["type"] = np.dtype("f4")


def odd_name(file, name):
    file.create_group("a\nb")


COMPOUND = np.zeros((61, 10), [("a", "f4"), ("b", "f4")])
BAD_FILES = {
    "a soft link": (soft_link, "'other' is a link to elsewhere"),
    "a dangling link": (dangling_link, "'other' is a link to elsewhere"),
    "an external link": (external_link, "'/' in .* a group with a link to another file"),
    "a second name": (second_name, "is another name of something that has one"),
    "a cycle": (cycle, "is another name of something that has one"),
    "values elsewhere": (external_values, "are in other files, which are not opened"),
    "values gathered": (virtual_values, "are in other files, which are not opened"),
    "no values": (never_written, "have never been written"),
    "compression": (replaced(compression="gzip"), "h5repack -f NONE -l CONTI"),
    "a bomb": (
        replaced(data=None, shape=(1 << 30, 1 << 6), dtype="f4", compression="gzip"),
        "is larger than the file",
    ),
    "chunks": (replaced(chunks=(5, 5)), "h5repack -f NONE -l CONTI"),
    "a compact dataset": (compact, "h5repack -f NONE -l CONTI"),
    "a huge shape": (larger_than_the_file, "is larger than the file"),
    "a wide shape of nothing": (empty_but_wide, "is larger than the file"),
    "many axes": (many_axes, "is impossible"),
    "big-endian numbers": (replaced(dtype=">f4"), "big-endian, expected little-endian"),
    "no shape": (replaced(data=h5py.Empty("f4")), "has no shape"),
    "text": (replaced(data="text"), "something other than numbers"),
    "objects": (replaced(data=[b"text"], dtype=h5py.string_dtype()), "something other than"),
    "a compound": (replaced(data=COMPOUND), "something other than numbers"),
    "raw bytes": (replaced(data=np.zeros((61, 10), "V3")), "something other than numbers"),
    "complex numbers": (replaced(data=COMPOUND["a"].astype("c8")), "something other than numbers"),
    "deep groups": (deep, "nested more than 32 deep"),
    "a named type": (named_type, "'type' is neither a group nor a dataset"),
    "an odd name": (odd_name, r"the impossible name 'a\\nb'"),
    "integers": (replaced(dtype="i8"), "is int64, expected one of float64"),
    "an unknown name": (lambda file, name: file.move(name, "b"), r"unknown: b \(61, 10\)"),
}


@pytest.mark.parametrize("kind", BAD_FILES)
def test_file_is_refused_when_it_holds(change, kind):
    action, message = BAD_FILES[kind]
    with pytest.raises(CheckpointError, match=message):
        change(action)


def test_unknown_tensor_is_named_when_it_has_no_layer_and_model(change):
    with pytest.raises(CheckpointError, match=r"unknown: kernel:0 \(3,\)"):
        change(lambda file, name: file.create_dataset("kernel:0", data=np.ones(3)), "hf-tf-h5")


def test_names_of_a_base_model_and_of_a_head_do_not_mix(change):
    name = "embeddings/word_embeddings/vars/0"
    with pytest.raises(CheckpointError, match="twice: embeddings/word_embeddings/vars/0 stands"):
        change(lambda file, words: file.create_dataset(name, data=file[words][()]))


def test_values_beyond_the_end_are_refused(tmp_path):
    path = tmp_path / "model.weights.h5"
    with h5py.File(path, "w") as file:
        file["a"] = np.ones(30, np.float32)
        place = struct.pack("<QQ", file["a"].id.get_offset(), 120)
    content = path.read_bytes()
    assert content.count(place) == 1
    path.write_bytes(content.replace(place, struct.pack("<QQ", len(content) - 119, 120)))
    with pytest.raises(CheckpointError, match="lies outside the file"):
        read_h5(path)


def test_bytes_before_the_file_are_refused(tmp_path):
    path = tmp_path / "model.weights.h5"
    with h5py.File(path, "w", userblock_size=512) as file:
        file["a"] = np.ones(3, np.float32)
    with pytest.raises(CheckpointError, match="does not begin as HDF5 files do"):
        read_h5(path)


@pytest.fixture(scope="module")
def small_file(tmp_path_factory):
    """A file of two tensors, where most bytes matter."""
    path = tmp_path_factory.mktemp("h5") / "tf_model.h5"
    with h5py.File(path, "w") as file:
        file["group/a"] = np.arange(12, dtype=np.float32).reshape(3, 4)
        file["b"] = np.arange(5).astype(ml_dtypes.bfloat16)
    return path, path.read_bytes()


@settings(
    max_examples=300,
    deadline=5000,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
@given(data=st.data())
def test_changed_file_is_read_or_refused(small_file, data):
    path, content = small_file
    changed = bytearray(content)
    places = [place for place, byte in enumerate(content) if byte]
    for _ in range(data.draw(st.integers(1, 4))):
        changed[data.draw(st.sampled_from(places))] = data.draw(st.integers(0, 255))
    end = data.draw(st.one_of(st.just(len(changed)), st.integers(0, len(changed))))
    changed_path = path.with_name("changed.h5")
    changed_path.write_bytes(changed[:end])

    try:
        tensors = read_h5(changed_path)
        arrays = {name: each.read() for name, each in tensors.items() if each.dtype in DTYPES}
    except CheckpointError as error:
        message = str(error)
    else:
        message = str(changed_path)
        assert all(array.shape == tensors[name].shape for name, array in arrays.items())
        assert all(array.nbytes <= len(content) for array in arrays.values())
    assert str(changed_path) in message
