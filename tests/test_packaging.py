"""What is installed: the wheel's contents, and packaged files found from any folder."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from mmengine.config import Config
from mmengine.hub import get_config

import hclip_mmseg
from hclip_mmseg.files import paths, version

pytest.importorskip("setuptools", minversion="70")


@pytest.fixture(scope="module")
def project(repository, tmp_path_factory) -> Path:
    """What of the repository a build reads, where a build may leave what it makes."""
    folder = tmp_path_factory.mktemp("project")
    for name in ("hclip_mmseg", "tools", "configs"):
        ignored = shutil.ignore_patterns("__pycache__", ".mim", "*.log")
        shutil.copytree(repository / name, folder / name, ignore=ignored)
    for name in ("setup.py", "pyproject.toml", "requirements.txt", "model-index.yml", "MANIFEST.in", "README.md"):
        shutil.copyfile(repository / name, folder / name)
    return folder


def build(project: Path, hook: str, folder: Path) -> Path:
    """The wheel that setuptools makes, as pip asks it to, in this environment."""
    code = f"import sys; from setuptools import build_meta; print(build_meta.{hook}(sys.argv[1]))"
    made = subprocess.run([sys.executable, "-c", code, folder], cwd=project, capture_output=True, text=True)
    assert made.returncode == 0, made.stderr
    return folder / made.stdout.splitlines()[-1]


@pytest.fixture(scope="module")
def installed(project, tmp_path_factory) -> Path:
    """A folder that holds what the wheel installs."""
    folder = tmp_path_factory.mktemp("installed")
    with zipfile.ZipFile(build(project, "build_wheel", tmp_path_factory.mktemp("wheel"))) as wheel:
        wheel.extractall(folder)
    return folder


def test_the_wheel_holds_configs_vocabularies_and_tiny_weights(installed, repository):
    for folder, inside in (("configs", "hclip_mmseg/.mim/configs"), ("hclip_mmseg/vocabularies", None)):
        for file in (repository / folder).rglob("*"):
            if file.suffix in (".py", ".json", ".md", ".yml"):
                packaged = installed / (inside or folder) / file.relative_to(repository / folder)
                assert packaged.read_bytes() == file.read_bytes()
    for name in ("tiny_clip.pt", "tiny_clip.json", "tiny_convnext.pt", "tiny_convnext.json"):
        assert (installed / "hclip_mmseg/demo_assets" / name).is_file()
    assert (installed / "hclip_mmseg/.mim/model-index.yml").is_file()
    assert (installed / "hclip_tools/train.py").is_file()
    assert {path.name for path in installed.iterdir()} == {
        "hclip_mmseg", "hclip_tools", f"hclip_mmseg-{hclip_mmseg.__version__}.dist-info",
    }  # fmt: skip


def test_an_editable_installation_links_the_clones_configs(project, tmp_path):
    folder = project / "hclip_mmseg/.mim"
    for _ in range(2):  # a second time too
        build(project, "build_editable", tmp_path)
        assert (folder / "configs").samefile(project / "configs")
        assert (folder / "model-index.yml").samefile(project / "model-index.yml")
    shutil.rmtree(folder)


CODE = """
import sys
import hclip_mmseg
from mmengine.config import Config
from mmengine.hub import get_config
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from hclip_mmseg.datasets.benchmarks import BENCHMARKS

assert hclip_mmseg.__file__.startswith(sys.argv[1]), hclip_mmseg.__file__
inside = sys.argv[1] + "/hclip_mmseg/.mim/configs/"
for name in ("hclip/hclip_vitb16_coco-stuff.py", "fisa/fisa_tiny_scenes.py"):
    assert get_config("hclip_mmseg::" + name).filename == inside + name
assert str(BENCHMARKS["A-847"].config_path).startswith(inside)
config = Config.fromfile("mine.py")
init_default_scope(config.default_scope)
model = MODELS.build(config.model)
assert model.backbone.image_tower.patch_size == 8, model.backbone.image_tower.patch_size
print(hclip_mmseg.__version__)
"""


def test_an_installed_package_finds_its_files_from_any_folder(installed, tmp_path):
    (tmp_path / "mine.py").write_text('_base_ = "hclip_mmseg::hclip/hclip_tiny_scenes.py"\n')
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    ran = subprocess.run(
        [sys.executable, "-c", CODE, installed], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout == f"{hclip_mmseg.__version__}\n", "others' packages print nothing"


def test_configs_are_found_by_the_packages_names(tmp_path, monkeypatch, installed):
    monkeypatch.setattr(paths, "PACKAGE", installed / "hclip_mmseg")
    monkeypatch.setattr(paths, "PROJECT_ROOT", installed)
    monkeypatch.chdir(tmp_path)
    inside = installed / "hclip_mmseg/.mim/configs/hclip/hclip_tiny_scenes.py"
    for name in ("configs/hclip/hclip_tiny_scenes.py", "hclip_mmseg::hclip/hclip_tiny_scenes.py"):
        assert paths.locate(name) == inside
    assert paths.locate("hclip_mmseg/demo_assets/tiny_clip.pt") == installed / "hclip_mmseg/demo_assets/tiny_clip.pt"
    assert paths.places("data/ade") == [tmp_path / "data/ade"], "nobody's data lies among installed packages"
    own = tmp_path / "configs/hclip/hclip_tiny_scenes.py"
    own.parent.mkdir(parents=True)
    own.touch()
    assert paths.locate("configs/hclip/hclip_tiny_scenes.py") == own


def test_a_config_may_be_built_on_mmsegmentations(tmp_path):
    mine = tmp_path / "mine.py"
    mine.write_text('_base_ = "mmseg::_base_/models/fcn_unet_s5-d16.py"\n')
    assert Config.fromfile(mine).model.type == "EncoderDecoder"
    assert get_config("mmseg::_base_/default_runtime.py").default_scope == "mmseg"


def test_the_version_is_said_in_one_place(repository, tmp_path, monkeypatch):
    said = re.search(r'^version = "(.+)"$', (repository / "pyproject.toml").read_text(), re.MULTILINE)[1]
    assert hclip_mmseg.__version__ == said
    monkeypatch.setattr(version, "PROJECT_ROOT", tmp_path)
    monkeypatch.setattr(version, "DISTRIBUTION", "no-such-distribution")
    assert version.project_version() == "unknown"
