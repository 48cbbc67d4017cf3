import errno
import gzip
import hashlib
import http.server
import os
import random
import socket
import threading
from pathlib import Path

import numpy as np
import pytest

from tailproof.data.sources import cifar
from tailproof.data.sources.archives.download import fetch
from tailproof.data.sources.cifar import Cifar, CifarSource
from tailproof.data.sources.idx import NAMES, Idx, IdxSource, PublishedDataset
from tailproof.runtime.errors import TailproofError

BODY = random.Random(0).randbytes(3_000_000)
SUM = hashlib.sha256(BODY).hexdigest()


class Handler(http.server.SimpleHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/short":
            self.send_response(200)
            self.send_header("Content-Length", str(len(BODY)))
            self.end_headers()
            self.wfile.write(BODY[:2_000_000])
        elif self.path == "/elsewhere":
            self.send_response(302)
            self.send_header("Location", "/body")
            self.end_headers()
        elif self.path == "/file":
            self.send_response(302)
            self.send_header("Location", "file:///etc/hostname")
            self.end_headers()
        elif self.path == "/nonsense":
            self.wfile.write(b"not http at all\r\n\r\n")
        else:
            super().do_GET()

    def log_message(self, *arguments):
        pass


@pytest.fixture
def served(tmp_path, monkeypatch):
    """A folder and the address it is served at."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path / "served"
    folder.mkdir()
    (folder / "body").write_bytes(BODY)
    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), lambda *a: Handler(*a, directory=str(folder))
    )
    thread = threading.Thread(target=server.serve_forever, args=[0.01])
    thread.start()
    yield folder, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("path", ["body", "elsewhere"])
def test_a_file_arrives_whole(served, tmp_path, path):
    target = tmp_path / "raw" / "file"
    fetch(f"{served[1]}/{path}", target, SUM)
    assert target.read_bytes() == BODY
    assert [entry.name for entry in target.parent.iterdir()] == ["file"]


@pytest.mark.parametrize(
    ("path", "sha256", "message"),
    [
        ("body", "0" * 64, f"has SHA-256 {SUM}, expected {'0' * 64}"),
        ("missing", SUM, " 404 "),
        ("short", SUM, "2000000 of 3000000 bytes"),
        ("file", SUM, " 302 "),
        ("nonsense", SUM, "not http"),
    ],
)
def test_what_went_wrong_is_said_and_nothing_is_left(served, tmp_path, path, sha256, message):
    target = tmp_path / "raw" / "file"
    target.parent.mkdir()
    target.write_bytes(b"what stood there before")
    with pytest.raises(TailproofError, match=message) as caught:
        fetch(f"{served[1]}/{path}", target, sha256)
    assert f"{served[1]}/{path}" in str(caught.value)
    assert str(target) in str(caught.value)
    assert target.read_bytes() == b"what stood there before"
    assert [entry.name for entry in target.parent.iterdir()] == ["file"]


def test_a_refused_connection_is_said(tmp_path):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    with pytest.raises(TailproofError, match=r"cannot be reached .*refused.*by hand"):
        fetch(f"http://127.0.0.1:{port}/file", tmp_path / "file", SUM)
    assert not list(tmp_path.iterdir())


def test_only_http_is_fetched(tmp_path):
    with pytest.raises(TailproofError, match="http"):
        fetch(f"file://{Path(__file__)}", tmp_path / "file", SUM)
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_said_and_nothing_is_left(served, tmp_path, monkeypatch):
    def full(handle):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    target = tmp_path / "raw" / "file"
    with pytest.raises(TailproofError, match="no space is left on the disk"):
        fetch(f"{served[1]}/body", target, SUM)
    assert not list(target.parent.iterdir())


def test_idx_fetches_only_what_is_missing(served, tmp_path):
    folder, url = served
    root = tmp_path / "raw"
    root.mkdir()
    packed = {}
    for name in NAMES:
        data = gzip.compress(name.encode())
        (folder / f"{name}.gz").write_bytes(data)
        packed[name] = hashlib.sha256(data).hexdigest()
    (root / NAMES[0]).write_bytes(b"already there")
    config = Idx(name="idx", dataset="fashion_mnist", root=str(root), download=True)
    source = IdxSource(config, PublishedDataset([], {}, url=url, packed=packed))
    source.fetch()
    assert sorted(entry.name for entry in root.iterdir()) == sorted(
        [NAMES[0], *(f"{name}.gz" for name in NAMES[1:])]
    )
    assert source.files() == [root / NAMES[0], *(root / f"{name}.gz" for name in NAMES[1:])]


def test_nothing_is_fetched_unless_the_configuration_asks(tmp_path):
    IdxSource(Idx(name="idx", dataset="fashion_mnist", root=str(tmp_path))).fetch()
    CifarSource(Cifar(name="cifar10", root=str(tmp_path))).fetch()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("unpacked", [False, True])
def test_cifar_fetches_the_archive_unless_its_files_are_there(
    served, tmp_path, monkeypatch, unpacked
):
    folder, url = served
    monkeypatch.setattr(cifar, "URL", url)
    (folder / "cifar-100-binary.tar.gz").write_bytes(BODY)
    if unpacked:
        (tmp_path / "cifar-100-binary").mkdir()
        (tmp_path / "cifar-100-binary" / "train.bin").write_bytes(np.zeros(9, np.uint8))
    config = Cifar(name="cifar100", format="binary", root=str(tmp_path), download=True)
    CifarSource(config, pins={"cifar-100-binary.tar.gz": f"sha256:{SUM}"}).fetch()
    assert (tmp_path / "cifar-100-binary.tar.gz").exists() is not unpacked
