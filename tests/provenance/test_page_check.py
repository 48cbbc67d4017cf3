import json
import re
import shutil
from pathlib import Path

import pytest

from tailproof.number_format import written
from tailproof.provenance.page_check import check_page, shown_numbers
from tailproof.runtime.errors import TailproofError

KEY = "experts.cross_entropy.over_seeds.test.balanced_accuracy.mean"


@pytest.fixture
def files(finished, tmp_path):
    """Copies of a finished project's page and metrics.json."""
    found = [finished.results / "report/index.html", finished.results / "evaluation/metrics.json"]
    return [Path(shutil.copy(path, tmp_path)) for path in found]


def change_page(files, old, new):
    page, text = files[0], files[0].read_text()
    assert old in text
    page.write_text(text.replace(old, new, 1))


def metrics_of(files):
    return json.loads(files[1].read_text())


def shown(files):
    return files[0].read_text()


def test_a_page_of_the_pipeline_shows_what_metrics_json_holds(files):
    assert check_page(*files) == []
    numbers = shown_numbers(shown(files))
    keys = {key for key, _ in numbers}
    assert len(numbers) > 500
    for kind in ("experts", "ensembles"):
        for method in metrics_of(files)[kind]:
            for field in ("mean", "low", "high"):
                assert f"{kind}.{method}.over_seeds.test.nll.{field}" in keys
    assert {key.split(".")[0] for key in keys} == {"experts", "ensembles", "paired", "agreement"}
    value = metrics_of(files)["experts"]["cross_entropy"]["over_seeds"]["test"]
    assert (KEY, written(value["balanced_accuracy"]["mean"], "%.1")) in numbers


def test_every_changed_digit_of_the_page_is_found(files):
    html = shown(files)
    ends = [match.end() for match in re.finditer(r'data-format="[^"]*">[^<]', html)]
    assert len(ends) == len(shown_numbers(html))
    found = []
    for end in ends[:: len(ends) // 20]:
        digit = re.compile(r"\d").search(html, end - 1).start()
        other = str((int(html[digit]) + 1) % 10)
        files[0].write_text(html[:digit] + other + html[digit + 1 :])
        found.append(check_page(*files))
    assert [len(blocking_message) for blocking_message in found] == [1] * len(found)
    assert all("where" in sentence and "holds" in sentence for (sentence,) in found)


def test_a_changed_value_in_metrics_json_is_found_wherever_it_is_shown(files):
    metrics = metrics_of(files)
    metrics["experts"]["cross_entropy"]["over_seeds"]["test"]["balanced_accuracy"]["mean"] += 0.01
    files[1].write_text(json.dumps(metrics))
    places = [key for key, _ in shown_numbers(shown(files))].count(KEY)
    found = check_page(*files)
    assert len(found) == places > 0
    assert all(KEY in sentence and "delete both and run again" in sentence for sentence in found)


def test_a_change_too_small_to_be_read_is_found_in_the_value_beside(files):
    metrics = metrics_of(files)
    metrics["experts"]["cross_entropy"]["over_seeds"]["test"]["nll"]["mean"] += 1e-9
    files[1].write_text(json.dumps(metrics))
    (sentence,) = check_page(*files)
    assert "stores" in sentence


def test_a_number_without_its_key_is_found(files):
    change_page(files, f' data-key="{KEY}" data-format="%.1"', "")
    found = check_page(*files)
    assert any("without its key" in sentence for sentence in found)
    assert any("does not show" in sentence and KEY in sentence for sentence in found)


def test_a_key_that_metrics_json_lacks_is_found(files):
    change_page(files, KEY, KEY.replace("balanced", "balance"))
    found = check_page(*files)
    assert any("did you mean 'balanced_accuracy'?" in sentence for sentence in found)


def test_a_method_left_out_is_found(files):
    row = re.search(r"<tr[^>]*><th scope=\"row\"><span>logit_.*?</tr>\n", shown(files), re.DOTALL)
    change_page(files, row.group(), "")
    found = check_page(*files)
    assert found
    assert all("does not show experts.logit_adjustment." in sentence for sentence in found)


def test_a_page_without_numbers_and_missing_files_are_told(files, tmp_path):
    page, metrics = files
    page.write_text("<p>Nothing.</p>")
    assert check_page(page, metrics) == [
        f"{page} shows no number of {metrics}: delete it and run again"
    ]
    with pytest.raises(TailproofError, match=r"none\.html does not exist: build it with"):
        check_page(tmp_path / "none.html", metrics)
    with pytest.raises(TailproofError, match=r"none\.json does not exist"):
        check_page(page, tmp_path / "none.json")
