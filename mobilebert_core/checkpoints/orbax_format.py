"""Orbax folders: a tree of arrays in TensorStore's containers, read without JAX.

`_METADATA` lists the paths in the tree; each array is a Zarr array in one OCDBT database, or in a
folder of its own. Rules: nothing outside the folder is opened, an array's chunks are no larger than
the array, one that is missing is an error; writing is Orbax' own. Read next: `flax_naming.py`.
"""

import logging
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from mobilebert_core.checkpoints.files import check_inside, damaged, map_file, parse_json_object
from mobilebert_core.checkpoints.flax_msgpack import MAX_TENSORS, Tree, nested
from mobilebert_core.checkpoints.store import Array, StoredTensor, check_shape
from mobilebert_core.errors import CheckpointError, MissingDependencyError

FOLDER = "orbax"
METADATA = "_METADATA"
# Orbax looks for its files with the path as a pattern; TensorStore takes \ for a separator.
_UNWRITABLE = "[\\"
_KEY = re.compile(r"\w+", re.ASCII)
_MISSING = (
    'Orbax checkpoints need orbax-checkpoint and tensorstore; type: pip install "mobilebert[jax]"'
)


def read_orbax(path: Path) -> dict[str, StoredTensor]:
    """The arrays of a folder by their paths in the tree, joined by dots.

    Args:
        path: its file `_METADATA`.

    Raises:
        CheckpointError: a file is damaged or missing, or names something outside the folder.
        MissingDependencyError: tensorstore is not installed.
    """
    metadata = parse_json_object(map_file(path)[:], path)
    names = _names(path, metadata)
    _check_files(path.parent)
    try:
        import tensorstore
    except ImportError as error:
        raise MissingDependencyError(_MISSING) from error
    context = tensorstore.Context({"cache_pool": {"total_bytes_limit": 0}})
    opening = {
        name: tensorstore.open(spec, context=context, open=True, read=True)
        for name, spec in _specs(path, metadata, names)
    }
    tensors = {}
    for name, future in opening.items():
        try:
            array = future.result()
        except ValueError as error:
            raise damaged(path, f"{name!r} cannot be opened ({_first_line(error)})") from error
        tensors[name] = _stored_tensor(path, name, array)
    return tensors


def _names(path: Path, metadata: Mapping[str, Any]) -> list[str]:
    tree = metadata.get("tree_metadata")
    if not isinstance(tree, dict) or not tree or len(tree) > MAX_TENSORS:
        raise damaged(path, "no 'tree_metadata' with the paths of arrays")
    names = []
    for entry in tree.values():
        if _is_empty(entry):
            continue
        keys = entry.get("key_metadata") if isinstance(entry, dict) else None
        if not isinstance(keys, list) or not all(isinstance(each, dict) for each in keys):
            raise damaged(path, "an array has no path")
        parts = [str(each.get("key")) for each in keys]
        outside = [part for part in parts if not _KEY.fullmatch(part)]
        if outside or not parts:
            raise damaged(path, f"an array's path has the impossible part {str(outside)[:80]}")
        names.append(".".join(parts))
    if len(set(names)) != len(names):
        raise damaged(path, "a path is given twice")
    return names


def _is_empty(entry: object) -> bool:
    """Whether Orbax notes a place in the tree that has no array, e.g. an empty dictionary."""
    value = entry.get("value_metadata") if isinstance(entry, dict) else None
    return isinstance(value, dict) and value.get("skip_deserialize") is True


def _check_files(folder: Path) -> None:
    """Refuse what leads TensorStore out of the folder, and pipes, for which it waits for ever."""
    for path in folder.rglob("*"):
        if not path.is_file() and not path.is_dir():
            raise damaged(path, "it is neither a file nor a folder")
        if path.is_symlink():
            check_inside(path, folder)


def _specs(
    path: Path, metadata: Mapping[str, Any], names: list[str]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Where TensorStore finds arrays; a chunk that is missing is not to be taken for zeros."""
    folder = path.parent.resolve()
    database = metadata.get("use_ocdbt", (folder / "manifest.ocdbt").is_file())
    driver = "zarr3" if metadata.get("use_zarr3") else "zarr"
    for name in names:
        if database:
            store = {"driver": "ocdbt", "base": f"{folder.as_uri()}/", "path": f"{name}/"}
        else:
            store = {"driver": "file", "path": f"{folder / name}/"}
        yield name, {"driver": driver, "kvstore": store, "fill_missing_data_reads": False}


def _stored_tensor(path: Path, name: str, array: Any) -> StoredTensor:
    shape = check_shape(path, name, tuple(array.shape))
    chunk = array.chunk_layout.read_chunk.shape or shape  # a scalar's is None
    if any(part > max(size, 1) for part, size in zip(chunk, shape, strict=True)):
        raise damaged(path, f"{name!r} of shape {shape} is in chunks of shape {tuple(chunk)}")

    def read() -> Array:
        try:
            values: Array = array.read(order="C").result()
        except ValueError as error:
            raise damaged(path, f"{name!r} cannot be read ({_first_line(error)})") from error
        return values

    return StoredTensor(shape, array.dtype.name, read)


def _first_line(error: Exception) -> str:
    """What happened; TensorStore adds its whole request."""
    return str(error).partition("\n")[0].partition(" [tensorstore_spec=")[0][:300]


def write_orbax(folder: Path, tensors: Mapping[str, StoredTensor], limit: int | None) -> None:
    """Write tensors into a folder, all at once.

    The tree is that of `nnx.state(model, nnx.Param)`, so that
    `orbax.checkpoint.StandardCheckpointer().restore(path, nnx.state(model, nnx.Param))` gives the
    state for `nnx.update`, as an abstract state does for `nnx.merge`, and `restore(path)` the tree
    as dictionaries. Parameters have a level `value` in it, which that needs;
    `nnx.replace_by_pure_dict` knows none: for it, the format `flax-msgpack` has the tree.

    Args:
        folder: an existing folder without weights.
        tensors: name in the file -> tensor.
        limit: not used; Orbax has files of its own.

    Raises:
        CheckpointError: Orbax cannot write there, e.g. because the disk is full or the path has a
            letter that it mistakes for a pattern.
        MissingDependencyError: Orbax is not installed.
    """
    try:
        import orbax.checkpoint
    except ImportError as error:
        raise MissingDependencyError(_MISSING) from error
    target = (folder / FOLDER).resolve()
    if any(letter in target.as_posix() for letter in _UNWRITABLE):
        raise CheckpointError(
            f"Orbax loses what it writes below {target.parent}, for the letters {_UNWRITABLE} in "
            "the path; save elsewhere and move the folder"
        )
    try:
        # It writes in the background: much of what can fail shows at the end of the block.
        with _silent_log(), orbax.checkpoint.StandardCheckpointer() as checkpointer:
            checkpointer.save(target, _state(nested(tensors)))
    except ValueError as error:
        message = f"Orbax could not write {folder}: {_first_line(error)}"
        raise CheckpointError(message) from error
    # It says where the folder was at first, and only cloud storage needs it.
    (folder / FOLDER / "commit_success.txt").unlink(missing_ok=True)


@contextmanager
def _silent_log() -> Iterator[None]:
    """Orbax logs each error with its stack, several times, beside raising it."""
    logger = logging.getLogger("absl")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        logger.setLevel(level)


def _state(tree: Tree) -> dict[str, Any]:
    """The tree with its values, each below the key that an nnx.Param has."""
    return {
        key: _state(value) if isinstance(value, dict) else {"value": np.asarray(value.read())}
        for key, value in tree.items()
    }
