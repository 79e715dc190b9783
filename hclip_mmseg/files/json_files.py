"""JSON files of others, read so that whatever they hold ends in one line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def read_json(path: str | Path) -> Any:
    """What a JSON file holds.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is no JSON in UTF-8, ends too early, or is nested too deeply.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8-sig"))
    except RecursionError as error:
        raise ValueError(f"{path} is nested too deeply to be read as JSON") from error
    except ValueError as error:
        raise ValueError(f"{path} is no JSON file, or a truncated one: {error}") from error
