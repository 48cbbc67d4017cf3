import json
import re
import shutil

import pytest
from selenium.webdriver.common.by import By

from tailproof.files import write_json
from tailproof.report.page import write_page
from tests.report.chromium import show
from tests.report.drawn_results import CLASSES

KINDS = ("blank", "dark", "overexposed", "blurred", "small", "large", "elongated")


@pytest.fixture(scope="module")
def suspicious(drawn, tmp_path_factory):
    """(page, summary) of results with doubtful labels and odd images."""
    folder = tmp_path_factory.mktemp("suspicious") / "drawn"
    shutil.copytree(drawn[0], folder)
    paths = {name: folder / "inspection" / f"{name}.json" for name in ("summary", "pictures")}
    summary, pictures = (json.loads(path.read_text()) for path in paths.values())
    groups = summary["labels"]["groups"]
    groups["few"] |= {"likely_wrong": 13, "expected_wrong": 14.2}
    groups["many"] |= {"labels": 0, "classes": 0}
    pair = {"label": CLASSES[0], "suggested": CLASSES[1], "count": 13}
    summary["labels"] |= {"listed": 24, "pairs": [pair]}
    images = [image for images in pictures["classes"].values() for image in images]
    pictures["labels"] = [
        {
            "sample_id": f"dev/<{row}>.png",
            "split": "dev",
            "label": CLASSES[row % 6],
            "suggested": CLASSES[(row + 1) % 6],
            "score": 0.99 - row / 50,
            "picture": images[row % len(images)],
        }
        for row in range(24)
    ]
    pictures["odd"] = [
        {
            "sample_id": f"train/<{row}>.png", "split": "train", "label": CLASSES[row % 6],
            "kind": kind, "value": 1.0, "limit": 2.0, "picture": images[row],
        }
        for row, kind in enumerate(KINDS)
    ]  # fmt: skip
    for name, value in (("summary", summary), ("pictures", pictures)):
        write_json(paths[name], value)
    write_page("drawn", drawn[1], folder, folder / "report" / "index.html")
    return folder / "report" / "index.html", summary


def section_of(page):
    return re.search(r'<section id="inspection">.*?</section>', page.read_text(), re.DOTALL)[0]


def test_the_counts_are_those_of_the_summary(suspicious):
    html = section_of(suspicious[0])
    assert "13 are more likely wrong than right" in html
    values = re.findall(r'<data value="([^"]+)"', html)
    few = suspicious[1]["labels"]["groups"]["few"]
    assert {str(few["labels"]), "13", "14.2"} <= set(values)
    for rule in suspicious[1]["odd"]:
        assert str(rule["limit"]) in values


def test_names_of_classes_and_samples_are_escaped(suspicious):
    html = section_of(suspicious[0])
    assert "<script>" not in html and "dev/<0>" not in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html
    assert 'x" onerror="alert(2)' not in html


@pytest.mark.parametrize("width", [320, 400, 1400])
def test_pictures_and_tables_fit_the_window(browser, suspicious, width):
    show(browser, suspicious[0], width)
    assert browser.execute_script("return document.documentElement.scrollWidth") == width
    assert browser.get_log("browser") == []
    shown = browser.find_elements(By.CSS_SELECTOR, "#inspection .pictures li")
    assert len(shown) == 24 + len(KINDS)
    loaded = browser.execute_script(
        "return [...document.querySelectorAll('#inspection img')].map(each =>"
        " [each.naturalWidth > 0, each.getBoundingClientRect().right <= innerWidth])"
    )
    assert loaded and all(inside == [True, True] for inside in loaded)
