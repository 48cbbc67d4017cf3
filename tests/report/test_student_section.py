"""The section on students, from drawn logits of two experts, a student and their ensemble."""

import re

import pytest

from tailproof.report.page import write_page
from tailproof.report.results import Results
from tailproof.report.student_section import section
from tests.report.conftest import results as drawn_results

EXPERTS = ("plain", "adjusted", "student")


@pytest.fixture(scope="module")
def taught(tmp_path_factory):
    """(folder, experiment) with a student."""
    classes = ["ant", "bee", "cat", "dog"]
    options = {"students": ["student"]}
    return drawn_results("taught", tmp_path_factory, classes, EXPERTS, [0, 1], **options)


@pytest.fixture
def results(taught):
    folder, experiment = taught
    return Results.read("taught", experiment, folder)


def test_an_experiment_without_students_has_no_section(drawn):
    folder, experiment = drawn
    assert section(Results.read("drawn", experiment, folder)) is None


def test_methods_are_compared_at_their_cost(results):
    shown = section(results)
    assert [row.label for row in shown.costs.rows] == [*EXPERTS, "stacked"]
    assert {row.label: row.tag for row in shown.costs.rows} == {
        "plain": "expert",
        "adjusted": "best expert",
        "student": "student",
        "stacked": "ensemble",
    }
    cells = {row.label: [cell.main.value for cell in row.cells] for row in shown.costs.rows}
    assert cells["stacked"][2:] == [920_000, 138_000_000, 450.0]
    assert (
        cells["student"][0] == results.scores.value("test", "student", "balanced_accuracy")["mean"]
    )


def test_distances_are_those_of_the_metrics(results):
    own = results.scores.metrics["students"]["test"]["student"]
    row = section(results).distances.rows[0]
    parts = ("gained", "missing", "distance", "beyond_half")
    expected = [own["balanced_accuracy"][part]["difference"] for part in parts]
    assert [cell.main.value for cell in row.cells[:4]] == expected
    paired = results.scores.difference("test", "student", own["best_expert"], "balanced_accuracy")
    assert own["balanced_accuracy"]["gained"] == paired


@pytest.mark.parametrize(
    ("distance", "beyond", "said"),
    [
        ((0.01, 0.03), (0.001, 0.02), "more than half"),
        ((0.01, 0.03), (-0.02, -0.001), "less than half"),
        ((0.01, 0.03), (-0.02, 0.02), "about half"),
        ((-0.01, 0.03), (0.001, 0.02), "not certain"),
        ((-0.03, -0.01), (0.001, 0.02), "stacked is worse than adjusted"),
    ],
)
def test_the_verdict_is_that_of_the_intervals(results, distance, beyond, said):
    own = results.scores.metrics["students"]["test"]["student"]["balanced_accuracy"]
    own["distance"] |= dict(zip(("low", "high"), distance, strict=True))
    own["beyond_half"] |= dict(zip(("low", "high"), beyond, strict=True))
    assert said in section(results).verdicts[0]


def test_a_teacher_that_knows_train_by_heart_is_named(results):
    assert section(results).memorised
    results.records["teach/teacher-1"].results["teacher"]["train"]["balanced_accuracy"] = 0.98
    assert not section(results).memorised


def test_the_page_has_the_section_and_what_the_student_learnt(taught):
    folder, experiment = taught
    write_page("taught", experiment, folder, folder / "report" / "index.html")
    page = (folder / "report" / "index.html").read_text()
    assert re.search(r'<section id="students">.*?id="student-costs"', page, re.S)
    assert "experts/teacher-0.parquet" in page
