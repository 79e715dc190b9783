"""What tests of several folders share."""

import logging
import runpy
import sys
from collections.abc import Iterator
from pathlib import Path

import clone  # noqa: F401  (hclip_mmseg and hclip_tools are this clone's)
import pytest
from miniature import REPOSITORY, write_coco_stuff
from mmengine.registry import init_default_scope

from hclip_mmseg.engine.memory import keep_freed_memory

keep_freed_memory()
# loggers of earlier runs may still hold streams that pytest closed; that is no error of the run under test
logging.raiseExceptions = False



@pytest.fixture(scope="session", autouse=True)
def configs_as_they_come() -> Iterator[None]:
    """MMEngine lays out a run's config with yapf whenever it prints or saves it, for longer than a tiny run takes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("yapf.yapflib.yapf_api.FormatCode", lambda text, **options: (text, True))
        yield


@pytest.fixture(scope="session", autouse=True)
def a_home_of_their_own(tmp_path_factory) -> Iterator[None]:
    """Text embeddings of tests are neither kept among a user's nor taken from there."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HCLIP_HOME", str(tmp_path_factory.mktemp("hclip_home")))
        yield


@pytest.fixture(autouse=True)
def the_scope_of_mmseg() -> None:
    """Where types of configs are looked for first: a test that needs MMDetection's must not decide it for the next."""
    init_default_scope("mmseg")


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the repository."""
    return REPOSITORY


@pytest.fixture(scope="session")
def coco_stuff(tmp_path_factory) -> Path:
    """A miniature COCO-Stuff tree."""
    return write_coco_stuff(tmp_path_factory.mktemp("data") / "coco_stuff164k")


@pytest.fixture(scope="session")
def tiny_config(tmp_path_factory, coco_stuff) -> Path:
    """A config of a random tiny H-CLIP, trained on the miniature COCO-Stuff in batches of 4."""
    from miniature import write_tiny_config

    return write_tiny_config(tmp_path_factory.mktemp("config") / "tiny.py", coco_stuff)


@pytest.fixture
def run_here(repository, monkeypatch, capsys):
    """Runs a script of tools/ in this process: ``run_here(name, *arguments)`` -> (exit code, output, errors)."""

    def run(name, *arguments):
        path = repository / f"tools/{name}.py"
        monkeypatch.setattr(sys, "argv", [str(part) for part in (path, *arguments)])
        capsys.readouterr()
        code = 0
        try:
            runpy.run_path(str(path), run_name="__main__")
        except SystemExit as ended:
            code = ended.code
        out, errors = capsys.readouterr()
        return code, out, errors

    return run
