import csv
import json
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from tailproof.config.evaluation import Evaluation
from tailproof.data.logits import Logits
from tailproof.evaluation.evaluate import evaluate
from tailproof.evaluation.probabilities import Prediction
from tailproof.evaluation.roc import MEASURED, clopper_pearson, measure_low_fpr
from tailproof.operating_points import ONE_IN, POINTS
from tests.evaluation.drawn_experts import write_two_classes
from tests.test_score_curve import by_scikit_learn

CONFIG = Evaluation(bootstrap=100)


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    root = tmp_path_factory.mktemp("low_fpr")
    files = write_two_classes(root)
    result = evaluate(files, root / "manifest.json", CONFIG, root / "evaluation")
    with open(root / "evaluation" / "low_fpr.csv", newline="") as file:
        return files, result, list(csv.DictReader(file)), root


def test_values_are_those_of_scikit_learn_on_the_logits(done):
    files, result, _, _ = done
    assert result["positive"] == "lens"
    for split in ("dev", "test"):
        logits = Logits.read(files["plain"][1][split])
        scores = logits.values[:, 0].astype(float) - logits.values[:, 1]
        expected = by_scikit_learn(scores, logits.target == 0)
        found = result["experts"]["plain"]["seeds"]["1"][split]
        for name in POINTS:
            if name in ("tpr_at_fpr_1e-4", "tpr_at_fpr_1e-5") or split == "dev":
                continue
            assert found[name]["value"] == pytest.approx(expected[name]), name
            assert found[name]["low"] <= found[name]["high"]


def test_a_note_names_the_rates_with_too_few_negatives(done):
    _, result, _, _ = done
    of_test, of_dev = (
        [note for note in result["notes"] if note.startswith(split) and "tpr_at_fpr_" in note]
        for split in ("test", "dev")
    )
    rates = {"tpr_at_fpr_1e-4": "10,000", "tpr_at_fpr_1e-5": "100,000"}
    assert len(of_test) == len(of_dev) == 1
    assert "2,000 negatives" in of_test[0] and "500 negatives" in of_dev[0]
    assert set(re.findall(r"(tpr_at_fpr_\S+) \((\S+)\)", of_test[0])) == set(rates.items())
    test = result["experts"]["plain"]["seeds"]["0"]["test"]
    assert test["tpr_at_fpr_1e-4"] == {"value": None, "low": None, "high": None}
    assert test["tpr_at_fpr_1e-3"]["value"] is not None
    assert result["experts"]["plain"]["seeds"]["0"]["dev"]["tpr_at_fpr_1e-3"]["value"] is None


def test_ensembles_and_differences_have_them_too(done):
    _, result, _, _ = done
    assert set(MEASURED) < set(result["ensembles"]["mean_probabilities"]["over_seeds"]["test"])
    pair = result["paired"]["test"]["mean_probabilities - plain"]
    assert set(MEASURED) < set(pair)
    assert not any(name.startswith("long_tail_tpr") for name in pair)


def test_the_table_counts_what_its_threshold_flags(done):
    files, _, rows, _ = done
    assert len(rows) == 2 * 5 * 2 * len(POINTS)
    for row in rows:
        if row["method"] not in files:
            continue
        logits = Logits.read(files[row["method"]][int(row["seed"])][row["split"]])
        positive = logits.target == 0
        assert int(row["positives"]) == positive.sum()
        assert int(row["negatives"]) == (~positive).sum()
        if not row["threshold"]:
            assert row["true_positives"] in ("", "0")
            continue
        scores = logits.values[:, 0].astype(float) - logits.values[:, 1]
        flagged = scores >= float(row["threshold"]) - 1e-6
        for name, members in (("true", positive), ("false", ~positive)):
            assert int(row[f"{name}_positives"]) == (flagged & members).sum()
        assert float(row["tpr_low"]) <= float(row["tpr"]) <= float(row["tpr_high"])
        assert float(row["fpr_low"]) <= float(row["fpr"]) <= float(row["fpr_high"])


def test_saturated_scores_are_told_apart():
    """Both probabilities round to 1, their logits do not."""
    logits = np.array([[60.0, 0.0], [80.0, 0.0], [0.0, 1.0]])
    prediction = Prediction.from_logits(logits, np.array([1, 0, 1]))
    assert prediction.p[0, 0] == prediction.p[1, 0] == 1
    found, _ = measure_low_fpr(prediction, 0, np.ones((1, 3), np.uint16))
    assert found["tpr_at_fpr_0"] == 1


def test_the_curve_goes_through_the_operating_points(done):
    _, result, _, root = done
    with open(root / "evaluation" / "roc.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2 * 5 * 51
    methods = result["experts"] | result["ensembles"]
    points = {str(1 / one_in): name for name, one_in in ONE_IN.items()}
    held = 0
    for row in rows:
        if row["fpr"] in points:
            values = methods[row["method"]]["over_seeds"][row["split"]]
            point = values[points[row["fpr"]]]
            held += row["tpr"] != ""
            for column, field in (("tpr", "mean"), ("low", "low"), ("high", "high")):
                assert (float(row[column]) if row[column] else None) == point[field], row
    assert held == 5 * (1 + 2)  # on dev 1e-2, on test 1e-3 too


def test_the_curve_rises_and_stops_where_negatives_run_out(done):
    _, _, _, root = done
    with open(root / "evaluation" / "roc.csv", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["method"] == "stacked"]
    for split, negatives in (("dev", 500), ("test", 2000)):
        own = [row for row in rows if row["split"] == split]
        shown = [row for row in own if row["tpr"]]
        assert float(shown[0]["fpr"]) == float(shown[0]["tpr"]) == 1
        assert float(shown[-1]["fpr"]) * negatives >= 1 > float(own[len(shown)]["fpr"]) * negatives
        found = [float(row["tpr"]) for row in shown]
        assert found == sorted(found, reverse=True) and found[-1] < 1


@given(st.integers(1, 60), st.floats(0.01, 0.99))
def test_the_exact_interval_covers_as_often_as_it_says(trials, share):
    hits = np.arange(trials + 1)
    bounds = np.array([clopper_pearson(int(each), trials) for each in hits])
    covers = (bounds[:, 0] <= share) & (share <= bounds[:, 1])
    assert binom.pmf(hits, trials, share)[covers].sum() >= 0.95 - 1e-9


def test_the_rule_of_three():
    low, high = clopper_pearson(0, 10_000)
    assert low == 0 and high == pytest.approx(3.69e-4, rel=1e-2)
    assert np.isnan(clopper_pearson(0, 0)).all()


def test_a_target_of_more_classes_has_no_positive_one(files, tmp_path):
    result = evaluate(files, tmp_path / "manifest.json", CONFIG, tmp_path / "evaluation")
    assert result["positive"] is None
    assert "auroc" not in result["experts"]["plain"]["over_seeds"]["test"]
    for table in ("low_fpr", "roc"):
        assert (tmp_path / "evaluation" / f"{table}.csv").read_text().count("\n") == 1


def test_a_split_without_positives_has_no_value(tmp_path):
    files = write_two_classes(tmp_path, positives={"tune": 40, "dev": 0, "test": 60})
    result = evaluate(files, tmp_path / "manifest.json", CONFIG, tmp_path / "evaluation")
    assert any(re.match(r"dev .*\b0 positives.*\b500 negatives", note) for note in result["notes"])
    found = json.loads((tmp_path / "evaluation" / "metrics.json").read_text())
    assert found["experts"]["plain"]["over_seeds"]["dev"]["auroc"]["mean"] is None
