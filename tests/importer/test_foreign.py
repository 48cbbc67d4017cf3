"""Collections as they are published: read right, or refused with what to do."""

import re
import shlex
import subprocess

import pytest

from tailproof.config.validation import load_experiment
from tailproof.data.sources import open_source
from tailproof.importer import Import, import_collection
from tailproof.runtime.errors import TailproofError
from tests.importer.foreign import FOLLOWED, OFFICIAL, READ, REFUSED


@pytest.fixture
def study(tmp_path, monkeypatch):
    """An empty project, which is the current folder."""
    (tmp_path / "config" / "experiments").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def cases(collections):
    return pytest.mark.parametrize("write", collections, ids=lambda write: write.__name__)


def follow(text: str) -> None:
    """Run the first command in a sentence that writes a table."""
    command = next(part for part in re.findall("`([^`]+)`", text) if "labels" in part)
    words = shlex.split(command) if command.startswith("python -c ") else []
    if words:
        exec(words[2], {})
    else:
        subprocess.run(["bash", "-c", command], check=True)


def refusal(path: str) -> str:
    with pytest.raises(TailproofError) as error:
        import_collection(path, "x")
    return str(error.value)


def found(result: Import) -> tuple[dict[str, int], dict[str, int]]:
    """The samples of each set and class, after the experiment was read again."""
    source = open_source(load_experiment(result.file).data.source)
    assert len(list(source.samples())) == len(result.collection.table)
    assert min(result.splits.values()) > 0
    return result.collection.pools, dict(result.collection.counts)


@cases(READ)
def test_a_published_collection_is_read(write, study):
    write(study / "raw")
    assert found(import_collection("raw", "x")) == READ[write]


@cases(REFUSED)
def test_what_cannot_be_read_is_refused_by_name(write, study):
    write(study / "raw")
    assert re.search(REFUSED[write], refusal("raw"))
    assert not list((study / "config" / "experiments").iterdir())


@cases(FOLLOWED)
def test_the_command_in_a_refusal_makes_it_readable(write, study):
    write(study / "raw")
    before = {path: path.read_bytes() for path in (study / "raw").rglob("*") if path.is_file()}
    text = refusal("raw")
    follow(text)
    assert {path: path.read_bytes() for path in before} == before
    path = re.findall("`tailproof import ([^`]+)`", text)[-1]
    sets, classes, groups = FOLLOWED[write]
    result = import_collection(path, "x")
    assert found(result) == (sets, classes)
    assert result.collection.groups == groups


@cases(OFFICIAL)
def test_the_command_in_a_doubt_keeps_the_official_sets(write, study):
    write(study / "raw")
    result = import_collection("raw", "whole")
    assert result.collection.pools == {}
    follow(next(doubt for doubt in result.choice.recognition.doubts if "official" in doubt))
    assert found(import_collection("raw/labels.csv", "x"))[0] == OFFICIAL[write]


@pytest.mark.parametrize(
    ("name", "word"),
    [("stations", "station"), ("eyes", "left and right"), ("altered_versions", "54 pictures")],
)
def test_groups_that_cannot_be_kept_are_a_doubt(name, word, study):
    next(write for write in READ if write.__name__ == name)(study / "raw")
    result = import_collection("raw", "x")
    assert not result.collection.groups
    assert any(word in doubt for doubt in result.choice.recognition.doubts)
