"""`flax_model.msgpack`: the bytes are those of Flax, and what is none is refused."""

import contextlib
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from formats import contents
from mobilebert_conformance.cases import small_config
from mobilebert_conformance.weights import Array, random_weights
from mobilebert_core.checkpoints import flax_msgpack, open_checkpoint, save_checkpoint
from mobilebert_core.checkpoints.flax_msgpack import (
    FILE,
    nested,
    read_flax_msgpack,
    write_flax_msgpack,
)
from mobilebert_core.checkpoints.store import DTYPES, stored_tensors
from mobilebert_core.errors import CheckpointError
from mobilebert_core.heads import HEADS


def tree_of(values: dict[str, Array]) -> dict[str, Any]:
    """Nested dictionaries of the arrays themselves."""

    def arrays(tree: Any) -> Any:
        return {k: arrays(v) if isinstance(v, dict) else v.read() for k, v in tree.items()}

    found: dict[str, Any] = arrays(nested(stored_tensors(values)))
    return found


@pytest.fixture
def arrays() -> dict[str, Array]:
    """Sizes around every change of MessagePack's notation, and every dtype."""
    sizes = (0, 1, 2, 14, 15, 16, 40, 70, 130, 300, 70_000)
    generator = np.random.default_rng(4)
    found = {
        f"layer.{size}.{dtype}": generator.standard_normal(size).astype(DTYPES[dtype])
        for size in sizes
        for dtype in DTYPES
    }
    wide = {f"wide.key_{number:03}": np.float32([number]) for number in range(20)}
    return found | wide | {"cube": np.zeros((2, 3, 4), np.float32), f"long.{'k' * 60}": np.ones(3)}


def test_bytes_are_those_of_flax(tmp_path: Path, arrays: dict[str, Array]) -> None:
    serialization = pytest.importorskip("flax.serialization")
    write_flax_msgpack(tmp_path, stored_tensors(arrays), None)
    assert (tmp_path / FILE).read_bytes() == serialization.to_bytes(tree_of(arrays))


def test_keys_are_in_the_order_of_flax(tmp_path: Path) -> None:
    serialization = pytest.importorskip("flax.serialization")
    values = {name: np.float32([1]) for name in ("b.z", "a.2", "b.a", "a.10", "a.Z")}
    write_flax_msgpack(tmp_path, stored_tensors(values), None)
    tree: dict[str, Any] = {}
    for name, value in values.items():
        outer, inner = name.split(".")
        tree.setdefault(outer, {})[inner] = value
    assert (tmp_path / FILE).read_bytes() == serialization.msgpack_serialize(tree)


def test_scalar_of_a_training_state_is_an_array_without_axes(tmp_path: Path) -> None:
    serialization = pytest.importorskip("flax.serialization")
    (tmp_path / FILE).write_bytes(serialization.to_bytes({"rate": np.float32(0.5)}))
    found = read_flax_msgpack(tmp_path / FILE)["rate"]
    assert (found.shape, found.dtype, found.read()) == ((), "float32", 0.5)


def test_array_that_flax_splits_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    serialization = pytest.importorskip("flax.serialization")
    monkeypatch.setattr(serialization, "MAX_CHUNK_SIZE", 8)
    (tmp_path / FILE).write_bytes(serialization.to_bytes({"a": {"kernel": np.ones((3, 2))}}))
    with pytest.raises(CheckpointError, match=r"in chunks, 'a.kernel', expected whole ones"):
        read_flax_msgpack(tmp_path / FILE)


def test_what_flax_writes_is_read(tmp_path: Path, arrays: dict[str, Array]) -> None:
    serialization = pytest.importorskip("flax.serialization")
    (tmp_path / FILE).write_bytes(serialization.to_bytes(tree_of(arrays)))
    found = read_flax_msgpack(tmp_path / FILE)
    assert contents({name: tensor.read() for name, tensor in found.items()}) == contents(arrays)


def test_what_we_write_flax_restores(tmp_path: Path) -> None:
    serialization = pytest.importorskip("flax.serialization")
    config, weights = small_config(), random_weights(small_config(), "pretraining")
    save_checkpoint(tmp_path, config, weights, "pretraining", format="flax-msgpack")
    restored = serialization.msgpack_restore((tmp_path / FILE).read_bytes())
    query = restored["mobilebert"]["encoder"]["layer"]["1"]["attention"]["self"]["query"]
    name = "mobilebert.encoder.layer.1.attention.self.query"
    assert query["kernel"].tobytes() == np.ascontiguousarray(weights[f"{name}.weight"].T).tobytes()
    assert query["bias"].tobytes() == weights[f"{name}.bias"].tobytes()


@pytest.mark.parametrize("head", HEADS)
def test_restored_tree_updates_our_flax_model(tmp_path: Path, head: str) -> None:
    serialization = pytest.importorskip("flax.serialization")
    nnx = pytest.importorskip("flax.nnx")
    mobilebert = pytest.importorskip("mobilebert")
    config = small_config(head)
    weights = {n: a.astype(np.float32) for n, a in random_weights(config, head).items()}
    save_checkpoint(tmp_path, config, weights, head, format="flax-msgpack")
    tree = serialization.msgpack_restore((tmp_path / FILE).read_bytes())
    model = mobilebert.create(config, head, backend="jax")
    state = nnx.state(model, nnx.Param)
    nnx.replace_by_pure_dict(state, nnx.restore_int_paths(tree))
    nnx.update(model, state)
    assert contents(mobilebert.get_backend("jax").weights(model)) == contents(weights)


@pytest.mark.parametrize("wrap", ["params.{}", "{}.value", "params.{}.value"])
def test_levels_that_libraries_put_around_are_passed_over(tmp_path: Path, wrap: str) -> None:
    config, weights = small_config(), random_weights(small_config(), "masked-lm")
    save_checkpoint(tmp_path, config, weights, "masked-lm", format="flax-msgpack")
    found = read_flax_msgpack(tmp_path / FILE)
    (tmp_path / FILE).unlink()  # still mapped
    wrapped = {wrap.format(name): tensor for name, tensor in found.items()}
    write_flax_msgpack(tmp_path, wrapped, None)
    assert contents(open_checkpoint(tmp_path).weights) == contents(weights)


def array(
    shape: bytes = b"\x91\x02", dtype: bytes = b"\xa7float32", values: bytes = bytes(8)
) -> bytes:
    payload = b"\x93" + shape + dtype + b"\xc4" + bytes([len(values)]) + values
    return b"\xc7" + bytes([len(payload)]) + b"\x01" + payload


def entry(value: bytes, key: bytes = b"\xa1a") -> bytes:
    return b"\x81" + key + value


LONG = b"\xd9\xc8" + b"k" * 200
FAULTS = {
    "no map": (b"\x92\x01\x02", "no map of arrays"),
    "empty text": (b"", "0 bytes"),
    "a number": (entry(b"\x07"), "under 'a' there is no array"),
    "a text": (entry(b"\xa1x"), "under 'a' there is no array"),
    "nothing": (entry(b"\xc0"), "under 'a' there is no array"),
    "another extension": (entry(b"\xd4\x02\x00"), "is an extension that is no array"),
    "a key that is no text": (entry(array(), b"\x07"), "no text of at most"),
    "a key without end": (entry(array(), b"\xdb" + b"\xff" * 4), "no text of at most"),
    "key twice": (b"\x82\xa1a" + array() + b"\xa1a" + array(), "holds 'a' twice"),
    "more than the tree": (entry(array()) + b"\x00", "1 bytes follow the tree"),
    "deep nesting": (b"\x81\xa1a" * 100_000, "nested more than 32 deep"),
    "a long path": (entry(entry(entry(array(), LONG), LONG), LONG), "more than 500 letters"),
    "a shape of billions": (
        entry(array(b"\x92" + b"\xcf" + b"\x7f" * 8 + b"\xcf" + b"\x7f" * 8)),
        "bytes, which",
    ),
    "too few values": (entry(array(values=bytes(4))), "has 4 bytes, which"),
    "a negative size": (entry(array(b"\x91\xff")), "a size is no integer"),
    "a shape that is none": (entry(array(b"\xa1x")), "has no shape"),
    "chunks": (
        entry(b"\x81\xb9__msgpack_chunked_array__\xc3"),
        "an array in chunks, 'a', expected whole ones",
    ),
    "billions of entries": (b"\xdf\xff\xff\xff\xff\xa1a" + array(), "1 bytes are announced"),
    "an array of billions": (entry(b"\xc9\xff\xff\xff\xff\x01\x93"), "0 are left"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_file_that_is_no_tree_of_arrays_is_an_error(tmp_path: Path, fault: str) -> None:
    content, message = FAULTS[fault]
    (tmp_path / FILE).write_bytes(content)
    with pytest.raises(CheckpointError, match=message):
        read_flax_msgpack(tmp_path / FILE)


def test_every_truncation_is_an_error(tmp_path: Path) -> None:
    content = b"\x82\xa1a" + array() + b"\xa1b\x81\xa1c" + array()
    path = tmp_path / FILE
    for size in range(len(content)):
        path.unlink(missing_ok=True)
        path.write_bytes(content[:size])
        with pytest.raises(CheckpointError, match=str(path)):
            read_flax_msgpack(path)


def test_more_arrays_than_any_model_has_are_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = b"\x83" + b"".join(b"\xa1" + key + array() for key in (b"a", b"b", b"c"))
    (tmp_path / FILE).write_bytes(content)
    assert len(read_flax_msgpack(tmp_path / FILE)) == 3
    monkeypatch.setattr(flax_msgpack, "MAX_TENSORS", 2)
    with pytest.raises(CheckpointError, match="it holds more than 2 arrays"):
        read_flax_msgpack(tmp_path / FILE)


INTACT = b"\x82\xa1a" + array() + b"\xa1b\x81\xa1c" + array()


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.lists(st.tuples(st.integers(0, len(INTACT) - 1), st.integers(0, 255)), min_size=1))
def test_changed_bytes_are_arrays_or_an_error(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[int, int]]
) -> None:
    content = bytearray(INTACT)
    for position, value in changes:
        content[position] = value
    path = tmp_path_factory.getbasetemp() / "changed.msgpack"
    path.unlink(missing_ok=True)
    path.write_bytes(content)
    with contextlib.suppress(CheckpointError):
        found = read_flax_msgpack(path)
        weights = [each for each in found.values() if each.dtype in DTYPES]
        assert all(each.read().nbytes == each.nbytes for each in weights)


KEYS = st.text("abz09_é☃", min_size=1, max_size=40)
TREES = st.recursive(
    st.sampled_from([np.float32([1.5, -2]), np.zeros((2, 0)), np.float16(3.0)]),
    lambda below: st.dictionaries(KEYS, below, min_size=1, max_size=20),
    max_leaves=40,
)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(tree=st.dictionaries(KEYS, TREES, min_size=1, max_size=20))
def test_any_tree_returns(tmp_path_factory: pytest.TempPathFactory, tree: dict[str, Any]) -> None:
    def flat(branch: Any, start: str) -> dict[str, Array]:
        found: dict[str, Array] = {}
        for key, value in branch.items():
            name = start + key
            found |= (
                flat(value, name + ".") if isinstance(value, dict) else {name: np.asarray(value)}
            )
        return found

    folder = tmp_path_factory.mktemp("tree")
    arrays = flat(tree, "")
    write_flax_msgpack(folder, stored_tensors(arrays), None)
    found = {name: each.read() for name, each in read_flax_msgpack(folder / FILE).items()}
    assert contents(found) == contents(arrays)


def test_size_beyond_one_byte_is_big_endian(tmp_path: Path) -> None:
    write_flax_msgpack(tmp_path, stored_tensors({"a": np.zeros(300, np.float32)}), None)
    assert b"\xcd" + struct.pack(">H", 300) in (tmp_path / FILE).read_bytes()
