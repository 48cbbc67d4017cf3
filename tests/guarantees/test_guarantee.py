import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tailproof.config.evaluation import ENSEMBLES, Evaluation
from tailproof.config.guarantees import Guarantees
from tailproof.evaluation.ensembles import combine, stack
from tailproof.evaluation.prior_shift import fit_prior_strength, prior_shares
from tailproof.evaluation.probabilities import Prediction
from tailproof.files import read_json
from tailproof.guarantees.ensemble_predictions import FoldWeights
from tailproof.guarantees.expert_guarantees import ExpertGuarantees
from tailproof.guarantees.guarantee import guarantee
from tailproof.guarantees.measure import measure_guarantees
from tailproof.guarantees.rules import fit_guarantees
from tailproof.runtime.errors import TailproofError
from tests.guarantees.drawn import COUNTS, GENUS, classes, draw

SIZES = {"val": 80, "calib": 90, "tune": 700, "dev": 120, "test": 300}
EXPERTS = {"plain": 1.0, "balanced": 0.0}
EVALUATION = Evaluation(bootstrap=100)
CONFIG = Guarantees(coverages=[0.9], risks=[0.1], precisions=[0.9])
CLASSES = classes()


def logits(expert, split):
    """Predictions of an expert on a split; all experts have the same images."""
    return draw(SIZES[split], list(SIZES).index(split), strength=EXPERTS[expert])


def write(folder, groups=None, context=None, **changes):
    """Write logits with pyarrow alone, a manifest and samples; return the stage's arguments."""
    files, ids = {}, {split: [f"{split}-{row}" for row in range(SIZES[split])] for split in SIZES}
    prior = COUNTS / COUNTS.sum()
    for expert in EXPERTS:
        for split in SIZES:
            own = logits(expert, split)
            values = pa.array(own.log_p.astype(np.float32).ravel())
            share = np.bincount(own.labels, minlength=len(COUNTS)) / len(own.labels)
            weight = prior[own.labels] / share[own.labels]
            table = pa.table(
                {
                    "sample_id": ids[split],
                    "species": pa.array(own.labels, pa.int64()),
                    "weight": weight / weight.mean(),
                    "logits": pa.FixedSizeListArray.from_arrays(values, len(COUNTS)),
                }
            )
            facts = {
                "expert": expert,
                "seed": 3,
                "split": split,
                "target": "species",
                "weights_sha256": "ab" * 32,
                "temperature": 1.0,
                **changes.get(split, {}),
            }
            path = folder / f"{expert}-{split}.parquet"
            pq.write_table(table.replace_schema_metadata({"tailproof": json.dumps(facts)}), path)
            files.setdefault(expert, {}).setdefault(3, {})[split] = path
    names, genera = (rank.classes for rank in CLASSES.ranks)
    manifest = {
        "target": "species",
        "ranks": ["genus", "species"],
        "ancestors": {"species": {"genus": GENUS.tolist()}},
        "classes": {"species": names, "genus": genera},
        "splits": {
            "train": {"class_counts": {"species": dict(zip(names, COUNTS.tolist(), strict=True))}}
        },
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    every = [sample for split in ids.values() for sample in split]
    group = [name if groups is None else groups(name) for name in every]
    samples = {"sample_id": every, "group": group}
    if context is not None:
        labels = [names[label] for split in SIZES for label in logits("plain", split).labels]
        learnt = [name for name, count in zip(names, COUNTS, strict=True) for _ in range(count)]
        more = [f"train-{row}" for row in range(len(learnt))]
        samples = {"sample_id": every + more, "group": group + more}
        samples["species"] = labels + learnt
        write_context(folder, samples, context)
    pq.write_table(pa.table(samples), folder / "samples.parquet")
    return files, folder / "manifest.json", folder / "samples.parquet"


def write_context(folder, samples, context):
    """Write context.parquet, of values that a function makes of labels, and splits.parquet."""
    ids = samples["sample_id"]
    columns = context(samples["species"])
    table = pa.table({"sample_id": ids, **columns})
    facts = {"kinds": dict.fromkeys(columns, "value")}
    table = table.replace_schema_metadata({"tailproof": json.dumps(facts)})
    pq.write_table(table, folder / "context.parquet")
    splits = [name.split("-")[0] for name in ids]
    pq.write_table(pa.table({"sample_id": ids, "split": splits}), folder / "splits.parquet")


def run(folder, config=CONFIG, **options):
    more = {}
    if "context" in options:
        more = {name: folder / f"{name}.parquet" for name in ("splits", "context")}
    return guarantee(*write(folder, **options), EVALUATION, config, "study", folder, **more)


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    folder = tmp_path_factory.mktemp("guarantees")
    return folder, run(folder)


def single(prediction):
    """A prediction after its logits were stored in single precision."""
    return Prediction.from_logits(prediction.log_p.astype(np.float32), prediction.labels)


def test_arrays_give_the_same_numbers_as_files(ran):
    _, result = ran
    seen = [single(logits("plain", split)) for split in ("val", "calib")]
    strength = fit_prior_strength(
        np.concatenate([own.log_p for own in seen]),
        np.concatenate([own.labels for own in seen]),
        COUNTS,
    )
    plain = result["methods"]["plain"]
    assert plain["prior_strength"]["3"] == strength._asdict()
    tune, test = (single(logits("plain", split)) for split in ("tune", "test"))
    shares = prior_shares(COUNTS, strength.value)
    rules = fit_guarantees(tune, CLASSES, shares, CONFIG, {"plain": None})
    ones = np.ones((1, SIZES["test"]))
    values = measure_guarantees(rules, test, CLASSES, ones, {"plain": ones[0]})
    for row in plain["sets"]:
        if row["weighting"] == "plain":
            for metric, found in row["test"].items():
                key = ("sets", "plain", 0.9, row["procedure"], metric)
                assert found["mean"] == pytest.approx(values[key][0])
    for row in plain["risks"]:
        answered = values["risks", 0.1, row["group"], "answered"][0]
        assert row["test"]["answered"]["mean"] == pytest.approx(answered)
    (row,) = plain["roll_ups"]
    for rank, found in row["ranks"].items():
        answered = values["roll_ups", 0.9, "rank", rank, "answered"][0]
        assert found["test"]["answered"]["mean"] == pytest.approx(answered)


def cross_fitted_on(values, labels):
    """Predict samples [E, N, C] in two blocks, each fifth with the weights of the rest."""
    middle = (len(labels) + 1) // 2
    folds = FoldWeights.fit(labels, lambda rows: stack(values[:, rows], labels[rows]))
    blocks = [(rows, values[:, rows]) for rows in (slice(0, middle), slice(middle, len(labels)))]
    return folds.predict(labels, values.shape[2], lambda: blocks)


def test_stacked_has_its_own_rules_and_none_for_predict(ran):
    folder, result = ran
    assert list(result["methods"]) == ["plain", "balanced", *ENSEMBLES]
    values = np.stack([single(logits(name, "tune")).log_p.astype(np.float32) for name in EXPERTS])
    labels = logits("plain", "tune").labels
    prediction = cross_fitted_on(values, labels)
    shares = prior_shares(COUNTS, result["methods"]["stacked"]["prior_strength"]["3"]["value"])
    rules = fit_guarantees(prediction, CLASSES, shares, CONFIG, {"plain": None})
    (row,) = (row for row in result["methods"]["stacked"]["risks"] if row["group"] == "all")
    assert row["fits"]["3"]["threshold"] == pytest.approx(rules.risks[0].overall.threshold)
    assert list(read_json(folder / "guarantee_rules.json")) == list(EXPERTS)


def test_stacked_promises_nothing_of_samples_that_fitted_its_weights():
    """Experts of noise: the weights follow the noise of the samples that they are fitted on."""
    rng = np.random.default_rng(0)
    labels, values = rng.integers(3, size=40), rng.normal(size=(12, 40, 3))
    again = Prediction(combine("stacked", values, stack(values, labels)), labels)
    held_out = cross_fitted_on(values, labels)
    truth = [own.log_p[np.arange(40), labels].mean() for own in (again, held_out)]
    assert truth[0] > np.log(1 / 3) > truth[1]
    assert np.exp(held_out.log_p).sum(axis=1) == pytest.approx(np.ones(40))
    single = cross_fitted_on(values[:, :1], labels[:1])
    assert single.log_p.shape == (1, 3)


def test_the_experts_say_which_shares_they_assume(ran):
    _, result = ran
    for name, expected in EXPERTS.items():
        found = result["methods"][name]["prior_strength"]["3"]
        assert abs(found["value"] - expected) < 3 * found["error"]


def test_the_roll_up_is_paired_with_rejection(ran):
    _, result = ran
    for method in result["methods"].values():
        (row,) = method["roll_ups"]
        both = (
            row["all"]["test"]["answered"]["mean"],
            row["rejection"]["test"]["answered"]["mean"],
        )
        assert row["gain"]["test"]["difference"] == pytest.approx(both[0] - both[1])
        ranks = sum(own["test"]["answered"]["mean"] for own in row["ranks"].values())
        assert ranks == pytest.approx(both[0])


def test_the_rules_of_an_expert_can_be_stored_and_read(ran, tmp_path):
    folder, _ = ran
    stored = read_json(folder / "guarantee_rules.json")["plain"]["3"]
    (tmp_path / "guarantees.json").write_text(json.dumps(stored))
    read = ExpertGuarantees.read(tmp_path / "guarantees.json")
    assert read.model_dump(mode="json") == stored and read.weights_sha256 == "ab" * 32
    read.check_classes(CLASSES.names, "species")
    with pytest.raises(ValueError):
        read.check_classes(CLASSES.names[::-1], "species")


def test_the_same_inputs_give_the_same_bytes(ran, tmp_path):
    folder, _ = ran
    run(tmp_path)
    for name in ("guarantees.json", "guarantee_rules.json"):
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes()


def test_samples_of_few_groups_are_noted(tmp_path):
    result = run(tmp_path, groups=lambda name: f"{name.split('-')[0]}-{hash(name) % 10}")
    (note,) = (note for note in result["notes"] if "groups" in note)
    assert note.startswith("tune has 700 samples in 10 groups")
    for seeds in read_json(tmp_path / "guarantee_rules.json").values():
        assert seeds["3"]["notes"] == [note]


def test_groups_have_promises_of_their_own(tmp_path, ran):
    result = run(tmp_path, groups=pairs)
    assert result["groups"]["test"] < 0.6 * SIZES["test"]
    for method in result["methods"].values():
        own = method["groups"]
        assert {row["weighting"] for row in own["sets"]} == {"plain"}
        (overall,) = (row for row in own["risks"] if row["group"] == "all")
        assert overall["fits"]["3"]["samples"] == result["groups"]["tune"]
        assert overall["test"]["error"]["low"] <= 0.1
    stored = read_json(tmp_path / "guarantee_rules.json")["plain"]["3"]
    assert stored["grouped"]["largest"] == 2 and stored["unit"] == "image"
    read = ExpertGuarantees.model_validate(stored)
    own = read.of_answers(grouped=True)
    assert own.unit == "group" and own.notes == [] and own.risks == read.grouped.risks
    without = read_json(ran[0] / "guarantee_rules.json")["plain"]["3"]
    assert without["grouped"] is None and "groups" not in ran[1]
    with pytest.raises(ValueError, match="no promises for groups"):
        ExpertGuarantees.model_validate(without).of_answers(grouped=True)


def test_context_is_fitted_on_train_and_tune_and_measured(tmp_path, ran):
    """The genus of a sample is told in half of the cells; another column is noise."""
    rng = np.random.default_rng(0)

    def context(labels):
        genera = [GENUS[CLASSES.names.index(label)] for label in labels]
        site = [f"site {genus}" if rng.random() < 0.5 else None for genus in genera]
        return {"site": site, "noise": [str(value) for value in rng.integers(0, 4, len(labels))]}

    result = run(tmp_path, context=context)
    assert result["context"]["site"]["values"] == max(GENUS) + 1
    assert result["context"]["site"]["missing"] == pytest.approx(0.5, abs=0.05)
    assert result["context"]["noise"]["smoothing"] > 50 > result["context"]["site"]["smoothing"]
    for method in result["methods"].values():
        assert method["context"]["exponents"]["3"]["site"] > 0.3
        assert method["context"]["gain"]["3"]["high"] < 0
        changed = method["context"]["test"]["nll"]
        assert changed["changed"]["high"] < 0
        values = [changed[kind]["mean"] for kind in ("with", "without")]
        assert changed["changed"]["difference"] == pytest.approx(values[0] - values[1])
    assert "context" not in ran[1] and "context" not in ran[1]["methods"]["plain"]
    stored = read_json(tmp_path / "guarantee_rules.json")["plain"]["3"]["context"]
    assert stored["class_counts"] == COUNTS.tolist()
    assert sum(sum(own.values()) for own in stored["columns"][1]["values"].values()) == COUNTS.sum()
    plain = result["methods"]["plain"]["sets"]
    assert plain == ran[1]["methods"]["plain"]["sets"], "context changes no promise without it"


def pairs(name):
    """Return the group of a sample: two samples of a class make one."""
    split, row = name.split("-")
    labels = logits("plain", split).labels
    same = np.flatnonzero(labels == labels[int(row)])
    return f"{split}-{labels[int(row)]}-{np.flatnonzero(same == int(row))[0] // 2}"


def sites(labels):
    """Return context: two classes live at each site."""
    return {"site": [f"site {CLASSES.names.index(label) // 2}" for label in labels]}


def test_promises_in_context_are_fitted_and_measured_with_it(tmp_path):
    result = run(tmp_path, groups=pairs, context=sites)
    for method in result["methods"].values():
        for without in (method, method["groups"]):
            within = without["context"]["promises"]
            assert {row["weighting"] for row in within["sets"]} == {"plain"}
            for row in within["sets"]:
                assert row["test"]["coverage"]["mean"] >= row["lowest"]["test"]
            (risk,) = (row for row in within["risks"] if row["group"] == "all")
            (before,) = (row for row in without["risks"] if row["group"] == "all")
            assert risk["fits"]["3"]["samples"] == before["fits"]["3"]["samples"]
            answered = [row["test"]["answered"]["mean"] for row in (risk, before)]
            assert answered[0] > answered[1] or answered == [1, 1]  # nothing more to answer
            assert risk["test"]["error"]["low"] <= 0.1
    stored = ExpertGuarantees.read(write_rules(tmp_path, "plain"))
    plain = result["methods"]["plain"]
    measured = [plain, plain["context"]["promises"]]
    measured += [plain["groups"], plain["groups"]["context"]["promises"]]
    kinds = [(group, context) for group in (False, True) for context in (False, True)]
    for (group, context), summary in zip(kinds, measured, strict=True):
        own = stored.of_answers(grouped=group, context=context)
        (risk,) = (row for row in summary["risks"] if row["group"] == "all")
        assert own.risks[0].overall.model_dump() == risk["fits"]["3"]
        assert own.unit == ("group" if group else "image")
    limits = {summary["risks"][0]["fits"]["3"]["threshold"] for summary in measured}
    assert len(limits) > 2, "the kinds of answers have thresholds of their own"
    assert stored.grouped.context.exponents[0] > 0.1


def write_rules(folder, expert):
    path = folder / "guarantees.json"
    path.write_text(json.dumps(read_json(folder / "guarantee_rules.json")[expert]["3"]))
    return path


def test_classes_that_tune_lacks_are_noted(tmp_path):
    files, manifest, samples = write(tmp_path)
    value = json.loads(manifest.read_text())
    value["classes"]["species"].append("species 8")
    value["ancestors"]["species"]["genus"].append(None)
    value["splits"]["train"]["class_counts"]["species"]["species 8"] = 2
    manifest.write_text(json.dumps(value))
    for path in (path for seeds in files.values() for path in seeds[3].values()):
        table = pq.read_table(path)
        wider = np.pad(np.array(table["logits"].to_pylist(), np.float32), ((0, 0), (0, 1)))
        column = pa.FixedSizeListArray.from_arrays(pa.array(wider.ravel()), 9)
        table = table.drop_columns("logits").append_column("logits", column)
        pq.write_table(table, path)
    result = guarantee(files, manifest, samples, EVALUATION, CONFIG, "study", tmp_path)
    (note,) = (note for note in result["notes"] if "training class distribution" in note)
    assert note.endswith("tune has no sample of species 8")
    rows = result["methods"]["plain"]["sets"]
    assert {row["weighting"] for row in rows} == {"plain"}


def test_logits_of_another_expert_are_refused(tmp_path):
    with pytest.raises(TailproofError, match="has the seed '4', expected '3'"):
        run(tmp_path, tune={"seed": 4})
