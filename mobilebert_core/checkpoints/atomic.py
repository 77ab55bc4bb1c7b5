"""Replacing a folder, or a file, in one step.

Rules: the new content is written beside the destination, to disk, and takes its name by renaming.
Whatever happens before leaves the destination alone. An existing folder cannot be renamed over, so
it moves to a backup name first: a program that is killed between the two renames leaves the backup,
complete and named after the folder; any other failure puts it back.
"""

import contextlib
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from mobilebert_core.errors import CheckpointError

_STAGING, _BACKUP = "mobilebert-staging", "mobilebert-backup"


def backups_of(folder: Path) -> list[Path]:
    """What killed saves have left of an earlier folder."""
    name = folder.name
    try:
        beside = sorted(folder.parent.iterdir())
    except OSError:
        return []
    return [path for path in beside if path.name.startswith(f"{name}.{_BACKUP}-")]


def replace_folder(
    folder: Path, fill: Callable[[Path], None], replaces: Callable[[Path], bool]
) -> None:
    """Give a folder new content, all of it or nothing.

    Args:
        folder: the destination; made if need be.
        fill: writes the new content into the folder it is given.
        replaces: whether an old file or folder goes even if no new one has its name. Others stay.

    Raises:
        CheckpointError: the destination is a file, or the working directory is in it.
        OSError: writing or renaming failed; the destination is as before.
    """
    folder = folder.resolve()
    _check_destination(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    token = secrets.token_hex(4)
    staging = folder.with_name(f"{folder.name}.{_STAGING}-{token}")
    try:
        staging.mkdir()
        fill(staging)
        _give_usual_permissions(staging)
        if folder.exists():
            _keep_other_files(folder, staging, replaces)
        _flush_tree(staging)
        _swap(staging, folder, folder.with_name(f"{folder.name}.{_BACKUP}-{token}"))
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise


@contextlib.contextmanager
def replaced_file(path: Path, **opening: Any) -> Iterator[IO[Any]]:
    """A file to write to, which takes its name when all is written; before, all is as it was.

    Args:
        path: the destination, in a folder that exists.
        opening: how it is opened: `mode`, which creates, `encoding`, `newline`.

    Raises:
        OSError: writing or renaming failed; the destination is as before.
    """
    staging = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with staging.open(**opening) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        staging.replace(path)
    finally:
        staging.unlink(missing_ok=True)


def _check_destination(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise CheckpointError(f"{folder} is a file, expected a folder to save into")
    if folder.exists() and not os.access(folder, os.W_OK):
        raise CheckpointError(f"{folder} is write-protected, expected a folder to save into")
    if Path.cwd().is_relative_to(folder):
        raise CheckpointError(
            f"{folder} holds the working directory and would be replaced; save into a folder in it"
        )


def _give_usual_permissions(folder: Path) -> None:
    """Give files the permissions of the umask: safetensors 0.8 writes for the owner alone."""
    mode = folder.stat().st_mode & 0o666  # the folder is new, so this is what the umask leaves
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink():
            path.chmod(mode)


def _keep_other_files(old: Path, new: Path, replaces: Callable[[Path], bool]) -> None:
    """Put the old files that stay into the new folder, as links where the file system has them."""
    for path in old.iterdir():
        target = new / path.name
        if replaces(path):
            continue
        if path.is_dir() and not path.is_symlink():
            target.mkdir(exist_ok=True)
            _keep_other_files(path, target, lambda _: False)
        elif os.path.lexists(target):
            continue
        elif path.is_symlink():
            target.symlink_to(path.readlink())
        else:
            _link_or_copy(path, target)
    shutil.copymode(old, new)


def _link_or_copy(path: Path, target: Path) -> None:
    try:
        os.link(path, target)
    except OSError:
        shutil.copy2(path, target)


def _swap(staging: Path, folder: Path, backup: Path) -> None:
    try:
        if folder.exists():
            folder.rename(backup)
        staging.rename(folder)
    except BaseException:
        if backup.exists() and not folder.exists():
            backup.rename(folder)
        raise
    # The new checkpoint has its name; nothing from here on may be reported as a failed save.
    with contextlib.suppress(OSError):
        _flush(folder.parent)
    shutil.rmtree(backup, ignore_errors=True)


def _flush_tree(folder: Path) -> None:
    """Make the system write a folder to disk, so that a power cut cannot leave a renamed husk."""
    if os.name == "nt":
        return  # Windows flushes only what is open for writing
    for path in folder.rglob("*"):
        if not path.is_symlink():
            _flush(path)
    _flush(folder)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
