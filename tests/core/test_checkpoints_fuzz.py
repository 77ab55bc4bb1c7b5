"""Whatever happens to a file, the outcome is a valid checkpoint or a `CheckpointError`."""

import pickle
import shutil
import struct
import zipfile
from pathlib import Path
from unittest.mock import ANY

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mobilebert_core.checkpoints import sorted_table, tensor_bundle, zip_archives
from mobilebert_core.checkpoints.formats import get_format
from mobilebert_core.checkpoints.store import DTYPES
from mobilebert_core.errors import CheckpointError

GOOGLE = Path(__file__).resolve().parents[1] / "data" / "google_tf1" / "opt"
SETTINGS = settings(
    max_examples=150,
    deadline=5000,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def text(value):
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def state_dict():
    """A pickle as PyTorch writes it: two tensors, with the memo that every pickler uses."""
    storage = b"(" + text("storage") + b"ctorch\nFloatStorage\nq\x01" + text("0") + text("cpu")
    weight = b"ctorch._utils\n_rebuild_tensor_v2\nq\x02(" + storage + b"K\x0ctQK\x00K\x03K\x04\x86"
    weight += b"K\x04K\x01\x86\x89ccollections\nOrderedDict\n)RtRq\x03"
    return b"\x80\x02}q\x00(" + text("weight") + weight + text("bias") + b"h\x03u."


def write_archive(folder):
    path = folder / "pytorch_model.bin"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("archive/data.pkl", state_dict())
        file.writestr("archive/byteorder", b"little")
        file.writestr("archive/data/0", np.arange(12, dtype=np.float32).tobytes())
    return path


def write_legacy(folder):
    path = folder / "pytorch_model.bin"
    start = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19." + pickle.dumps(1001, 2)
    start += pickle.dumps({"little_endian": True}, 2) + state_dict() + pickle.dumps(["0"], 2)
    path.write_bytes(start + struct.pack("<q", 12) + np.arange(12, dtype=np.float32).tobytes())
    return path


def write_safetensors(folder):
    path = folder / "model.safetensors"
    text = b'{"a":{"dtype":"F32","shape":[3,4],"data_offsets":[0,48]},'
    text += b'"b":{"dtype":"BF16","shape":[5],"data_offsets":[48,58]}}'
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(58))
    return path


def write_index(folder):
    write_safetensors(folder)
    path = folder / "model.safetensors.index.json"
    path.write_text('{"weight_map": {"a": "model.safetensors", "b": "model.safetensors"}}')
    return path


def copy_google(folder):
    for path in GOOGLE.glob("mobilebert_variables.ckpt.*"):
        shutil.copy(path, folder)
    return folder / "mobilebert_variables.ckpt.index"


READERS = {
    "safetensors": ("safetensors", write_safetensors),
    "safetensors index": ("safetensors", write_index),
    "torch archive": ("torch-bin", write_archive),
    "torch archive without checksums": ("torch-bin", write_archive),
    "torch legacy": ("torch-bin", write_legacy),
    "google": ("google-tf1", copy_google),
    "google without checksums": ("google-tf1", copy_google),
}


@pytest.fixture(params=READERS)
def reader(request, tmp_path, monkeypatch):
    """The entry file of a valid checkpoint, and what reads all of it."""
    format_name, write = READERS[request.param]
    if request.param == "torch archive without checksums":
        monkeypatch.setattr(zip_archives, "crc32", lambda content: ANY)
    if request.param == "google without checksums":
        for module in (sorted_table, tensor_bundle):
            monkeypatch.setattr(module, "masked_crc32c", lambda *_: ANY)

    def read(path):
        for tensor in get_format(format_name).read(path).values():
            if tensor.dtype in DTYPES:
                array = tensor.read()
                assert array.shape == tensor.shape
                assert array.dtype == DTYPES[tensor.dtype]

    path = write(tmp_path)
    read(path)
    return path, path.read_bytes(), read


def read_changed(path, content, read):
    path.write_bytes(content)
    message = f"something in {path.parent}"
    try:
        read(path)
    except CheckpointError as error:
        message = str(error)
    assert len(message) < 2000
    assert str(path.parent) in message


@SETTINGS
@given(data=st.data())
def test_truncated_file_is_valid_or_a_checkpoint_error(reader, data):
    path, content, read = reader
    end = data.draw(st.integers(0, len(content)))
    read_changed(path, content[:end], read)


@SETTINGS
@given(data=st.data())
def test_changed_bytes_are_valid_or_a_checkpoint_error(reader, data):
    path, content, read = reader
    changed = bytearray(content)
    # Most files are mostly numbers; what steers the reader is at the two ends.
    place = st.one_of(
        st.integers(0, len(content) - 1),
        st.integers(0, min(400, len(content)) - 1),
        st.integers(max(0, len(content) - 400), len(content) - 1),
    )
    for position in data.draw(st.lists(place, min_size=1, max_size=4)):
        changed[position] = data.draw(
            st.sampled_from([0, 1, 0x7F, 0x80, 0xFF]) | st.integers(0, 255)
        )
    read_changed(path, bytes(changed), read)


@SETTINGS
@given(data=st.data())
def test_moved_pieces_are_valid_or_a_checkpoint_error(reader, data):
    path, content, read = reader
    cuts = sorted(data.draw(st.integers(0, len(content))) for _ in range(3))
    first, second, third, fourth = (
        content[a:b] for a, b in zip([0, *cuts], [*cuts, len(content)], strict=True)
    )
    read_changed(path, first + third + second + fourth, read)


@SETTINGS
@given(content=st.binary(max_size=300))
def test_arbitrary_bytes_are_a_checkpoint_error(reader, content):
    path, _, read = reader
    read_changed(path, content, read)


@SETTINGS
@given(program=st.lists(st.sampled_from([bytes([code]) for code in b"})](tuesabQRN.\x85\x86\x89"])))
def test_arbitrary_pickle_programs_are_valid_or_a_checkpoint_error(tmp_path, program):
    path = tmp_path / "pytorch_model.bin"
    path.write_bytes(
        b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19." + pickle.dumps(1001, 2)
        + pickle.dumps({"little_endian": True}, 2) + b"\x80\x02ccollections\nOrderedDict\n"
        + text("x") + b"".join(program) + b"."
    )  # fmt: skip
    with pytest.raises(CheckpointError):
        get_format("torch-bin").read(path)
