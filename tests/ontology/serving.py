"""A web server of this machine for the tests of downloads: it cuts, stalls, lies and forgets as it is told."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread

HEAD = """
name = "mine"
title = "My sets"
reader = "gmt"
species = "Homo sapiens"
identifier = "symbol"
licence = "MIT"
citation = "me"
redistributable = true
"""  # of a recipe


@dataclass
class Page:
    """What is served under one path, and how.

    `faults` are used up, one by one, by the requests: a number of bytes after which the connection is cut, or a status
    to answer instead. `pace` is the pause in seconds before every 64 KiB piece.
    """

    body: bytes
    etag: str = ""
    last_modified: str = ""
    ranges: bool = True
    sized: bool = True
    status: int = 200
    faults: list[int] = field(default_factory=list)
    pace: float = 0.0
    piece: int = 1 << 16
    stall: float = 0.0


@dataclass
class Site:
    """The pages of a server by path, and the requests it got: path, range and status of each answer."""

    address: str
    pages: dict[str, Page]
    requests: list[tuple[str, str, int]] = field(default_factory=list)
    sent: int = 0


def tagged(body: bytes, **how: object) -> Page:
    """A page with an ETag that changes with its body."""
    return Page(body, etag=f'"{hashlib.sha256(body).hexdigest()[:16]}"', **how)  # type: ignore[arg-type]


@contextmanager
def serving(**pages: Page) -> Iterator[Site]:
    """A server for the duration of the block; its pages may be changed while it runs."""
    lock = Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            path = self.path.rpartition("/")[2] if self.path.startswith("http") else self.path[1:]
            asked = self.headers.get("Range", "")
            with lock:
                page = site.pages.get(path)
                fault = page.faults.pop(0) if page is not None and page.faults else None
            status, start = self._status(page, fault, asked)
            with lock:
                site.requests.append((self.path, asked, status))
            self.close_connection = True
            if page is None or status not in (200, 206):
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            if page.stall:
                time.sleep(page.stall)
            body = page.body[start:]
            self.send_response(status)
            if page.sized:
                self.send_header("Content-Length", str(len(body)))
            if status == 206:
                self.send_header("Content-Range", f"bytes {start}-{len(page.body) - 1}/{len(page.body)}")
            for name, value in (("ETag", page.etag), ("Last-Modified", page.last_modified), ("Connection", "close")):
                if value:
                    self.send_header(name, value)
            self.end_headers()
            self._send(page, body if fault is None else body[:fault])

        def _status(self, page: Page | None, fault: int | None, asked: str) -> tuple[int, int]:
            if page is None:
                return 404, 0
            if fault is not None and fault < 0:
                return -fault, 0
            if page.status != 200:
                return page.status, 0
            known = self.headers.get("If-None-Match"), self.headers.get("If-Modified-Since")
            if (page.etag and known[0] == page.etag) or (
                known[0] is None and known[1] and known[1] == page.last_modified
            ):
                return 304, 0
            same = self.headers.get("If-Range") in (None, page.etag, page.last_modified)
            if not asked or not page.ranges or not same:
                return 200, 0
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
            return (416, 0) if start >= len(page.body) else (206, start)

        def _send(self, page: Page, body: bytes) -> None:
            try:
                for at in range(0, len(body), page.piece):
                    time.sleep(page.pace)
                    self.wfile.write(body[at : at + page.piece])
                    self.wfile.flush()
                    with lock:
                        site.sent += len(body[at : at + page.piece])
            except OSError:
                pass  # the client went away, as some tests want it to

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    site = Site(
        f"http://127.0.0.1:{server.server_port}", {name.replace("__", "."): page for name, page in pages.items()}
    )
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield site
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
