"""Where the files that a config or a command names are looked for."""

from __future__ import annotations

from pathlib import Path

from hclip_mmseg.files.errors import InputError

PACKAGE = Path(__file__).resolve().parents[1]
PROJECT_ROOT = PACKAGE.parent
"""The folder of a clone; site-packages where the package is installed."""
PREFIX = f"{PACKAGE.name}::"


def is_clone() -> bool:
    """Whether the package runs from a copy of the whole project, with its configs beside it."""
    return (PROJECT_ROOT / "pyproject.toml").is_file() and (PROJECT_ROOT / "configs").is_dir()


def configs_folder() -> Path:
    """The folder of the project's configs: a clone's own, else the one that was installed with the package."""
    return PROJECT_ROOT / "configs" if is_clone() else PACKAGE / ".mim/configs"


def places(path: str | Path) -> list[Path]:
    """Where a path is looked for: as it is, from the working directory, then among the project's own files.

    These are all below a clone's folder; of an installed package its files, as ``hclip_mmseg/...``, and its configs, as
    ``configs/...``. ``hclip_mmseg::hclip/...`` is one of the project's configs, as in MMEngine's ``_base_``.
    """
    if str(path).startswith(PREFIX):
        return [configs_folder() / str(path).removeprefix(PREFIX)]
    path = Path(path).expanduser()
    if path.is_absolute():
        return [path]
    found = [Path.cwd() / path]
    if is_clone():
        found.append(PROJECT_ROOT / path)
    elif path.parts[:1] in ((PACKAGE.name,), ("configs",)):
        found.append((PROJECT_ROOT if path.parts[0] == PACKAGE.name else configs_folder().parent) / path)
    return list(dict.fromkeys(found))


def locate(path: str | Path) -> Path | None:
    """The first of `places` that exists, or None."""
    return next((place for place in places(path) if place.exists()), None)


def check_path(path: str | Path, what: str) -> None:
    """Check that a path is not empty, as that of a variable which is not set.

    Raises:
        ValueError: if it is; ``what`` says what should be given.
    """
    if not str(path).strip():
        raise InputError(f"an empty path is given: {what}")


def looked_in(path: str | Path) -> str:
    """The places of a path as a message says them."""
    return " and ".join(str(place) for place in places(path))
