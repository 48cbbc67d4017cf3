"""When an expert says "unknown": thresholds, rankings, and what they reach."""

import numpy as np
import pyarrow as pa
import pytest
from scipy.stats import beta
from sklearn.metrics import roc_auc_score, roc_curve

from tailproof.config.evaluation import ENSEMBLES
from tailproof.config.guarantees import Guarantees
from tailproof.data.tables import read_parquet, with_metadata, write_parquet
from tailproof.evaluation import bootstrap
from tailproof.evaluation.ensembles import combine, stack
from tailproof.files import read_json
from tailproof.guarantees.ensemble_predictions import Combined
from tailproof.guarantees.expert_guarantees import ExpertGuarantees
from tailproof.guarantees.guarantee import guarantee
from tailproof.guarantees.unknown import (
    SplitScores,
    choose_score,
    combine_scores,
    fit_and_measure_unknown,
    fit_false_alarms,
    measure_answers,
    rank,
)
from tailproof.guarantees.unknown_scores import SCORES, mean_score
from tailproof.runtime.errors import TailproofError
from tests.guarantees.drawn import classes
from tests.guarantees.test_guarantee import CONFIG, EVALUATION, EXPERTS, SIZES, logits, write

GAPS = {"max_softmax": 0.5, "max_logit": 1.0, "energy": 1.0, "knn": 2.0, "mahalanobis": 0.2}
UNKNOWN = {"unknown_tune": 150, "unknown_test": 200}


def scores(split, seed=0, gaps=GAPS):
    """Scores of an expert that knows known images better by a gap."""
    rng = np.random.default_rng([seed, len(split)])
    known = split in SIZES
    size = SIZES[split] if known else UNKNOWN[split]
    labels = logits("plain", split).labels if known else np.full(size, -1)
    predicted = logits("plain", split).predicted if known else np.zeros(size, int)
    own = {name: rng.normal(gap * known, 1, size) for name, gap in gaps.items()}
    ids = np.array([f"{split}-{row}" for row in range(size)], object)
    return SplitScores(labels, predicted, own, ids)


def scored(seed=0, gaps=GAPS, unknown=True):
    splits = ["tune", "test", *(UNKNOWN if unknown else ())]
    return {split: scores(split, seed, gaps) for split in splits}


def test_an_ensemble_has_the_weighted_mean_of_the_scores_of_its_experts():
    experts = {"a": scored(0), "b": scored(1), "c": scored(2)}
    weights = np.array([0.5, 0.0, 1.5])
    rng = np.random.default_rng(3)
    on_tune = rng.uniform(0, 1, (3, SIZES["tune"]))
    on_tune[:, 0] = 0  # no weights: each counts the same
    predictions = {split: logits("balanced", split) for split in ("tune", "test")}
    found = combine_scores(experts, Combined(predictions, weights, on_tune))
    assert found.keys() == experts["a"].keys()
    for split, own in found.items():
        parts = np.array([each[split].scores["energy"] for each in experts.values()])
        counting = on_tune if split == "tune" else weights[:, None]
        counting = np.where(counting.sum(0) > 0, counting, 1)
        expected = (parts * counting).sum(0) / (counting * np.ones_like(parts)).sum(0)
        assert own.scores["energy"] == pytest.approx(expected, rel=1e-6)
        assert own.sample_ids.tolist() == experts["a"][split].sample_ids.tolist()
        if split in SIZES:
            assert own.predicted.tolist() == predictions[split].predicted.tolist()
    experts["b"]["test"] = scores("tune")
    with pytest.raises(TailproofError, match="score_unknown"):
        combine_scores(experts, Combined(predictions, weights, on_tune))


@pytest.mark.parametrize("confidence", [0.8, 0.9])
@pytest.mark.parametrize("rate", [0.05, 0.2])
def test_false_alarms_are_kept_as_often_as_promised(rate, confidence):
    """For uniform scores, the false-alarm rate of a threshold is the threshold itself."""
    rng = np.random.default_rng(0)
    fits = [fit_false_alarms(rng.random(120), rate, confidence) for _ in range(1000)]
    kept = np.mean([fit.threshold <= rate for fit in fits])
    assert confidence - 0.04 < kept  # 0.04: 3 standard deviations
    assert np.mean([fit.threshold for fit in fits]) > rate / 3


def test_nothing_is_promised_on_too_few_images():
    fits = {n: fit_false_alarms(np.arange(n), 0.05, 0.9) for n in (0, 44, 45)}
    assert [fit.threshold for fit in fits.values()] == [None, None, 0.0]
    assert {fit.needed for fit in fits.values()} == {45}
    assert fit_false_alarms(np.ones(500), 0.05, 0.9).threshold == 1.0  # ties: no false alarm


def test_rankings_are_those_of_scikit_learn():
    rng = np.random.default_rng(1)
    known, unknown = np.round(rng.normal(1, 1, 300), 1), np.round(rng.normal(0, 1, 200), 1)
    counts = [bootstrap.resamples(size, 3, 0, "test") for size in (300, 200)]
    found = rank(known, unknown, *counts)
    labels, values = np.repeat([1, 0], [300, 200]), np.concatenate([known, unknown])
    for row in range(4):
        weights = np.concatenate([own[row] for own in counts])
        auroc = roc_auc_score(labels, values, sample_weight=weights)
        assert found.auroc[row] == pytest.approx(auroc)
        fpr, tpr, _ = roc_curve(labels, values, sample_weight=weights, drop_intermediate=False)
        assert found.fpr_at_tpr_95[row] == pytest.approx(fpr[(tpr >= 0.95 - 1e-9).argmax()])


def test_the_open_set_risk_is_the_share_of_wrong_answers():
    """By drawing a balanced mixture of known and unknown images."""
    rng = np.random.default_rng(0)
    labels, predicted = rng.integers(3, size=400), rng.integers(3, size=400)
    known = SplitScores(labels, predicted, {}, np.arange(len(labels)))
    accepted, others = rng.random(400) < 0.8, rng.random(100) < 0.3
    counts = np.ones((1, 400)), np.ones((1, 100))
    groups = {"many": np.array([True, False, False]), "few": np.zeros(3, bool)}
    found = measure_answers(known, accepted, others, counts, groups)
    wrong = np.concatenate([(predicted != labels)[accepted], np.ones(4 * others.sum(), bool)])
    assert found["open_set_risk"][0] == pytest.approx(wrong.mean())
    assert found["false_alarm"][0] == pytest.approx(1 - accepted.mean())
    assert found["missed"][0] == pytest.approx(others.mean())
    assert found["error"][0] == pytest.approx((predicted != labels)[accepted].mean())
    assert found["false_alarm_many"][0] == pytest.approx(1 - accepted[labels == 0].mean())
    assert np.isnan(found["false_alarm_few"][0])


def test_a_score_is_chosen_only_beyond_noise():
    def choose(gaps):
        seeds = [scored(seed, gaps) for seed in (0, 1)]
        counts = {
            split: bootstrap.resamples(len(own), 200, 0, split) for split, own in seeds[0].items()
        }
        return choose_score(seeds, counts)

    chosen, choice = choose(GAPS)
    assert chosen == "knn" and choice["knn"]["gain"]["low"] > 0
    chosen, choice = choose(dict.fromkeys(GAPS, 1.0))
    assert chosen == "max_logit" and list(choice) == list(SCORES)
    assert choose_score([scored(unknown=False)], {"tune": np.ones((1, 700))}) == ("max_logit", {})


def test_known_images_alone_promise_and_measure_false_alarms():
    config = Guarantees(false_alarms=[0.05, 0.2])
    seeds = {"0": scored(unknown=False), "1": scored(1, unknown=False)}
    rules = fit_and_measure_unknown(seeds, classes(), config, EVALUATION)
    assert rules.summary["scores"] == {} and rules.summary["score"] == "max_logit"
    shown = [row for row in rules.summary["answers"] if row["score"] == "max_logit"]
    for row, rate in zip(shown, (0.05, 0.2), strict=True):
        assert row["false_alarm"] == rate
        measured = row["test"]
        assert rate / 3 < measured["false_alarm"]["mean"] < 1.5 * rate
        assert measured["missed"]["mean"] is measured["open_set_risk"]["mean"] is None
        assert {f"false_alarm_{group}" for group in ("many", "medium", "few")} <= set(measured)
    assert rules.fits[0.2]["1"].samples == SIZES["tune"]


def test_a_seed_without_a_promise_is_left_out():
    short = scored()
    tune = short["tune"]
    few = {name: values[:30] for name, values in tune.scores.items()}
    short["tune"] = SplitScores(tune.labels[:30], tune.predicted[:30], few, tune.sample_ids[:30])
    rules = fit_and_measure_unknown({"0": short}, classes(), CONFIG, EVALUATION)
    (row, *_) = rules.summary["answers"]
    assert row["fits"]["0"]["threshold"] is None and row["test"]["false_alarm"]["mean"] is None
    assert rules.summary["always"]["test"]["missed"]["mean"] == 1


def write_scores(folder, **changes):
    """Write the scores of both experts as the stage score_unknown does."""
    files = {}
    for place, expert in enumerate(EXPERTS):
        tables = []
        for split, own in scored(place).items():
            columns = {
                "sample_id": [f"{split}-{row}" for row in range(len(own))],
                "split": [split] * len(own),
                "label": own.labels,
                "predicted": own.predicted,
                **{name: values.astype(np.float32) for name, values in own.scores.items()},
            }
            tables.append(pa.table(columns))
        facts = {"expert": expert, "seed": 3, "weights_sha256": "ab" * 32}
        facts |= {"features_sha256": "cd" * 32} | changes
        path = folder / f"{expert}-scores.parquet"
        write_parquet(path, with_metadata(pa.concat_tables(tables), facts))
        files[expert] = {3: path}
    return files


def test_the_stage_adds_what_is_known_of_unknown_images(tmp_path):
    inputs = write(tmp_path)
    without = guarantee(*inputs, EVALUATION, CONFIG, "study", tmp_path)
    plain = read_json(tmp_path / "guarantee_rules.json")["plain"]["3"]
    arguments = *inputs, EVALUATION, CONFIG, "study", tmp_path
    result = guarantee(*arguments, unknown=write_scores(tmp_path))
    found = result["methods"]["plain"].pop("unknown")
    assert found["score"] == "knn" and list(found["scores"]) == list(SCORES)
    reached = found["scores"]["knn"]["all"]["auroc"]
    assert reached["low"] < reached["mean"] < reached["high"] and reached["mean"] > 0.85
    stored = read_json(tmp_path / "guarantee_rules.json")["plain"]["3"]
    rule = ExpertGuarantees(**stored).unknown
    assert rule.score == "knn" and rule.false_alarms[0].rate == 0.05
    assert stored.pop("unknown") and stored == plain
    for name in ("balanced", *ENSEMBLES):
        del result["methods"][name]["unknown"]
    assert result == without
    with pytest.raises(TailproofError, match="has the seed '4', expected '3'"):
        guarantee(*arguments, unknown=write_scores(tmp_path, seed=4))


@pytest.mark.parametrize("method", ENSEMBLES)
def test_an_ensemble_has_the_mean_score_of_its_experts(tmp_path, method):
    """Computed again from the files: means, thresholds, and what they reach on test."""
    files = write_scores(tmp_path)
    result = guarantee(*write(tmp_path), EVALUATION, CONFIG, "study", tmp_path, unknown=files)
    own = result["methods"][method]["unknown"]
    assert own["score"] == "knn" and own["rows"] == result["methods"]["plain"]["unknown"]["rows"]
    tables = [read_parquet(seeds[3]).to_pandas() for seeds in files.values()]

    def values(split):
        return np.stack([logits(name, split).log_p.astype(np.float32) for name in EXPERTS])

    weights, of_tune = np.full(2, 0.5), np.full((700, 2), 0.5)
    labels = logits("plain", "tune").labels
    if method == "stacked":
        weights = stack(values("tune"), labels)
        part = np.empty(700, int)
        part[np.argsort(labels, kind="stable")] = np.arange(700) % 5
        fits = [stack(values("tune")[:, part != fold], labels[part != fold]) for fold in range(5)]
        of_tune = np.stack([fits[fold] for fold in part])
        assert np.ptp(of_tune, axis=0).max() > 1e-3 and abs(weights[0] - weights[1]) > 0.01

    def mean(split):
        of_experts = [table["knn"][table["split"] == split].to_numpy() for table in tables]
        own = of_tune if split == "tune" else np.tile(weights, (len(of_experts[0]), 1))
        return np.average(np.transpose(of_experts), axis=1, weights=own)

    k = max(k for k in range(1, 100) if beta.cdf(0.05, k, 701 - k) >= CONFIG.confidence)
    threshold = np.sort(mean("tune"))[k - 1]
    (row,) = (row for row in own["answers"] if row["score"] == "knn")
    assert row["false_alarm"] == 0.05
    assert row["fits"]["3"]["threshold"] == pytest.approx(threshold, abs=1e-6)
    reached, known = row["test"], mean("test") >= threshold - 1e-6
    assert reached["false_alarm"]["mean"] == pytest.approx(1 - known.mean(), abs=1e-6)
    missed = (mean("unknown_test") >= threshold - 1e-6).mean()
    assert reached["missed"]["mean"] == pytest.approx(missed, abs=1e-6)
    predicted = combine(method, values("test"), weights).argmax(axis=1)
    wrong = predicted != logits("plain", "test").labels
    assert reached["error"]["mean"] == pytest.approx(wrong[known].mean(), abs=1e-6)
    stored = read_json(tmp_path / "guarantee_rules.json")[method]["3"]
    assert list(stored) == ["unknown"]
    assert stored["unknown"]["features_sha256"] == dict.fromkeys(EXPERTS, "cd" * 32)
    assert stored["unknown"]["false_alarms"][0]["threshold"] == row["fits"]["3"]["threshold"]
    (risk,) = (one for one in row["risks"] if one["group"] == "all")
    assert risk["fits"]["3"]["samples"] == 700 - k + 1


def test_an_expert_of_weight_0_has_no_say():
    first, second = np.array([0.1, 0.7]), np.array([5.0, -3.0])
    weights = np.array([[0.4], [0.0]])
    assert (mean_score([first, second], weights) == first.astype(np.float32)).all()
    for weights in (np.zeros((2, 1)), np.ones((2, 1)), np.full((2, 2), 3.0)):
        assert mean_score([first, second], weights) == pytest.approx((first + second) / 2)


def test_students_have_scores_of_their_own_and_no_say_in_an_ensemble(tmp_path):
    files = write_scores(tmp_path)
    arguments = *write(tmp_path), EVALUATION, CONFIG, "study", tmp_path
    result = guarantee(*arguments, unknown=files, students=["balanced"])
    assert list(result["methods"]) == list(EXPERTS)
    assert all("unknown" in method for method in result["methods"].values())


def test_experts_with_scores_of_different_images_are_refused(tmp_path):
    files = write_scores(tmp_path)
    table = read_parquet(files["balanced"][3])
    table = pa.concat_tables([table.slice(0, len(table) - 2), table.slice(len(table) - 1)])
    write_parquet(files["balanced"][3], table)
    arguments = *write(tmp_path), EVALUATION, CONFIG, "study", tmp_path
    with pytest.raises(TailproofError, match="different images of unknown_test"):
        guarantee(*arguments, unknown=files)
