"""NumPy's archives: what numpy.savez writes is read, everything else is refused."""

import pickle
import struct
import warnings
import zipfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from mobilebert_conformance.cases import small_config
from mobilebert_conformance.weights import Array, random_weights
from mobilebert_core.checkpoints import open_checkpoint, save_checkpoint
from mobilebert_core.checkpoints.npz import read_npz
from mobilebert_core.errors import CheckpointError


def npy(header: str, values: bytes = b"", version: tuple[int, int] = (1, 0)) -> bytes:
    text = header.encode()
    return b"\x93NUMPY" + bytes(version) + struct.pack("<H", len(text)) + text + values


HEADER = "{'descr': '<f4', 'fortran_order': False, 'shape': (2,)}\n"


def archive(path: Path, members: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return path


def test_what_numpy_writes_is_read(tmp_path: Path) -> None:
    weights = random_weights(small_config(), "base")
    save_checkpoint(tmp_path, small_config(), weights, "base", format="npz")
    np.savez(tmp_path / "weights.npz", **weights)
    found = open_checkpoint(tmp_path).weights
    assert {n: a.tobytes() for n, a in found.items()} == {
        n: a.tobytes() for n, a in weights.items()
    }


def test_what_we_write_is_read_by_numpy(tmp_path: Path) -> None:
    weights = random_weights(small_config(), "base")
    save_checkpoint(tmp_path, small_config(), weights, "base", format="npz")
    with np.load(tmp_path / "weights.npz") as file:
        assert set(file) == {name.removeprefix("mobilebert.") for name in weights}
        for name, array in weights.items():
            assert file[name.removeprefix("mobilebert.")].tobytes() == array.tobytes()


@pytest.mark.parametrize(
    "values",
    [
        np.asfortranarray(np.arange(6, dtype=np.float32).reshape(2, 3)),
        np.arange(6, dtype=np.float16).reshape(2, 3).astype(ml_dtypes.bfloat16),
        np.zeros((0, 3), np.float32),
        np.float64(7.0),
    ],
    ids=["columns first", "bfloat16", "empty", "scalar"],
)
def test_array_of_any_layout_is_read(tmp_path: Path, values: Array) -> None:
    np.savez(tmp_path / "weights.npz", a=values)
    found = read_npz(tmp_path / "weights.npz")["a"].read()
    assert (found.shape, found.dtype) == (np.shape(values), np.asarray(values).dtype)
    assert found.tobytes() == np.ascontiguousarray(values).tobytes()
    assert found.flags.c_contiguous


def objects() -> bytes:
    file = BytesIO()
    np.lib.format.write_array(file, np.array([print, 1], object), allow_pickle=True)
    return file.getvalue()


FAULTS: dict[str, tuple[Callable[[], bytes], str]] = {
    "objects": (objects, "holds Python objects, expected numbers; nothing was run"),
    "big-endian": (lambda: npy(HEADER.replace("<", ">"), bytes(8)), "are big-endian"),
    "too few values": (lambda: npy(HEADER, bytes(4)), "has 4 bytes, which"),
    "too many values": (lambda: npy(HEADER, bytes(12)), "has 12 bytes, which"),
    "a shape of billions": (lambda: npy(HEADER.replace("2,", "1 << 60,"), bytes(8)), "no plain"),
    "a negative shape": (lambda: npy(HEADER.replace("2,", "-2,"), bytes(8)), "is impossible"),
    "a header that does not end": (lambda: npy("{'descr': ('<f4', [\n"), "no plain array"),
    "a header of code": (lambda: npy("{'descr': __import__('os').abort()}\n"), "no plain array"),
    "another version": (lambda: npy(HEADER, bytes(8), (3, 0)), "no plain array"),
    "no header": (lambda: b"", "no plain array"),
    "a record": (lambda: npy(HEADER.replace("'<f4'", "[('a', '<f4')]"), bytes(8)), "dtype"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_array_that_is_none_is_an_error(tmp_path: Path, fault: str) -> None:
    make, message = FAULTS[fault]
    config = small_config()
    save_checkpoint(tmp_path, config, random_weights(config, "base"), "base", format="npz")
    archive(tmp_path / "weights.npz", {"embeddings.LayerNorm.bias.npy": make()})
    with pytest.raises(CheckpointError, match=message):
        open_checkpoint(tmp_path)


def test_compressed_archive_is_refused_unread(tmp_path: Path) -> None:
    content = npy(HEADER.replace("2,", "100_000_000,"), bytes(10_000))
    path = archive(tmp_path / "weights.npz", {"a.npy": content}, zipfile.ZIP_DEFLATED)
    with pytest.raises(CheckpointError, match=r"'a.npy' is compressed.*numpy.savez"):
        read_npz(path)


def test_name_that_leads_elsewhere_is_only_an_unknown_tensor(tmp_path: Path) -> None:
    config = small_config()
    folder = tmp_path / "model"
    save_checkpoint(folder, config, random_weights(config, "base"), "base", format="npz")
    archive(folder / "weights.npz", {"../../evil.npy": npy(HEADER, bytes(8))})
    with pytest.raises(CheckpointError, match=r"unknown: \.\./\.\./evil"):
        open_checkpoint(folder)
    assert {path.name for path in tmp_path.iterdir()} == {"model"}


def test_member_that_is_no_array_is_an_error(tmp_path: Path) -> None:
    path = archive(tmp_path / "weights.npz", {"run.py": b"print()"})
    with pytest.raises(CheckpointError, match=r"holds 'run.py', expected arrays \(\*.npy\) only"):
        read_npz(path)


def test_name_given_twice_is_an_error(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # the library that writes it knows better
        with zipfile.ZipFile(tmp_path / "weights.npz", "w") as file:
            file.writestr("a.npy", npy(HEADER, bytes(8)))
            file.writestr("a.npy", npy(HEADER, b"\1" * 8))
    with pytest.raises(CheckpointError, match="several files of one name"):
        read_npz(tmp_path / "weights.npz")


def test_pickle_under_this_name_is_not_run(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return Path.touch, (str(tmp_path / "executed"),)

    (tmp_path / "weights.npz").write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(CheckpointError, match="no complete zip archive"):
        read_npz(tmp_path / "weights.npz")
    assert not (tmp_path / "executed").exists()
