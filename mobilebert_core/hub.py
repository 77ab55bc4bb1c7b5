"""Turns what users name into a local folder; the only module that may use the network."""

import re
from collections.abc import Sequence
from pathlib import Path

from mobilebert_core import packaged
from mobilebert_core.errors import CheckpointError, MissingDependencyError

_PART = r"[A-Za-z0-9_]([\w.-]*[A-Za-z0-9_])?"
_HUB_ID = re.compile(rf"{_PART}(/{_PART})?", re.ASCII)


def resolve(source: str | Path, patterns: Sequence[str], *, revision: str | None = None) -> Path:
    """The local path of a folder, a file, a packaged name, or the downloaded files of a hub id.

    Args:
        source: a path that exists, the name of a packaged model, or a hub id such as
            `google/mobilebert-uncased`; tried in this order.
        patterns: names of the files that are wanted from the hub.
        revision: branch, tag or commit on the hub.

    Raises:
        CheckpointError: neither a path nor an id, or the hub does not deliver it.
        MissingDependencyError: the source is an id and huggingface_hub is not installed.
    """
    if not isinstance(source, str | Path):
        raise CheckpointError(
            f"source is a {type(source).__name__}, expected a folder, a file or a hub id"
        )
    path = _local(source, revision)
    if path is not None:
        return path
    hint = packaged.hint(source)
    if isinstance(source, Path) or not _HUB_ID.fullmatch(source) or len(source) > 96:
        raise CheckpointError(
            f"{str(source)!r} does not exist; give a folder, a file or a hub id{hint}"
        )
    try:
        from huggingface_hub import snapshot_download
    except ImportError as error:
        raise MissingDependencyError(
            f"{source!r} is no local folder, and hub ids need huggingface_hub; "
            f'type: pip install "mobilebert[hub]"{hint}'
        ) from error
    try:
        folder = snapshot_download(
            source,
            revision=revision,
            allow_patterns=list(patterns),
            ignore_patterns="*/*",  # a pattern's * crosses folders: other checkpoints lie there
        )
    except Exception as error:
        raise CheckpointError(
            f"{source!r} is no local folder, and the hub did not deliver it: "
            f"{type(error).__name__}: {error}{hint}"
        ) from error
    return Path(folder)


def _local(source: str | Path, revision: str | None) -> Path | None:
    """The path that a source names, if something is there, or else the packaged model."""
    try:
        path = Path(source).expanduser()
        if str(source) and path.exists():
            return path
    except (OSError, RuntimeError, ValueError):  # no such user, too long, a null byte
        return None
    return packaged.find(source, revision)


def resolve_checkpoint(
    source: str | Path, *, revision: str | None = None, format: str | None = None
) -> Path:
    """`resolve` for a model: its configuration, and its weights in the first format that it has.

    Raises:
        CheckpointError: see `resolve`; or the format's checkpoints are folders.
        MissingDependencyError: see `resolve`.
    """
    # A tokenizer comes from the hub as well, and needs no formats of weights.
    from mobilebert_core.checkpoints.formats import FORMATS, get_format

    if isinstance(source, str | Path):
        found = _local(source, revision)
        if found is not None:
            return found
    rows = list(FORMATS.values()) if format is None else [get_format(format)]
    fetched = [row for row in rows if not row.folders]
    if not fetched:
        raise CheckpointError(
            f"{str(source)!r} does not exist, and checkpoints of the format {format}, which are "
            "folders, are not fetched from the hub; download it and give the folder"
        )
    for row in fetched:
        path = resolve(source, row.config_names + row.entries + row.others, revision=revision)
        if any(map(row.owns, path.iterdir())):
            break
    return path
