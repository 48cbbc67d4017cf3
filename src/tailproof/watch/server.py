"""Serves the page of `tailproof watch` on this machine; nothing else, and no file."""

import hashlib
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from typing import Any

from tailproof.resource_limits import lacking
from tailproof.runtime.errors import TailproofError
from tailproof.watch.page import Watched

HOST = "127.0.0.1"
SECONDS = 5.0
"""How long the page waits before it asks again."""

CLIENT_SECONDS = 10.0  # a client that is slower than this is dropped

HEADERS = {
    # The page names what it may load; a header alone can forbid to show it inside another page.
    "Content-Security-Policy": "frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


class PageServer(ThreadingHTTPServer):
    """A server with one page.

    The address of the page has a secret part, because other users of a login node can open its
    ports too.

    Args:
        watched: the experiment.
        port: the port; 0 for any that is free.
        seconds: how long the page waits before it asks again.

    Attributes:
        address: the address of the page.
    """

    daemon_threads = True

    def __init__(self, watched: Watched, port: int = 0, seconds: float = SECONDS) -> None:
        self._watched, self._seconds, self._lock = watched, seconds, Lock()
        try:
            super().__init__((HOST, port), _Handler)
        except OSError as error:
            other = "leave out --port, or name another one" if port else "name one with --port"
            advice = lacking(error) or other
            raise TailproofError(
                f"port {port} cannot be opened ({error.strerror}): {advice}"
            ) from None
        self.path = f"/{secrets.token_urlsafe(16)}/"
        self.address = f"http://{HOST}:{self.server_port}{self.path}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print nothing about a client that has gone."""
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            super().handle_error(request, client_address)

    def page(self) -> bytes:
        """Return the page as it is now."""
        with self._lock:
            return self._watched.page(self._seconds).encode()


@contextmanager
def serving(server: PageServer) -> Iterator[str]:
    """Serve in a thread while the block runs; yield the address of the page."""
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.address
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    """Answers with the page, or with nothing."""

    server: PageServer
    timeout = CLIENT_SECONDS
    server_version = "tailproof"
    sys_version = ""

    def do_GET(self) -> None:
        # A name of another host here is a page elsewhere that had its name resolved to this one.
        # The port may be that of a tunnel.
        if self.headers.get("Host", "").partition(":")[0] not in (HOST, "localhost"):
            self._answer(HTTPStatus.FORBIDDEN)
        elif not secrets.compare_digest(self.path.encode(), self.server.path.encode()):
            self._answer(HTTPStatus.NOT_FOUND)
        else:
            page = self.server.page()
            tag = f'"{hashlib.sha256(page).hexdigest()[:32]}"'
            if self.headers.get("If-None-Match") == tag:
                self._answer(HTTPStatus.NOT_MODIFIED, tag=tag)
            else:
                self._answer(HTTPStatus.OK, page, tag)

    def _answer(self, status: HTTPStatus, page: bytes = b"", tag: str = "") -> None:
        self.send_response(status)
        for name, value in HEADERS.items():
            self.send_header(name, value)
        if tag:
            self.send_header("ETag", tag)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(page)))
        self.end_headers()
        self.wfile.write(page)

    def log_message(self, *_: object) -> None:
        """Print nothing about a request."""


def watch(name: str, port: int = 0) -> Iterator[str]:
    """Serve the page of an experiment until Ctrl-C; yield its address first.

    Args:
        name: the name of the experiment.
        port: the port; 0 for any that is free.

    Raises:
        TailproofError: the configuration is wrong, or the port is taken.
    """
    server = PageServer(Watched.open(name), port)
    yield server.address
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        server.server_close()
