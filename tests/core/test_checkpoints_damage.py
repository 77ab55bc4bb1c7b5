"""Damaged and hostile checkpoints of every format: one clear error, and nothing happens."""

import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from formats import contents, is_available, require, rewrite
from mobilebert_conformance.cases import small_config
from mobilebert_conformance.weights import random_weights
from mobilebert_core import schema
from mobilebert_core.checkpoints import open_checkpoint, save_checkpoint
from mobilebert_core.checkpoints.formats import FORMATS, get_format
from mobilebert_core.checkpoints.names import tensors_to_write
from mobilebert_core.checkpoints.store import stored_tensors
from mobilebert_core.config import MobileBertConfig
from mobilebert_core.conversion import convert
from mobilebert_core.errors import CheckpointError, MobileBertError
from mobilebert_core.initialization import initial_weights

STEP = 1 << 16
BASE = "base"


def weight_files(folder: Path, format: str) -> list[Path]:
    """The files of a checkpoint that hold tensors or say where they are."""
    row = get_format(format)
    found = [path for path in folder.rglob("*") if path.is_file()]
    inside = [path for path in found if path.parent != folder]
    return inside + [path for path in found if path.parent == folder and row.owns(path)]


def read_all(folder: Path, format: str) -> dict[str, Any]:
    return contents(open_checkpoint(folder, format=format).weights)


def outcome(folder: Path, format: str) -> str:
    """Names, shapes and dtypes of all tensors, or the error."""
    try:
        return str({name: each[:2] for name, each in read_all(folder, format).items()})
    except MobileBertError as error:
        return str(error)


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of about a megabyte in every format, each in a folder of its name."""
    folder = tmp_path_factory.mktemp("large")
    config = MobileBertConfig(
        vocab_size=500, num_hidden_layers=1, max_position_embeddings=32, intermediate_size=64
    )
    weights = initial_weights(config, BASE, seed=0)
    for format in filter(is_available, FORMATS):
        save_checkpoint(folder / format, config, weights, BASE, format=format)
    return folder


@pytest.mark.parametrize("format", FORMATS)
def test_file_cut_at_any_64_kilobytes_is_an_error(tmp_path: Path, large: Path, format: str) -> None:
    require(format)
    folder = tmp_path / "model"
    shutil.copytree(large / format, folder)
    intact, refused = outcome(folder, format), 0
    for path in weight_files(folder, format):
        content = path.read_bytes()
        for size in range(STEP, len(content), STEP):
            path.unlink()
            path.write_bytes(content[:size])
            found = outcome(folder, format)
            refused += str(folder) in found
            # Orbax leaves files in its folder that nothing refers to any more.
            assert str(folder) in found or (format == "orbax" and found == intact)
        path.write_bytes(content)
    assert refused > 10


@pytest.fixture
def small(tmp_path: Path) -> Path:
    return tmp_path / "model"


def save(folder: Path, format: str) -> dict[str, Any]:
    config = small_config()
    weights = {n: a.astype(np.float32) for n, a in random_weights(config, BASE).items()}
    save_checkpoint(folder, config, weights, BASE, format=format)
    return contents(weights)


def flips(content: bytes, count: int) -> Iterator[bytes]:
    """The content with one byte inverted: the ends, which steer every reader, and some others."""
    generator = random.Random(0)
    ends = [*range(min(200, len(content))), *range(max(0, len(content) - 200), len(content))]
    for position in generator.sample(ends, min(count, len(ends))):
        yield content[:position] + bytes([content[position] ^ 0xFF]) + content[position + 1 :]


@pytest.mark.parametrize("format", FORMATS)
def test_inverted_header_byte_is_an_error_or_changes_no_structure(small: Path, format: str) -> None:
    require(format)
    save(small, format)
    expected = outcome(small, format)
    files = weight_files(small, format)
    for path in files:
        content = path.read_bytes()
        for changed in flips(content, 80 // len(files)):
            path.unlink()
            path.write_bytes(changed)
            found = outcome(small, format)
            assert found == expected or str(small) in found
        path.write_bytes(content)


@pytest.mark.parametrize(
    ("format", "file"),
    [
        ("torch-bin", "pytorch_model.bin"),
        ("google-tf1", "mobilebert_variables.ckpt.data-00000-of-00001"),
        ("npz", "weights.npz"),
    ],
)
def test_changed_number_is_an_error_where_the_format_has_checksums(
    small: Path, format: str, file: str
) -> None:
    save(small, format)
    weights = random_weights(small_config(), BASE)
    name = "mobilebert.encoder.layer.1.output.LayerNorm.bias"
    content = (small / file).read_bytes()
    position = content.index(weights[name].astype(np.float32).tobytes())
    (small / file).write_bytes(
        content[:position] + bytes([content[position] ^ 1]) + content[position + 1 :]
    )
    with pytest.raises(CheckpointError, match=r"the checksum of .* is wrong"):
        convert(small, small.with_name("new"))
    assert not small.with_name("new").exists()


@pytest.mark.parametrize("format", FORMATS)
def test_tensor_of_another_shape_is_an_error_with_both_shapes(small: Path, format: str) -> None:
    require(format)
    config, name = small_config(), "mobilebert.encoder.layer.1.attention.self.query.bias"
    save(small, format)
    weights = random_weights(config, BASE) | {name: np.zeros(7)}
    naming = get_format(format).naming(config)
    rewrite(small, format, tensors_to_write(stored_tensors(weights), naming, config, BASE))
    with pytest.raises(CheckpointError, match=r"query.bias is \(7,\), expected \(12,\)"):
        convert(small, small.with_name("new"))
    assert not small.with_name("new").exists()


@pytest.mark.parametrize("format", FORMATS)
def test_missing_tensor_is_an_error_with_its_name(small: Path, format: str) -> None:
    require(format)
    config = small_config()
    save(small, format)
    weights = random_weights(config, BASE)
    del weights[schema.WORD_EMBEDDINGS]
    naming = get_format(format).naming(config)
    rewrite(small, format, tensors_to_write(stored_tensors(weights), naming, config, BASE))
    with pytest.raises(CheckpointError, match=r"missing: .*word_embeddings.weight \(61, 10\)"):
        convert(small, small.with_name("new"))


@pytest.mark.parametrize("format", FORMATS)
def test_link_out_of_the_folder_is_an_error(small: Path, format: str) -> None:
    require(format)
    save(small, format)
    for path in [each for each in small.iterdir() if get_format(format).owns(each)]:
        path.rename(small.parent / path.name)
        path.symlink_to(small.parent / path.name)
    with pytest.raises(CheckpointError, match="is a symbolic link out of its folder"):
        read_all(small, format)


@pytest.mark.parametrize("format", FORMATS)
def test_empty_file_is_an_error(small: Path, format: str) -> None:
    require(format)
    save(small, format)
    entry = next(path for pattern in get_format(format).entries for path in small.glob(pattern))
    entry.write_bytes(b"")
    with pytest.raises(MobileBertError, match=str(entry)):
        read_all(small, format)


def test_two_formats_in_a_folder_are_ambiguous_and_named(small: Path) -> None:
    save(small, "safetensors")
    save(small.with_name("other"), "npz")
    shutil.copy(small.with_name("other") / "weights.npz", small)
    message = r"model.safetensors \(safetensors\), weights.npz \(npz\); expected one"
    with pytest.raises(CheckpointError, match=message):
        open_checkpoint(small)


@pytest.mark.parametrize("format", FORMATS)
def test_file_given_directly_is_recognized_by_its_name(small: Path, format: str) -> None:
    require(format)
    expected = save(small, format)
    entry = next(path for pattern in get_format(format).entries for path in small.glob(pattern))
    found = open_checkpoint(entry)
    assert found.format == format
    assert contents(found.weights) == expected
