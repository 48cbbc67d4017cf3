"""The server answers the page alone, to this machine alone."""

import http.client
import socket

import pytest

from tailproof.runtime.errors import TailproofError
from tailproof.watch.page import Watched
from tailproof.watch.server import PageServer, serving
from tests.watch.running_project import write_project


@pytest.fixture
def server(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_project(tmp_path)
    server = PageServer(Watched.open("study"))
    with serving(server):
        yield server


def ask(server, path, method="GET", **headers):
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=60)
    connection.request(method, path, headers=headers)
    answer = connection.getresponse()
    return answer.status, answer.read().decode(), dict(answer.headers)


def test_the_page_forbids_what_it_does_not_need(server):
    status, page, headers = ask(server, server.path)
    assert status == 200 and server.server_address[0] == "127.0.0.1"
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert (headers["X-Content-Type-Options"], headers["Cache-Control"]) == ("nosniff", "no-store")
    assert "default-src 'none'" in page and "connect-src 'self'" in page
    assert "http://" not in page.replace("http://www.w3.org", "") and "https://" not in page
    again = {"If-None-Match": headers["ETag"]}
    assert ask(server, server.path, **again)[:2] == (304, "")


@pytest.mark.parametrize(
    "path",
    [
        "/", "", "/..", "//etc/passwd", "{}../config/config.yaml", "{}index.html", "{}%2e%2e/x",
        "/config/config.yaml", "{}?x", "http://127.0.0.1/", "/%c3%a4",
    ],
)  # fmt: skip
def test_no_file_is_served(server, path):
    status, body, _ = ask(server, path.format(server.path))
    assert (status, body) == (404, "")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "HEAD", "OPTIONS"])
def test_nothing_can_be_sent(server, method):
    assert ask(server, server.path, method)[0] == 501


def test_a_page_elsewhere_cannot_read_it(server):
    for host in ("evil.example", f"evil.example:{server.server_port}", "127.0.0.1.evil.example"):
        assert ask(server, server.path, Host=host)[:2] == (403, "")
    assert ask(server, server.path, Host="localhost:9000")[0] == 200, "through a tunnel"


def test_a_client_that_says_nothing_holds_nobody_up(server):
    with socket.create_connection(server.server_address):
        assert ask(server, server.path)[0] == 200


def test_a_port_that_is_taken_is_one_sentence(server):
    with pytest.raises(TailproofError, match=str(server.server_port)):
        PageServer(server._watched, server.server_port)
