"""The sections on cross-fitting and on draws of the splits."""

import pytest

from tailproof.evaluation.draws import compare_draws
from tailproof.files import read_json, write_json
from tailproof.report.page import write_page
from tailproof.report.pooled_section import sections

SEEDS = {"drawn": 0, "drawn-draw-1": 1}


@pytest.fixture(scope="module")
def pooled(drawn, tmp_path_factory):
    """cross_fit/metrics.json and draws/metrics.json; two draws with the same metrics."""
    place = tmp_path_factory.mktemp("pooled")
    path = drawn[0] / "evaluation" / "metrics.json"
    compare_draws(dict.fromkeys(SEEDS, path), SEEDS, place / "draws")
    metrics = read_json(path)
    folds = {"rows": 90, "folds": {"a": 45, "b": 45}, "notes": ["what <b>intervals</b> cover"]}
    folds |= {kind: metrics[kind] for kind in ("experts", "ensembles")}
    write_json(place / "cross_fit" / "metrics.json", folds)
    return {stage: place / stage / "metrics.json" for stage in ("cross_fit", "draws")}


def test_each_method_has_its_mean_and_its_deviation_between_draws(pooled):
    (draws,) = sections({"draws": read_json(pooled["draws"])})
    metrics = read_json(pooled["draws"])
    over, each, differences = draws.tables
    methods = [*metrics["experts"], *metrics["ensembles"]]
    assert [row.label for row in over.rows] == [row.label for row in each.rows] == methods
    for row in over.rows:
        kind = "experts" if row.label in metrics["experts"] else "ensembles"
        stated = metrics[kind][row.label]
        assert row.cells[0].main.value in [value["mean"] for value in stated.values()]
        assert row.cells[0].sd.value == 0.0 and row.cells[0].low is None
    assert each.head == ["seed 0", "seed 1"]
    for row in each.rows:
        assert all(cell.low.value <= cell.main.value <= cell.high.value for cell in row.cells)
    first = next(iter(metrics["experts"]))
    assert len(differences.rows) == len(methods) - 1
    assert all(first in row.label for row in differences.rows)
    assert len(draws.notes) == 2


def test_no_number_has_a_key_of_another_file(pooled):
    """A click on a number of the page shows its key in evaluation/metrics.json."""
    read = {stage: read_json(path) for stage, path in pooled.items()}
    for section in sections(read):
        for table in section.tables:
            for row in table.rows:
                for cell in row.cells:
                    parts = (cell.main, cell.sd, cell.low, cell.high)
                    assert not any(part.key for part in parts if part)


def test_the_page_shows_what_there_is(drawn, pooled, tmp_path):
    folder, experiment = drawn
    pages = {}
    for stages in ((), ("draws",), ("cross_fit", "draws")):
        paths = [pooled[stage] for stage in stages]
        write_page("drawn", experiment, folder, tmp_path / "index.html", paths)
        pages[stages] = (tmp_path / "index.html").read_text()
    for stages, page in pages.items():
        for stage in pooled:
            assert (f'<section id="{stage}">' in page) == (stage in stages)
            assert (f'href="../{stage}/metrics.json"' in page) == (stage in stages)
    assert "what &lt;b&gt;intervals&lt;/b&gt; cover" in pages["cross_fit", "draws"]
