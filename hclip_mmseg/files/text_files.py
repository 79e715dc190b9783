"""Text files of others, read so that whatever they hold ends in one line."""

from __future__ import annotations

from pathlib import Path

from hclip_mmseg.files.errors import InputError


def read_text(path: str | Path) -> str:
    """What a text file holds.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is no text in UTF-8.
    """
    try:
        return Path(path).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is no text file in UTF-8") from error


def read_lines(path: str | Path) -> list[str]:
    """The lines of a text file, blank ones too, without white space around them; raises as `read_text` does."""
    return [line.strip() for line in read_text(path).splitlines()]
