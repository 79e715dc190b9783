"""Which result of an earlier run can be trusted: one of the same config, versions and weights."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from mmengine.config import Config

import hclip_mmseg
from hclip_mmseg.apis import record
from hclip_mmseg.files import checkpoints
from hclip_mmseg.files.checksums import sha256_of
from hclip_mmseg.files.json_files import read_json
from hclip_mmseg.files.paths import locate


def fingerprint(cfg: Config) -> str:
    """What a result depends on: the config, the versions of what runs it, CLIP's geometry and weights, and those of
    the proposals where a mask generator starts from a file.

    The project's own code is not part of it, or every edit would throw all results away; see :func:`code_digest`.
    """
    clip = cfg.model.backbone.clip
    proposals = checkpoints.generator_files((cfg.model.get("generator") or {}).get("init_cfg"))
    names = [clip.get("model"), clip.get("pretrained"), *(file["checkpoint"] for file in proposals)]
    files = [locate(name) for name in names if isinstance(name, str)]
    parts = (
        json.dumps(cfg.to_dict(), sort_keys=True, default=str),
        json.dumps(record.versions(), sort_keys=True),
        *(sha256_of(path) for path in files if path is not None and path.is_file()),
    )
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def code_digest() -> str:
    """A short name for the state of the code that trains; the report tells which rows are of another one."""
    digest = hashlib.sha256()
    package = Path(hclip_mmseg.__file__).parent
    for path in sorted(package.rglob("*.py")):
        digest.update(str(path.relative_to(package)).encode() + path.read_bytes())
    return digest.hexdigest()[:12]


def trusted_result(folder: Path, expected: str) -> dict[str, Any] | None:
    """The result in a folder, if it is whole and came from that very config and those versions."""
    try:
        result = read_json(folder / "result.json")
    except (OSError, ValueError):
        return None
    return result if isinstance(result, dict) and result.get("fingerprint") == expected else None
