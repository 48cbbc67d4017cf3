import pytest

from tailproof.config.guarantees import Guarantees
from tailproof.guarantees.unknown import fit_and_measure_unknown
from tailproof.report.results import Results
from tailproof.report.unknown_section import section
from tests.guarantees.drawn import classes
from tests.guarantees.test_guarantee import EVALUATION
from tests.guarantees.test_unknown import scored


@pytest.fixture
def results(drawn):
    folder, experiment = drawn
    return Results.read("drawn", experiment, folder)


def add(results, *, unknown=True, rates=(0.05, 0.2)):
    """Let every expert say unknown."""
    config = Guarantees(false_alarms=list(rates))
    for name, method in results.guarantees["methods"].items():
        if method["kind"] == "expert":
            seeds = {"0": scored(unknown=unknown), "1": scored(1, unknown=unknown)}
            rules = fit_and_measure_unknown(seeds, classes(), config, EVALUATION)
            method["unknown"] = rules.summary
            last = name
    return results.guarantees["methods"][last]["unknown"]


def test_experts_that_always_answer_have_no_section(results):
    assert section(results) is None


def test_the_numbers_are_those_of_the_file(results):
    own = add(results)
    shown = section(results)
    experts = [name for name, row in results.guarantees["methods"].items() if "unknown" in row]
    assert [row.label for row in shown.methods.rows] == [name for name in experts for _ in "ab"]
    values = [cell.main.value for cell in shown.methods.rows[0].cells[:-1]]
    test = own["answers"][0]["test"]
    ranking = own["scores"][own["score"]]["all"]
    assert values[:3] == [0.05, ranking["auroc"]["mean"], ranking["fpr_at_tpr_95"]["mean"]]
    names = ("false_alarm", "missed", "error", "open_set_risk")
    assert values[3:7] == [test[name]["mean"] for name in names]
    assert values[7] == own["always"]["test"]["open_set_risk"]["mean"]
    assert [row.label for row in shown.scores.rows] == list(own["scores"])
    assert len(shown.false_alarms.rows) == 4  # two rates of the score, and of the reference
    tables = (shown.methods, shown.scores, shown.false_alarms)
    assert all(len(row.cells) == len(table.head) for table in tables for row in table.rows)


def test_a_broken_or_missing_promise_is_marked(results):
    own = add(results, rates=(0.05, 0.001))
    for method in results.guarantees["methods"].values():
        if "unknown" in method:
            method["unknown"]["answers"][0]["test"]["false_alarm"]["low"] = 0.06
    kept = [row.cells[-1] for row in section(results).methods.rows]
    assert kept[0].main.text == "no" and kept[0].strong
    needed = own["answers"][1]["fits"]["0"]["needed"]
    assert kept[1].main.text == f"no: 700 of {needed:,} needed"


def test_known_images_alone_have_no_table_of_scores(results):
    add(results, unknown=False)
    shown = section(results)
    assert shown.scores is None and "only false alarms are measured" in shown.words
    assert shown.methods.rows[0].cells[1].main.text == "–"


def test_risks_next_to_unknown_and_groups_have_tables(results):
    own = add(results)
    risks = next(iter(results.guarantees["methods"].values()))["risks"]
    for method in results.guarantees["methods"].values():
        if "unknown" in method:
            answers = method["unknown"]["answers"]
            answers[0] |= {"risks": risks, "context_risks": risks}
            method["unknown"]["groups"] = {"rows": {}, "answers": [answers[0]]}
    shown = section(results)
    assert len(shown.risks) == 2 and len(shown.groups) == 3
    assert [len(table.rows) for table in shown.risks] == [len(risks)] * 2
    value = own["answers"][0]["test"]["false_alarm"]["mean"]
    assert shown.groups[0].rows[0].cells[0].main.value == value
