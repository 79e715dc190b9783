"""The folder of a training: which checkpoint is the latest, and who works in it."""

from __future__ import annotations

import os
import shutil
import signal
import time

import pytest
from processes import Forked

from hclip_mmseg.files.run_folders import alone_in, find_latest


def fill(folder, *names, pointer=None):
    folder.mkdir(exist_ok=True)
    for place, name in enumerate(names):
        (folder / name).write_bytes(b"x")
        os.utime(folder / name, ns=(place, place))
    if pointer is not None:
        (folder / "last_checkpoint").write_text(str(pointer))
        os.utime(folder / "last_checkpoint", ns=(len(names), len(names)))
    return folder


def test_no_folder_and_no_checkpoint(tmp_path):
    assert find_latest(tmp_path / "none") is None
    assert find_latest(fill(tmp_path / "empty")) is None
    assert find_latest(fill(tmp_path / "gone", pointer=tmp_path / "gone/iter_4.pth")) is None


def test_the_pointer_is_looked_up_beside_itself(tmp_path):
    first = fill(tmp_path / "first", "iter_2.pth", "iter_4.pth", pointer=tmp_path / "first/iter_4.pth")
    shutil.copytree(first, tmp_path / "copy")
    assert find_latest(tmp_path / "copy") == tmp_path / "copy/iter_4.pth"
    (tmp_path / "copy/iter_4.pth").unlink()
    assert find_latest(tmp_path / "copy") == tmp_path / "copy/iter_2.pth", "never another folder's"


def test_numbers_are_numbers(tmp_path):
    assert find_latest(fill(tmp_path / "run", "iter_1000.pth", "iter_200.pth", "best_mIoU_iter_2000.pth")).name == (
        "iter_1000.pth"
    )


def test_a_checkpoint_whose_pointer_was_not_written_yet_is_found(tmp_path):
    run = fill(tmp_path / "run", "iter_2.pth", pointer="iter_2.pth")
    (run / "iter_4.pth").write_bytes(b"x")
    (run / "iter_6.pth.partial").write_bytes(b"x")
    assert find_latest(run) == run / "iter_4.pth"


def test_what_an_older_run_left_is_not_the_latest(tmp_path):
    run = fill(tmp_path / "run", "iter_9000.pth", "iter_100.pth", pointer="iter_100.pth")
    assert find_latest(run) == run / "iter_100.pth"


def hold(folder):
    with alone_in(folder):
        print("held")
        time.sleep(60)


def test_a_second_run_is_told_who_holds_the_folder(tmp_path):
    log = tmp_path / "log"
    log.touch()
    other = Forked(lambda: hold(tmp_path / "run"), log)
    while log.read_text() != "held\n":
        assert other.poll() is None, log.read_text()
        time.sleep(0.02)
    with pytest.raises(ValueError, match=f"run is in use by process {other.pid} on "), alone_in(tmp_path / "run"):
        pass
    os.kill(other.pid, signal.SIGKILL)
    other.wait()
    with alone_in(tmp_path / "run"), pytest.raises(ValueError, match="is in use by"), alone_in(tmp_path / "run"):
        pass
    with alone_in(tmp_path / "run"):
        pass


def test_a_folder_in_which_nothing_was_written_is_not_left_behind(tmp_path):
    (tmp_path / "mine").mkdir()
    for name, kept in (("work_dirs/run", False), ("mine", True), ("mine/run", False)):
        with alone_in(tmp_path / name):
            assert (tmp_path / name).is_dir()
        assert (tmp_path / name).exists() == kept
    assert not (tmp_path / "work_dirs").exists(), "it was made for the run alone"
    with alone_in(tmp_path / "work_dirs/run"):
        (tmp_path / "work_dirs/run/iter_1.pth").touch()
    assert (tmp_path / "work_dirs/run/iter_1.pth").exists()
