"""Published weights fetched from a server of the tests' own: well, cut, wrong, twice at once, and not at all."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import sys
import time
import types

import pytest
import torch
from processes import Forked

from hclip_mmseg.zoo import cache, find_model, read_zoo, transfer
from hclip_mmseg.zoo.converted import checkpoint_of
from hclip_mmseg.zoo.download import published_file

SLEEP = time.sleep
HUB_PATH, PATH = "/spaces/owner/weights/resolve/main/tiny.pth", "/files/tiny.pth"
EACH = pytest.mark.parametrize(
    ("name", "path"), [("tiny_of_the_hub", HUB_PATH), ("tiny_of_a_server", PATH)], ids=["hub", "url"]
)


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr("time.sleep", lambda seconds: None)  # the Hub's library waits before it goes on
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 1 << 16)  # and keeps whole chunks alone


def halves(zoo):
    return len(zoo.content) // 2


@EACH
def test_it_is_fetched_once_and_noted(zoo, name, path):
    place = published_file(zoo.find(name))
    assert place == zoo.home / name / "tiny.pth" and place.read_bytes() == zoo.content
    noted = json.loads(place.with_name("tiny.pth.json").read_text())
    assert noted["bytes"] == len(zoo.content) and noted["sha256"] == hashlib.sha256(zoo.content).hexdigest()
    asked = len(zoo.server.asked)
    assert published_file(zoo.find(name)) == published_file(zoo.find(name), offline=True) == place
    assert len(zoo.server.asked) == asked


@EACH
def test_a_cut_connection_goes_on_where_it_stopped(zoo, name, path):
    zoo.server.cut[path] = [halves(zoo)]
    assert published_file(zoo.find(name)).read_bytes() == zoo.content
    first, second = zoo.server.gets()
    assert first is None and 0 < int(second.removeprefix("bytes=").removesuffix("-")) <= halves(zoo)


def test_a_later_attempt_goes_on_where_the_first_ended(zoo, monkeypatch):
    monkeypatch.setattr(transfer, "ATTEMPTS", 1)
    zoo.server.cut[PATH] = [halves(zoo), 0]
    with pytest.raises(ValueError, match=f"{halves(zoo):,} bytes are kept") as said:
        published_file(zoo.find("tiny_of_a_server"))
    place = zoo.home / "tiny_of_a_server/tiny.pth"
    assert "\n" not in str(said.value) and str(place) in str(said.value) and not place.exists()
    assert published_file(zoo.find("tiny_of_a_server")).read_bytes() == zoo.content
    assert zoo.server.gets()[-1] == f"bytes={halves(zoo)}-"


def test_what_was_kept_of_another_file_is_not_gone_on_with(zoo, monkeypatch):
    monkeypatch.setattr(transfer, "ATTEMPTS", 1)
    zoo.server.cut[PATH], zoo.server.etags[PATH] = [halves(zoo), 0], "of before"
    with pytest.raises(ValueError, match="are kept"):
        published_file(zoo.find("tiny_of_a_server"))
    zoo.server.etags.clear()
    assert published_file(zoo.find("tiny_of_a_server")).read_bytes() == zoo.content


def test_a_whole_file_that_was_not_put_in_its_place_yet_does_no_harm(zoo):
    place = zoo.home / "tiny_of_a_server/tiny.pth"
    place.parent.mkdir(parents=True)
    place.with_name(".tiny.pth.part").write_bytes(zoo.content)
    place.with_name(".tiny.pth.etag").write_text(f'"{hashlib.sha256(zoo.content).hexdigest()}"')
    assert published_file(zoo.find("tiny_of_a_server")).read_bytes() == zoo.content
    assert not list(place.parent.glob(".*.part"))


@EACH
def test_a_file_shorter_than_the_server_states_is_not_taken(zoo, name, path):
    zoo.server.stated[path] = len(zoo.content) + 1000
    with pytest.raises(ValueError, match="cannot be fetched") as said:
        published_file(zoo.find(name))
    assert "\n" not in str(said.value) and "put it at" in str(said.value)
    assert not (zoo.home / name / "tiny.pth").exists()


def test_a_file_of_another_checksum_than_the_hub_states_is_not_taken(zoo):
    zoo.server.etags[HUB_PATH] = "0" * 64
    with pytest.raises(ValueError, match="is not the file of"):
        published_file(zoo.find("tiny"))
    assert not (zoo.home / "tiny_of_the_hub/tiny.pth").exists()


@EACH
def test_a_page_in_the_place_of_an_archive_is_not_taken(zoo, name, path):
    zoo.server.files[path] = b"<!doctype html><p>Too many people asked for this file."
    with pytest.raises(ValueError, match="no checkpoint.*doctype html.*put it at") as said:
        published_file(zoo.find(name))
    assert "\n" not in str(said.value) and not (zoo.home / name / "tiny.pth").exists()


@EACH
def test_half_an_archive_is_not_taken(zoo, name, path):
    zoo.server.files[path] = zoo.content[: halves(zoo)]
    with pytest.raises(ValueError, match="no checkpoint"):
        published_file(zoo.find(name))
    assert not (zoo.home / name / "tiny.pth").exists()


@EACH
def test_what_is_not_there_and_a_network_that_is_not_there_end_in_one_line(zoo, name, path, monkeypatch):
    model = zoo.find(name)
    place = zoo.home / name / "tiny.pth"
    del zoo.server.files[path]
    with pytest.raises(ValueError, match="404") as missing:
        published_file(model)
    with pytest.raises(ValueError, match="not to be used") as offline:
        published_file(model, offline=True)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(transfer, "urlopen", lambda *_, **__: (_ for _ in ()).throw(transfer.URLError("no route")))
    with pytest.raises(ValueError, match="cannot be fetched") as unreachable:
        published_file(model)
    for said in (missing, offline, unreachable):
        assert "\n" not in str(said.value)
        assert f"Get {model.weights.url} on a machine with the internet and put it at {place}" in str(said.value)


def test_a_file_that_was_put_there_is_taken_and_noted(zoo):
    place = zoo.home / "tiny_of_the_hub/tiny.pth"
    place.parent.mkdir(parents=True)
    place.write_bytes(zoo.content)
    assert published_file(zoo.find("tiny"), offline=True) == place
    assert cache.verify(place) and not zoo.server.asked
    place.write_bytes(zoo.content[:-1])
    with pytest.raises(ValueError, match="remove it and its .json"):
        published_file(zoo.find("tiny"))


def test_half_a_file_that_was_put_there_is_refused(zoo):
    place = zoo.home / "tiny_of_the_hub/tiny.pth"
    place.parent.mkdir(parents=True)
    place.write_bytes(zoo.content[: halves(zoo)])
    with pytest.raises(ValueError, match="tiny.pth.*damaged"):
        published_file(zoo.find("tiny"))


def test_what_was_put_there_and_is_something_else_says_what_to_get(zoo):
    place = zoo.home / "tiny_of_the_hub/tiny.pth"
    place.parent.mkdir(parents=True)
    place.write_text("<html>too many downloads</html>")
    with pytest.raises(ValueError, match=r"begins with b'<html>too .*Get https://hugging.*put it at") as said:
        published_file(zoo.find("tiny"), offline=True)
    assert "\n" not in str(said.value)
    torch.save(dict(other=torch.zeros(2)), place)
    with pytest.raises(ValueError, match=r"tiny.pth: this is no checkpoint of .*its first parameters are other"):
        checkpoint_of(zoo.find("tiny"), offline=True)


def test_weights_that_nobody_publishes_and_folders_that_cannot_be_made(zoo, monkeypatch):
    with pytest.raises(ValueError, match="nobody publishes weights of untrained: train them by hclip-train"):
        published_file(zoo.find("untrained"))
    monkeypatch.setenv("HCLIP_HOME", "/proc/none")  # where no folder can be made
    with pytest.raises(ValueError, match="/proc/none/tiny_of_the_hub cannot be written to: set HCLIP_HOME"):
        published_file(zoo.find("tiny"))


def test_a_checksum_in_the_name_is_compared(zoo):
    from dataclasses import replace

    name = f"/files/tiny-{hashlib.sha256(zoo.content).hexdigest()[:8]}.pth"
    model = zoo.find("tiny_of_a_server")
    for path, right in ((name, True), ("/files/tiny-0123abcd.pth", False)):
        zoo.server.files[path] = zoo.content
        named = replace(model, name=f"right_{right}", weights=replace(model.weights, url=zoo.server.url + path))
        if right:
            assert published_file(named).is_file()
        else:
            with pytest.raises(ValueError, match="checksum"):
                published_file(named)
            assert not cache.place_of(named).exists()


def test_drive_takes_gdown_and_says_so_without_it(zoo, monkeypatch):
    model, place = zoo.find("tiny_of_drive"), zoo.home / "tiny_of_drive/tiny_drive.pth"
    monkeypatch.setitem(sys.modules, "gdown", None)
    with pytest.raises(ValueError, match=r"pip install 'hclip-mmseg\[drive\]'") as said:
        published_file(model)
    assert str(place) in str(said.value)
    asked = []

    def download(*, id, output, resume):
        asked.append((id, resume))
        with open(output, "wb") as file:
            file.write(zoo.content)
        return output

    monkeypatch.setitem(sys.modules, "gdown", types.SimpleNamespace(download=download))
    assert published_file(model) == place and place.read_bytes() == zoo.content and asked == [("abc-123_x", True)]


@EACH
def test_two_processes_fetch_and_convert_once(zoo, name, path, tmp_path, monkeypatch):
    monkeypatch.setattr("time.sleep", SLEEP)

    def print_checkpoint():
        print(checkpoint_of(find_model(name, read_zoo(zoo.index))))

    logs = [tmp_path / "first.txt", tmp_path / "second.txt"]
    started = [Forked(print_checkpoint, log) for log in logs]
    codes = [process.wait() for process in started]
    told = [log.read_text() for log in logs]
    assert codes == [0, 0], told
    assert len({text.splitlines()[-1] for text in told}) == 1 and zoo.server.gets() == [None]
    assert len(list((zoo.home / name).glob("converted*.pth"))) == 1


def test_a_folder_for_reading_only_serves_as_it_is(zoo, monkeypatch):
    place = zoo.home / "tiny_of_the_hub/tiny.pth"
    place.parent.mkdir(parents=True)
    place.write_bytes(zoo.content)

    def refuse(*_, **__):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(cache, "FileLock", refuse)
    monkeypatch.setattr(cache, "write_whole", refuse)
    assert checkpoint_of(zoo.find("tiny")) == place and os.listdir(place.parent) == ["tiny.pth"]
    with pytest.raises(ValueError, match="cannot be written to: set HCLIP_HOME"):
        published_file(zoo.find("tiny_of_a_server"))
