"""A save that is interrupted anywhere loses nothing."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mobilebert_conformance.cases import tiny_config
from mobilebert_core import schema
from mobilebert_core.checkpoints import open_checkpoint, save_checkpoint
from mobilebert_core.errors import CheckpointError

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def config():
    return tiny_config()


@pytest.fixture
def save(tmp_path, config):
    """Saves weights that are all one number."""

    def save_number(number, folder=tmp_path / "model", **arguments):
        specs = schema.owned_tensors(config, "base")
        weights = {name: np.full(spec.shape, number, np.float32) for name, spec in specs.items()}
        return save_checkpoint(folder, config, weights, "base", **arguments)

    return save_number


def number_in(folder):
    """The number that all weights of a complete checkpoint are."""
    weights = open_checkpoint(folder).weights
    (number,) = {float(value) for array in weights.values() for value in array.ravel()}
    return number


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_saving_makes_the_folders_above(save, tmp_path):
    save(1, tmp_path / "a" / "b" / "model")
    assert number_in(tmp_path / "a" / "b" / "model") == 1
    assert names(tmp_path / "a" / "b") == ["model"]


def test_saving_over_a_checkpoint_replaces_it(save, tmp_path):
    save(1)
    save(2)
    assert number_in(tmp_path / "model") == 2
    assert names(tmp_path) == ["model"]


def test_saving_into_an_empty_folder_fills_it(save, tmp_path):
    (tmp_path / "model").mkdir()
    assert number_in(save(1)) == 1


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such permissions")
@pytest.mark.parametrize("umask", [0o022, 0o027, 0o077])
def test_files_have_the_permissions_of_new_files(save, umask):
    before = os.umask(umask)
    try:
        folder = save(1)
    finally:
        os.umask(before)
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o666 & ~umask}


def test_other_files_keep_their_permissions(save):
    folder = save(1)
    (folder / "notes.txt").write_text("mine")
    (folder / "notes.txt").chmod(0o600)
    save(2)
    assert (folder / "notes.txt").stat().st_mode & 0o777 == 0o600


def test_other_files_survive(save, tmp_path):
    folder = save(1)
    (folder / "notes.txt").write_text("mine")
    (folder / "runs").mkdir()
    (folder / "runs" / "config.json").write_text("mine too")
    (folder / "link").symlink_to("notes.txt")
    save(2)
    assert (folder / "notes.txt").read_text() == "mine"
    assert (folder / "runs" / "config.json").read_text() == "mine too"
    assert (folder / "link").readlink() == Path("notes.txt")
    assert (folder / "link").read_text() == "mine"


def test_other_files_survive_where_the_file_system_has_no_links(save, monkeypatch):
    folder = save(1)
    (folder / "notes.txt").write_text("mine")
    monkeypatch.setattr(os, "link", lambda *_: (_ for _ in ()).throw(OSError("no links here")))
    save(2)
    assert (folder / "notes.txt").read_text() == "mine"


def test_stale_weights_of_every_format_go(save):
    folder = save(1, max_shard_size=1000)
    stale = ["pytorch_model.bin", "pytorch_model-00001-of-00002.bin", "model.ckpt-7.index"]
    for name in [*stale, "model.ckpt-7.data-00000-of-00001", "bert_config.json", "checkpoint"]:
        (folder / name).write_text("stale")
    save(2, overwrite=True)
    assert names(folder) == ["config.json", "model.safetensors"]


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.ckpt-7.index", "bert_config.json"])
def test_checkpoint_of_another_format_is_not_deleted_unasked(save, name):
    folder = save(1)
    (folder / name).write_text("irreplaceable")
    with pytest.raises(CheckpointError, match=rf"{name}.*overwrite=True"):
        save(2)
    assert names(folder) == sorted(["config.json", "model.safetensors", name])


def test_new_extra_files_win_over_old_ones(save):
    folder = save(1)
    (folder / "vocab.txt").write_text("old")
    (folder / "extra").mkdir()
    (folder / "extra" / "a.txt").write_text("old")
    (folder / "extra" / "b.txt").write_text("old")

    def add(staging):
        (staging / "vocab.txt").write_text("new")
        (staging / "extra").mkdir()
        (staging / "extra" / "a.txt").write_text("new")

    save(2, extra_files=add)
    assert (folder / "vocab.txt").read_text() == "new"
    assert (folder / "extra" / "a.txt").read_text() == "new"
    assert (folder / "extra" / "b.txt").read_text() == "old"


def test_permissions_of_the_folder_survive(save):
    folder = save(1)
    folder.chmod(0o750)
    (folder / "runs").mkdir(0o700)
    save(2)
    assert (folder / "runs").stat().st_mode & 0o777 == 0o700
    assert folder.stat().st_mode & 0o777 == 0o750


def test_link_to_a_folder_stays_a_link(save, tmp_path):
    (tmp_path / "link").symlink_to("model")
    save(1)
    save(2, tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert number_in(tmp_path / "model") == 2


def test_destination_that_is_a_file_is_an_error(save, tmp_path):
    (tmp_path / "model").write_text("a file")
    with pytest.raises(CheckpointError, match="model is a file, expected a folder"):
        save(1)
    assert (tmp_path / "model").read_text() == "a file"


def test_destination_below_a_file_is_an_error(save, tmp_path):
    (tmp_path / "file").write_text("a file")
    with pytest.raises(CheckpointError, match="could not be written"):
        save(1, tmp_path / "file" / "model")


@pytest.mark.parametrize("inside", ["", "runs"])
def test_working_directory_is_not_replaced(save, monkeypatch, inside):
    folder = save(1)
    (folder / inside).mkdir(exist_ok=True)
    monkeypatch.chdir(folder / inside)
    with pytest.raises(CheckpointError, match="holds the working directory"):
        save(2)
    assert number_in(folder) == 1


@pytest.mark.parametrize("failure", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_exception_while_writing_leaves_the_old_checkpoint(save, tmp_path, failure):
    save(1)

    def fail(staging):
        (staging / "vocab.txt").write_text("half")
        raise failure

    with pytest.raises(failure):
        save(2, extra_files=fail)
    assert number_in(tmp_path / "model") == 1
    assert names(tmp_path) == ["model"]


STEPS = [("mkdir", 1), ("link", 0), ("fsync", 0), ("fsync", 2), ("rename", 0), ("rename", 1)]


@pytest.mark.parametrize(("function", "calls_before"), STEPS)
@pytest.mark.parametrize("failure", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_failing_system_call_leaves_the_old_checkpoint(
    save, tmp_path, monkeypatch, function, calls_before, failure
):
    folder = save(1)
    (folder / "notes.txt").write_text("mine")
    original, left = getattr(os, function), [calls_before]

    def call(*arguments, **keywords):
        left[0] -= 1
        if left[0] == -1:
            raise failure
        return original(*arguments, **keywords)

    monkeypatch.setattr(os, function, call)
    if function == "link" and isinstance(failure, OSError):
        save(2)  # a copy does it
        assert number_in(folder) == 2
    else:
        error = CheckpointError if isinstance(failure, OSError) else KeyboardInterrupt
        with pytest.raises(error):
            save(2)
        assert number_in(folder) == 1
    assert left[0] < 0
    assert (folder / "notes.txt").read_text() == "mine"
    assert names(tmp_path) == ["model"]


def test_failure_after_the_swap_is_no_failed_save(save, tmp_path, monkeypatch):
    folder = save(1)
    monkeypatch.setattr(shutil, "rmtree", lambda *_, **__: None)
    save(2)
    assert number_in(folder) == 2
    (backup,) = set(tmp_path.iterdir()) - {folder}
    assert number_in(backup) == 1


def test_everything_is_on_disk_before_it_gets_its_name(save, tmp_path, monkeypatch):
    events = []
    fsync, rename = os.fsync, os.rename

    def note_fsync(descriptor):
        events.append(os.fstat(descriptor).st_ino)
        fsync(descriptor)

    def note_rename(source, target):
        events.append(f"rename to {Path(target).name}")
        rename(source, target)

    monkeypatch.setattr(os, "fsync", note_fsync)
    monkeypatch.setattr(os, "rename", note_rename)
    folder = save(1)
    before = events[: events.index("rename to model")]
    expected = {path.stat().st_ino for path in (folder, *folder.iterdir())}
    assert set(before) == expected
    assert events[-1] == tmp_path.stat().st_ino


KILLED_SAVE = """
import os, sys
import numpy as np
from mobilebert_core import schema
from mobilebert_core.checkpoints import open_checkpoint, save_checkpoint

folder, left = sys.argv[1], [int(sys.argv[2])]

def killing(function):
    def call(*arguments, **keywords):
        if left[0] == 0:
            os._exit(9)
        left[0] -= 1
        return function(*arguments, **keywords)
    return call

config = open_checkpoint(folder).config
specs = schema.owned_tensors(config, "base")
weights = {name: np.full(spec.shape, 2, np.float32) for name, spec in specs.items()}
for name in ("mkdir", "open", "link", "fsync", "rename", "unlink", "rmdir"):
    setattr(os, name, killing(getattr(os, name)))
save_checkpoint(folder, config, weights, "base", max_shard_size=1000)
"""


def killed_save(folder, calls):
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", KILLED_SAVE, str(folder), str(calls)]
    return subprocess.run(command, env=environment, check=False).returncode


def test_killed_save_leaves_the_old_or_the_new_checkpoint(save, tmp_path):
    """Kill at each system call in turn, until one save gets through."""
    outcomes = []
    for calls in range(200):
        shutil.rmtree(tmp_path)
        tmp_path.mkdir()
        folder = save(1)
        (folder / "notes.txt").write_text("mine")
        status = killed_save(folder, calls)
        assert status in (0, 9)
        if folder.exists():
            outcomes.append(number_in(folder))
        else:
            with pytest.raises(CheckpointError, match=r"mobilebert-backup-.*: rename it back"):
                open_checkpoint(folder)
            (folder,) = tmp_path.glob("model.mobilebert-backup-*")
            outcomes.append("backup")
            assert number_in(folder) == 1
        assert (folder / "notes.txt").read_text() == "mine"
        if status == 0:
            break
    assert list(dict.fromkeys(outcomes)) == [1, "backup", 2]
    assert outcomes.count("backup") == 1
