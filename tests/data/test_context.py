"""The stage context: columns of the tables of each source, and what they may hold."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from tailproof.config.data import Data
from tailproof.data.context import write_context
from tailproof.data.context_cells import MONTH, VALUE, kind_of, read_cell, read_context
from tailproof.data.sources import open_source
from tailproof.runtime.errors import TailproofError

SITES = ["coast", "forest", None, "coast"]
DATES = ["2021-07-30", "2021-12-01T08:15:00", None, "2020:07:04 10:00:00"]
NAMES = [f"{number}.png" for number in range(4)]
LABELS = ["a", "b", "a", "b"]


@pytest.fixture
def root(tmp_path):
    for number, name in enumerate(NAMES):
        Image.fromarray(np.full((4, 4), 40 * number, np.uint8)).save(tmp_path / name)
    return tmp_path


def csv_table(path, image):
    rows = zip(NAMES, LABELS, SITES, DATES, strict=True)
    lines = [f"{name},{label},{site or ''},{date or ''}" for name, label, site, date in rows]
    path.write_text("\n".join([f"{image},label,site,date", *lines]) + "\n")


def metadata_csv(root):
    csv_table(root / "table.csv", "filename")
    source = {"name": "metadata_csv", "root": str(root), "table": "table.csv"}
    return source | {"ranks": ["label"], "group": None}


def huggingface_folder(root):
    csv_table(root / "metadata.csv", "file_name")
    return {"name": "huggingface_folder", "root": str(root)}


def coco_json(root):
    images = [
        {"id": number, "file_name": name, "site": SITES[number], "date": DATES[number]}
        for number, name in enumerate(NAMES)
    ]
    annotations = [
        {"id": number, "image_id": number, "category_id": "ab".index(label)}
        for number, label in enumerate(LABELS)
    ]
    categories = [{"id": number, "name": name} for number, name in enumerate("ab")]
    value = {"images": images, "annotations": annotations, "categories": categories}
    (root / "coco.json").write_text(json.dumps(value))
    return {"name": "coco_json", "root": str(root), "file": "coco.json"}


def parquet(root):
    (root / "set").mkdir()
    pictures = [(root / name).read_bytes() for name in NAMES]
    table = pa.table({"image": pictures, "label": LABELS, "site": SITES, "date": DATES})
    pq.write_table(table, root / "set" / "part.parquet")
    return {"name": "parquet", "root": str(root / "set")}


def written(root, source, context):
    data = Data(source=source, context=context)
    ids = [sample.sample_id for sample in open_source(data.source).samples()]
    pq.write_table(pa.table({"sample_id": ids[::-1]}), root / "samples.parquet")
    write_context(data, root / "samples.parquet", root / "context.parquet")
    return ids, read_context(root / "context.parquet")


@pytest.mark.parametrize("layout", [metadata_csv, huggingface_folder, coco_json, parquet])
def test_columns_are_next_to_their_samples(root, layout):
    ids, (cells, kinds) = written(root, layout(root), ["date", "site"])
    assert kinds == {"date": MONTH, "site": VALUE}
    months = ["07", "12", None, "07"]
    assert [cells[name] for name in ids] == [
        [month, site] for month, site in zip(months, SITES, strict=True)
    ]


@pytest.mark.parametrize("layout", [metadata_csv, huggingface_folder, coco_json, parquet])
def test_a_column_that_is_not_there_is_one_sentence(root, layout):
    with pytest.raises(TailproofError, match=r"'sight'.*'site'"):
        written(root, layout(root), ["sight"])


def test_a_source_without_a_table_is_refused(root):
    with pytest.raises(TailproofError, match=r"data\.context.*digits.*metadata_csv"):
        written(root, {"name": "digits"}, ["site"])


def test_samples_that_the_table_no_longer_lists_are_refused(root):
    source = metadata_csv(root)
    written(root, source, ["site"])
    table = root / "table.csv"
    table.write_text("\n".join(table.read_text().splitlines()[:-1]) + "\n")
    data = Data(source=source, context=["site"])
    with pytest.raises(TailproofError, match=r"'3\.png'.*prepare"):
        write_context(data, root / "samples.parquet", root / "context.parquet")


@pytest.mark.parametrize(
    ("cells", "found"),
    [
        ([f"{number}.25" for number in range(300)] * 3, r"decimals, such as 0\.25.*category"),
        ([f"{number}.5e3" for number in range(50)] * 9, "category|decimals"),
        ([f"id-{number}" for number in range(300)], "too many for 300 samples"),
        (
            ["14/07/2021", "2021-07-14", "1/2/21"],
            r"dates such as 2021-07-14.*'(14/07/2021|1/2/21)'",
        ),
        (["2021-07-14", "yesterday"] * 20, "dates"),
        ([None, "", " "], "no value"),
    ],
)
def test_what_is_no_category_is_refused(cells, found):
    if "e3" in str(cells[0]):
        assert kind_of("column", cells) == VALUE, "whole numbers, such as sites, are categories"
        return
    with pytest.raises(TailproofError, match=found):
        kind_of("column", cells)


def test_few_samples_and_few_numbers_are_categories():
    assert kind_of("depth", ["0.5", "1.5", "2.5"] * 9) == VALUE
    assert kind_of("site", [f"site {number}" for number in range(12)]) == VALUE
    assert kind_of("month", [str(number) for number in range(1, 13)] * 2) == VALUE


@pytest.mark.parametrize(
    ("cell", "kind", "expected"),
    [
        (" forest ", VALUE, "forest"), ("", VALUE, None), (None, VALUE, None),
        ("2021-7-4", MONTH, "07"), ("2021/12/31 23:59", MONTH, "12"), ("2021-13-01", MONTH, None),
        ("July", MONTH, None), ("", MONTH, None),
    ],
)  # fmt: skip
def test_cells(cell, kind, expected):
    assert read_cell(cell, kind) == expected
