"""Weights over several files: Hugging Face's index file, read and written.

Rules: the index names plain files of its own folder, all of them are there, and index and files
agree on every tensor. The files may be symbolic links, as in the download cache of the hub.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

from mobilebert_core.checkpoints.files import damaged, map_file, parse_json_object
from mobilebert_core.checkpoints.store import StoredTensor
from mobilebert_core.errors import CheckpointError, raise_faults

INDEX_SUFFIX = ".index.json"


def read_sharded(
    path: Path, read: Callable[[Path], dict[str, StoredTensor]]
) -> dict[str, StoredTensor]:
    """The tensors of a weights file, or of all files that an index file names.

    Args:
        path: a weights file or an index file.
        read: reads one weights file.

    Raises:
        CheckpointError: the index is damaged, names a file outside its folder or one that is
            missing, or disagrees with the files about their tensors.
    """
    if not path.name.endswith(INDEX_SUFFIX):
        return read(path)
    weight_map = _weight_map(path)
    tensors: dict[str, StoredTensor] = {}
    faults: list[str] = []
    for file in dict.fromkeys(weight_map.values()):
        shard = read(path.parent / file)
        promised = {name for name, holder in weight_map.items() if holder == file}
        faults += [f"{file} lacks {name}" for name in sorted(promised - shard.keys())]
        faults += [f"{file} also holds {name}" for name in sorted(shard.keys() - promised)]
        tensors |= shard
    raise_faults(CheckpointError, f"{path} disagrees with the files it names", faults)
    return tensors


def _weight_map(path: Path) -> dict[str, str]:
    """Tensor name -> file name, checked."""
    weight_map = parse_json_object(map_file(path)[:], path).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise damaged(path, "no 'weight_map' from tensor names to file names")
    files = list(dict.fromkeys(map(str, weight_map.values())))
    outside = [name for name in files if not _is_plain(name)]
    raise_faults(
        CheckpointError,
        f"{path} names files outside its folder and is not to be trusted",
        [f"{name!r}, expected a plain file name" for name in outside],
    )
    missing = [name for name in files if not (path.parent / name).is_file()]
    raise_faults(
        CheckpointError,
        f"Files that {path} names are missing; get them again",
        [f"no {name} in {path.parent}" for name in missing],
    )
    return {name: str(file) for name, file in weight_map.items()}


def _is_plain(name: str) -> bool:
    return name not in ("", ".", "..") and not set(name) & set("/\\:\0")


def write_sharded(
    folder: Path,
    stem: str,
    suffix: str,
    tensors: Mapping[str, StoredTensor],
    limit: int | None,
    write: Callable[[Path, Mapping[str, StoredTensor]], None],
) -> None:
    """Write tensors into one file, or into several and their index.

    Args:
        folder: an existing folder without weights.
        stem: start of the file names, e.g. `model`.
        suffix: end of the file names, e.g. `.safetensors`.
        tensors: name in the file -> tensor, in the order in which they are stored.
        limit: most bytes of a file; a tensor above it gets a file of its own. None is no limit.
        write: writes one file.
    """
    shards = _plan_shards(tensors, limit)
    if len(shards) == 1:
        write(folder / (stem + suffix), shards[0])
        return
    weight_map: dict[str, str] = {}
    for number, members in enumerate(shards, start=1):
        file = f"{stem}-{number:05d}-of-{len(shards):05d}{suffix}"
        write(folder / file, members)
        weight_map |= dict.fromkeys(members, file)
    values = {
        "metadata": {"total_size": sum(tensor.nbytes for tensor in tensors.values())},
        "weight_map": dict(sorted(weight_map.items())),
    }
    index = folder / (stem + suffix + INDEX_SUFFIX)
    index.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")


def _plan_shards(
    tensors: Mapping[str, StoredTensor], limit: int | None
) -> list[dict[str, StoredTensor]]:
    shards: list[dict[str, StoredTensor]] = [{}]
    used = 0
    for name, tensor in tensors.items():
        if limit is not None and shards[-1] and used + tensor.nbytes > limit:
            shards.append({})
            used = 0
        shards[-1][name] = tensor
        used += tensor.nbytes
    return shards
