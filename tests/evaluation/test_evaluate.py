import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    classification_report,
    confusion_matrix,
    f1_score,
    log_loss,
)

from tailproof.calibration.metrics import ece, log_probabilities
from tailproof.config.evaluation import WORST_ERRORS, Evaluation
from tailproof.data.logits import Logits
from tailproof.evaluation.evaluate import evaluate
from tailproof.evaluation.table_columns import COLUMNS
from tests.evaluation.drawn_experts import COUNTS, SIZES, write_experts

CONFIG = Evaluation(bootstrap=100, coverages=[0.5, 1.0])
METHODS = ["plain", "adjusted", "mean_logits", "mean_probabilities", "stacked"]


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """One evaluation for the tests that only look at what it left."""
    root = tmp_path_factory.mktemp("evaluation")
    files = write_experts(root)
    result = evaluate(files, root / "manifest.json", CONFIG, root / "evaluation")
    tables = {name: pd.read_csv(root / "evaluation" / f"{name}.csv") for name in COLUMNS}
    return files, result, tables, root


def leaves(value):
    if isinstance(value, dict):
        for each in value.values():
            yield from leaves(each)
    elif isinstance(value, list):
        for each in value:
            yield from leaves(each)
    else:
        yield value


def test_metrics_json_is_what_was_returned_and_holds_no_nan(done):
    _, result, _, root = done
    text = (root / "evaluation" / "metrics.json").read_text()
    assert json.loads(text) == result
    assert all(not isinstance(each, float) or math.isfinite(each) for each in leaves(result))
    assert list(result["experts"]) == METHODS[:2]
    assert list(result["ensembles"]) == METHODS[2:]
    assert result["groups"] == {
        "many": ["class 0", "class 1"],
        "medium": ["class 2", "class 3"],
        "few": ["class 4", "class 5"],
    }
    assert result["splits"] == {"dev": {"rows": 110}, "test": {"rows": 160}}
    assert result["notes"] == []


def test_values_can_be_had_from_the_logits_with_scikit_learn(done):
    files, result, _, _ = done
    for split in ("dev", "test"):
        logits = Logits.read(files["plain"][1][split])
        found = result["experts"]["plain"]["seeds"]["1"][split]
        p = np.exp(log_probabilities(logits.values))
        raw = np.exp(log_probabilities(logits.values.astype(float) * logits.temperature))
        labels, predicted, weight = logits.target, p.argmax(axis=1), logits.weight
        expected = {
            "top1": accuracy_score(labels, predicted),
            "balanced_accuracy": balanced_accuracy_score(labels, predicted),
            "macro_f1": f1_score(labels, predicted, average="macro"),
            "nll": log_loss(labels, p),
            "nll_uncalibrated": log_loss(labels, raw),
            "ece": ece(p, labels),
            "ece_uncalibrated": ece(raw, labels),
            "long_tail_top1": accuracy_score(labels, predicted, sample_weight=weight),
            "long_tail_nll": log_loss(labels, p, sample_weight=weight),
            "risk_standard_chow_at_1": 1 - accuracy_score(labels, predicted),
        }
        for name, value in expected.items():
            assert found[name]["value"] == pytest.approx(value, abs=1e-6), name


def test_seeds_are_averaged(done):
    _, result, _, _ = done
    method = result["ensembles"]["stacked"]
    for metric, found in method["over_seeds"]["test"].items():
        each = [method["seeds"][seed]["test"][metric]["value"] for seed in ("0", "1")]
        assert found["mean"] == pytest.approx(np.mean(each), rel=1e-9)
        assert found["sd"] == pytest.approx(np.std(each, ddof=1), rel=1e-6, abs=1e-9)
        assert found["seeds"] == 2


def test_experts_and_ensembles_have_the_same_metrics(done):
    _, result, _, _ = done
    expert = set(result["experts"]["plain"]["over_seeds"]["dev"])
    ensemble = set(result["ensembles"]["stacked"]["over_seeds"]["dev"])
    assert ensemble == expert > {"ece_debiased", "ece_debiased_uncalibrated"}
    plain = {name for name in expert if not name.startswith("long_tail_")}
    weighted = plain - {"auroc_one_vs_rest"}
    assert expert == plain | {f"long_tail_{name}" for name in weighted}


def test_every_pair_is_compared_on_the_same_resamples(done):
    _, result, _, _ = done
    pairs = {"plain - adjusted"} | {f"{a} - {b}" for a in METHODS[2:] for b in METHODS[:2]}
    assert set(result["paired"]) == {"dev", "test"}
    for split, found in result["paired"].items():
        assert set(found) == pairs
        for pair, metrics in found.items():
            first, second = (
                {**result["experts"], **result["ensembles"]}[name]["over_seeds"][split]
                for name in pair.split(" - ")
            )
            for metric, each in metrics.items():
                expected = first[metric]["mean"] - second[metric]["mean"]
                assert each["difference"] == pytest.approx(expected, abs=1e-8)
                assert each["low"] <= each["high"]


def test_agreement_is_given_by_seed_and_over_seeds(done):
    files, result, _, _ = done
    found = result["agreement"]["dev"]["plain / adjusted"]
    a, b = (Logits.read(files[name][0]["dev"]) for name in ("plain", "adjusted"))
    same = (a.values.argmax(axis=1) == b.values.argmax(axis=1)).mean()
    assert found["seeds"]["0"]["agreement"]["value"] == pytest.approx(same)
    assert set(found["over_seeds"]) == {"agreement", "kappa", "exactly_one_right"}
    assert found["over_seeds"]["kappa"]["seeds"] == 2


def test_tables_have_the_columns_they_promise(done):
    _, _, tables, _ = done
    for name, columns in COLUMNS.items():
        assert list(tables[name].columns) == columns.split(), name
        assert len(tables[name]) or name in ("low_fpr", "roc"), name  # only of two classes


def test_the_summary_table_is_metrics_json(done):
    _, result, tables, _ = done
    methods = {**result["experts"], **result["ensembles"]}
    for row in tables["summary"].itertuples():
        expected = methods[row.method]["over_seeds"][row.split][row.metric]
        for column in ("mean", "sd", "low", "high"):
            found = getattr(row, column)
            assert (None if math.isnan(found) else found) == expected[column]
    metrics = sum(len(method["over_seeds"]["dev"]) for method in methods.values())
    assert len(tables["summary"]) == 2 * metrics


def test_class_rows_and_confusion_are_those_of_scikit_learn(done):
    files, _, tables, _ = done
    classes = [f"class {index}" for index in range(6)]
    reports, confusion = [], np.zeros((6, 6), int)
    for seed in (0, 1):
        logits = Logits.read(files["plain"][seed]["test"])
        predicted = logits.values.argmax(axis=1)
        reports.append(
            classification_report(
                logits.target,
                predicted,
                target_names=classes,
                output_dict=True,
                zero_division=np.nan,
            )
        )
        confusion += confusion_matrix(logits.target, predicted)
    rows = tables["per_class"].query("split == 'test' and method == 'plain'").set_index("class")
    assert rows["train_count"].tolist() == COUNTS.tolist()
    for name in classes:
        for column in ("recall", "precision", "f1"):
            key = "f1-score" if column == "f1" else column
            expected = np.nanmean([report[name][key] for report in reports])
            assert rows.loc[name, column] == pytest.approx(expected)
        assert rows.loc[name, "support"] == reports[0][name]["support"]
        assert rows.loc[name, "recall_low"] <= rows.loc[name, "recall"]
        assert rows.loc[name, "recall"] <= rows.loc[name, "recall_high"]
    cells = tables["confusion"].query("split == 'test' and method == 'plain'")
    assert cells["count"].sum() == 2 * SIZES["test"]
    for cell in cells.itertuples():
        assert confusion[classes.index(cell.true), classes.index(cell.predicted)] == cell.count
    assert len(cells) == (confusion > 0).sum()


def test_the_reliability_table_sums_to_the_samples_and_to_ece(done):
    files, _, tables, _ = done
    rows = tables["reliability"]
    assert set(rows.query("stage == 'before'")["method"]) == set(METHODS)
    assert set(rows.query("stage == 'after'")["method"]) == set(METHODS)
    one = rows.query("split == 'dev' and method == 'plain' and stage == 'after'")
    assert one["bin"].tolist() == list(range(15))
    assert one["count"].sum() == 2 * SIZES["dev"]
    used = one[one["count"] > 0]
    assert (used["confidence"] > used["lower"]).all()
    assert (used["confidence"] <= used["upper"]).all()
    assert one[one["count"] == 0]["accuracy"].isna().all()
    both = [Logits.read(files["plain"][seed]["dev"]) for seed in (0, 1)]
    p = np.exp(log_probabilities(np.concatenate([each.values for each in both])))
    gap = (used["count"] * (used["accuracy"] - used["confidence"]).abs()).sum()
    labels = np.concatenate([each.target for each in both])
    assert gap / one["count"].sum() == pytest.approx(ece(p, labels))


def test_the_curves_end_in_the_error_and_hold_their_area(done):
    _, result, tables, _ = done
    rows = tables["risk_coverage"]
    keys = ["split", "method", "weighting", "rule", "risk_kind"]
    assert (rows.groupby(keys).size() == 50).all()
    assert len(rows.groupby(keys)) == 2 * len(METHODS) * 2 * 3 * 3
    chosen = rows.query(
        "split == 'test' and method == 'stacked' and weighting == 'long_tail' and rule == 'chow'"
    )
    curve = chosen.query("risk_kind == 'standard'")
    over = result["ensembles"]["stacked"]["over_seeds"]["test"]
    assert curve["risk"].iloc[-1] == pytest.approx(1 - over["long_tail_top1"]["mean"])
    points = np.r_[curve["risk"].iloc[0], curve["risk"]]
    area = np.trapezoid(points, np.r_[0, curve["coverage"]])
    assert over["long_tail_aurc_standard_chow"]["mean"] == pytest.approx(area)


def test_the_errors_table_lists_confident_mistakes_on_dev(done):
    files, _, tables, _ = done
    rows = tables["errors"].query("method == 'adjusted'")
    assert (rows["seed"] == 0).all()
    assert (rows["true"] != rows["predicted"]).all()
    assert rows["rank"].tolist() == list(range(1, len(rows) + 1))
    assert rows["confidence"].is_monotonic_decreasing
    assert len(rows) <= WORST_ERRORS
    dev = Logits.read(files["adjusted"][0]["dev"])
    assert set(rows["sample_id"]) <= set(dev.sample_ids)


def test_the_same_input_gives_the_same_bytes(done, tmp_path):
    files, _, _, root = done
    evaluate(files, root / "manifest.json", CONFIG, tmp_path)
    for path in (root / "evaluation").iterdir():
        assert path.read_bytes() == (tmp_path / path.name).read_bytes(), path.name


def test_what_is_fitted_does_not_look_at_dev_or_test(files, tmp_path):
    def fitted(folder):
        result = evaluate(files, tmp_path / "manifest.json", CONFIG, tmp_path / folder)
        return result["ensembles"]["stacked"]["weights"], (
            tmp_path / folder / "rejectors.csv"
        ).read_bytes()

    before = fitted("before")
    for seeds in files.values():
        for splits in seeds.values():
            for split in ("dev", "test"):
                logits = Logits.read(splits[split])
                logits.values[:] = logits.values[:, ::-1]
                logits.write(splits[split])
    assert fitted("after") == before


def test_classes_without_a_sample_are_named(tmp_path):
    files = write_experts(tmp_path)
    for seeds in files.values():
        for splits in seeds.values():
            logits = Logits.read(splits["test"])
            others = {rank: np.where(own == 5, 4, own) for rank, own in logits.labels.items()}
            replace(logits, labels=others).write(splits["test"])
    result = evaluate(files, tmp_path / "manifest.json", CONFIG, tmp_path / "evaluation")
    (name,) = (note for note in result["notes"] if note.startswith("test has no sample of "))
    assert "class 5" in name


def test_one_expert_one_seed_few_classes_and_empty_groups(tmp_path):
    files = write_experts(tmp_path, experts=("plain",), seeds=(0,))
    config = Evaluation(bootstrap=100, many_shot=1, few_shot=1)
    result = evaluate(files, tmp_path / "manifest.json", config, tmp_path / "evaluation")
    assert result["ensembles"] == {}
    assert result["paired"] == {"dev": {}, "test": {}}
    assert result["agreement"] == {"dev": {}, "test": {}}
    assert len(result["notes"]) == 3
    found = result["experts"]["plain"]["over_seeds"]["test"]
    assert found["top1"]["sd"] is None
    empty = {"mean": None, "sd": None, "low": None, "high": None, "seeds": 1}
    assert found["few_accuracy"] == found["medium_accuracy"] == empty
    for rule in ("chow", "plugin_balanced", "plugin_worst"):
        for risk in ("balanced", "worst"):
            same = found[f"aurc_{risk}_{rule}"]["mean"]
            assert same == pytest.approx(found["aurc_standard_chow"]["mean"])


def test_the_recipe_of_the_documentation_works(done):
    *_, root = done
    page = (Path(__file__).parents[2] / "docs" / "evaluation.md").read_text()
    recipe = page.split("```python\n")[1].split("```")[0]
    found: dict = {}
    exec(recipe.replace("results/NAME", str(root)), found)
    assert len(found["found"]) == 6


def test_the_documentation_names_every_metric_and_table(done):
    _, result, _, _ = done
    page = (Path(__file__).parents[2] / "docs" / "evaluation.md").read_text()
    for name in result["experts"]["plain"]["over_seeds"]["test"]:
        plain = name.removeprefix("long_tail_")
        if not plain.startswith(("aurc_", "risk_", "coverage_")):
            assert f"`{plain}`" in page, plain
    assert all(f"`{name}.csv`" in page for name in COLUMNS)


def test_a_fitted_rule_can_be_applied_from_its_table(done):
    files, result, tables, _ = done
    logits = Logits.read(files["plain"][0]["test"])
    tail = np.arange(6) >= 4
    row = tables["rejectors"].query(
        "method == 'plain' and seed == 0 and weighting == 'plain' and coverage == 0.5"
    )
    for rule in row.itertuples():
        by_class = {
            name: np.where(tail, getattr(rule, f"{name}_tail"), getattr(rule, f"{name}_head"))
            for name in ("shift", "gain", "multiplier")
        }
        q = np.exp(log_probabilities(log_probabilities(logits.values) + by_class["shift"]))
        weighed = by_class["gain"] * q
        score = weighed.max(axis=1) - q @ (by_class["gain"] - by_class["multiplier"])
        answered = score >= rule.threshold - 1e-9
        wrong = weighed.argmax(axis=1) != logits.target
        found = result["experts"]["plain"]["seeds"]["0"]["test"]
        assert found[f"coverage_{rule.rule}_at_0.5"]["value"] == pytest.approx(answered.mean())
        risk = found[f"risk_standard_{rule.rule}_at_0.5"]["value"]
        assert risk == pytest.approx(wrong[answered].mean())
