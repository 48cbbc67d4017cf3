"""Meanings of modules that are kept between processes, in the user's cache folder."""

import json

import pytest

from tailproof.runtime import meaning_store
from tailproof.runtime.meaning_store import MeaningStore

ALGORITHM = meaning_store.__file__


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path


def keep(contents, algorithm=ALGORITHM):
    """Ask a new store for contents; return the answers and what had to be computed."""
    computed = []

    def digest(content):
        computed.append(content)
        return [content.decode(), [["module", [], 0]]]

    store = MeaningStore(algorithm)
    answers = [store.get(content, digest) for content in contents]
    store.save()
    return answers, computed


def files(cache):
    return list((cache / "tailproof" / "meanings").iterdir())


def test_a_content_is_digested_once_whatever_process_asks(cache):
    first, computed = keep([b"a", b"b", b"a"])
    assert computed == [b"a", b"b"]
    again, computed = keep([b"b", b"c"])
    assert computed == [b"c"]
    assert again[0] == first[1]
    assert keep([b"a", b"b", b"c"])[1] == []


def test_another_way_to_digest_has_a_file_of_its_own(cache, tmp_path):
    other = tmp_path / "other.py"
    other.write_text("another way")
    keep([b"a"])
    assert keep([b"a"], other)[1] == [b"a"]
    assert len(files(cache)) == 2


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: "",
        lambda text: text[: len(text) // 2],
        lambda text: "[]",
        lambda text: "{}",
        lambda text: text.replace("module", "nodule"),
        lambda text: json.dumps({"meanings": [1], "seal": "0"}),
    ],
)
def test_a_damaged_file_is_written_again(cache, damage):
    keep([b"a"])
    (file,) = files(cache)
    whole = file.read_text()
    file.write_text(damage(whole))
    assert keep([b"a"])[1] == [b"a"]
    assert file.read_text() == whole


@pytest.mark.parametrize("folder", ["/dev/null/cache", "/proc/cache"])
def test_without_a_place_everything_is_digested(monkeypatch, folder):
    monkeypatch.setenv("XDG_CACHE_HOME", folder)
    assert keep([b"a"])[1] == keep([b"a"])[1] == [b"a"]


def test_two_processes_at_once_keep_what_both_found(cache):
    one, other = MeaningStore(ALGORITHM), MeaningStore(ALGORITHM)
    one.get(b"a", lambda content: ["a", []])
    other.get(b"b", lambda content: ["b", []])
    one.save()
    other.save()
    assert keep([b"a", b"b"])[1] == []


def test_the_file_does_not_grow_for_ever(cache, monkeypatch):
    monkeypatch.setattr(meaning_store, "MOST", 3)
    keep([b"a", b"b", b"c"])
    keep([b"d"])
    assert keep([b"d"])[1] == []
    assert keep([b"a"])[1] == [b"a"]


def test_a_user_without_a_home_folder_has_a_place(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    keep([b"a"])
    assert keep([b"a"])[1] == []
    assert files(tmp_path / "home/.cache")
