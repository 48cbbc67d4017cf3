"""Pooling the predictions of folds: every sample once, and intervals that draw whole groups."""

import csv
import json
import shutil
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from tailproof.config.evaluation import Evaluation
from tailproof.data.logits import Logits
from tailproof.data.tables import write_parquet
from tailproof.evaluation.bootstrap import resamples_of_groups
from tailproof.evaluation.cross_fit import FoldFiles, cross_fit
from tailproof.report.pooled_section import sections
from tailproof.runtime.errors import TailproofError
from tests.evaluation.drawn_experts import COUNTS, write_experts

FOLDS = 3
CONFIG = Evaluation(bootstrap=100, many_shot=100, few_shot=20)
SIZES = {"tune": 20, "dev": 12, "test": 60}


def rename(files, prefix, splits):
    """Give the samples of some splits names of their own in each fold."""
    for seeds in files.values():
        for paths in seeds.values():
            for split in splits:
                logits = Logits.read(paths[split])
                ids = np.array([f"{prefix}-{name}" for name in logits.sample_ids], object)
                replace(logits, sample_ids=ids).write(paths[split])


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """Three folds of two experts and two seeds, with groups of two samples."""
    root = tmp_path_factory.mktemp("folds")
    folds = {}
    for index in range(FOLDS):
        folder = root / f"fold-{index}"
        files = write_experts(folder, sizes=SIZES)
        rename(files, f"f{index}", SIZES)
        folds[f"fold-{index}"] = FoldFiles(
            files, folder / "manifest.json", folder / "samples.parquet", folder / "splits.parquet"
        )
    tested = [f"f{index}-test-{row}" for index in range(FOLDS) for row in range(SIZES["test"])]
    write_tables(folds, tested, [f"g{row // 2}" for row in range(len(tested))])
    return folds


def write_tables(folds, sample_ids, groups):
    for files in folds.values():
        columns = {"sample_id": sample_ids, "digest": sample_ids, "group": groups}
        write_parquet(files.samples, pa.table(columns))
        write_parquet(files.splits, pa.table({"sample_id": sample_ids}))


@pytest.fixture
def folds(drawn, tmp_path):
    """A copy of the folds, to be changed."""
    root = drawn["fold-0"].manifest.parents[1]
    shutil.copytree(root, tmp_path / "folds")

    def moved(path):
        return tmp_path / "folds" / path.relative_to(root)

    return {
        name: FoldFiles(
            {
                expert: {
                    seed: {split: moved(path) for split, path in paths.items()}
                    for seed, paths in seeds.items()
                }
                for expert, seeds in files.logits.items()
            },
            *map(moved, (files.manifest, files.samples, files.splits)),
        )
        for name, files in drawn.items()
    }


def rows_of(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_pooled_numbers_are_those_of_all_test_logits(drawn, tmp_path):
    metrics = cross_fit(drawn, CONFIG, tmp_path)
    for expert in ("plain", "adjusted"):
        for seed in (0, 1):
            parts = [Logits.read(files.logits[expert][seed]["test"]) for files in drawn.values()]
            labels = np.concatenate([part.target for part in parts])
            predicted = np.concatenate([part.values.argmax(axis=1) for part in parts])
            values = metrics["experts"][expert]["seeds"][str(seed)]["test"]
            assert values["top1"]["value"] == pytest.approx((labels == predicted).mean())
            recall = [(predicted[labels == label] == label).mean() for label in range(6)]
            assert values["balanced_accuracy"]["value"] == pytest.approx(np.mean(recall))
            assert values["few_accuracy"]["value"] == pytest.approx(np.mean(recall[-2:]))
    assert metrics["folds"] == dict.fromkeys(drawn, 60) and metrics["rows"] == 180
    assert metrics["sample_groups"] == 90
    assert json.loads((tmp_path / "metrics.json").read_text()) == metrics
    assert "plain - adjusted" in metrics["paired"]["test"]


def test_the_page_shows_every_method_with_its_interval(drawn, tmp_path):
    (section,) = sections({"cross_fit": cross_fit(drawn, CONFIG, tmp_path)})
    (table,) = section.tables
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert [row.label for row in table.rows] == [*metrics["experts"], *metrics["ensembles"]]
    for row in table.rows:
        kind = "experts" if row.label in metrics["experts"] else "ensembles"
        over = metrics[kind][row.label]["over_seeds"]["test"]
        assert row.cells[0].main.value == over["top1"]["mean"]
        assert row.cells[0].low.value == over["top1"]["low"]
    for file in section.files:
        assert (tmp_path / file.removeprefix("cross_fit/")).exists()


def test_every_image_has_one_prediction_of_each_method_and_seed(drawn, tmp_path):
    cross_fit(drawn, CONFIG, tmp_path)
    rows = rows_of(tmp_path / "predictions.csv")
    assert len(rows) == 180 * 2 * 5  # two seeds of two experts and three ensembles
    jobs = {}
    for row in rows:
        jobs.setdefault((row["method"], row["seed"]), []).append(row["sample_id"])
        assert row["sample_id"].startswith(f"f{row['fold'][-1]}-")
    assert all(len(set(ids)) == len(ids) == 180 for ids in jobs.values())
    classes = rows_of(tmp_path / "per_class.csv")
    assert sum(int(row["support"]) for row in classes if row["method"] == "plain") == 180
    summary = {(row["method"], row["metric"]): row for row in rows_of(tmp_path / "summary.csv")}
    few = summary["plain", "few_accuracy"]
    assert float(few["low"]) <= float(few["mean"]) <= float(few["high"]) and few["seeds"] == "2"


def test_a_class_that_a_fold_had_not_learnt_is_counted(folds, tmp_path):
    path = folds["fold-1"].manifest
    manifest = json.loads(path.read_text())
    manifest["splits"]["train"]["class_counts"]["label"]["class 5"] = 0
    path.write_text(json.dumps(manifest))
    metrics = cross_fit(folds, CONFIG, tmp_path)
    values = metrics["experts"]["plain"]["seeds"]["0"]["test"]
    parts = [Logits.read(files.logits["plain"][0]["test"]) for files in folds.values()]
    learnt = np.concatenate([(part.target != 5) | (n != 1) for n, part in enumerate(parts)])
    right = np.concatenate([part.values.argmax(axis=1) == part.target for part in parts])
    assert values["learnt_top1"]["value"] == pytest.approx(right[learnt].mean())
    assert any(str(int((~learnt).sum())) in note for note in metrics["notes"])
    counts = [row for row in rows_of(tmp_path / "per_class.csv") if row["class"] == "class 5"]
    assert float(counts[0]["train_count"]) == pytest.approx(COUNTS[5] * 2 / 3)


def test_resamples_draw_whole_groups():
    groups = np.array([0, 0, 1, 2, 2, 2, 1])
    rows = resamples_of_groups(groups, 500, 0)
    assert (rows[0] == 1).all()
    for group in range(3):
        assert (rows[:, groups == group] == rows[:, [np.argmax(groups == group)]]).all()
    assert (rows[:, [0, 2, 3]].sum(axis=1) == 3).all()  # a sample of each group


def test_samples_of_one_group_vary_together():
    """The standard error of a mean over groups of equal samples is that of the groups."""
    values = np.random.default_rng(0).normal(size=50)
    rows = resamples_of_groups(np.repeat(np.arange(50), 4), 4000, 0).astype(float)
    means = rows @ np.repeat(values, 4) / rows.sum(axis=1)
    assert means[1:].std() == pytest.approx(values.std() / np.sqrt(50), rel=0.05)


@pytest.mark.parametrize("kind", ["twice", "never", "images", "classes"])
def test_folds_that_do_not_fit_are_refused(folds, tmp_path, kind):
    files = folds["fold-2"]
    if kind == "twice":  # fold 2 tests a sample of fold 0
        for seeds in files.logits.values():
            for paths in seeds.values():
                logits = Logits.read(paths["test"])
                ids = logits.sample_ids.copy()
                ids[0] = "f0-test-0"
                replace(logits, sample_ids=ids).write(paths["test"])
    elif kind == "never":
        write_parquet(files.splits, pa.table({"sample_id": ["unknown"]}))
    elif kind == "images":
        write_tables({"fold-2": files}, ["f0-test-0"], ["g0"])
    else:
        manifest = json.loads(files.manifest.read_text())
        manifest["classes"]["label"][0] = "another"
        counts = manifest["splits"]["train"]["class_counts"]["label"]
        counts["another"] = counts.pop("class 0")
        files.manifest.write_text(json.dumps(manifest))
    words = {"twice": "f0-test-0.*one fold", "never": "'unknown'", "images": "prepare",
             "classes": "different classes"}  # fmt: skip
    with pytest.raises(TailproofError, match=words[kind]):
        cross_fit(folds, CONFIG, tmp_path)
