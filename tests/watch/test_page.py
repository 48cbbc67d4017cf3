"""The page of runs that have not begun, train, failed or ended, read from files."""

import re
import stat
from datetime import UTC, datetime

import pytest

from tailproof.config.splits import SPLITS
from tailproof.files import write_json
from tailproof.runtime.errors import TailproofError
from tailproof.watch.page import Watched, clock, duration
from tests.watch.running_project import (
    begins,
    epoch,
    header,
    line,
    write_attempts,
    write_log,
    write_project,
)


@pytest.fixture
def study(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_project(tmp_path)
    return tmp_path


def states(page):
    """The state of each run on the page."""
    return {run: state for state, run in re.findall(r'<tr class="(\w+)" data-run="([^"]+)"', page)}


def test_an_experiment_that_has_not_begun(study):
    page = Watched.open("study").page(5)
    assert set(states(page).values()) == {"waiting"} and len(states(page)) == 4
    assert "<svg" not in page and "A &lt;b&gt;bold&lt;/b&gt; study" in page


def test_runs_in_all_states_at_once(study):
    training = [
        header(host="node7"),
        begins("12:00:00"),
        *(epoch(f"12:0{n}:00", n) for n in (1, 2)),
    ]
    write_log(study, *training)
    error = line("12:03:00", "bad <script>alert(1)</script>", "ERROR")
    write_log(study, header(), begins("12:00:00"), error, job="train/plain-1")
    write_log(study, header(), job="train/adjusted-0")
    write_attempts(study, "SIGTERM", "killed")
    page = Watched.open("study").page(5)
    assert states(page) == {
        "plain-0": "silent", "plain-1": "failed", "adjusted-0": "killed", "adjusted-1": "waiting",
    }  # fmt: skip
    assert "<script>alert" not in page and "&lt;script&gt;alert" in page
    assert page.count("<svg") == 3 and page.count("node7, job 4711") == 4
    assert page == Watched.open("study").page(5), "the same files give the same page"


def test_findings_are_those_of_the_detectors(study):
    splits = {name: {"rows": 100} for name in SPLITS}
    manifest = {"target": "digit", "classes": {"digit": ["0", "1"]}, "splits": splits}
    write_json(study / "results/study/shards/manifest.json", manifest)
    lines = [epoch(f"12:0{n}:00", n, "0.5", "nan" if n > 2 else "1") for n in (1, 2, 3, 4)]
    write_log(study, header(), begins("12:00:00"), *lines)
    page = Watched.open("study").page(5)
    assert 'class="finding error"' in page
    assert page.count("<svg") == 3


def test_a_wrong_configuration_is_one_sentence_at_the_start_and_on_the_page(study):
    watched = Watched.open("study")
    (study / "config/experiments/study.yaml").write_text("title: x\nexpert: {}\n")
    page = watched.page(5)
    assert page.count('class="wrong"') == 1 and "expert" in page
    with pytest.raises(TailproofError):
        Watched.open("study")
    (study / "config/experiments/study.yaml").unlink()
    assert 'class="wrong"' in watched.page(5)


def test_a_damaged_file_hides_nothing_else(study):
    write_json(study / "results/study/prepare.json", {})
    (study / "results/study/preflight.json").write_text("{")
    write_log(study, header(), begins("12:00:00"), epoch("12:01:00", 1))
    page = Watched.open("study").page(5)
    assert "preflight.json" in page and states(page)["plain-0"] == "killed"


def test_the_last_lines_of_logs_are_those_of_the_experiment_alone(study):
    secret = study / "secret.log"
    secret.write_text("top secret\n")
    write_log(study, "\x1b[31mred\n", "half a li", job="prepare")
    (study / "logs/study/link.log").symlink_to(secret)
    (study / "logs/study/empty.log").touch()
    page = Watched.open("study").page(5)
    assert "secret" not in page and "half a li" not in page
    assert "\\x1b[31mred" in page and "empty.log" in page
    assert stat.S_ISLNK((study / "logs/study/link.log").lstat().st_mode)


def test_curves_of_the_first_experts_are_drawn(study):
    experts = {f"expert-{number}": {} for number in range(10)}
    write_project(study, experts=experts, seeds=[0])
    for number in range(10):
        log = [header(), begins("12:00:00"), epoch(f"12:{10 + number}:00", 1)]
        write_log(study, *log, job=f"train/expert-{number}-0")
    page = Watched.open("study").page(5)
    assert page.count('id="curves-') == 8 and "expert-0: loss" not in page
    assert "expert-9: loss" in page and 'id="hidden"' in page


def test_times_and_durations():
    assert duration(0.5) == "0.5 s" and duration(59) == "59 s"
    assert duration(3599) == "60 min" or duration(3599) == "1 h 0 min"
    assert duration(5400) == "1 h 30 min" and duration(86400 * 3) == "3.0 days"
    assert clock(datetime(2020, 1, 1, tzinfo=UTC)).startswith("20")
