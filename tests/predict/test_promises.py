import csv
import io
import json
import math
import shutil
import warnings

import numpy as np
import pandas as pd
import pytest

import tailproof
from tailproof.config.guarantees import Guarantees
from tailproof.evaluation.probabilities import Prediction
from tailproof.files import read_json, write_json
from tailproof.guarantees.expert_guarantees import (
    ExpertGuarantees,
    StoredColumn,
    StoredContext,
    StoredGroups,
    StoredPromises,
    StoredRisk,
    stored_guarantees,
    stored_promises,
)
from tailproof.guarantees.prediction_sets import set_scores
from tailproof.guarantees.risk import RiskRule
from tailproof.guarantees.roll_up import Rank
from tailproof.guarantees.rules import Classes, fit_guarantees
from tailproof.predict.command import Promised, predict_images
from tailproof.runtime.errors import TailproofError
from tests.predict.conftest import make_expert
from tests.predict.test_predict import picture

NAMES = ["a", "b | c", "=d"]
NOTE = "tune has 300 samples in 5 groups"
LEVELS = Guarantees(coverages=[0.9], risks=[0.1, 0.01], precisions=[0.5, 0.9])


def fitted():
    """Rules for three classes of two genera, fitted on 300 drawn samples."""
    rng = np.random.default_rng(0)
    labels = rng.integers(3, size=300)
    prediction = Prediction.from_logits(rng.normal(size=(300, 3)) + 1.5 * np.eye(3)[labels], labels)
    ranks = [Rank("class", NAMES, np.arange(3)), Rank("genus", ["x", "y"], np.array([0, 0, 1]))]
    groups = {"many": np.array([1, 1, 0], bool), "medium": np.zeros(3, bool)}
    groups["few"] = ~groups["many"]
    classes = Classes(NAMES, np.array([60, 30, 9]), groups, ranks)
    return classes, fit_guarantees(prediction, classes, np.full(3, 1 / 3), LEVELS, {"plain": None})


@pytest.fixture(scope="module")
def expert(tmp_path_factory):
    """An untrained expert with promises, whose folder was copied."""
    folder = make_expert(tmp_path_factory.mktemp("made"), ranks={"class": NAMES})
    deployment = read_json(folder / "deployment.json")
    write_json(folder / "deployment.json", {**deployment, "tail": ["=d"]})
    classes, rules = fitted()
    facts = {"experiment": "drawn", "expert": "drawn", "seed": 0}
    facts |= {"weights_sha256": deployment["weights_sha256"], "notes": [NOTE]}
    write_json(folder / "guarantees.json", stored_guarantees(rules, classes, LEVELS, **facts))
    return shutil.copytree(folder, tmp_path_factory.mktemp("copied") / "expert")


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    for number in range(5):
        picture(folder / f"image{'x' * number}.png")
    return folder


def predicted(capsys, expert, images, as_csv=True, **promised):
    predict_images(
        str(expert), [str(images)], as_csv=as_csv, rule="chow", coverage=None,
        promised=Promised(**promised),
    )  # fmt: skip
    output = capsys.readouterr()
    return list(csv.DictReader(io.StringIO(output.out))), output


def refused(expert, images, coverage=None, rule="chow", **promised) -> str:
    with pytest.raises(TailproofError) as error:
        predict_images(
            str(expert), [str(images)], as_csv=True, rule=rule, coverage=coverage,
            promised=Promised(**promised),
        )  # fmt: skip
    return str(error.value)


def probabilities(rows):
    columns = [name for name in rows[0] if name.startswith("class=")]
    return np.array([[float(row[name]) for name in columns] for row in rows])


def test_sets_are_those_of_the_fitted_rule(expert, images, capsys):
    _, rules = fitted()
    for score in ("pas", "thr", "aps", "classwise"):
        rows, _ = predicted(capsys, expert, images, set_coverage=0.9, score=score)
        rule = rules.sets["plain"][0.9][score]
        for row, p in zip(rows, probabilities(rows), strict=True):
            held = rule.holds(set_scores(rule.score, p[None], rules.shares))[0]
            assert int(row["set_size"]) == held.sum() >= 1
            names = [NAMES[index] for index in np.argsort(-p) if held[index]]
            assert row["set"].lstrip("'") == " | ".join(names)


def test_a_promised_risk_decides(expert, images, capsys):
    _, rules = fitted()
    rows, output = predicted(capsys, expert, images, risk=0.1)
    threshold = rules.risks[0].overall.threshold
    for row, p in zip(rows, probabilities(rows), strict=True):
        assert row["decision"] == ("accept" if p.max() > threshold else "reject")
    assert "rejected by a risk of at most 0.1;" in output.err
    rows, _ = predicted(capsys, expert, images, risk=0.1, by_group=True)
    groups = rules.risks[0].groups
    for row, p in zip(rows, probabilities(rows), strict=True):
        own = groups["few" if p.argmax() == 2 else "many"].threshold
        assert (row["decision"] == "accept") == (own is not None and p.max() > own)


def test_why_promises_are_less_certain_is_said_where_one_is_made(expert, images, capsys):
    assert NOTE in predicted(capsys, expert, images, set_coverage=0.9)[1].err
    assert NOTE not in predicted(capsys, expert, images)[1].err


def test_the_finest_certain_rank_is_answered(expert, images, capsys):
    _, rules = fitted()
    rows, _ = predicted(capsys, expert, images, precision=0.5)
    fine, coarse = (fit.threshold for fit in rules.roll_ups[0.5])
    for row, p in zip(rows, probabilities(rows), strict=True):
        genus = p[0] + p[1], p[2]
        if fine is not None and p.max() > fine:
            expected = ("class", NAMES[p.argmax()])
        elif coarse is not None and max(genus) > coarse:
            expected = ("genus", "xy"[genus.index(max(genus))])
        else:
            expected = ("", "")
        assert (row["answer_rank"], row["answer"].lstrip("'")) == expected


def test_the_table_has_the_columns_too(expert, images, capsys):
    _, output = predicted(
        capsys, expert, images, as_csv=False, set_coverage=0.9, precision=0.5, risk=0.1
    )
    for name in ("set_size", "answer_rank", "answer"):
        assert name in output.out


@pytest.mark.parametrize(
    "promised, found",
    [
        ({"set_coverage": 0.8}, ["0.8 was not fitted", "0.9", "guarantees.coverages"]),
        ({"set_coverage": 0.9, "score": "psa"}, ["psa", "pas"]),
        ({"risk": 0.2}, ["0.2 was not fitted", "0.1, 0.01", "guarantees.risks"]),
        (
            {"risk": 0.01},
            ["cannot be promised", "300 images", "train a better expert", "higher risk"],
        ),
        ({"precision": 0.7}, ["0.7 was not fitted", "guarantees.precisions"]),
        ({"by_group": True}, ["--risk"]),
        ({"risk": 0.1, "coverage": 0.5}, ["--coverage"]),
        ({"risk": 0.1, "rule": "plugin_worst"}, ["--risk", "--rule plugin_worst"]),
        ({"score": "pas"}, ["--score", "--set"]),
        ({"score": "thr", "risk": 0.1}, ["--score", "--set"]),
    ],
)
def test_what_cannot_be_promised_is_said(expert, images, promised, found):
    message = refused(expert, images, **promised)
    assert not [part for part in found if part not in message]


@pytest.mark.parametrize(
    "option, value",
    [("classes", "a.txt"), ("prior", "a.csv"), ("adapt", True)],
)
def test_promises_are_about_the_probabilities_of_the_expert_itself(expert, images, option, value):
    with pytest.raises(TailproofError, match=f"--{option}") as error:
        predict_images(
            str(expert), [str(images)], as_csv=True, rule="chow", coverage=None,
            promised=Promised(set_coverage=0.9), **{option: value},
        )  # fmt: skip
    assert "--set" in str(error.value) and "--risk" not in str(error.value), "it was not given"


def log_p(rows):
    return np.log(probabilities(rows))


@pytest.fixture
def grouped(expert, tmp_path):
    """The expert with promises of groups, whose thresholds differ from those of images."""
    folder = shutil.copytree(expert, tmp_path / "grouped")
    deployment = read_json(folder / "deployment.json")
    write_json(folder / "deployment.json", deployment | {"group_temperature": 0.5})
    _, rules = fitted()
    fits = [fit._replace(threshold=0.0) for fit in rules.roll_ups[0.5]]
    rules.roll_ups[0.5] = fits
    own = StoredGroups(**stored_promises(rules), temperature=0.5, largest=3)
    value = read_json(folder / "guarantees.json")
    write_json(folder / "guarantees.json", value | {"grouped": own.model_dump(mode="json")})
    return folder


def test_promises_of_groups_are_made_with_their_own_rules(grouped, images, capsys):
    single, _ = predicted(capsys, grouped, images)
    predict_images(
        str(grouped), [str(images)], as_csv=True, rule="chow", coverage=None, group="folder",
        promised=Promised(set_coverage=0.9, risk=0.1, precision=0.5),
    )  # fmt: skip
    output = capsys.readouterr()
    (row,) = csv.DictReader(io.StringIO(output.out))
    of_group = log_p(single).mean(axis=0) / 0.5
    p = np.exp(of_group) / np.exp(of_group).sum()
    assert probabilities([row])[0] == pytest.approx(p, abs=1e-4)
    _, rules = fitted()
    held = rules.sets["plain"][0.9]["pas"].holds(set_scores("pas", p[None], rules.shares))[0]
    assert int(row["set_size"]) == held.sum()
    accepted = p.max() > rules.risks[0].overall.threshold
    assert row["decision"] == ("accept" if accepted else "reject")
    assert row["answer_rank"] == "class", "the threshold of groups is 0"
    assert "at most 3 images" in output.err and NOTE not in output.err
    assert "fitted without" not in output.err


@pytest.mark.parametrize(
    "edit, found",
    [
        (lambda value: value.update(grouped=None), "no groups of several images"),
        (lambda value: value["grouped"].update(temperature=0.7), "another temperature"),
        (lambda value: value["grouped"].update(shares=[0.5, 0.5]), "guarantees.json"),
        (lambda value: value["grouped"]["risks"][0]["groups"].pop("few"), "guarantees.json"),
    ],
)
def test_promises_of_groups_that_are_not_there_or_do_not_fit(grouped, images, edit, found):
    value = read_json(grouped / "guarantees.json")
    edit(value)
    write_json(grouped / "guarantees.json", value)
    with pytest.raises(TailproofError, match=found):
        predict_images(
            str(grouped), [str(images)], as_csv=True, rule="chow", coverage=None, group="folder",
            promised=Promised(set_coverage=0.9),
        )  # fmt: skip


@pytest.fixture
def in_context(expert, tmp_path):
    """The expert with a column of places and one of months."""
    folder = shutil.copytree(expert, tmp_path / "in_context")
    columns = [
        StoredColumn(
            name="site", kind="value", exponent=1.0, smoothing=5.0,
            values={"forest": {"0": 40}, "heath": {"1": 20, "2": 9}},
        ),
        StoredColumn(
            name="date", kind="month", exponent=0.5, smoothing=9.0, values={"07": {"2": 8}},
        ),
    ]  # fmt: skip
    context = StoredContext(class_counts=[60, 30, 9], columns=columns, promises=None)
    value = read_json(folder / "guarantees.json")
    write_json(folder / "guarantees.json", value | {"context": context.model_dump(mode="json")})
    return folder, context


def test_context_changes_the_probabilities_of_each_image(in_context, images, capsys, tmp_path):
    folder, context = in_context
    before, _ = predicted(capsys, folder, images)
    files = sorted(path.name for path in images.iterdir())
    cells = ["forest,2021-07-30", "heath,", ",2020:07:01 10:00:00", "sea,2021-01-02", ","]
    table = tmp_path / "finds.csv"
    rows = [f"{images / file},{cell}" for file, cell in zip(files, cells, strict=True)]
    table.write_text("\n".join(["file,site,date", *rows]) + "\n")
    predict_images(
        str(folder), [str(images)], as_csv=True, rule="chow", coverage=None, context=str(table)
    )
    output = capsys.readouterr()
    after = list(csv.DictReader(io.StringIO(output.out)))
    site, date = (own.column(context.class_counts).log_ratio for own in context.columns)
    added = [site[0] + 0.5 * date[0], site[1], 0.5 * date[0], np.zeros(3), np.zeros(3)]
    order = [files.index(row["file"].rpartition("/")[2]) for row in before]
    expected = np.exp(log_p(before) + np.array(added)[order])
    expected /= expected.sum(axis=1, keepdims=True)
    assert probabilities(after) == pytest.approx(expected, abs=1e-5)
    assert "fitted without --context" in output.err
    assert "site says nothing about 1 image" in output.err and "'sea'" in output.err
    assert "date says nothing about 1 image" in output.err


def test_values_of_context_are_found_in_other_spellings(in_context, images):
    folder, context = in_context
    site = context.columns[0].model_copy(update={"values": {"7": {"0": 40}, "Höhe": {"1": 20}}})
    columns = [site, context.columns[1]]
    value = read_json(folder / "guarantees.json")
    stored = context.model_copy(update={"columns": columns}).model_dump(mode="json")
    write_json(folder / "guarantees.json", value | {"context": stored})
    expert = tailproof.open(folder)
    files = sorted(map(str, images.iterdir()))
    answers = []
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for cells in (["7", None, "Höhe"], [7.0, math.nan, "Ho\u0308he"]):
            column = pd.Series(cells, dtype=object).reindex(range(len(files)))
            given = pd.DataFrame({"site": column, "date": ""})
            answers.append(expert.predict(files, context=given, probabilities=True))
    pd.testing.assert_frame_equal(*answers)
    assert not answers[0].equals(expert.predict(files, probabilities=True))


def with_promises(value, context):
    """Add promises in context to guarantees.json: thresholds that accept everything."""
    _, rules = fitted()
    free = [rule.overall._replace(threshold=0.0) for rule in rules.risks]
    own = stored_promises(rules)
    own["risks"] = [
        StoredRisk.of(RiskRule(rule.risk, fit, dict.fromkeys(rule.groups, fit)))
        for rule, fit in zip(rules.risks, free, strict=True)
    ]
    promises = StoredPromises(**own)
    context = context.model_copy(update={"promises": promises})
    exponents = {"exponents": [0.5, 0.0], "promises": promises.model_dump(mode="json")}
    grouped = StoredGroups(**stored_promises(rules), temperature=0.5, largest=3)
    grouped = grouped.model_dump(mode="json") | {"context": exponents}
    return value | {"context": context.model_dump(mode="json"), "grouped": grouped}


def test_promises_in_context_have_their_own_thresholds(in_context, images, capsys, tmp_path):
    folder, context = in_context
    deployment = read_json(folder / "deployment.json")
    write_json(folder / "deployment.json", deployment | {"group_temperature": 0.5})
    value = with_promises(read_json(folder / "guarantees.json"), context)
    write_json(folder / "guarantees.json", value)
    files = sorted(path.name for path in images.iterdir())
    cells = ["forest,2021-07-30", "heath,", ",", "forest,", ","]
    table = tmp_path / "finds.csv"
    rows = [f"{images / file},{cell}" for file, cell in zip(files, cells, strict=True)]
    table.write_text("\n".join(["file,site,date", *rows]) + "\n")

    def answered(**options):
        predict_images(
            str(folder), [str(images)], as_csv=True, rule="chow", coverage=None,
            promised=Promised(set_coverage=0.9, risk=0.1), **options,
        )  # fmt: skip
        output = capsys.readouterr()
        return list(csv.DictReader(io.StringIO(output.out))), output.err

    before, _ = answered()
    after, messages = answered(context=str(table))
    assert {row["decision"] for row in before} == {"reject"}
    assert {row["decision"] for row in after} == {"accept"}
    assert "fitted without" not in messages
    (group,), _ = answered(group="folder")
    (row,), messages = answered(group="folder", context=str(table))
    assert (group["decision"], row["decision"]) == ("reject", "accept")
    assert "site says nothing about 1 group" in messages
    assert probabilities([row]) == pytest.approx(probabilities([group])), "they say nothing"
    table.write_text("\n".join(["file,site,date", *rows]).replace("heath", "forest") + "\n")
    (row,), messages = answered(group="folder", context=str(table))
    site = context.columns[0].column(context.class_counts).log_ratio[0]
    expected = probabilities([group]) * np.exp(0.5 * site)
    assert probabilities([row]) == pytest.approx(expected / expected.sum(), abs=1e-5)
    assert "says nothing" not in messages


def test_context_that_cannot_be_used_is_one_sentence(expert, in_context, images, tmp_path):
    folder, _ = in_context
    table = tmp_path / "finds.csv"
    table.write_text("file,site\nimage.png,forest\n")
    for place, options, found in (
        (expert, {}, "built without columns of context"),
        (folder, {}, "no column 'date'"),
        (folder, {"group": "folder"}, "--context is fitted only for single images"),
    ):
        with pytest.raises(TailproofError, match=found):
            predict_images(
                str(place), [str(images)], as_csv=True, rule="chow", coverage=None,
                context=str(table), **options,
            )  # fmt: skip
    table.write_text("file,site,date\nimage.png,forest,2021-07-30\n")
    with pytest.raises(TailproofError, match="5 images in its column 'file'"):
        predict_images(
            str(folder), [str(images)], as_csv=True, rule="chow", coverage=None, context=str(table)
        )
    value = read_json(folder / "guarantees.json")
    value["context"]["columns"][0]["values"]["forest"] = {"3": 1}
    write_json(folder / "guarantees.json", value)
    with pytest.raises(TailproofError, match="class '3'"):
        predict_images(
            str(folder), [str(images)], as_csv=True, rule="chow", coverage=None, context=str(table)
        )


def test_a_folder_without_promises_predicts_but_promises_nothing(expert, images, tmp_path, capsys):
    folder = shutil.copytree(expert, tmp_path / "expert")
    (folder / "guarantees.json").unlink()
    assert len(predicted(capsys, folder, images)[0]) == 5
    assert "no guarantees.json" in refused(folder, images, set_coverage=0.9)


@pytest.mark.parametrize(
    "edit",
    [
        lambda value: value.update(shares=[0.5, 0.5]),
        lambda value: value.update(weights_sha256="0" * 64),
        lambda value: value["ranks"][0].update(classes=["a", "b", "c"]),
        lambda value: value["ranks"][0].update(above=[0, 1, 1]),
        lambda value: value["ranks"][1].update(above=[0, 0, 7]),
        lambda value: value["sets"][0].update(threshold=[0.1, 0.2]),
        lambda value: value["roll_ups"][0]["ranks"].pop(),
        lambda value: value["risks"][0]["overall"].update(threshold=7),
        lambda value: value["risks"][0]["groups"].pop("few"),
        lambda value: value["risks"][0].update(groups={}),
        lambda value: value.update(more=1),
    ],
)
def test_promises_that_were_changed_or_are_of_another_expert_are_refused(
    expert, images, tmp_path, edit
):
    folder = shutil.copytree(expert, tmp_path / "expert")
    value = read_json(folder / "guarantees.json")
    edit(value)
    (folder / "guarantees.json").write_text(json.dumps(value))
    assert "guarantees.json" in refused(folder, images, set_coverage=0.9)


def test_a_false_alarm_rate_that_is_listed_twice_is_read_once(expert):
    """A stranger's folder may list it so; the rule "unknown" takes the last one too."""
    value = read_json(expert / "guarantees.json")
    rates = [
        {"rate": 0.1, "threshold": None, "needed": 1, "samples": samples} for samples in (5, 6)
    ]
    rates = [own | {"risks": [], "context_risks": None} for own in rates]
    rates[1]["risks"] = value["risks"][:1]
    unknown = {"score": "max_logit", "features_sha256": "0" * 64, "false_alarms": rates}
    guarantees = ExpertGuarantees.model_validate(value | {"unknown": unknown})
    assert guarantees.of_answers(unknown=0.1).risks == guarantees.risks[:1]
