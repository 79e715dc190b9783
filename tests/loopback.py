"""A server on this machine that gives files as the Hugging Face Hub and plain servers do, well or badly."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

COMMIT = "1" * 40


@dataclass
class Server:
    """What is served, and how.

    Attributes:
        url: of the server.
        files: path -> content.
        cut: path -> numbers of bytes after which the next answers break off, the first first.
        stated: path -> length that is said to be the file's, instead of its own.
        etags: path -> ETag in place of the checksum.
        asked: (method, path, range) of every request.
        tokens: the tokens that what was written came with.
    """

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    cut: dict[str, list[int]] = field(default_factory=dict)
    stated: dict[str, int] = field(default_factory=dict)
    etags: dict[str, str] = field(default_factory=dict)
    asked: list[tuple[str, str, str | None]] = field(default_factory=list)
    tokens: set[str | None] = field(default_factory=set)

    def gets(self) -> list[str | None]:
        """The ranges of all requests for a content; None for a whole one.

        huggingface_hub may ask for other things on its own account, which are none of these.
        """
        return [wanted for method, path, wanted in self.asked if method == "GET" and path in self.files]

    def written(self, path: str, content: bytes) -> dict[str, object]:
        """What the Hub answers to what is written to it: repositories, questions before a commit, commits."""
        if path == "/api/repos/create":
            asked = json.loads(content)
            return dict(url=f"{self.url}/{asked.get('organization', 'me')}/{asked['name']}")
        repository = re.fullmatch(r"/api/models/([^/]+/[^/]+)/(preupload|commit)/main", path)
        if repository and repository[2] == "preupload":
            named = [file["path"] for file in json.loads(content)["files"]]
            return dict(files=[dict(path=name, uploadMode="regular", shouldIgnore=False) for name in named])
        if repository:
            for line in content.splitlines():
                entry = json.loads(line)
                if entry["key"] == "file":
                    file = entry["value"]
                    self.files[f"/{repository[1]}/resolve/main/{file['path']}"] = base64.b64decode(file["content"])
            return dict(commitUrl=f"{self.url}/{repository[1]}/commit/{COMMIT}", commitOid=COMMIT)
        return dict(errors=[], warnings=[])

    def etag(self, path: str) -> str:
        return self.etags.get(path) or hashlib.sha256(self.files[path]).hexdigest()


@contextmanager
def serving() -> Iterator[Server]:
    server = Server()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def do_HEAD(self) -> None:  # noqa: N802
            self.answer(body=False)

        def do_GET(self) -> None:  # noqa: N802
            self.answer(body=True)

        def do_POST(self) -> None:  # noqa: N802
            content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            server.asked.append((self.command, self.path, None))
            server.tokens.add(self.headers.get("Authorization"))
            told = json.dumps(server.written(self.path, content)).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(told)))
            self.end_headers()
            self.wfile.write(told)

        def answer(self, body: bool) -> None:
            wanted = self.headers.get("Range")
            path = self.path.replace(COMMIT, "main")  # the Hub knows a branch and its commit
            server.asked.append((self.command, path, wanted))
            content = server.files.get(path)
            if content is None:
                self.send_response(404)
                self.send_header("X-Error-Code", "EntryNotFound")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            etag = f'"{server.etag(path)}"'
            start = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1]) if wanted else 0
            if self.headers.get("If-Range") not in (None, etag):
                start = 0
            length = server.stated.get(path, len(content))
            if start and start >= length:
                self.send_response(416)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.send_response(206 if start else 200)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{length - 1}/{length}")
            self.send_header("Content-Length", str(length - start))
            self.send_header("ETag", etag)
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("Accept-Ranges", "bytes")
            self.end_headers()
            if not body:
                return
            rest = content[start:]
            breaks = server.cut.get(path)
            cut = breaks.pop(0) if breaks else None
            self.wfile.write(rest[:cut])
            if cut is not None or length != len(content):
                self.wfile.flush()
                self.close_connection = True

    served = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    served.daemon_threads = True
    server.url = f"http://127.0.0.1:{served.server_port}"
    thread = threading.Thread(target=served.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        served.shutdown()
        served.server_close()
        thread.join()
