"""The criteria of an experiment before, during and after training."""

import io
import shutil

import pytest
from rich.console import Console

from tailproof.files import read_json, write_json
from tailproof.report.checklist import Progress
from tailproof.report.finding_cards import cards
from tailproof.report.page import write_page
from tailproof.report.results import Results
from tailproof.report.status import print_criteria
from tailproof.report.status_block import holding, status_block, wrong
from tailproof.runtime.errors import TailproofError
from tailproof.runtime.records import read_record

HEADER = "=== attempt of 2026-01-01 00:00:00+00:00, process 1 on node\n"
LINE = "2026-01-01 00:00:{:02d},000 INFO epoch {} learning_rate 0.1 train_loss 1 val_accuracy {}\n"


@pytest.fixture
def copied(drawn, tmp_path):
    """(folder, experiment) of the drawn results, to be changed."""
    shutil.copytree(drawn[0], tmp_path / "drawn")
    return tmp_path / "drawn", drawn[1]


def progress(folder, experiment, **expect):
    changed = experiment.model_validate(experiment.model_dump() | {"targets": expect})
    return Progress(changed, folder, folder.parent / "logs")


def by_name(criteria):
    return {each.name: each for each in criteria}


def test_a_finished_experiment_holds(drawn):
    found = progress(*drawn).criteria()
    assert [(each.name, each.state) for each in found] == [
        ("Data", "holds"), ("Preflight", "holds"), ("Experts trained", "holds"),
        ("Calibrators fitted", "holds"), ("Logits exported", "holds"), ("Jobs on record", "holds"),
    ]  # fmt: skip
    named = by_name(found)
    assert named["Experts trained"].summary == "4 of 4 runs"
    assert named["Logits exported"].summary == "20 of 20 files with all rows of their split"
    assert named["Preflight"].summary == "1 warning"
    assert holding(found).startswith("6 of 6 ")


def test_before_anything_is_made_all_is_open(drawn, tmp_path):
    expect = {"val_accuracy": [{"at_least": 0.5, "at_epoch": 3}]}
    found = progress(tmp_path / "nothing", drawn[1], **expect).criteria()
    assert {each.state for each in found} == {"open"}
    assert by_name(found)["Target: val_accuracy at least 0.5 at epoch 3"].summary == "0 of 4 runs"
    assert progress(tmp_path / "nothing", drawn[1]).audited().state == "open"


def test_targets_are_told_with_what_the_runs_have(drawn):
    expect = {"val_accuracy": [{"at_least": 0.1}, {"at_least": 0.5, "at_epoch": 1}]}
    found = by_name(progress(*drawn, **expect, val_aurocc=[{"at_least": 0.5}]).criteria())
    held = found["Target: val_accuracy at least 0.1 at the end"]
    assert held.state == "holds" and held.summary.startswith("4 of 4 runs, lowest 0.")
    missed = found["Target: val_accuracy at least 0.5 at epoch 1"]
    assert missed.state == "fails" and "missed: plain, seed 0 has 0." in missed.summary
    unknown = found["Target: val_aurocc at least 0.5 at the end"]
    assert (unknown.state, unknown.summary) == ("open", "0 of 4 runs; no value in 4 finished runs")


def test_a_milestone_is_missed_while_the_run_goes_on(copied):
    folder, experiment = copied
    (folder / "provenance/train/plain-0.json").unlink()
    (folder / "experts/plain/seed-0/history.csv").unlink()
    log = folder.parent / "logs/train/plain-0.log"
    log.parent.mkdir(parents=True)
    log.write_text(HEADER + LINE.format(0, 1, 0.01)[:-9])
    expect = {"val_accuracy": [{"at_least": 0.05, "at_epoch": 2}, {"at_least": 0.1}]}
    before = by_name(progress(folder, experiment, **expect).criteria())
    early, late = (
        f"Target: val_accuracy at least {each}" for each in ("0.05 at epoch 2", "0.1 at the end")
    )
    assert before[early].state == "open" and before["Experts trained"].summary == "3 of 4 runs"
    with open(log, "a") as file:
        file.writelines(LINE.format(epoch, epoch, 0.01 * epoch) for epoch in (1, 2, 3))
    after = by_name(progress(folder, experiment, **expect).criteria())
    assert after[early].state == "fails"
    assert after[early].summary == "3 of 4 runs; missed: plain, seed 0 has 0.02"
    assert (after[late].state, after[late].summary[:11]) == ("open", "3 of 4 runs"), (
        "not at its end"
    )
    assert after["Experts trained"].details == ("plain, seed 0: 3 epochs so far",)
    assert after["Jobs on record"].state == "open"


def test_an_export_that_lacks_rows_fails(copied):
    folder, experiment = copied
    path = folder / "provenance/export/adjusted-1.json"
    record = read_record(path)
    rows = record.results["rows"]
    short = {"rows": rows | {"dev": rows["dev"] - 1}}
    record.model_copy(update={"results": short}).write(path)
    found = by_name(progress(folder, experiment).criteria())["Logits exported"]
    assert found.state == "fails" and found.summary.startswith("19 of 20 files")
    assert found.details == (f"adjusted, seed 1: rows of dev {rows['dev'] - 1} of {rows['dev']}",)


def test_a_record_that_was_edited_fails(copied):
    folder, experiment = copied
    path = folder / "provenance/evaluate/evaluate.json"
    path.write_text(path.read_text().replace("snakemake", "snakemade"))
    found = by_name(progress(folder, experiment).criteria())["Jobs on record"]
    assert found.state == "fails"
    assert [line.split()[0] for line in found.details] == [str(path)]


def test_errors_of_the_preflight_fail_unless_they_are_accepted(copied):
    folder, experiment = copied
    found = read_json(folder / "preflight.json")
    found["findings"][0] |= {"severity": "error", "kind": "unusual_rate"}
    write_json(folder / "preflight.json", found)
    failed = by_name(progress(folder, experiment).criteria())["Preflight"]
    assert failed.state == "fails" and failed.summary.startswith("1 error; ")
    changed = experiment.model_validate(
        experiment.model_dump() | {"preflight": {"ignore": ["unusual_rate"]}}
    )
    ignored = by_name(progress(folder, changed).criteria())["Preflight"]
    assert ignored.state == "holds" and "unusual_rate" in ignored.summary
    write_json(folder / "preflight.json", found | {"experts": {}})
    assert by_name(progress(folder, experiment).criteria())["Preflight"].state == "open"


def test_a_damaged_file_is_told_in_a_sentence(copied):
    folder, experiment = copied
    (folder / "preflight.json").write_text("{")
    with pytest.raises(TailproofError, match=r"preflight\.json"):
        progress(folder, experiment).criteria()


def test_the_page_says_what_holds_and_what_is_wrong(copied):
    folder, experiment = copied
    path = folder / "experts/plain/seed-0/diagnosis.json"
    finding = {
        "kind": "divergence", "title": "It <b>diverged</b>.", "severity": "error", "epochs": [],
        "evidence": {}, "confidence": 0.9, "cost": {}, "change": None, "expects": "",
    }  # fmt: skip
    write_json(path, {"findings": [finding]})
    shown = status_block(cards(Results.read("drawn", experiment, folder)), [])
    assert (
        "It &lt;b&gt;diverged&lt;/b&gt;." in shown["wrong"] and 'href="#findings"' in shown["wrong"]
    )
    write_page("drawn", experiment, folder, folder / "report/index.html")
    page = (folder / "report/index.html").read_text()
    head = page[: page.index('<nav aria-label="Sections">')]
    assert head.index('<p class="wrong">') < head.index("6 of 6")
    assert head.count("<b>Logits") == 1 and "20 of 20 files" in head
    section = page[page.index('<section id="preflight">') : page.index('<section id="training">')]
    assert "the rate &lt;stays&gt; the same" in section and "name: cosine" in section
    assert 'href="preflight.html"' in section


def test_nothing_is_said_to_be_wrong_where_nothing_is():
    assert wrong([]) == ""


def test_criteria_are_printed_with_signs_and_words(drawn):
    console = Console(record=True, width=200, highlight=False, file=io.StringIO())
    expect = {"val_accuracy": [{"at_least": 0.99}]}
    criteria = progress(*drawn, **expect).criteria()
    print_criteria([*criteria, progress(*drawn).audited()], console)
    text = console.export_text()
    assert "✓ Data: " in text and "✗ Target: val_accuracy at least 0.99" in text
    assert "○ Audit: " in text and "snakemake --cores all " in text
    assert "6 of 8" in text
