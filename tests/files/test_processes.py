"""Processes end with the one that started them; what killed ones left is removed."""

import os
import select
import signal
import socket
import time

import pytest

from hclip_mmseg.files.processes import bound_to_this, end_with_parent, is_bound, is_running
from hclip_mmseg.files.writing import remove_dead_parts, whole


@pytest.fixture
def dead():
    """The number of a process that has ended."""
    process = os.fork()
    if not process:
        os._exit(0)
    os.waitpid(process, 0)
    return process


def test_a_process_ends_when_its_parent_is_killed():
    ours, theirs = os.pipe()
    parent = os.fork()
    if not parent:
        if not os.fork():
            end_with_parent()
            os.write(theirs, b"x")
            time.sleep(60)
        os.close(theirs)
        time.sleep(60)
        os._exit(0)
    os.close(theirs)
    assert os.read(ours, 1) == b"x"
    os.kill(parent, signal.SIGKILL)
    os.waitpid(parent, 0)
    assert select.select([ours], [], [], 20)[0] and os.read(ours, 1) == b"", "its end of the pipe stays open"


def test_a_command_is_told_whom_it_ends_with(monkeypatch):
    assert not is_bound()
    for name, value in bound_to_this().items():
        monkeypatch.setenv(name, value)
    assert is_bound() and str(os.getpid()) in bound_to_this().values()


def test_running_processes(dead):
    assert is_running(os.getpid()) and is_running(os.getppid()) and not is_running(dead)


def test_parts_of_dead_processes_of_this_machine_are_removed(tmp_path, dead):
    host = socket.gethostname()
    kept = [f".a.png.{host}.{os.getpid()}.part", f".a.png.elsewhere.{dead}.part", "a.png", f".a.{host}.{dead}.txt"]
    for name in (*kept, f".a.png.{host}.{dead}.part"):
        (tmp_path / name).touch()
    remove_dead_parts(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(kept)
    remove_dead_parts(tmp_path / "absent")


def test_a_file_is_on_the_disk_before_it_appears(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(os, "fsync", lambda file: synced.append((tmp_path / "a.txt").exists()))
    with whole(tmp_path / "a.txt") as part:
        part.write_text("a")
    assert synced == [False] and (tmp_path / "a.txt").read_text() == "a"
    with pytest.raises(RuntimeError), whole(tmp_path / "b.txt") as part:
        part.write_text("b")
        raise RuntimeError
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]
