"""The section on near duplicates says what leakage.json counts, and only where it was measured."""

import pytest

from tailproof.config.splits import SPLITS
from tailproof.report.leakage_section import section
from tailproof.report.page import write_page


@pytest.fixture
def leakage():
    copies = {split: {other: 0 for other in SPLITS if other != split} for split in SPLITS}
    return {
        "pictures": 500, "flat": 0, "threshold": 0.89, "look_alikes": 0, "grouped": False,
        "pairs": 3, "clusters": 2, "in_clusters": 5, "largest_cluster": 3, "copies": copies,
        "cross_class_pairs": 1, "class_pairs": [{"classes": ["cat", "dog"], "pairs": 1}],
        "examples": [],
    }  # fmt: skip


def test_a_leak_is_counted_and_has_a_remedy(leakage):
    leakage["copies"]["test"]["train"] = 2
    shown = section(leakage, 80)
    assert "2 of 80 test samples" in shown.note and "near_duplicates" in shown.note
    test_row = next(row for row in shown.splits.rows if row.label == "test")
    assert [cell.main.value for cell in test_row.cells] == [2, 0, 0, 0, 0, None]
    assert [row.label for row in shown.classes.rows] == ["cat / dog"]


def test_without_a_leak_there_is_no_note(leakage):
    assert section(leakage, 80).note == ""
    assert section(leakage | {"grouped": True}, 80).words != section(leakage, 80).words


def test_without_near_duplicates_there_is_no_table(leakage):
    none = {"pairs": 0, "clusters": 0, "in_clusters": 0, "largest_cluster": 0, "class_pairs": []}
    shown = section(leakage | none | {"flat": 7}, 80)
    assert shown.splits is None and not shown.classes.rows
    assert "7 blank images" in shown.words


def test_the_page_has_the_section_if_images_were_compared(single, tmp_path):
    folder, experiment = single
    off = experiment.data.model_copy(update={"near_duplicates": "off"})
    without = experiment.model_copy(update={"data": off})
    pages = []
    for each in (experiment, without):
        write_page("single", each, folder, tmp_path / "index.html")
        pages.append((tmp_path / "index.html").read_text())
    assert ['id="near-duplicates"' in page for page in pages] == [True, False]
    assert ['href="#near-duplicates"' in page for page in pages] == [True, False]
