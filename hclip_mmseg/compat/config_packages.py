"""Names before ``::`` in configs, as in ``_base_ = "mmseg::..."``, and the packages that MMEngine looks for by them.

MMEngine knows OpenMMLab's own packages alone, and looks for the distributions' original names (mmsegmentation), which
their maintained continuation has changed (onedl-mmsegmentation).
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, distribution

from mmengine.config import Config
from mmengine.config.utils import MODULE2PACKAGE

PACKAGE = "hclip_mmseg"
MAINTAINED = "onedl-"


def name_config_packages() -> None:
    """Let configs be found as ``hclip_mmseg::...``, and as ``mmseg::...`` and so on under either distribution.

    Safe to call more than once.
    """
    # MMEngine takes the name of a module too, and this one's lies in the folder of the package that is running: the
    # distribution's would lead to the installed copy from a clone, and nowhere from an editable installation
    MODULE2PACKAGE[PACKAGE] = f"{PACKAGE}.__init__"
    if Config._get_cfg_path is not _path_and_scope:
        Config._get_cfg_path = staticmethod(_path_and_scope)
    for module, package in MODULE2PACKAGE.items():
        if package != module and not _installed(package) and _installed(MAINTAINED + package):
            MODULE2PACKAGE[module] = module


_path_and_scope_of_mmengine = Config._get_cfg_path


def _path_and_scope(cfg_path: str, filename: str) -> tuple[str, str | None]:
    """The path of a base config, and the registries' scope that its types are looked for in.

    MMEngine takes the package's name for the scope. This package has no registries of its own: its parts are in
    MMSegmentation's and MMDetection's, and its configs say by ``default_scope`` in whose they are meant.
    """
    path, scope = _path_and_scope_of_mmengine(cfg_path, filename)
    return path, None if scope == PACKAGE else scope


def _installed(package: str) -> bool:
    try:
        distribution(package)
    except PackageNotFoundError:
        return False
    return True
