"""A real run in a real browser: it trains, is killed, resumes and ends, as one that nobody sees."""

import os
import signal
import time

import psutil
import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from tailproof.files import write_json
from tailproof.watch.page import Watched
from tailproof.watch.server import PageServer, serving
from tests.report import chromium
from tests.training.interrupted_runs import RECIPE, finish, outputs, start
from tests.watch.running_project import write_project

LONG = 300  # seconds that nothing needs on any machine that works
CHANGES = {"epochs": 3}


@pytest.fixture
def browser(tmp_path):
    driver = chromium.start(tmp_path / "profile")
    yield driver
    driver.quit()


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project whose results, states and logs are where `start` writes them."""
    folder = tmp_path / "project"
    recipe = {**RECIPE, **CHANGES}
    write_project(folder, recipe=recipe, experts={"expert": {}}, seeds=[0])
    for link, target in {
        "results/study/experts": "run",
        ".state/train": "run/states",
        "logs/study/train/expert-0.log": "run/train.log",
    }.items():
        (folder / link).parent.mkdir(parents=True, exist_ok=True)
        (folder / link).symlink_to(folder / target)
    (folder / "run").mkdir()
    monkeypatch.chdir(folder)
    return folder


def paused(digits, folder, state):
    """Start a run that stops where it has saved a state, and wait for that."""
    process = start(digits, folder, CHANGES, crash=("renamed", state, signal.SIGSTOP))
    while psutil.Process(process.pid).status() != psutil.STATUS_STOPPED:
        assert process.is_alive(), (folder / "train.log").read_text()
        time.sleep(0.05)
    return process


def files(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


CELLS = """
const row = document.querySelector('[data-run="expert-0"]');
return [row.className, ...Array.from(row.querySelectorAll("td"), cell => cell.innerText.trim())];
"""


def test_a_run_is_watched_from_its_start_to_its_end(digits, project, browser, tmp_path):
    assert finish(start(digits, tmp_path / "alone", CHANGES)) == 0

    def cells():
        return browser.execute_script(CELLS)  # at once: the page replaces its rows

    def until(*expected):
        WebDriverWait(browser, LONG, 0.1, (Exception,)).until(
            lambda _: cells()[0] == expected[0] and cells()[2].startswith(expected[1])
        )

    with serving(PageServer(Watched.open("study"), seconds=0.2)) as address:
        browser.get(address)
        until("waiting", "0 of 3")
        first = paused(digits, project / "run", 7)
        until("training", "2 of 3")
        assert len(browser.find_elements(By.CSS_SELECTOR, ".chart svg")) >= 2
        assert "minutes" not in cells()[4] and ":" in cells()[4], "when it is expected to end"
        before = files(project)
        first.kill()
        finish(first)
        until("killed", "2 of 3")
        assert "epoch 3" in cells()[1], "where it resumes"
        assert files(project) == before, "the page writes nothing"
        browser.execute_script("document.getElementById('all-attempts').open = false")
        second = paused(digits, project / "run", 1)
        until("training", "2 of 3")
        WebDriverWait(browser, LONG).until(lambda _: cells()[6] == "2")
        assert browser.find_element(By.ID, "all-attempts").get_attribute("open") is None
        os.kill(second.pid, signal.SIGCONT)
        assert finish(second) == 0
        write_json(project / "results/study/provenance/train/expert-0.json", {})
        until("finished", "3 of 3")
        assert browser.title.startswith("1/1 study")
    WebDriverWait(browser, LONG).until(
        lambda _: "wrong" in browser.find_element(By.ID, "as-of").get_attribute("class")
    )
    lines = [entry["message"] for entry in browser.get_log("browser")]
    assert not [text for text in lines if "Content Security Policy" in text]
    assert outputs(project / "run") == outputs(tmp_path / "alone")
