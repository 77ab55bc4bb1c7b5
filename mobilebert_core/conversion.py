"""From one checkpoint format to another: what `mobilebert.convert` does.

    source -> open_source -> fit_weights -> cast -> save_checkpoint -> opened again and compared

Rules: one tensor is in memory at a time where the formats allow it; what was written is read back
and compared bit by bit before the destination gets its name, so that it appears whole and right or
not at all. Read next: `checkpoints/formats.py`.
"""

import hashlib
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mobilebert_core import hub
from mobilebert_core.checkpoints import Checkpoint, StoredTensor, open_checkpoint, save_checkpoint
from mobilebert_core.checkpoints.files import check_inside
from mobilebert_core.checkpoints.formats import MANIFEST, get_format
from mobilebert_core.checkpoints.store import DTYPES, TensorStore, raw_bytes
from mobilebert_core.checkpoints.writing import as_folder, config_of_folder
from mobilebert_core.config import MobileBertConfig
from mobilebert_core.conversion_report import (
    Conversion,
    ConvertedTensor,
    dropped_tensors,
    tensor_rows,
    write_manifest,
)
from mobilebert_core.dialects import Dialect
from mobilebert_core.errors import CheckpointError, ConfigError, brief, raise_faults
from mobilebert_core.fitting import FittedWeights, fit_weights
from mobilebert_core.loading import check_options, choose_head, open_source
from mobilebert_core.tokenization import MobileBertTokenizer
from mobilebert_core.tokenization.loading import FILES as TOKENIZER_FILES
from mobilebert_core.tokenization.loading import RUST_FILE, VOCABULARY_FILE

Progress = Callable[[str, int, int], None]


def convert(
    source: str | Path,
    destination: str | Path,
    *,
    to: str = "safetensors",
    dtype: str | None = None,
    head: str | None = None,
    seed: int = 0,
    ignore_mismatched_sizes: bool = False,
    max_shard_size: int | None = None,
    manifest: bool = False,
    force: bool = False,
    format: str | None = None,
    dialect: Dialect | None = None,
    revision: str | None = None,
    progress: Progress | None = None,
    **config_changes: Any,
) -> Conversion:
    """Write a checkpoint in another format, dtype or head; every other bit stays.

    The configuration is written in the format's own dialect, and the tokenizer's files come along.
    What was written is read back and compared before it gets its name.

    Args:
        source: a folder, a weights file, a packaged name or a hub id.
        destination: a folder that does not exist yet, or is empty.
        to: format to write: `safetensors`, `torch-bin`, `hf-tf-h5`, `google-tf1`, `flax-msgpack`,
            `orbax`, `keras-weights` or `npz`.
        dtype: `float64`, `float32`, `bfloat16` or `float16`; None keeps each tensor's own.
        head: one of `mobilebert.HEADS`; None keeps the checkpoint's. A head that the checkpoint
            lacks is fresh, with a warning.
        seed: of fresh head weights.
        ignore_mismatched_sizes: see `load`.
        max_shard_size: most bytes of a weights file, for formats that have several.
        manifest: also write `mobilebert-manifest.json`: the SHA-256 of every tensor, the same in
            all formats.
        force: replace the checkpoint that the destination holds; other files in it stay.
        format: forces one of several formats in the source.
        dialect: forces how the source's configuration is read, `transformers` or `google`.
        revision: branch, tag or commit of a hub id.
        progress: called with a stage (`writing`, `verifying`), and the bytes done and in all.
        **config_changes: configuration fields to change, e.g. `num_labels=3`.

    Raises:
        CheckpointError: the source is absent, damaged or does not fit, the destination holds
            something, or numbers do not fit into the dtype.
        ConfigError: an invalid head or dtype, or the format cannot express the configuration.
        MissingDependencyError: a format needs a package that is not installed.
    """
    check_options(convert, config_changes)
    _check_dtype(dtype)
    row = get_format(to)
    destination = as_folder(destination)
    _check_destination(destination, force)
    checkpoint = open_source(source, dialect=dialect, format=format, revision=revision)
    hub.resolve(source, TOKENIZER_FILES, revision=revision)  # downloaded beside the weights
    head = choose_head(checkpoint, head)
    config = checkpoint.config.replace(**config_changes)
    weights = fit_weights(
        checkpoint, config, head, seed=seed, ignore_mismatched_sizes=ignore_mismatched_sizes
    )
    passing = _Passing(_cast(weights, dtype or _common_dtype(weights)), progress or _silent)
    files: list[str] = []
    converted: list[ConvertedTensor] = []

    def complete(staging: Path) -> None:
        files.extend(_copy_tokenizer(checkpoint.path, staging, row.dialect))
        written = open_checkpoint(staging, format=to)
        passing.verify(written)
        _verify_settings(written, config, head)
        converted.extend(tensor_rows(checkpoint, weights, written, passing.digests))
        if manifest:
            write_manifest(staging / MANIFEST, checkpoint.format, to, head, converted)

    save_checkpoint(
        destination,
        config,
        passing,
        head,
        format=to,
        max_shard_size=max_shard_size,
        extra_files=complete,
        overwrite=force,
    )
    return Conversion(
        checkpoint.path,
        checkpoint.format,
        destination,
        to,
        head,
        tuple(converted),
        dropped_tensors(checkpoint, weights),
        checkpoint.unknown_settings,
        tuple(files),
    )


def _silent(stage: str, done: int, total: int) -> None:
    pass


def _check_dtype(dtype: object) -> None:
    if dtype is not None and dtype not in DTYPES:
        raise ConfigError(f"dtype is {brief(dtype)}, expected one of {', '.join(DTYPES)} or None")


def _check_destination(folder: Path, force: bool) -> None:
    if force or not folder.is_dir():
        return
    names = sorted(path.name for path in folder.iterdir())
    if names:
        raise CheckpointError(
            f"{folder} exists and holds {', '.join(names[:5])}{', ...' * (len(names) > 5)}; give a "
            "new folder, or ask to replace the checkpoint in it (force=True, --force)"
        )


def _common_dtype(weights: FittedWeights) -> str | None:
    """What fresh tensors are cast to: the dtype of all others, if they agree."""
    found = {weights.stored(name).dtype for name in weights if name not in weights.fresh}
    return found.pop() if len(found) == 1 else None


def _cast(weights: FittedWeights, dtype: str | None) -> dict[str, StoredTensor]:
    tensors = {name: weights.stored(name) for name in weights}
    if dtype is None:
        return tensors
    return {
        name: tensor if tensor.dtype == dtype else _as_dtype(name, tensor, dtype)
        for name, tensor in tensors.items()
    }


def _as_dtype(name: str, tensor: StoredTensor, dtype: str) -> StoredTensor:
    def read() -> np.ndarray[Any, np.dtype[Any]]:
        values = tensor.read()
        with np.errstate(over="ignore"):  # told as an error, with the tensor's name
            cast = values.astype(DTYPES[dtype])
        lost = int(np.count_nonzero(np.isfinite(values) & ~np.isfinite(cast)))
        if lost:
            raise CheckpointError(
                f"{name} has {lost} numbers beyond the range of {dtype}, the largest "
                f"{np.abs(values.astype(np.float64)).max():.3g}; expected all within it. Give "
                "another dtype, e.g. bfloat16"
            )
        return cast

    return StoredTensor(tensor.shape, dtype, read)


class _Passing(TensorStore):
    """Tensors on their way: what is read is counted and digested, and held against what arrives."""

    def __init__(self, tensors: Mapping[str, StoredTensor], progress: Progress) -> None:
        super().__init__({name: self._observed(name, each) for name, each in tensors.items()})
        self.digests: dict[str, str] = {}
        self._progress = progress
        self._total = sum(tensor.nbytes for tensor in tensors.values())
        self._done = 0

    def _observed(self, name: str, tensor: StoredTensor) -> StoredTensor:
        def read() -> np.ndarray[Any, np.dtype[Any]]:
            values = tensor.read()
            if name not in self.digests:
                self.digests[name] = sha256(values)
                self._report("writing", tensor.nbytes)
            return values

        return StoredTensor(tensor.shape, tensor.dtype, read)

    def _report(self, stage: str, size: int) -> None:
        self._done += size
        self._progress(stage, self._done, self._total)

    def verify(self, written: Checkpoint) -> None:
        """Read everything back.

        Raises:
            CheckpointError: lists every tensor that is not, bit for bit, what was to be written.
        """
        self._done = 0
        faults = [f"{name} is missing" for name in self if name not in written.weights]
        for name in written.weights:
            tensor = written.weights.stored(name)
            if name not in self:
                faults.append(f"{name} should not be there")
            elif (tensor.shape, tensor.dtype) != (self.shape(name), self.stored(name).dtype):
                faults.append(f"{name} is {tensor.dtype} {tensor.shape}")
            elif sha256(tensor.read()) != self.digests.get(name):
                faults.append(f"{name} has other values")
            self._report("verifying", tensor.nbytes)
        heading = "What was written does not read back as it should; the destination is unchanged"
        raise_faults(CheckpointError, heading, faults)


def _verify_settings(written: Checkpoint, config: MobileBertConfig, head: str) -> None:
    config = config_of_folder(config, head)
    if (written.config, written.head) != (config, head):
        raise CheckpointError(
            f"What was written reads back as {written.head}, {written.config}, expected {head}, "
            f"{config}; the destination is unchanged"
        )


def sha256(values: np.ndarray[Any, np.dtype[Any]]) -> str:
    """The SHA-256 of an array's values: little-endian, in C order."""
    return hashlib.sha256(raw_bytes(values).data).hexdigest()


def _copy_tokenizer(source: Path, staging: Path, dialect: Dialect) -> list[str]:
    """Copy the tokenizer's files as they are; Google's code needs a vocabulary of its own."""
    names = [name for name in TOKENIZER_FILES if (source / name).is_file()]
    for name in names:
        check_inside(source / name, source)
        shutil.copyfile(source / name, staging / name)
    if dialect == "google" and RUST_FILE in names and VOCABULARY_FILE not in names:
        ids = MobileBertTokenizer.from_pretrained(source).get_vocab()
        pieces = "".join(f"{piece}\n" for piece in sorted(ids, key=ids.__getitem__))
        (staging / VOCABULARY_FILE).write_text(pieces, encoding="utf-8")
        names.append(VOCABULARY_FILE)
    return names
