import shutil

import pytest
import yaml
from drawn_results import CLASSES, write_results


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
def page(drawn):
    """Where the page of `drawn` is."""
    from tailproof.report.page import write_page

    folder, experiment = drawn
    path = folder / "report" / "index.html"
    write_page("drawn", experiment, folder, path)
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
