"""What shows a real experiment: readiness, the index, Snakemake's own report."""

import json
import re

from tests.project import TINY

MILESTONES = {
    "val_accuracy": [{"at_least": 1.01, "at_epoch": 1}, {"at_most": 1}],
    "val_loss": [{"at_most": 1e9, "at_epoch": 40}],
}


def test_status_before_and_after(project, finished):
    fresh = project.tailproof("status", "tiny")
    assert fresh.returncode == 0, fresh.stderr
    assert "○ Data: " in fresh.stdout and "0 of 8 hold" in fresh.stdout
    done = finished.tailproof("status", "tiny")
    assert done.returncode == 0, done.stderr
    assert "✓ Logits exported: 18 of 18 files with all rows of their split" in done.stdout
    assert "✓ Audit: " in done.stdout and "8 of 8 hold" in done.stdout
    wrong = project.tailproof("status", "tinny")
    assert wrong.returncode == 1 and "(did you mean 'tiny'?)" in wrong.stderr


def test_what_was_made_by_another_configuration_is_still_open(twin):
    experts = {
        **TINY["experts"],
        "logit_adjustment": {"loss": {"name": "logit_adjustment", "tau": 1.5}},
    }
    twin.write("config/experiments/tiny.yaml", {**TINY, "experts": experts})
    told = re.sub(r"\s+", " ", twin.tailproof("status", "tiny").stdout)
    assert re.search("○ Up to date with [^:]*: [0-9]+ jobs to run again", told)
    assert "train/logit_adjustment-0: recipe.loss.tau: 2.0 became 1.5" in told
    assert "7 of 8 hold" in told


def test_targets_are_on_the_checklist(twin):
    twin.write("config/experiments/tiny.yaml", {**TINY, "targets": MILESTONES})
    told = twin.tailproof("status", "tiny")
    assert told.returncode == 1
    text = re.sub(r"\s+", " ", told.stdout)
    assert "✗ Target: val_accuracy at least 1.01 at epoch 1: 0 of 3 runs; missed: " in text
    assert "✓ Target: val_accuracy at most 1 at the end: 3 of 3 runs, highest 0." in text
    assert (
        "○ Target: val_loss at most 1e+09 at epoch 40: 0 of 3 runs; no value in 3 finished runs"
        in text
    )


def test_a_milestone_is_missed_in_the_log_of_a_run_that_was_stopped(twin):
    """Real logs of real runs, which hold what a run in progress has told so far."""
    twin.write("config/experiments/tiny.yaml", {**TINY, "targets": MILESTONES})
    folder = twin.results / "experts" / "cross_entropy" / "seed-0"
    (folder / "history.csv").unlink()
    (twin.results / "provenance" / "train" / "cross_entropy-0.json").unlink()
    told = re.sub(r"\s+", " ", twin.tailproof("status", "tiny").stdout)
    assert "Experts trained: 2 of 3 runs (open) cross_entropy, seed 0: 2 epochs so far" in told
    assert "missed: cross_entropy, seed 0 has 0." in told
    assert "○ Target: val_accuracy at most 1 at the end: 2 of 3 runs" in told


def test_the_index_lists_the_experiment(finished):
    told = finished.tailproof("index")
    assert told.returncode == 0, told.stderr
    assert told.stdout == "1 experiment in results/index.html\n"
    page = (finished.folder / "results" / "index.html").read_text()
    assert 'href="tiny/report/index.html"' in page and "7 of 7 hold" in page


def test_snakemakes_own_report_has_captions_with_the_runs_values(finished, tmp_path):
    path = tmp_path / "report.html"
    done = finished.snakemake("--report", str(path))
    assert done.returncode == 0, done.stdout + done.stderr
    text = path.read_text()
    captions = (
        "which of 3 experts, or which ensemble of them, to use",
        "1 seed (0), intervals from 100 bootstrap resamples",
        "with cifar_resnet20, sgd at a rate of 0.1 and up to 2 epochs",
        "Every method (cross_entropy, balanced_softmax, logit_adjustment and their ensembles)",
        "What training was about to do with 3 recipes",
        "What the history of logit_adjustment, seed 0, says",
        "What was estimated of each run of",
    )
    assert [each for each in captions if each not in text] == []
    assert not re.search(r"\{\{|\{%", " ".join(_captions(text)))


def _captions(text):
    found = re.findall(r'"caption": ("(?:[^"\\]|\\.)*")', text)
    assert len(found) >= 7
    return [json.loads(each) for each in found]
