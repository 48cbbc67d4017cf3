"""Results under DVC, with the real git, DVC and Snakemake."""

import json
import re
import shutil
from pathlib import Path

import pandas as pd
import pytest
import yaml

from tailproof.evaluation.table_columns import COLUMNS
from tests.project import ROOT

TEMPLATES = {path.stem: path for path in sorted((ROOT / ".dvc" / "plots").glob("*.json"))}


@pytest.fixture
def checkout(published, tmp_path):
    """What was published, to be changed."""
    return published.checkout.copy(tmp_path / "checkout")


def files(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted((folder / "results").rglob("*"))
        if path.is_file()
    }


def test_publish_stages_the_records_and_the_lock_and_nothing_else(published):
    records = published.checkout.folder.glob("results/tiny/provenance/*/*.json")
    paths = {path.relative_to(published.checkout.folder).as_posix() for path in records}
    assert published.staged == paths | {"dvc.lock"}
    assert not published.checkout.told("git", "status", "--porcelain")


def test_dvc_holds_every_output_on_record(published):
    folder = published.checkout.folder
    records = [json.loads(path.read_text()) for path in folder.glob("results/tiny/provenance/*/*")]
    listed = published.checkout.told("dvc", "ls", ".", "--recursive", "--dvc-only")
    assert set(listed.split()) == {file["path"] for each in records for file in each["outputs"]}


def test_a_clone_pulls_the_same_bytes(published, tmp_path):
    clone = published.clone(tmp_path / "clone")
    clone.told("dvc", "pull", "--quiet")
    pulled, pushed = files(clone.folder), files(published.checkout.folder)
    assert pulled.keys() == pushed.keys()
    assert [name for name in pulled if pulled[name] != pushed[name]] == []
    assert not clone.told("git", "status", "--porcelain")


def test_repro_of_what_is_finished_runs_no_job(checkout):
    told = checkout.told("dvc", "repro")
    for stage in ("dataset", "experts", "evaluation"):
        assert f"Running stage '{stage}@tiny'" in told
    assert not re.search("^Job ", told, re.MULTILINE)
    assert not checkout.told("git", "status", "--porcelain")


def test_metrics_diff_is_the_table_of_accuracies(checkout):
    name = "results/tiny/evaluation/accuracy.json"
    path = checkout.folder / name
    before = path.read_text()
    path.write_text(before.replace('"top1": ', '"top1": 1'))  # 0.6 becomes 10.6
    rows = json.loads(checkout.told("dvc", "metrics", "diff", "--json"))[name]
    methods = [*json.loads(before)["test"]]
    assert {"cross_entropy", "stacked"} < set(methods)
    assert set(rows) == {f"{split}.{each}.top1" for split in ("dev", "test") for each in methods}
    assert all(row["diff"] == pytest.approx(10) for row in rows.values())
    assert set(json.loads(before)["test"]["stacked"]) == {
        "top1",
        "balanced_accuracy",
        "few_accuracy",
        "ece",
    }


def test_plots_show_accuracies_curves_and_reliability(published, tmp_path):
    clone = published.clone(tmp_path / "clone")
    clone.told("dvc", "pull", "--quiet", "evaluation@tiny")
    told = clone.told("dvc", "plots", "show", "--json")
    plots = {Path(name).stem: plot for name, (plot,) in json.loads(told)["data"].items()}
    assert set(plots) == {"summary", "risk_coverage", "reliability", "curves"}
    for name, plot in plots.items():
        content = plot["content"]
        assert "<DVC" not in json.dumps(content)
        (table,) = (clone.folder / "results" / "tiny").glob(f"*/{name}.csv")
        assert len(content["data"]["values"]) == len(table.read_text().splitlines()) - 1
        assert content["title"]["text"].startswith("tiny, ")
    page = clone.told("dvc", "plots", "show").strip().removeprefix("file://")
    assert all(
        plot["content"]["title"]["text"] in Path(page).read_text() for plot in plots.values()
    )
    assert not clone.told("git", "status", "--porcelain")


@pytest.mark.parametrize(
    ("template", "table"),
    [("accuracy", "summary"), ("risk_coverage", "risk_coverage"), ("reliability", "reliability")],
)
def test_templates_use_columns_that_there_are(template, table):
    text = TEMPLATES[template].read_text()
    made = set(re.findall(r'"as": "(\w+)"', text)) | {"rev", "both"}
    used = set(re.findall(r'"field": "(\w+)"', text)) | set(re.findall(r"datum\.(\w+)", text))
    assert used - made <= set(COLUMNS[table].split())
    assert set(TEMPLATES) == {"accuracy", "risk_coverage", "reliability", "curves"}


def test_the_curves_hold_every_epoch_of_every_expert(published):
    folder = published.checkout.folder / "results" / "tiny"
    curves = pd.read_csv(folder / "report" / "curves.csv")
    for (expert, seed), own in curves.groupby(["expert", "seed"]):
        history = pd.read_csv(folder / "experts" / expert / f"seed-{seed}" / "history.csv")
        found = own.drop(columns=["expert", "seed"]).reset_index(drop=True)
        pd.testing.assert_frame_equal(found[history.columns], history)
    assert curves["expert"].nunique() == 3
    used = re.findall(r'"field": "(expert|seed)"', TEMPLATES["curves"].read_text())
    assert sorted(used) == ["expert", "seed"]


def without_git(folder):
    shutil.rmtree(folder / ".git")


def without_dvc(folder):
    shutil.rmtree(folder / ".dvc")


def altered(folder):
    path = folder / "results" / "tiny" / "splits.json"
    path.write_text(path.read_text() + "\n")


def without_stages(folder):
    path = folder / "dvc.yaml"
    path.write_text(path.read_text().replace("  experts:\n", "  models:\n"))


@pytest.mark.parametrize(
    ("harm", "names", "sentence"),
    [
        (without_git, [], r"\bgit repository\b.*`git init`$"),
        (without_dvc, [], r"\.dvc\b.*`dvc init`"),
        (None, ["tinny"], r"'tinny'.*'tiny'.*config/config\.yaml"),
        (altered, ["tiny"], r"'tiny'.*/splits\.json is altered"),
        (without_stages, [], r"`dvc commit .*` failed: ERROR: .*experts@tiny"),
    ],
    ids=["no git", "no DVC", "not listed", "altered", "no stage"],
)
def test_publish_refuses_in_one_sentence(checkout, harm, names, sentence):
    if harm:
        harm(checkout.folder)
    lock = (checkout.folder / "dvc.lock").read_text()
    done = checkout.tailproof("publish", *names)
    assert done.returncode == 1
    assert re.search(sentence, done.stderr.rstrip()), done.stderr
    assert done.stderr.count("\n") == 1
    if harm is not without_stages:
        assert (checkout.folder / "dvc.lock").read_text() == lock


def test_publish_names_what_a_clone_will_lack(checkout):
    with (checkout.folder / "config" / "config.yaml").open("a") as file:
        file.write("# more\n")
    done = checkout.tailproof("publish", "tiny")
    assert done.returncode == 0, done.stderr
    assert re.search("index.*config/config.yaml$", done.stdout, re.M)
    assert "git commit -m 'Publish tiny' && dvc push && git push" in done.stdout


def test_dvc_keeps_every_result(finished):
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    start = "${results}/${item.experiment}/"
    kept = {
        (next(iter(out)) if isinstance(out, dict) else out).removeprefix(start)
        for stage in stages.values()
        for kind in ("outs", "metrics", "plots")
        for out in stage.get(kind, [])
    }
    results = {path.relative_to(finished.results) for path in finished.results.rglob("*.*")}
    files = {path for path in results if (finished.results / path).is_file()}
    lost = {
        path.as_posix()
        for path in files
        if path.parts[0] != "provenance"  # which git keeps
        and not {path.as_posix(), *(parent.as_posix() for parent in path.parents)} & kept
    }
    assert files and lost == set()
