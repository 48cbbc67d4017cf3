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
    assert fresh.stdout.count("○") == 8 and "0 of 8" in fresh.stdout
    done = finished.tailproof("status", "tiny")
    assert done.returncode == 0, done.stderr
    assert re.search("✓ Logits[^:]*: 15 of 15 ", done.stdout)
    assert done.stdout.count("✓") == 8 and "8 of 8" in done.stdout
    wrong = project.tailproof("status", "tinny")
    assert wrong.returncode == 1 and "'tiny'" in wrong.stderr


def test_what_was_made_by_another_configuration_is_still_open(twin):
    experts = {
        **TINY["experts"],
        "logit_adjustment": {"loss": {"name": "logit_adjustment", "tau": 1.5}},
    }
    twin.write("config/experiments/tiny.yaml", {**TINY, "experts": experts})
    text = re.sub(r"\s+", " ", twin.tailproof("status", "tiny").stdout)
    assert text.count("○") == 1 and "7 of 8" in text
    assert re.search(r"train/logit_adjustment-0: recipe\.loss\.tau\b.*2\.0.*1\.5", text)


def test_targets_are_on_the_checklist(twin):
    twin.write("config/experiments/tiny.yaml", {**TINY, "targets": MILESTONES})
    done = twin.tailproof("status", "tiny")
    assert done.returncode == 1
    text = re.sub(r"\s+", " ", done.stdout)
    assert re.search(r"✗ Target: val_accuracy .*?1\.01 .*?epoch 1: 0 of 3 ", text)
    assert re.search(r"✓ Target: val_accuracy .*?1 .*?: 3 of 3 .*?\b0\.", text)
    assert re.search(r"○ Target: val_loss .*?1e\+09 .*?epoch 40: 0 of 3 ", text)


def test_a_milestone_is_missed_in_the_log_of_a_run_that_was_stopped(twin):
    """Logs of real runs, which contain the epochs of a run in progress."""
    twin.write("config/experiments/tiny.yaml", {**TINY, "targets": MILESTONES})
    folder = twin.results / "experts" / "cross_entropy" / "seed-0"
    (folder / "history.csv").unlink()
    (twin.results / "provenance" / "train" / "cross_entropy-0.json").unlink()
    text = re.sub(r"\s+", " ", twin.tailproof("status", "tiny").stdout)
    assert re.search(r"Experts [^:]*: 2 of 3 .*?cross_entropy, seed 0: 2 epochs", text)
    assert re.search(r"✗ Target: val_accuracy .*?1\.01 .*?cross_entropy, seed 0 .*?\b0\.", text)
    assert re.search(r"○ Target: val_accuracy .*?1 .*?: 2 of 3 ", text)


def test_the_index_lists_the_experiment(twin):
    done = twin.tailproof("index")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "1 experiment in results/index.html\n"
    page = (twin.folder / "results" / "index.html").read_text()
    assert 'href="tiny/report/index.html"' in page and "7 of 7" in page


def test_snakemakes_own_report_has_captions_with_the_runs_values(finished, tmp_path):
    path = tmp_path / "report.html"
    done = finished.snakemake("--report", str(path))
    assert done.returncode == 0, done.stdout + done.stderr
    text = path.read_text()
    captions = _captions(text)
    for values in (
        ["3 experts", "1 seed (0)", "100 bootstrap"],
        ["cifar_resnet20", "sgd", "0.1", "2 epochs"],
        ["cross_entropy, balanced_softmax, logit_adjustment", "1 seed"],
        ["3 recipes"],
        ["logit_adjustment", "seed 0"],
        ["tiny"],
    ):
        assert any(all(value in caption for value in values) for caption in captions), values
    assert not re.search(r"\{\{|\{%", " ".join(captions))


def _captions(text):
    captions = re.findall(r'"caption": ("(?:[^"\\]|\\.)*")', text)
    assert len(captions) >= 7
    return [json.loads(caption) for caption in captions]
