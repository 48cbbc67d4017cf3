"""What a machine lacks, and clocks, git, names and locales that are not as one expects."""

import errno
import multiprocessing
import os
import resource
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pytest
from pydantic import ValidationError

from tailproof.config.augmentation import Augmentation
from tailproof.config.data import Data
from tailproof.config.experiment import Experiment
from tailproof.data.raw_checksums import list_raw, replaced_raw
from tailproof.data.tables import read_parquet, write_parquet
from tailproof.files import atomic, remove_unfinished, write_text
from tailproof.loading import prefetch
from tailproof.loading.dataset import Split
from tailproof.loading.loader import Loader
from tailproof.project import Paths
from tailproof.provenance.publish import _run
from tailproof.provenance.snakemake_bridge import _environment
from tailproof.resource_limits import lacking
from tailproof.runtime.environment import describe_code
from tailproof.runtime.errors import TailproofError
from tailproof.runtime.git import missing_history, why_unreadable, working_tree_difference
from tailproof.training.attempts import Attempts
from tailproof.training.run_summary import attempt_seconds
from tailproof.workflow import Pipeline
from tests.project import TINY


@contextmanager
def limited(what: int, most: int):
    before = resource.getrlimit(what)
    resource.setrlimit(what, (most, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(what, before)


# Memory, processes, open files, sizes of files ----------------------------------------------------


def test_a_file_that_grows_too_large_leaves_the_one_before(tmp_path):
    path = tmp_path / "x.txt"
    write_text(path, "before")
    with limited(resource.RLIMIT_FSIZE, 1000), pytest.raises(TailproofError, match="ulimit -f"):
        write_text(path, "x" * 2000)
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["file/x.txt", f"{'x' * 250}"])
def test_an_impossible_path_is_one_sentence(tmp_path, name):
    (tmp_path / "file").touch()
    with pytest.raises(TailproofError, match="cannot write"):
        write_text(tmp_path / name, "x")


def test_an_error_about_another_file_stays_as_it_is(tmp_path):
    with pytest.raises(FileNotFoundError), atomic(tmp_path / "x.txt"):
        (tmp_path / "elsewhere" / "y.txt").read_text()


def test_nobody_is_told_to_delete_a_file_that_is_intact(tmp_path):
    path = tmp_path / "x.parquet"
    write_parquet(path, pa.table({"x": [1]}))
    with (
        limited(resource.RLIMIT_NOFILE, 3),
        pytest.raises(TailproofError) as error,
    ):
        read_parquet(path)
    assert "ulimit -n" in str(error.value)
    assert "delete it" not in str(error.value)


@pytest.mark.parametrize(
    ("error", "is_lacking"),
    [
        (MemoryError(), True),
        (OSError(errno.EMFILE, "x"), True),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to"), True),
        (RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), True),
        (RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed. "), True),
        (pa.ArrowException("Unknown error: Failed to launch worker thread: Resource"), True),
        (RuntimeError("can't start new thread"), True),
        (OSError(errno.ENOENT, "out of memory"), False),
        (ValueError("the class 'out of memory'"), False),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
    ],
)
def test_what_a_machine_lacks_is_no_fault_of_a_file(error, is_lacking):
    assert bool(lacking(error)) == is_lacking


def loader(manifest: Path, workers: int) -> Loader:
    return Loader(
        Split(manifest, "train"),
        batch_size=64,
        image_size=None,
        normalization={"mean": [0.5], "std": [0.5]},
        augmentation=Augmentation(),
        workers=workers,
    )


@pytest.mark.timeout(120)
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # of torch
def test_workers_that_cannot_start_are_one_sentence_and_leave_no_process(digits):
    here = loader(digits, 2)
    here.split.encoded(0)
    opened = len(list(Path("/proc/self/fd").iterdir()))
    with (
        limited(resource.RLIMIT_NOFILE, opened + 8),
        pytest.raises(TailproofError, match=r"recipe\.workers"),
    ):
        next(here.epoch(1))
    for process in multiprocessing.active_children():
        process.join()
    assert multiprocessing.active_children() == []


def test_without_shared_memory_workers_are_refused_and_none_are_needed(
    digits, tmp_path, monkeypatch
):
    monkeypatch.setattr(prefetch, "SHARED_MEMORY", tmp_path / "missing")
    with pytest.raises(TailproofError, match=r"recipe\.workers"):
        next(loader(digits, 1).epoch(1))
    assert next(loader(digits, 0).epoch(1)).real == 64


def test_what_a_killed_writer_left_is_removed_and_nothing_else(tmp_path):
    kept = [".a.json.x", ".b.json.abcdefgh", "a.json.abcdefgh", ".a.json", ".a.json.abcd.efgh"]
    for name in [*kept, ".a.json.abc_ef01"]:
        (tmp_path / name).touch()
    remove_unfinished(tmp_path / "a.json")
    assert {path.name for path in tmp_path.iterdir()} == set(kept)
    remove_unfinished(tmp_path / "missing" / "a.json")


def test_what_a_killed_dvc_left_is_named():
    text = "ERROR: Unable to read RWLock-file '.dvc/tmp/rwlock'. JSON structure is corrupted"
    failing = [sys.executable, "-c", f"import sys; sys.exit({text!r})"]
    with pytest.raises(TailproofError, match=r"\.dvc/tmp/rwlock.*delete it"):
        _run(failing)


# Clocks -------------------------------------------------------------------------------------------


def test_after_a_clock_was_set_back_all_raw_files_are_compared_once(tmp_path, monkeypatch):
    paths = [tmp_path / "raw" / kind / "0.bmp" for kind in ("cat", "dog")]
    for path in paths:
        path.parent.mkdir(parents=True)
        path.write_bytes(b"1234")
    data = Data(source={"name": "image_folder", "root": str(tmp_path / "raw")})
    listed, seen = tmp_path / "raw.parquet", tmp_path / "seen.parquet"
    samples = tmp_path / "samples.parquet"
    write_parquet(samples, pa.table({"path": ["cat/0.bmp", "dog/0.bmp"]}))
    list_raw(data, samples, listed)
    tomorrow = time.time() + 86400
    assert replaced_raw(data, listed, tomorrow, seen) == []
    with monkeypatch.context() as context:
        context.setattr("tailproof.digests.sha256_file", None)
        assert replaced_raw(data, listed, tomorrow, seen) == [], "they are not hashed again"
    paths[0].write_bytes(b"4321")
    for since in (tomorrow, time.time() + 1):
        assert replaced_raw(data, listed, since, seen) == [str(paths[0])]


def test_a_clock_that_is_set_changes_no_duration(tmp_path, monkeypatch):
    times = iter(["2026-01-02T00:00:00+00:00", "2026-01-02T00:00:00+00:00", *["2026-01-01"] * 2])
    monkeypatch.setattr("tailproof.training.attempts._now", lambda: next(times))
    attempts = Attempts(tmp_path)
    attempts.begin(1, "cpu", 1)
    attempts.seen(1)
    attempts.end(2, "finished")
    assert 0 <= attempt_seconds({"attempts": Attempts(tmp_path).entries}) < 60


# Git ----------------------------------------------------------------------------------------------


def git(folder: Path, *arguments: str) -> None:
    name = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    subprocess.run(["git", *name, *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def repository(tmp_path) -> Path:
    folder = tmp_path / "repository"
    folder.mkdir()
    git(folder, "init", "-q")
    for number in range(2):
        git(folder, "commit", "-q", "--allow-empty", "-m", str(number))
    return folder


def test_a_repository_that_git_does_not_read_is_named(repository, tmp_path, monkeypatch):
    assert why_unreadable(repository) is None
    assert why_unreadable(tmp_path) is None, "a folder without a repository is no fault"
    monkeypatch.chdir(repository)
    with monkeypatch.context() as context:
        context.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")  # as for the folder of another user
        assert "ownership" in why_unreadable(repository)
        assert missing_history(repository) is not None
        assert describe_code("0" * 64, []).commit is None
    with monkeypatch.context() as context:
        context.setenv("PATH", str(tmp_path))
        assert "not installed" in why_unreadable(repository)
        assert describe_code("0" * 64, []).commit is None
    (repository / ".git" / "HEAD").write_text("damaged")
    assert why_unreadable(repository)


def test_a_rewritten_history_hides_nothing_and_a_shallow_clone_says_what_it_lacks(
    repository, tmp_path
):
    git(repository, "commit", "-q", "--amend", "--allow-empty", "-m", "other")
    git(repository, "checkout", "-q", "--detach")
    assert missing_history(repository) is None
    shallow = tmp_path / "shallow"
    git(tmp_path, "clone", "-q", "--depth", "1", f"file://{repository}", str(shallow))
    assert "--unshallow" in missing_history(shallow)


def test_new_pictures_are_not_read_for_each_record(repository, monkeypatch):
    (repository / "new.py").write_text("x = 1")
    picture = repository / "photo.jpg"
    picture.write_bytes(bytes(2**20))
    before = working_tree_difference(repository)
    (repository / "new.py").write_text("x = 2")
    assert working_tree_difference(repository) != before
    monkeypatch.setattr("tailproof.runtime.git.LARGE", 0)
    monkeypatch.setattr("tailproof.runtime.git.sha256_file", None)
    assert working_tree_difference(repository)


# Names, folders and locales -----------------------------------------------------------------------


@pytest.mark.parametrize("names", [["ce", "CE"], ["straße", "strasse"], ["x" * 300]])
def test_names_of_experts_fit_on_every_disk(names):
    experts = {name: {} for name in names}
    with pytest.raises(ValidationError):
        Experiment.model_validate({**TINY, "experts": experts})


def test_a_project_whose_path_is_a_pattern_or_no_text_is_refused(tmp_path):
    pipeline = Pipeline(Paths(), print)
    folder = tmp_path / "b c\n%s*[?]<d>"
    folder.mkdir()
    pipeline.check_folder(folder)
    with pytest.raises(TailproofError, match="braces"):
        pipeline.check_folder(tmp_path / "{b}")
    with pytest.raises(TailproofError, match=r"ma\\udcdfe.*UTF-8"):
        pipeline.check_folder(tmp_path / os.fsdecode(b"ma\xdfe"))


def test_a_project_on_a_full_disk_is_refused_before_snakemake_writes(tmp_path, monkeypatch):
    monkeypatch.setattr("tailproof.workflow.LEAST_SPACE", 2**80)
    with pytest.raises(TailproofError, match="free some space"):
        Pipeline(Paths(), print).check_folder(tmp_path)


def test_file_names_in_another_encoding_are_refused(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "tailproof.cli", "--version"],
        env=os.environ | {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "PYTHONUTF8=1" in done.stderr
    assert "Traceback" not in done.stderr


def test_snakemake_needs_no_home_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert "XDG_CACHE_HOME" not in _environment()
    monkeypatch.setenv("HOME", "/proc/1")
    assert Path(_environment()["XDG_CACHE_HOME"]).is_relative_to(tmp_path)
    shutil.rmtree(tmp_path / ".snakemake", ignore_errors=True)


@pytest.mark.parametrize("arguments", [["predict", "{folder}", "{folder}"], ["audit", "tiny"]])
def test_a_current_folder_that_was_deleted_is_one_sentence(tmp_path, arguments):
    (tmp_path / "gone").mkdir()
    command = [sys.executable, "-m", "tailproof.cli"]
    command += [argument.format(folder=tmp_path) for argument in arguments]
    done = subprocess.run(
        ["bash", "-c", 'cd gone && rmdir ../gone && "$@"', "bash", *command],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr.count("\n") == 1 and "folder was deleted" in done.stderr
