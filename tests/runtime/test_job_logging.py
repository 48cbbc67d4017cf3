import subprocess
import sys

import pytest

from tailproof.runtime.job_logging import ATTEMPT


def run(body, log):
    program = (
        "import logging, warnings\n"
        "from tailproof.runtime.errors import TailproofError\n"
        "from tailproof.runtime.job_logging import job_logging\n"
        f"with job_logging('train', {str(log)!r}):\n    {body}\n"
    )
    command = [sys.executable, "-c", program]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_job_logs_to_its_file_and_says_nothing_itself(tmp_path):
    log = tmp_path / "logs" / "train.log"
    body = "logging.getLogger('tailproof.x').info('epoch %d', 3); warnings.warn('careful')"
    done = run(body, log)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert "INFO epoch 3" in log.read_text()
    assert "careful" in log.read_text()


def test_a_mistake_of_the_user_ends_in_one_sentence_and_the_log_s_last_lines(tmp_path):
    body = (
        "for n in range(20): logging.getLogger('tailproof').info('line %02d', n)\n"
        "    raise TailproofError('x.csv, row 3: expected a number, found a')"
    )
    done = run(body, tmp_path / "train.log")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "train failed: x.csv, row 3: expected a number, found a" in done.stderr
    assert f"log: {tmp_path}/train.log" in done.stderr
    assert "line 19" in done.stderr
    assert "line 05" not in done.stderr


def test_a_mistake_of_several_lines_is_told_once(tmp_path):
    done = run("raise TailproofError('config:\\n  one thing\\n  another')", tmp_path / "train.log")
    assert done.stderr.count("one thing") == done.stderr.count("another") == 1


@pytest.mark.parametrize("body", ["1 / 0", "raise KeyError('x')"])
def test_a_mistake_of_ours_shows_its_traceback_here_and_in_the_log(tmp_path, body):
    done = run(body, tmp_path / "train.log")
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "train failed: " in done.stderr
    assert "Traceback" in (tmp_path / "train.log").read_text()


def test_a_second_attempt_keeps_the_log_of_the_first(tmp_path):
    log = tmp_path / "train.log"
    run("logging.getLogger('tailproof').info('first'); __import__('signal').raise_signal(9)", log)
    log.unlink()  # as Snakemake does
    done = run("raise TailproofError('second')", log)
    text = log.read_text()
    assert text.count(ATTEMPT) == 2
    assert text.index("first") < text.rindex(ATTEMPT) < text.index("second")
    assert "first" not in done.stderr, "only the lines of this attempt are shown"
    run("pass", log)
    assert log.read_text().count(ATTEMPT) == 3
    assert list(tmp_path.iterdir()) == [log]


@pytest.mark.parametrize("kind", ["full", "a folder", "below a file"])
def test_a_log_that_cannot_be_written_loses_nothing(tmp_path, kind):
    log = tmp_path / "train.log"
    if kind == "full":
        log.symlink_to("/dev/full")
    elif kind == "a folder":
        log.mkdir()
    else:
        log.write_text("")
        log = log / "train.log"
    body = "[logging.getLogger('tailproof').info('line %d', n) for n in range(3)]"
    done = run(body, log)
    assert done.returncode == 0
    assert "Traceback" not in done.stderr and "Logging error" not in done.stderr
    first, *lines = done.stderr.splitlines()
    assert first.startswith(f"{log} cannot be written")
    assert [line.split("INFO ")[1] for line in lines] == ["line 0", "line 1", "line 2"]
    failed = run("raise TailproofError('the mistake')", log)
    assert failed.returncode == 1
    assert "train failed: the mistake" in failed.stderr and "Traceback" not in failed.stderr
