import shutil

import pytest
import yaml

from tests.report import chromium
from tests.report.drawn_results import CLASSES, write_results


@pytest.fixture(scope="session")
def drawn(tmp_path_factory):
    """(folder, experiment) with hostile class names, two experts, two seeds."""
    folder = tmp_path_factory.mktemp("results") / "drawn"
    return folder, write_results(folder, CLASSES)


@pytest.fixture(scope="session")
def single(tmp_path_factory):
    """(folder, experiment) with one expert and one seed."""
    folder = tmp_path_factory.mktemp("results") / "single"
    return folder, write_results(folder, ["ant", "bee", "cat", "dog"], ["only"], [3])


@pytest.fixture(scope="session")
def many_classes(tmp_path_factory):
    """(folder, experiment) with so many classes that their table can be filtered."""
    folder = tmp_path_factory.mktemp("results") / "many_classes"
    return folder, write_results(folder, [f"class {index}" for index in range(20)], ["only"], [3])


@pytest.fixture(scope="session")
def rare(tmp_path_factory):
    """(folder, experiment) of two classes of which one is looked for."""
    folder = tmp_path_factory.mktemp("results") / "rare"
    held_out = {"tune": 40, "dev": 40, "test": 1200}
    return folder, write_results(folder, ["control", "lens"], held_out=held_out, positive="lens")


def written(name, folder, experiment):
    from tailproof.report.page import write_page

    path = folder / "report" / "index.html"
    write_page(name, experiment, folder, path)
    return path


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
def page(drawn):
    """Where the page of `drawn` is."""
    return written("drawn", *drawn)


@pytest.fixture(scope="session")
def single_page(single):
    """Where the page of `single` is."""
    return written("single", *single)


@pytest.fixture(scope="session")
def long_page(many_classes):
    """Where the page of `many_classes` is."""
    return written("many_classes", *many_classes)


@pytest.fixture(scope="session")
def rare_page(rare):
    """Where the page of `rare` is."""
    return written("rare", *rare)


@pytest.fixture(scope="session")
def browser(tmp_path_factory):
    """Chromium without a window."""
    driver = chromium.start(tmp_path_factory.mktemp("chromium"))
    yield driver
    driver.quit()
