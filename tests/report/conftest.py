import shutil
from pathlib import Path

import pytest
import yaml

from tailproof.config.experiment import Experiment
from tailproof.report.page import write_page
from tests.conftest import make_once
from tests.report import chromium
from tests.report.drawn_results import CLASSES, write_results


def results(name, tmp_path_factory, *arguments, **options):
    """(folder, experiment) of drawn results, which one process writes and all copy."""

    def make(place):
        experiment = write_results(place / name, *arguments, **options)
        (place / "experiment.json").write_text(experiment.model_dump_json(exclude_unset=True))

    made = make_once(f"results of {name}", tmp_path_factory, make)
    folder = tmp_path_factory.mktemp("results") / name
    shutil.copytree(made / name, folder)
    return folder, Experiment.model_validate_json((made / "experiment.json").read_text())


@pytest.fixture(scope="session")
def drawn(tmp_path_factory):
    """(folder, experiment) with hostile class names, two experts, two seeds."""
    return results("drawn", tmp_path_factory, CLASSES)


@pytest.fixture(scope="session")
def single(tmp_path_factory):
    """(folder, experiment) with one expert and one seed."""
    return results("single", tmp_path_factory, ["ant", "bee", "cat", "dog"], ["only"], [3])


@pytest.fixture(scope="session")
def many_classes(tmp_path_factory):
    """(folder, experiment) with so many classes that their table can be filtered."""
    classes = [f"class {index}" for index in range(20)]
    return results("many_classes", tmp_path_factory, classes, ["only"], [3])


@pytest.fixture(scope="session")
def rare(tmp_path_factory):
    """(folder, experiment) of two classes of which one is looked for."""
    held_out = {"tune": 40, "dev": 40, "test": 1200}
    classes = ["control", "lens"]
    return results("rare", tmp_path_factory, classes, held_out=held_out, positive="lens")


def written(name, tmp_path_factory, folder, experiment):
    def make(place):
        write_page(name, experiment, folder, place / "index.html")

    made = make_once(f"page of {name}", tmp_path_factory, make)
    return Path(shutil.copytree(made, folder / "report", dirs_exist_ok=True)) / "index.html"


@pytest.fixture
def indexed(drawn, single, tmp_path):
    """A repository with the two drawn experiments, one of which no configuration fits any more."""
    for name, (folder, experiment) in {"drawn": drawn, "single": single}.items():
        shutil.copytree(folder, tmp_path / "results" / name)
        text = yaml.safe_dump(experiment.model_dump(mode="json", exclude_unset=True))
        path = tmp_path / "config" / "experiments" / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.replace("only:", "other:"))
    return tmp_path


@pytest.fixture(scope="session")
def page(drawn, tmp_path_factory):
    """Where the page of `drawn` is."""
    return written("drawn", tmp_path_factory, *drawn)


@pytest.fixture(scope="session")
def single_page(single, tmp_path_factory):
    """Where the page of a copy of `single` is; `single` itself has none."""
    folder, experiment = single
    copy = shutil.copytree(folder, tmp_path_factory.mktemp("page") / folder.name)
    return written("single", tmp_path_factory, copy, experiment)


@pytest.fixture(scope="session")
def long_page(many_classes, tmp_path_factory):
    """Where the page of `many_classes` is."""
    return written("many_classes", tmp_path_factory, *many_classes)


@pytest.fixture(scope="session")
def rare_page(rare, tmp_path_factory):
    """Where the page of `rare` is."""
    return written("rare", tmp_path_factory, *rare)


@pytest.fixture(scope="session")
def browser(tmp_path_factory):
    """Chromium without a window."""
    driver = chromium.start(tmp_path_factory.mktemp("chromium"))
    yield driver
    driver.quit()
