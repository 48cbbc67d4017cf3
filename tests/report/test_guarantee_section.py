import pytest

from tailproof.files import read_json
from tailproof.report.guarantee_section import section
from tailproof.report.results import Results
from tests.guarantees.test_guarantee import pairs, run, sites


@pytest.fixture
def results(drawn):
    folder, experiment = drawn
    return Results.read("drawn", experiment, folder)


def texts(table):
    return [[row.label, row.tag, *(cell.main.text for cell in row.cells)] for row in table.rows]


def test_the_numbers_are_those_of_the_file(results):
    shown = section(results)
    method = read_json(results.folder / "evaluation" / "guarantees.json")["methods"][shown.method]
    first = [row for row in method["sets"] if (row["weighting"], row["coverage"]) == ("plain", 0.9)]
    for row, own in zip(shown.sets.rows, first, strict=True):
        assert row.label == own["procedure"]
        values = [cell.main.value for cell in row.cells[:-1]]
        names = ("coverage", "macro_coverage", "tail_coverage", "below_half", "size")
        assert values == [own["promise"], *(own["test"][name]["mean"] for name in names)]
        kept = own["test"]["coverage"]["mean"] >= own["lowest"]["test"]
        assert row.cells[-1].main.text == ("yes" if kept else "no")
    assert len(shown.other_sets) == len(method["sets"]) / len(first) - 1
    assert len(shown.risks.rows) == len(method["risks"])
    assert shown.roll_up is None


def test_what_cannot_be_promised_says_what_it_takes(results):
    lines = {(label, tag): cells for label, tag, *cells in texts(section(results).risks)}
    tune = results.guarantees["rows"]["tune"]
    assert lines["1 %", "all"] == [f"no: {tune:,} of 230 needed", "–", "–", "–"]


def test_a_broken_promise_is_marked(results):
    for row in results.guarantees["methods"][section(results).method]["sets"]:
        row["lowest"]["test"] = 1.1
    cells = [row.cells[-1] for row in section(results).sets.rows]
    assert all(cell.main.text == "no" and cell.strong for cell in cells)


def test_context_has_its_effects_and_promises_of_images_and_groups(results, tmp_path):
    guarantees = results.guarantees
    own = run(tmp_path, groups=pairs, context=sites)
    guarantees.clear()
    guarantees.update(own)
    shown = section(results)
    effects, of_groups = shown.context.effects
    within = own["methods"]["stacked"]["context"], own["methods"]["stacked"]["groups"]["context"]
    for table, context in zip((effects, of_groups), within, strict=True):
        row = table.rows[-1]
        assert row.label == "stacked" and len(row.cells) == len(table.head)
        assert row.cells[0].main.value == context["exponents"]["3"]["site"]
        assert row.cells[1].main.value == context["test"]["top1"]["changed"]["difference"]
    sets, risks, roll_up, *others = shown.context.promises
    assert len(others) == 3 and all(table.rows for table in (risks, roll_up))
    for table, context in zip((sets, others[0]), within, strict=True):
        coverage = context["promises"]["sets"][0]["test"]["coverage"]["mean"]
        assert table.rows[0].cells[1].main.value == coverage


def test_the_roll_up_has_a_column_for_every_rank(results):
    """The file of a taxonomy, made of the drawn one."""
    guarantees = results.guarantees
    guarantees["ranks"].append("genus")
    for method in guarantees["methods"].values():
        for row in method["roll_ups"]:
            row["ranks"]["genus"] = row["ranks"]["label"]
    table = section(results).roll_up
    assert [name.split(",")[0] for name in table.head[::2]][:2] == ["answered", "by rejection"]
    assert all(len(row.cells) == len(table.head) == 9 for row in table.rows)
