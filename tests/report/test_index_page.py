"""The index over all experiments."""

import re
import shutil

import pytest

from tailproof.files import write_json
from tailproof.report.index_page import write_index
from tailproof.report.metric_format import with_interval
from tailproof.report.results import Scores
from tailproof.runtime.errors import TailproofError
from tests.report.drawn_results import training


def entry(html, name):
    start = html.index(f'<article class="experiment" id="{name}">')
    return html[start : html.index("</article>", start)]


def test_every_evaluated_experiment_is_listed_with_its_answer(indexed):
    (indexed / "results/drawn/report").mkdir(exist_ok=True)
    (indexed / "results/drawn/report/index.html").write_text("the page")
    path, count = write_index(indexed)
    assert (path, count) == (indexed / "results/index.html", 2)
    shown = entry(path.read_text(), "drawn").replace("<wbr>", "")
    scores = Scores.read(indexed / "results/drawn")
    assert '<a href="drawn/report/index.html">Drawn digits</a>' in shown
    value = scores.value("test", scores.best, "balanced_accuracy")
    assert f"<dd>{with_interval('balanced_accuracy', value)}</dd>" in shown
    assert scores.best in re.sub(r"<[^>]*>", "", shown[shown.index("</h2>") : shown.index("<dl>")])
    assert re.search(r"6 of 7 .*Audit", shown)
    assert re.search(r"<dt>Findings</dt><dd>(no error|\d)", shown)


def test_results_that_do_not_fit_their_configuration_are_told_of(indexed):
    path, _ = write_index(indexed)
    shown = entry(path.read_text(), "single").replace("<wbr>", "")
    assert "metrics.json" in shown and "--forcerun evaluate" in shown
    assert "<a href" not in shown, "there is no page to go to"
    (indexed / "config/experiments/single.yaml").unlink()
    path, _ = write_index(indexed)
    assert "single.yaml does not exist" in entry(path.read_text(), "single").replace("<wbr>", "")


def test_an_experiment_under_way_is_listed_with_what_is_still_open(indexed):
    shutil.rmtree(indexed / "results/drawn/evaluation")
    (indexed / "results/drawn/preflight.json").unlink()
    path, count = write_index(indexed)
    shown = entry(path.read_text(), "drawn").replace("<wbr>", "")
    assert count == 2
    assert re.search(r'<li class="holds">(?:(?!</li>).)*<b>Data</b>', shown, re.DOTALL)
    assert re.search(r'<li class="open">(?:(?!</li>).)*<b>Preflight</b>', shown, re.DOTALL)


def test_the_same_files_give_the_same_bytes_whatever_the_times(indexed):
    path, _ = write_index(indexed)
    before = path.read_bytes()
    slower = training(0) | {"seconds_an_epoch": [9.0]}
    write_json(indexed / "results/drawn/experts/plain/seed-0/training.json", slower)
    assert write_index(indexed)[0].read_bytes() == before


def test_without_results_there_is_no_index(tmp_path):
    with pytest.raises(TailproofError, match="results"):
        write_index(tmp_path)
    assert not (tmp_path / "results").exists()
