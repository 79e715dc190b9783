"""Where the files that a config names are looked for."""

from __future__ import annotations

from pathlib import Path

PROJECT_ROOT = Path(__file__).resolve().parents[2]


def places(path: str | Path) -> list[Path]:
    """Where a path is looked for: as it is, from the working directory, then from the project's folder."""
    path = Path(path).expanduser()
    if path.is_absolute():
        return [path]
    return list(dict.fromkeys([Path.cwd() / path, PROJECT_ROOT / path]))


def locate(path: str | Path) -> Path | None:
    """The first of `places` that exists, or None."""
    return next((place for place in places(path) if place.exists()), None)


def looked_in(path: str | Path) -> str:
    """The places of a path as a message says them."""
    return " and ".join(str(place) for place in places(path))
