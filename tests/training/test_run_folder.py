"""The folder of a run: whole checkpoints or none, damage told, other runs refused, nothing lost."""

import errno
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import SafetensorError

from mobilebert_core.errors import CheckpointError, InputError
from mobilebert_training import run_folder
from mobilebert_training.randomness import generator
from mobilebert_training.run_folder import RunFolder

Array = np.ndarray[Any, np.dtype[Any]]
GO_ON = r"Make room, then give the same command again: the run goes on from"
DESCRIPTION = {"settings": {"steps": 5, "betas": (0.9, 0.99)}, "files": ["a sha256:0"]}


def arrays(step: int, size: int = 7) -> dict[str, Array]:
    draw = generator(step)
    return {"model.b": draw.random((3, size)), "mean.a": draw.random(2).astype(np.float32)}


def folder_with(path: Path, *steps: int) -> RunFolder:
    folder = RunFolder(path)
    folder.begin(DESCRIPTION)
    for step in steps:
        folder.save(step, arrays(step), {"best": {"step": step}})
    return folder


def holds(folder: RunFolder, step: int) -> bool:
    saved = folder.load()
    assert saved is not None
    expected = arrays(step)
    same = all((saved.arrays[name] == expected[name]).all() for name in expected)
    return same and saved.step == step and saved.arrays.keys() == expected.keys()


def test_a_run_goes_on_when_its_description_is_the_same(tmp_path: Path) -> None:
    for _ in range(2):
        folder_with(tmp_path / "new" / "run")
    found = json.loads((tmp_path / "new/run/run.json").read_text())
    assert found == json.loads(json.dumps(DESCRIPTION))


def test_another_run_is_refused_with_all_that_differs(tmp_path: Path) -> None:
    folder = folder_with(tmp_path)
    with pytest.raises(InputError, match="holds another run") as caught:
        folder.begin({"settings": {"steps": 6}, "files": ["a sha256:0"], "seed": 1})
    assert "settings was {'betas': [0.9, 0.99], 'steps': 5}, now {'steps': 6}" in str(caught.value)
    assert "seed was None, now 1" in str(caught.value)
    assert "files" not in str(caught.value)


@pytest.mark.parametrize("other", ["file", "folder"])
def test_what_is_no_run_is_refused_and_kept(other: str, tmp_path: Path) -> None:
    path = tmp_path / "run"
    kept = path if other == "file" else path / "thesis.txt"
    kept.parent.mkdir(exist_ok=True)
    kept.write_text("years of work")
    with pytest.raises(InputError, match="holds no run; give a new or an empty folder"):
        RunFolder(path).begin(DESCRIPTION)
    assert kept.read_text() == "years of work"


def test_a_run_begins_when_one_was_killed_as_it_began(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(self: Path, target: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patches:
        patches.setattr(Path, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            folder_with(tmp_path)
    assert not (tmp_path / "run.json").exists()
    folder_with(tmp_path)
    assert (tmp_path / "run.json").exists()


@pytest.mark.parametrize("content", ["", '{"settings": ', "[]", "\udcff"])
def test_a_damaged_description_is_named(content: str, tmp_path: Path) -> None:
    (tmp_path / "run.json").write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(InputError, match=r"run\.json (cannot be read|holds a list)"):
        RunFolder(tmp_path).begin(DESCRIPTION)


def test_the_newest_checkpoint_is_loaded(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, 2, 10, 9)
    assert folder.steps() == [2, 9, 10]
    assert holds(folder, 10)
    saved = folder.load()
    assert saved is not None
    assert saved.state["best"] == {"step": 10}


def test_nothing_is_loaded_when_there_is_no_checkpoint(tmp_path: Path) -> None:
    assert folder_with(tmp_path).load() is None
    assert RunFolder(tmp_path / "absent").load() is None


def test_a_checkpoint_is_replaced_when_its_step_is_saved_again(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, 3)
    folder.save(3, {"model.a": np.zeros(2)}, {})
    saved = folder.load()
    assert saved is not None
    assert saved.arrays.keys() == {"model.a"}


def test_arrays_are_saved_as_they_look_when_they_are_views(tmp_path: Path) -> None:
    folder = folder_with(tmp_path)
    values = np.arange(12.0).reshape(3, 4)
    folder.save(1, {"model.a": values.T, "model.b": values[:, ::2]}, {})
    saved = folder.load()
    assert saved is not None
    assert (saved.arrays["model.a"] == values.T).all()
    assert (saved.arrays["model.b"] == values[:, ::2]).all()


def test_old_checkpoints_go_and_the_newest_stay(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, 1, 2, 3, 4)
    folder.thin_out(2)
    assert folder.steps() == [3, 4]
    assert holds(folder, 4)


def test_what_a_killed_save_left_is_no_checkpoint(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, 4)
    (tmp_path / "checkpoints/step-00000008.mobilebert-staging-0a1b").mkdir()
    assert folder.steps() == [4]


@settings(deadline=None, max_examples=20)
@given(data=st.data(), name=st.sampled_from(["arrays.safetensors", "state.json"]))
def test_a_damaged_checkpoint_is_refused_and_the_way_on_is_told(
    data: st.DataObject, name: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = folder_with(tmp_path_factory.mktemp("damage"), 2, 5)
    newest = folder.path / "checkpoints/step-00000005"
    content = bytearray((newest / name).read_bytes())
    cut = data.draw(st.integers(0, len(content) - 3))
    if name == "state.json" or data.draw(st.booleans()):
        content = content[:cut]
    else:
        content[cut] ^= data.draw(st.integers(1, 255))
    (newest / name).write_bytes(content)
    with pytest.raises(CheckpointError, match=r"step-00000005 is damaged: .*the one of step 2"):
        folder.load()
    shutil.rmtree(newest)
    assert holds(folder, 2)


@pytest.mark.parametrize("name", ["arrays.safetensors", "state.json"])
def test_a_checkpoint_is_refused_when_a_file_is_gone(name: str, tmp_path: Path) -> None:
    folder = folder_with(tmp_path, 5)
    (folder.path / "checkpoints/step-00000005" / name).unlink()
    with pytest.raises(CheckpointError, match="Delete this folder to go on from the beginning"):
        folder.load()


def test_a_checkpoint_is_refused_when_it_was_renamed(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, 5)
    (tmp_path / "checkpoints/step-00000005").rename(tmp_path / "checkpoints/step-00000006")
    with pytest.raises(CheckpointError, match="is damaged"):
        folder.load()


def full(*_: Any, **__: Any) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def full_safetensors(*_: Any, **__: Any) -> None:
    raise SafetensorError("I/O error: No space left on device (os error 28)")


@pytest.mark.parametrize("fault", [full, full_safetensors])
@pytest.mark.parametrize("place", ["save_file", "_digest", "replace_folder"])
def test_the_earlier_checkpoint_stays_when_the_disk_is_full(
    fault: Any, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = folder_with(tmp_path, 2)
    with monkeypatch.context() as patches:
        patches.setattr(run_folder, place, fault)
        with pytest.raises(
            CheckpointError, match=rf"step-00000004 cannot .*No space.*{GO_ON} the .* step 2, which"
        ):
            folder.save(4, arrays(4), {})
    assert holds(folder, 2)
    assert [each.name for each in (tmp_path / "checkpoints").iterdir()] == ["step-00000002"]
    folder.save(4, arrays(4), {})
    assert holds(folder, 4)


def test_the_start_is_where_a_run_goes_on_when_its_first_checkpoint_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = folder_with(tmp_path)
    monkeypatch.setattr(run_folder, "save_file", full)
    with pytest.raises(CheckpointError, match=f"{GO_ON} the start"):
        folder.save(4, arrays(4), {})


def test_a_run_that_cannot_begin_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match=r"The folder .*run cannot be written"):
        RunFolder(tmp_path / "file" / "run").begin(DESCRIPTION)


def test_the_log_says_so_when_it_cannot_be_written(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, 2)
    (tmp_path / "log.jsonl").mkdir()
    with pytest.raises(CheckpointError, match=rf"log\.jsonl cannot be written.*{GO_ON}"):
        folder.append_log({"step": 3})


def test_the_longer_log_stays_when_the_shorter_one_cannot_be_written(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, 2)
    folder.append_log({"step": 3})
    (tmp_path / "log.jsonl.new").mkdir()
    with pytest.raises(CheckpointError, match=rf"log\.jsonl cannot be written.*{GO_ON}"):
        folder.cut_log(2)
    assert folder.log() == [{"step": 3}]


def test_the_log_is_cut_to_a_step(tmp_path: Path) -> None:
    folder = folder_with(tmp_path)
    folder.cut_log(0)  # there is none yet
    rows = [{"step": step, "loss": 1 / 3, "wörd": "ä"} for step in (1, 2, 2, 3)]
    for row in rows:
        folder.append_log(row)
    folder.cut_log(2)
    assert folder.log() == rows[:3]


@settings(deadline=None, max_examples=60)
@given(cut=st.integers(1, 60))
def test_a_line_that_is_written_half_is_forgotten(
    cut: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = folder_with(tmp_path_factory.mktemp("log"))
    for step in range(4):
        folder.append_log({"step": step, "stage": "layer 0", "loss": 0.125})
    file = folder.path / "log.jsonl"
    line = len(file.read_bytes()) // 4
    file.write_bytes(file.read_bytes()[:-cut])
    whole = 4 - (cut + line - 2) // line  # the end of the last line may be all that is missing
    assert [row["step"] for row in folder.log()] == list(range(whole))
    folder.cut_log(3)
    folder.append_log({"step": 9})
    assert [row["step"] for row in folder.log()] == [*range(whole), 9]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 1 MB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount, unmount = shutil.which("mount"), shutil.which("umount")
    command = [str(mount), "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)]
    able = bool(mount and unmount)
    if not able or subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("mounting a small disk needs root and tmpfs")
    yield disk
    subprocess.run([str(unmount), str(disk)], check=True)


def test_nothing_is_lost_when_a_real_disk_is_full(small_disk: Path) -> None:
    folder = folder_with(small_disk / "run", 1, 2)
    big = {"model.a": generator(1).random(200_000)}  # 1.6 MB
    with pytest.raises(CheckpointError, match=f"{GO_ON} the checkpoint of step 2"):
        folder.save(3, big, {})
    assert holds(folder, 2)
    assert folder.steps() == [1, 2]
    filler = small_disk / "filler"
    with pytest.raises(OSError, match="No space"):
        filler.write_bytes(bytes(2**20))
    with pytest.raises(CheckpointError, match=f"log.*{GO_ON}"):
        folder.append_log({"step": 3, "text": "x" * 100_000})
    with pytest.raises(CheckpointError, match=f"{GO_ON} the checkpoint of step 2"):
        folder.save(3, arrays(3), {})
    filler.unlink()
    folder.cut_log(2)
    folder.save(3, arrays(3), {})
    assert holds(folder, 3)
