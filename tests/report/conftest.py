import pytest
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
