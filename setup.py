"""What pyproject.toml cannot say: tools/ is the package hclip_tools, and the configs are installed with hclip_mmseg.

They go where OpenMMLab's packages have theirs, ``hclip_mmseg/.mim``: into a wheel as copies, in an editable
installation as links to the clone's own (copies where the system has no links).
"""

import os
import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
SHIPPED = ("configs", "model-index.yml")
LEFT_OUT = shutil.ignore_patterns("__pycache__", "*.pyc", ".*")


class BuildWithConfigs(build_py):
    """Builds the Python files, and puts beside them what MMEngine finds as ``hclip_mmseg::...``."""

    def run(self) -> None:
        """Also in editable installations, where nothing else is built."""
        super().run()
        if self.editable_mode:
            folder = ROOT / "hclip_mmseg/.mim"
            folder.mkdir(exist_ok=True)
            for name in SHIPPED:
                link(ROOT / name, folder / name)
        else:
            folder = Path(self.build_lib) / "hclip_mmseg/.mim"
            remove(folder)
            folder.mkdir(parents=True)
            for name in SHIPPED:
                copy(ROOT / name, folder / name)


def link(source: Path, target: Path) -> None:
    """Make a link, or a copy where the system has no links."""
    remove(target)
    try:
        target.symlink_to(os.path.relpath(source, target.parent), target_is_directory=source.is_dir())
    except OSError:
        copy(source, target)


def copy(source: Path, target: Path) -> None:
    """Copy a file, or a folder with all that is in it."""
    if source.is_dir():
        shutil.copytree(source, target, ignore=LEFT_OUT)
    else:
        shutil.copyfile(source, target)


def remove(path: Path) -> None:
    """Remove a link, a file or a folder, if there is one."""
    if path.is_symlink() or path.is_file():
        path.unlink()
    elif path.is_dir():
        shutil.rmtree(path)


setup(
    packages=[*find_packages(include=["hclip_mmseg*"]), "hclip_tools"],
    package_dir={"hclip_tools": "tools"},
    cmdclass={"build_py": BuildWithConfigs},
)
