"""The shipped experiment with three ranks, in a tinier form, by the real pipeline."""

import csv
import json

import numpy as np
import pandas as pd
import timm
import torch
import yaml

from tailproof.data.logits import Logits
from tests.project import ROOT

RANKS = ("kingdom", "family", "species")


def write_collection(folder):
    """Write 360 pictures of eight shades in two and four families; some lack the family."""
    from PIL import Image

    rng = np.random.default_rng(0)
    (folder / "images").mkdir(parents=True)
    rows = []
    for number in range(360):
        species = number % 8
        picture = np.full((8, 8), 20 + 30 * species) + rng.integers(-9, 10, (8, 8))
        Image.fromarray(picture.astype(np.uint8)).save(folder / "images" / f"{number}.png")
        family = "" if number % 9 == 0 else f"family-{species // 2}"
        rows.append(
            {
                "filename": f"{number}.png",
                "observationID": number,
                "kingdom": f"kingdom-{species // 4}",
                "family": family,
                "species": f"species-{species}",
            }
        )
    pd.DataFrame(rows).to_csv(folder / "metadata.csv", index=False)


def tinier():
    shipped = yaml.safe_load((ROOT / "config/experiments/taxonomy_small.yaml").read_text())
    source = {
        "name": "metadata_csv",
        "root": "raw/fungi",
        "table": "metadata.csv",
        "images": "images",
        "ranks": list(RANKS),
    }
    shipped["recipe"] |= {"epochs": 2, "precision": "fp32", "monitor": "val_accuracy"}
    return shipped | {
        "data": {"source": source},
        "seeds": [0],
        "evaluation": {"bootstrap": 100, "many_shot": 20, "few_shot": 5},
    }


def test_heads_for_all_ranks_stand_beside_one_for_the_finest(project):
    write_collection(project.folder / "raw/fungi")
    project.write("config/experiments/small.yaml", tinier())
    done = project.snakemake("results/small/report/index.html")
    assert done.returncode == 0, done.stdout + done.stderr
    results = project.folder / "results/small"
    expert = results / "experts/all_ranks/seed-0"
    with open(expert / "history.csv", newline="") as file:
        assert {"val_accuracy", "val_accuracy_family", "val_macro_f1_kingdom"} <= set(
            next(csv.DictReader(file))
        )
    logits = Logits.read(expert / "logits/test.parquet")
    assert [each.shape[1] for each in logits.heads.values()] == [2, 4, 8]
    assert (logits.labels["family"] < 0).any()
    calibration = json.loads((expert / "calibration.json").read_text())
    assert set(calibration["other_ranks"]) == {"kingdom", "family"}
    model = timm.create_model(f"local-dir:{expert}", pretrained=True).eval()
    assert model(torch.zeros(1, 1, 8, 8)).shape == (1, 14)
    metrics = json.loads((results / "evaluation/metrics.json").read_text())
    assert metrics["coarser_ranks"] == ["kingdom", "family"]
    values = {name: metrics["experts"][name]["over_seeds"]["test"] for name in metrics["experts"]}
    assert values["all_ranks"]["family_top1"]["mean"] is not None
    assert "family_top1" not in values["finest_only"]
    assert values["finest_only"]["family_summed_top1"]["mean"] is not None
    paired = metrics["paired"]["test"]["all_ranks - finest_only"]
    assert {"top1", "tree_distance", "kingdom_summed_macro_f1"} <= set(paired)
    page = (results / "report/index.html").read_text()
    assert "<h3>Taxonomic ranks</h3>" in page
    assert "Top-1,\u00a0% on test by rank, each rank with its own head" in page
