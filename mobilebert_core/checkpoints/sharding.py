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


def plan_shards(
    sizes: Mapping[str, int], stem: str, suffix: str, limit: int | None
) -> dict[str, list[str]]:
    """Distribute tensors over files: file name -> tensor names.

    Args:
        sizes: bytes of each tensor, in the order in which they are stored.
        stem: start of the file names, e.g. `model`.
        suffix: end of the file names, e.g. `.safetensors`.
        limit: most bytes of a file; a tensor above it gets a file of its own. None is no limit.
    """
    shards: list[list[str]] = [[]]
    used = 0
    for name, size in sizes.items():
        if limit is not None and shards[-1] and used + size > limit:
            shards.append([])
            used = 0
        shards[-1].append(name)
        used += size
    if len(shards) == 1:
        return {stem + suffix: shards[0]}
    return {
        f"{stem}-{number:05d}-of-{len(shards):05d}{suffix}": names
        for number, names in enumerate(shards, start=1)
    }


def write_index(path: Path, shards: Mapping[str, list[str]], total_size: int) -> None:
    """Write the index file of several weights files."""
    weight_map = {name: file for file, names in shards.items() for name in names}
    values = {
        "metadata": {"total_size": total_size},
        "weight_map": dict(sorted(weight_map.items())),
    }
    path.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
