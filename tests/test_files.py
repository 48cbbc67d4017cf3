import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given

from tailproof.data.tables import read_parquet, table_metadata, with_metadata, write_parquet
from tailproof.files import atomic, read_json, write_json, write_text
from tailproof.runtime.errors import TailproofError
from tests.strategies import PLAIN


def test_a_file_appears_whole_with_its_folders_and_nothing_beside_it(tmp_path):
    path = tmp_path / "a" / "b" / "c.txt"
    with atomic(path) as temporary:
        temporary.write_text("whole")
        assert temporary.parent == path.parent
        assert not path.exists()
    assert path.read_text() == "whole"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("exception", [ValueError, KeyboardInterrupt, SystemExit])
def test_an_exception_leaves_what_stood_there_before(tmp_path, exception):
    path = tmp_path / "x.txt"
    path.write_text("before")
    with pytest.raises(exception), atomic(path) as temporary:
        temporary.write_text("half")
        raise exception
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_two_writers_at_once_leave_one_whole_file(tmp_path):
    path = tmp_path / "x.txt"
    with atomic(path) as one, atomic(path) as other:
        one.write_text("one")
        other.write_text("other")
    assert path.read_text() == "one"
    assert list(tmp_path.iterdir()) == [path]


def test_files_have_the_usual_permissions(tmp_path):
    before = os.umask(0o027)
    try:
        write_text(tmp_path / "x.txt", "x")
    finally:
        os.umask(before)
    assert (tmp_path / "x.txt").stat().st_mode & 0o777 == 0o640


@pytest.fixture
def tiny_disk(tmp_path):
    """A file system of 64 KiB."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)],
        capture_output=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip("mounting a tmpfs needs root")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_is_told_and_keeps_what_stood_there_before(tiny_disk):
    path = tiny_disk / "table.parquet"
    small = pa.table({"x": [1, 2, 3]})
    write_parquet(path, small)
    large = pa.table({"x": [os.urandom(100_000)]})
    with pytest.raises(
        TailproofError, match=r"no space is left .*tiny while writing table\.parquet"
    ):
        write_parquet(path, large)
    with pytest.raises(TailproofError, match=r"no space is left .* while writing other\.txt: free"):
        write_text(tiny_disk / "other.txt", "x" * 100_000)
    assert read_parquet(path).equals(small)
    assert list(tiny_disk.iterdir()) == [path]


def test_a_device_that_is_always_full_is_told(tmp_path):
    with (
        pytest.raises(TailproofError, match=r"no space is left .* while writing x\.txt"),
        atomic(tmp_path / "x.txt"),
        open("/dev/full", "w") as full,
    ):
        full.write("x")
        full.flush()
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def as_nobody():
    """A folder that anyone may enter; what runs in the test has no more rights than nobody."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    yield folder
    if root:
        os.seteuid(0)
    shutil.rmtree(folder)


def test_a_folder_without_permission_is_told(as_nobody):
    as_nobody.chmod(0o555) if os.geteuid() != 65534 else None
    for path in (as_nobody / "x.json", as_nobody / "new" / "x.json"):
        with pytest.raises(TailproofError, match=r"cannot write .*x\.json: .* is not writable"):
            write_json(path, {})


@given(PLAIN)
def test_json_comes_back_as_it_was(tmp_path_factory, value):
    path = tmp_path_factory.getbasetemp() / "value.json"
    write_json(path, value)
    assert read_json(path) == value


def test_json_holds_no_nan(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "x.json", {"x": float("nan")})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b'{"x": 1', b"\xff\xfe"])
def test_broken_json_is_told(tmp_path, content):
    path = tmp_path / "x.json"
    path.write_bytes(content)
    with pytest.raises(TailproofError, match=r"x\.json is not valid JSON .*delete it and run"):
        read_json(path)
    with pytest.raises(TailproofError, match=r"absent\.json does not exist"):
        read_json(tmp_path / "absent.json")


def test_a_file_that_cannot_be_read_is_not_to_be_deleted(tmp_path):
    with pytest.raises(TailproofError, match="cannot be read") as error:
        read_json(tmp_path)
    assert "delete" not in str(error.value)


def table():
    return pa.table({"name": ["ä", "b"], "value": [1.5, None]})


def test_parquet_metadata_comes_back_and_equal_tables_give_equal_bytes(tmp_path):
    value = {"ranks": ["class"], "classes": {"class": ["ä", "b"]}, "mode": "L"}
    for name in ("one", "two"):
        write_parquet(tmp_path / name, with_metadata(table(), value, huggingface=json.dumps({})))
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    assert table_metadata(tmp_path / "one") == value
    assert read_parquet(tmp_path / "one").schema.metadata[b"huggingface"] == b"{}"
    assert read_parquet(tmp_path / "one", ["value"]).to_pydict() == {"value": [1.5, None]}


def test_parquet_without_our_metadata_is_told(tmp_path):
    write_parquet(tmp_path / "x.parquet", table())
    with pytest.raises(TailproofError, match=r"x\.parquet was not written by tailproof"):
        table_metadata(tmp_path / "x.parquet")


@pytest.mark.parametrize("kept", [0, 3, 100])
def test_truncated_parquet_is_told(tmp_path, kept):
    path = tmp_path / "x.parquet"
    write_parquet(path, table())
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(TailproofError, match=r"x\.parquet cannot be read as parquet"):
        read_parquet(path)
    with pytest.raises(TailproofError, match=r"x\.parquet cannot be read as parquet"):
        table_metadata(path)


def test_missing_parquet_and_missing_columns_are_told(tmp_path):
    path = tmp_path / "x.parquet"
    write_parquet(path, table())
    with pytest.raises(TailproofError, match=r"x\.parquet has no column 'nam'.*did you mean 'nam"):
        read_parquet(path, ["nam"])
    for read in (read_parquet, table_metadata):
        with pytest.raises(TailproofError, match=r"absent\.parquet does not exist"):
            read(tmp_path / "absent.parquet")
