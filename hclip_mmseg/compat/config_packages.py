"""Names before ``::`` in configs, as in ``_base_ = "mmseg::..."``, and the packages that MMEngine looks for by them.

MMEngine knows OpenMMLab's own packages alone, and looks for the distributions' original names (mmsegmentation), which
their maintained continuation has changed (onedl-mmsegmentation).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from mmengine.config import Config
from mmengine.config.utils import MODULE2PACKAGE

PACKAGE = "hclip_mmseg"
MAINTAINED = "onedl-"


def name_config_packages(own_configs: Callable[[], Path]) -> None:
    """Let configs be found as ``hclip_mmseg::...``, and as ``mmseg::...`` and so on under either distribution.

    Safe to call more than once.

    Args:
        own_configs: gives the folder of this project's configs, a clone's own even where nothing is installed.
    """
    # MMEngine takes the name of a module too, and this one's lies in the folder of the package that is running: the
    # distribution's would lead to the installed copy from a clone, and nowhere from an editable installation
    MODULE2PACKAGE[PACKAGE] = f"{PACKAGE}.__init__"
    Config._get_cfg_path = staticmethod(partial(_path_and_scope, own_configs))
    for module, package in MODULE2PACKAGE.items():
        if package != module and not _installed(package) and _installed(MAINTAINED + package):
            MODULE2PACKAGE[module] = module


_path_and_scope_of_mmengine = Config._get_cfg_path


def _path_and_scope(own_configs: Callable[[], Path], cfg_path: str, filename: str) -> tuple[str, str | None]:
    """The path of a base config, and the registries' scope that its types are looked for in.

    MMEngine takes the package's name for the scope. This package has no registries of its own: its parts are in
    MMSegmentation's and MMDetection's, and its configs say by ``default_scope`` in whose they are meant.
    """
    if cfg_path.startswith(f"{PACKAGE}::"):
        return str(own_configs() / cfg_path.removeprefix(f"{PACKAGE}::")), None
    return _path_and_scope_of_mmengine(cfg_path, filename)


def _installed(package: str) -> bool:
    try:
        distribution(package)
    except PackageNotFoundError:
        return False
    return True
