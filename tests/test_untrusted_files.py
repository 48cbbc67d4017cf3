import io
import os

import pytest

from tailproof.runtime.errors import TailproofError
from tailproof.untrusted_files import read_bytes, read_json, read_text


def test_a_regular_file_is_read(tmp_path):
    path = tmp_path / "a.json"
    path.write_bytes(b"\xef\xbb\xbf[1]")
    assert read_bytes(path) == b"\xef\xbb\xbf[1]"
    assert read_text(path) == "[1]" and read_json(path) == [1]


def test_a_link_to_a_regular_file_is_read(tmp_path):
    (tmp_path / "a").write_text("x")
    (tmp_path / "link").symlink_to(tmp_path / "a")
    assert read_text(tmp_path / "link") == "x"


@pytest.mark.parametrize("kind", ["missing", "folder", "pipe", "device", "loop", "nul in the name"])
def test_anything_else_is_refused_at_once(tmp_path, kind):
    path = tmp_path / "x"
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path = "/dev/zero"
    elif kind == "loop":
        path.symlink_to(path)
    elif kind == "nul in the name":
        path = f"{path}\0"
    with pytest.raises(TailproofError) as refused:
        read_bytes(path)
    assert str(path) in str(refused.value)


def test_a_file_that_would_be_waited_for_is_refused(tmp_path, monkeypatch):
    """As /proc/kmsg, which is a regular file by its status."""
    (tmp_path / "x").write_text("x")

    class Waiting(io.BytesIO):
        def read(self, _):
            return None

    monkeypatch.setattr(os, "fdopen", lambda *_: Waiting())
    with pytest.raises(TailproofError, match="no content"):
        read_bytes(tmp_path / "x")


def test_the_size_is_bounded(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(b"12345")
    assert read_bytes(path, limit=5) == b"12345"
    with pytest.raises(TailproofError) as refused:
        read_bytes(path, limit=4)
    assert "5 bytes" in str(refused.value)


@pytest.mark.parametrize(
    "content", [b"", b"{", b"\xff", b"[" * 100_000, b"1" * 5000], ids=lambda value: repr(value[:3])
)
def test_what_is_not_json_is_one_sentence(tmp_path, content):
    path = tmp_path / "x.json"
    path.write_bytes(content)
    with pytest.raises(TailproofError) as refused:
        read_json(path)
    assert "\n" not in str(refused.value)
