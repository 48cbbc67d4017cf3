import logging
import os
import pty
import subprocess
import sys

import pytest

from tailproof.runtime import progress
from tailproof.runtime.progress import track


@pytest.mark.parametrize("items", [[], [1, 2, 3], iter([1, 2]), range(5)])
def test_every_item_comes_once_in_order(items):
    expected = list(items) if hasattr(items, "__len__") else [1, 2]
    assert list(track(items, "count")) == expected


def test_a_line_is_logged_every_few_seconds(monkeypatch, caplog):
    caplog.set_level(logging.INFO, "tailproof")
    list(track(range(3), "count"))
    assert caplog.messages == []
    monkeypatch.setattr(progress, "LINE_SECONDS", 0.0)
    list(track(range(2), "count"))
    list(track(iter("ab"), "letters"))
    started = [message.split(" after ")[0] for message in caplog.messages]
    assert started == ["count: 1 of 2", "count: 2 of 2", "letters: 1", "letters: 2"]


def read_until(terminal, name):
    """Read what is drawn on a terminal until a name is; pytest's limit is the only one."""
    text = b""
    while name.encode() not in text:
        text += os.read(terminal, 65536)
    return text.decode()


def test_of_two_jobs_on_one_terminal_one_draws_and_the_next_may_after_it():
    program = (
        "import os, sys; from tailproof.runtime.progress import track\n"
        "for _ in track(range(2), sys.argv[1]):\n"
        "    os.write(1, b'ready\\n'); sys.stdin.readline()\n"
    )
    controller, terminal = pty.openpty()

    def start(name):
        job = subprocess.Popen(
            [sys.executable, "-c", program, name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=terminal,
            text=True,
        )
        assert job.stdout.readline() == "ready\n"
        return job

    jobs = [start("first"), start("second")]
    shown = read_until(controller, "first")
    for job in jobs:
        job.communicate("\n\n")
        assert job.returncode == 0
    third = start("third")
    shown += read_until(controller, "third")
    assert "second" not in shown
    third.communicate("\n\n")
    os.close(terminal)
    os.close(controller)
