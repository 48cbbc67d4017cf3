"""What a record says of the code and the machine, in real repositories."""

import contextlib
import getpass
import os
import subprocess

import pytest

from tailproof.runtime.environment import describe_code, describe_machine


def git(folder, *arguments):
    name = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    done = subprocess.run(["git", *name, *arguments], cwd=folder, check=True, capture_output=True)
    return done.stdout.decode().strip()


@pytest.fixture
def repository(tmp_path):
    (tmp_path / "code.py").write_text("x = 1\n")
    (tmp_path / ".gitignore").write_text("*.log\n")
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "first")
    return tmp_path


def now(folder):
    with contextlib.chdir(folder):
        return describe_code("0" * 64, ["numpy", "no-such-package"])


def test_a_clean_tree_is_its_commit(repository):
    found = now(repository)
    assert found.commit == git(repository, "rev-parse", "HEAD")
    assert (found.dirty, found.difference) == (False, None)
    assert found.packages["numpy"].count(".") == 2
    assert found.packages["no-such-package"] == "not installed"


def test_results_and_ignored_files_make_no_tree_dirty(repository):
    (repository / "results" / "tiny" / "provenance").mkdir(parents=True)
    (repository / "results" / "tiny" / "provenance" / "record.json").write_text("{}")
    (repository / "a.log").write_text("x")
    assert not now(repository).dirty


def test_a_difference_has_a_digest_of_its_content(repository):
    digests = set()
    for name, text in [("code.py", "x = 2\n"), ("code.py", "x = 3\n"), ("new.py", "y = 1\n")]:
        (repository / name).write_text(text)
        found = now(repository)
        assert found.dirty
        digests.add(found.difference)
    (repository / "new.py").write_text("y = 2\n")
    digests.add(now(repository).difference)
    assert len(digests) == 4
    (repository / "new.py").unlink()
    (repository / "code.py").write_text("x = 1\n")
    assert not now(repository).dirty


def test_a_folder_without_git_has_no_commit(tmp_path):
    found = now(tmp_path)
    assert (found.commit, found.dirty, found.difference) == (None, False, None)


def test_the_machine_is_named(monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    monkeypatch.setenv("SLURMD_NODENAME", "node3")
    found = describe_machine(4)
    assert (found.host, found.slurm_job, found.threads) == ("node3", "17", 4)
    assert found.user == getpass.getuser()
    assert found.device
    assert found.peak_memory_bytes > 2**24


def test_a_user_without_a_name_is_a_number(monkeypatch):
    def unknown():
        raise KeyError("getpwuid(): uid not found: 54321")

    monkeypatch.setattr(getpass, "getuser", unknown)
    assert describe_machine(1).user == str(os.getuid())
