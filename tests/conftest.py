"""What tests of several folders share.

pytest-xdist's first process reads this file and runs no test: what takes long to import is imported in fixtures.
"""

import gc
import logging
import os
import runpy
import sys
from collections.abc import Iterator
from pathlib import Path

import clone  # noqa: F401  (hclip_mmseg and hclip_tools are this clone's)
import pytest

REPOSITORY = Path(__file__).resolve().parents[1]

# miniature models gain nothing by more threads, and several processes that test at once wait for each other's
os.environ.setdefault("OMP_NUM_THREADS", "1")
# torch asks once, at its first product on a GPU, whether products can be deterministic
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
# loggers of earlier runs may still hold streams that pytest closed; that is no error of the run under test
logging.raiseExceptions = False


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Give each process files that follow each other, whose fixtures are then made once, and even the load out."""
    from xdist.scheduler import WorkStealingScheduling

    return WorkStealingScheduling(config, log) if config.getvalue("dist") == "load" else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests marked ``gpu`` are skipped where there is none."""
    import torch

    if torch.cuda.is_available():
        return
    for item in items:
        if item.get_closest_marker("gpu"):
            item.add_marker(pytest.mark.skip(reason="needs a CUDA GPU"))


@pytest.fixture(scope="session", autouse=True)
def torch_as_tests_need_it() -> None:
    """A process keeps the memory that tensors free, as tools/train.py does, and others can be forked from it.

    They could not differentiate if the first backward pass here came after an export: autograd then has threads.
    Convolutions on a GPU are in fp32, where torch's default rounds what they multiply to TF32's 10 bits.
    """
    import torch

    from hclip_mmseg.engine.memory import keep_freed_memory

    keep_freed_memory()
    torch.backends.cudnn.allow_tf32 = False
    torch.zeros(1, requires_grad=True).sum().backward()


@pytest.fixture(scope="module", autouse=True)
def what_is_left_of_modules_before() -> None:
    """MMEngine collects garbage for every dataset that it builds: what modules of before have imported is left out."""
    gc.collect()
    gc.freeze()


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
    from mmengine.registry import init_default_scope

    init_default_scope("mmseg")


@pytest.fixture(autouse=True)
def any_algorithms_again() -> Iterator[None]:
    """A run that asks for deterministic algorithms gets them for all that its process does afterwards."""
    import torch

    yield
    torch.use_deterministic_algorithms(False)
    torch.backends.cudnn.deterministic = False


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the repository."""
    return REPOSITORY


@pytest.fixture(scope="session")
def coco_stuff(tmp_path_factory) -> Path:
    """A miniature COCO-Stuff tree."""
    from miniature import write_coco_stuff

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
