"""Files from the internet, each by the library of the place that it lies at; none appears before it is complete."""

from __future__ import annotations

import http.client
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from tqdm import tqdm

from hclip_mmseg.files.checksums import sha256_of
from hclip_mmseg.files.errors import InputError, lack_of_space
from hclip_mmseg.files.writing import write_whole

CHUNK = 1 << 20
PATIENCE = 30.0
"""Seconds that a server may be silent."""
ATTEMPTS = 5
"""Connections in a row that may bring nothing."""


class UnreachableError(Exception):
    """A file could not be fetched; the text says why."""


class HubFile(NamedTuple):
    """A file on the Hugging Face Hub."""

    repo_type: str
    repo_id: str
    revision: str
    filename: str


HUB = re.compile(r"https://huggingface\.co/(?:(spaces|datasets)/)?([^/]+/[^/]+)/resolve/([^/]+)/(.+)")
DRIVE = re.compile(r"https://drive\.google\.com/uc\?id=([\w-]+)")


def hub_file(url: str) -> HubFile | None:
    """The file on the Hub that an address means; None for addresses elsewhere."""
    found = HUB.fullmatch(url)
    if found is None:
        return None
    kind, repo, revision, name = found.groups()
    return HubFile((kind or "models").removesuffix("s"), repo, revision, name)


def fetch(url: str, target: Path) -> None:
    """Bring a file to a path; what an earlier attempt has brought of it is used.

    Args:
        url: of the Hugging Face Hub, Google Drive, or any server.
        target: where the file is to appear, complete; its folder exists.

    Raises:
        UnreachableError: if it cannot be had, with the reason.
        ValueError: if a package that this takes is missing.
    """
    way: Callable[[str, Path], None] = fetch_url
    if hub_file(url) is not None:
        way = fetch_from_hub
    elif DRIVE.fullmatch(url):
        way = fetch_from_drive
    try:
        way(url, target)
    except (InputError, UnreachableError):
        raise
    except Exception as error:  # each library has errors of its own for what a network may do
        if lack_of_space(error):
            raise
        reason = str(error).strip().partition("\n")[0].rstrip(".") or type(error).__name__
        raise UnreachableError(reason) from error


def fetch_from_hub(url: str, target: Path) -> None:
    """Bring a file from the Hugging Face Hub by its own library, which goes on with what it has begun.

    Length and, of large files, the checksum that the Hub states are compared.

    Raises:
        UnreachableError: if they differ.
    """
    from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url

    found = hub_file(url)
    assert found is not None
    endpoint = os.environ.get("HF_ENDPOINT")  # read now: the library reads it as it is imported
    where: dict[str, Any] = dict(repo_id=found.repo_id, repo_type=found.repo_type, endpoint=endpoint)
    stated = get_hf_file_metadata(
        hf_hub_url(filename=found.filename, revision=found.revision, **where), timeout=PATIENCE
    )
    folder = target.parent / ".hub"
    last: Exception | None = None
    for _ in range(ATTEMPTS):  # the library goes on after some broken connections, and raises at others
        try:
            brought = Path(
                hf_hub_download(filename=found.filename, revision=stated.commit_hash, local_dir=folder, **where)
            )
            break
        except Exception as error:
            if lack_of_space(error):
                raise
            last = error
    else:
        assert last is not None
        raise last
    size = brought.stat().st_size
    wrong = stated.size is not None and size != stated.size
    if not wrong and re.fullmatch("[0-9a-f]{64}", stated.etag or ""):
        wrong = sha256_of(brought) != stated.etag
    if wrong:
        brought.unlink()
        raise UnreachableError(f"what came, {size:,} bytes, is not the file of {stated.size:,} bytes that the Hub has")
    os.replace(brought, target)


def fetch_from_drive(url: str, target: Path) -> None:
    """Bring a file from Google Drive by gdown, which knows its forms of consent.

    Raises:
        ValueError: if gdown is not installed.
    """
    try:
        import gdown
    except ImportError as error:
        raise InputError(
            f"{url} is on Google Drive, which takes gdown: pip install 'hclip-mmseg[drive]'; or get the file in a "
            f"browser and put it at {target}"
        ) from error
    found = DRIVE.fullmatch(url)
    assert found is not None
    part = target.with_name(f".{target.name}.part")
    if not gdown.download(id=found[1], output=str(part), resume=True):
        raise UnreachableError("Google Drive did not give it (it limits how often a file may be fetched in a day)")
    os.replace(part, target)


def fetch_url(url: str, target: Path) -> None:
    """Bring a file from any server, going on where an earlier attempt stopped if the file is still the same there.

    Raises:
        UnreachableError: if the server does not give it, or ends before the length that it states.
    """
    part, tag = target.with_name(f".{target.name}.part"), target.with_name(f".{target.name}.etag")
    silent = 0
    while silent < ATTEMPTS:
        before = part.stat().st_size if part.exists() else 0
        try:
            if _receive(url, part, tag):
                os.replace(part, target)
                tag.unlink(missing_ok=True)
                return
        except HTTPError as error:
            if error.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE and before:
                part.unlink()  # nothing comes after what is kept: from the start
                continue
            if error.code < 500:
                raise UnreachableError(f"the server says {error.code} {error.reason}") from error
            reason = f"the server says {error.code} {error.reason}"
        except URLError as error:
            reason = str(error.reason)
        except (TimeoutError, ConnectionError, http.client.HTTPException) as error:
            reason = str(error) or type(error).__name__
        else:
            reason = "the connection was cut"
        now = part.stat().st_size if part.exists() else 0
        silent = 0 if now > before else silent + 1
        if not now:
            break  # a server that never answered
    raise UnreachableError(f"{reason}; {now:,} bytes are kept, the next attempt goes on after them" if now else reason)


def _receive(url: str, part: Path, tag: Path) -> bool:
    """Add to a file what a server still has of it; whether it is complete."""
    done = part.stat().st_size if part.exists() else 0
    headers = {"User-Agent": "hclip-mmseg", "Accept-Encoding": "identity"}
    etag = tag.read_text(encoding="utf-8") if tag.exists() else ""
    if done and etag:  # without one, nobody knows whether the file is still the same
        headers |= {"Range": f"bytes={done}-", "If-Range": etag}
    with urlopen(Request(url, headers=headers), timeout=PATIENCE) as answer:
        resumed = answer.status == http.client.PARTIAL_CONTENT
        start = done if resumed else 0
        length = answer.headers.get("Content-Length")
        total = None if length is None else start + int(length)
        if not resumed:
            write_whole(tag, answer.headers.get("ETag") or "")
        bar = tqdm(total=total, initial=start, unit="B", unit_scale=True, desc=part.name[1:-5], disable=None)
        with part.open("ab" if resumed else "wb") as file, bar:
            while chunk := answer.read(CHUNK):
                file.write(chunk)
                bar.update(len(chunk))
            file.flush()
            os.fsync(file.fileno())
    return total is None or part.stat().st_size == total
