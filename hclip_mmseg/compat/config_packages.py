"""Names before ``::`` in configs, as in ``_base_ = "mmseg::..."``, and the packages that MMEngine looks for by them.

MMEngine knows OpenMMLab's own packages alone, and looks for the distributions' original names (mmsegmentation), which
their maintained continuation has changed (onedl-mmsegmentation).
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, distribution

from mmengine.config.utils import MODULE2PACKAGE

MAINTAINED = "onedl-"


def name_config_packages() -> None:
    """Let configs be found as ``hclip_mmseg::...``, and as ``mmseg::...`` and so on under either distribution.

    Safe to call more than once.
    """
    # MMEngine takes the name of a module too, and this one's lies in the folder of the package that is running: the
    # distribution's would lead to the installed copy from a clone, and nowhere from an editable installation
    MODULE2PACKAGE["hclip_mmseg"] = "hclip_mmseg.__init__"
    for module, package in MODULE2PACKAGE.items():
        if package != module and not _installed(package) and _installed(MAINTAINED + package):
            MODULE2PACKAGE[module] = module


def _installed(package: str) -> bool:
    try:
        distribution(package)
    except PackageNotFoundError:
        return False
    return True
