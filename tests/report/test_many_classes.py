"""A page of as many classes as there are species."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tailproof.files import read_json, write_json
from tailproof.report.page import write_page
from tailproof.report.tables import CLASS_ROWS

CLASSES = 10_000
SIZE = 5e6


def grow(folder, classes):
    """Have drawn results say that there are as many classes, the new ones in the tail."""
    metrics = read_json(folder / "evaluation" / "metrics.json")
    old = metrics["classes"]
    new = [f"Genus species-{index:05d} (Author, 1801)" for index in range(classes - len(old))]
    metrics["classes"] = old + new
    metrics["groups"]["few"] += new
    metrics["notes"].append(f"test has no sample of {new[0]} and {len(new) - 1:,} more")
    write_json(folder / "evaluation" / "metrics.json", metrics)
    splits = read_json(folder / "splits.json")
    counts = dict.fromkeys(next(iter(splits["class_counts"].values())), 1)
    splits["class_counts"] |= dict.fromkeys(new, counts)
    write_json(folder / "splits.json", splits)
    path = folder / "evaluation" / "per_class.csv"
    table = pd.read_csv(path, keep_default_na=False, dtype=str)
    rows = table[table["class"] == table["class"].iloc[0]]
    repeated = rows.loc[np.repeat(rows.index, len(new))].assign(
        **{"class": np.tile(new, len(rows)), "group": "few", "train_count": "1"}
    )
    pd.concat([table, repeated]).to_csv(path, index=False)


@pytest.fixture(scope="module")
def page(many_classes, tmp_path_factory):
    drawn, experiment = many_classes
    folder = Path(shutil.copytree(drawn, tmp_path_factory.mktemp("grown") / drawn.name))
    grow(folder, CLASSES)
    write_page(folder.name, experiment, folder, folder / "grown.html")
    return (folder / "grown.html").read_text()


def test_the_page_does_not_grow_with_the_classes(page):
    assert len(page.encode()) < SIZE
    names = page.count("(Author, 1801)")
    assert 0 < names < 6 * 400 + 2 * CLASS_ROWS


def test_the_page_says_what_it_leaves_out_and_where_it_is(page):
    assert f"the {CLASS_ROWS} largest of {CLASSES:,}; per_class.csv has all" in page
    assert f"400 of {CLASSES:,} classes are drawn" in page
    assert f"{CLASSES:,} classes are too many for a matrix" in page
