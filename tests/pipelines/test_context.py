"""Context and groups, by the real pipeline: two classes look the same and live at other sites."""

import csv
import io
import json

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from tests.project import Project

SHADES = {"dark-a": 60, "dark-b": 60, "light-a": 190, "light-b": 190}
NAMES = list(SHADES)


def write_collection(folder):
    """Write 480 pictures, two of each thing; a and b of a shade differ in nothing but the site."""
    rng = np.random.default_rng(0)
    (folder / "images").mkdir(parents=True)
    lines = ["filename,label,thing,site,date"]
    for number in range(480):
        thing = number // 2
        label = NAMES[thing % 4]
        grey = rng.normal(SHADES[label], 12, (8, 8)).clip(0, 255)
        Image.fromarray(grey.astype(np.uint8)).save(folder / "images" / f"{number}.png")
        home = "north" if label.endswith("a") else "south"
        site = home if rng.random() < 0.9 else "both"
        day = f"2021-{1 + thing // 4 % 12:02d}-03"
        lines.append(f"{number}.png,{label},{thing},{'' if number % 10 == 0 else site},{day}")
    (folder / "table.csv").write_text("\n".join(lines) + "\n")


EXPERIMENT = {
    "title": "Sites",
    "data": {
        "source": {
            "name": "metadata_csv", "root": "raw/sites", "table": "table.csv", "images": "images",
            "ranks": ["label"], "group": "thing",
        },
        "context": ["site", "date"],
        "near_duplicates": "off",
    },
    "recipe": {"model": {"name": "cifar_resnet20"}, "epochs": 3, "batch_size": 32},
    "experts": {"plain": {"loss": {"name": "cross_entropy"}}},
    "evaluation": {"many_shot": 50, "few_shot": 20, "bootstrap": 100},
    "guarantees": {"risks": [0.6], "precisions": [0.4], "coverages": [0.8]},
}  # fmt: skip


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    project = Project.fresh(tmp_path_factory.mktemp("context"))
    write_collection(project.folder / "raw" / "sites")
    project.write("config/config.yaml", {"experiments": ["sites"], "results": "results"})
    project.write("config/experiments/sites.yaml", EXPERIMENT)
    done = project.snakemake("results/sites/audit.json")
    assert done.returncode == 0, done.stderr
    return project


def test_context_helps_where_pictures_cannot(project):
    results = project.folder / "results" / "sites"
    table = pq.read_table(results / "context.parquet")
    assert table.column_names == ["sample_id", "site", "date"] and len(table) == 480
    assert set(table["date"].to_pylist()) == {f"{month:02d}" for month in range(1, 13)}
    guarantees = json.loads((results / "evaluation" / "guarantees.json").read_text())
    context = guarantees["methods"]["plain"]["context"]
    assert context["exponents"]["0"]["site"] > 0.3
    assert context["test"]["nll"]["changed"]["high"] < 0
    assert guarantees["context"]["date"]["smoothing"] > guarantees["context"]["site"]["smoothing"]
    assert json.loads((results / "audit.json").read_text())["passed"]
    page = (results / "report" / "index.html").read_text()
    assert "Promises for groups" in page and "a of site" in page and "backward 50" in page


def test_predict_uses_context_and_promises_for_groups(project):
    folder = project.folder / "results" / "sites" / "experts" / "plain" / "seed-0"
    images = project.folder / "raw" / "sites" / "images"
    rows = ["file,site,date,thing"]
    rows += [f"{images}/{number}.png,north,2021-05-01,1" for number in (0, 1)]
    (project.folder / "finds.csv").write_text("\n".join(rows) + "\n")
    files = [str(images / f"{number}.png") for number in (0, 1)]
    done = project.tailproof("predict", str(folder), *files, "--csv", "--context", "finds.csv")
    assert done.returncode == 0, done.stderr
    for row in csv.DictReader(io.StringIO(done.stdout)):
        assert float(row["label=dark-a"]) > float(row["label=dark-b"])
    options = ["--group", "thing", "--table", "finds.csv", "--set", "0.8"]
    for more in ([], ["--context", "finds.csv"]):
        done = project.tailproof("predict", str(folder), *files, "--csv", *options, *more)
        assert done.returncode == 0, done.stderr
        (row,) = csv.DictReader(io.StringIO(done.stdout))
        assert int(row["set_size"]) >= 1 and row["images"] == "2"
