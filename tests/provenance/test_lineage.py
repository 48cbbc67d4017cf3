import hashlib
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from tailproof.data.tables import write_parquet
from tailproof.files import read_json
from tailproof.provenance.lineage import (
    Files,
    Jobs,
    Raw,
    experts_behind,
    lineage,
    together,
    tree,
    verdict,
)
from tailproof.runtime.errors import TailproofError
from tailproof.runtime.ledger import read_ledger
from tailproof.runtime.records import Record, read_record

METRICS = "results/tiny/evaluation/metrics.json"
TOP1 = "seeds.0.test.top1.value"


@pytest.fixture(scope="module")
def copy(finished, tmp_path_factory):
    """A finished project's results, to be read only."""
    folder = tmp_path_factory.mktemp("lineage")
    shutil.copytree(finished.folder / "results", folder / "results")
    return folder


@pytest.fixture
def here(copy, monkeypatch):
    monkeypatch.chdir(copy)


@pytest.fixture
def changed(copy, tmp_path, monkeypatch):
    """Another copy, to be changed."""
    shutil.copytree(copy / "results", tmp_path / "results")
    monkeypatch.chdir(tmp_path)


def files(node):
    return {
        file.path: (file.sha256, state)
        for each in node
        if isinstance(each.item, Files)
        for file, state in zip(each.item.files, each.item.states, strict=True)
    }


def jobs(node):
    return [
        f"{record.rule}/{record.name}"
        for each in node
        if isinstance(each.item, Jobs)
        for record in each.item.records
    ]


def text(node):
    console = Console(width=10_000, color_system=None)
    with console.capture() as captured:
        console.print(tree(node))
        console.print(verdict(node))
    return captured.get()


def sha256(path):
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def test_a_number_of_one_expert_comes_from_its_own_logits(here):
    found = lineage(f"{METRICS}#experts.cross_entropy.{TOP1}")
    value = read_json(METRICS)["experts"]["cross_entropy"]["seeds"]["0"]["test"]["top1"]["value"]
    assert found.item == f"experts.cross_entropy.{TOP1} = {value}"
    assert all(sha256(path) == digest for path, (digest, _) in files(found).items())
    assert {state for _, state in files(found).values()} == {"unchanged"}
    of_experts = {name for name in jobs(found) if "-0" in name and "shard" not in name}
    assert of_experts == {
        f"{rule}/cross_entropy-0" for rule in ("train", "infer", "calibrate", "export")
    }
    assert {"prepare/prepare", "split/split", "shard/test-00000"} <= set(jobs(found))
    assert not any("balanced_softmax" in path for path in files(found))


def test_the_number_follows_from_the_logits_that_are_named(here):
    found = lineage(f"{METRICS}#experts.logit_adjustment.{TOP1}")
    (path,) = (name for name in files(found) if name.endswith("/logits/test.parquet"))
    table = pq.read_table(path)
    logits = np.array(table["logits"].to_pylist())
    hits = (logits.argmax(axis=1) == table["class"].to_numpy()).mean()
    assert float(found.item.split(" = ")[1]) == pytest.approx(hits, abs=1e-9)


@pytest.mark.parametrize(
    ("place", "experts"),
    [
        (f"{METRICS}#ensembles.stacked.{TOP1}", 3),
        (f"{METRICS}#paired.test.cross_entropy - logit_adjustment.nll.difference", 2),
        (f"{METRICS}#paired.test.stacked - cross_entropy.nll.difference", 3),
        (f"{METRICS}#agreement.test.cross_entropy / logit_adjustment.seeds.0.kappa.value", 2),
        (f"{METRICS}#experts.logit_adjustment.over_seeds.dev.risk_standard_chow_at_0.8.mean", 1),
        ("results/tiny/evaluation/summary.csv#test.logit_adjustment.expert.top1.mean", 1),
        ("results/tiny/evaluation/summary.csv#test.stacked.ensemble.top1.mean", 3),
        ("results/tiny/evaluation/per_class.csv#dev.logit_adjustment.3.recall", 1),
        ("results/tiny/experts/logit_adjustment/seed-0/history.csv#2.val_loss", 1),
        (METRICS, 3),
        ("results/tiny/report/index.html", 3),
    ],
)
def test_what_an_item_depends_on(here, place, experts):
    trained = [name for name in jobs(lineage(place)) if name.startswith("train/")]
    assert len(set(trained)) == len(trained) == experts


@pytest.mark.parametrize(
    ("way", "columns", "experts"),
    [
        ("experts.a.seeds.0.test.top1.value", "", "a"),
        ("ensembles.stacked.over_seeds.test.top1.mean", "", "a b"),
        ("paired.test.stacked - student.top1.low", "", "a b student"),
        ("students.test.student.top1.share.value", "", "a b student"),
        ("splits.test.rows", "", "a b student"),
        ("test.mean_logits.top1", "split.method.metric", "a b"),
        ("test.student.top1", "split.method.metric", "student"),
    ],
)
def test_a_student_is_behind_no_number_of_an_ensemble(way, columns, experts):
    parameters = {"experts": ["a", "student", "b"], "students": ["student"]}
    maker = Record.model_construct(rule="evaluate", parameters=parameters, seeds=[0])
    named = columns.split(".") if columns else []
    behind = experts_behind(maker, tuple(way.split(".")), named)
    assert behind == {(expert, "0") for expert in experts.split()}


def test_nothing_is_told_twice(here):
    found = lineage("results/tiny/report/index.html")
    rules = [each.item.records[0].path for each in found if isinstance(each.item, Jobs)]
    assert rules.count("results/tiny/provenance/prepare/prepare.json") == 1
    assert rules.count("results/tiny/provenance/evaluate/evaluate.json") == 1
    assert all(not each.children for each in found if each.above)
    lines = text(found).splitlines()
    assert any(line.endswith("as above") for line in lines)
    assert len(lines) < 150


def test_the_text_names_value_files_jobs_and_settings(here):
    record = read_record("results/tiny/provenance/train/logit_adjustment-0.json")
    lines = text(lineage(f"{METRICS}#experts.logit_adjustment.{TOP1}")).splitlines()
    assert f"{METRICS}  {sha256(METRICS)[:12]}" in lines[1]
    (job,) = (line for line in lines if "─ train" in line)
    for part in (record.code.closure[:12], f"{record.started:%Y-%m-%d %H:%M}", record.machine.host):
        assert part in job
    settings = lines[lines.index(job) + 1]
    assert settings.split("model.name ")[1] == (
        "cifar_resnet20, loss.name logit_adjustment, loss.tau 2.0, epochs 2, batch_size 64, "
        "script train"
    )
    (shards,) = (line for line in lines if "shards/{train,val}/part-00000.parquet" in line)
    assert "2 files" in shards
    assert any("raw data" in line and "raw.parquet" in line for line in lines)
    total = len(files(lineage(f"{METRICS}#experts.logit_adjustment.{TOP1}")))
    assert lines[-1].endswith("jobs: all unchanged")
    assert lines[-1].startswith(f"{total} files")


def test_altered_missing_and_remade_files_are_marked(changed):
    weights = Path("results/tiny/experts/logit_adjustment/seed-0/model.safetensors")
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    Path("results/tiny/splits.parquet").unlink()
    calibrate = read_record("results/tiny/provenance/calibrate/logit_adjustment-0.json")
    path = calibrate.outputs[0].path
    again = [calibrate.outputs[0].model_copy(update={"sha256": "0" * 64})]
    calibrate.model_copy(update={"outputs": again}).write(calibrate.path)
    found = lineage(f"{METRICS}#experts.logit_adjustment.{TOP1}")
    states = {name: state for name, (_, state) in files(found).items() if state != "unchanged"}
    assert states == {
        weights.as_posix(): "altered",
        "results/tiny/splits.parquet": "missing",
        path: "rebuilt since",
    }
    lines = text(found).splitlines()
    assert lines[-1].split(": ")[1].startswith("3 ")
    assert any(f"1 altered (the first: {weights})" in line for line in lines)


def test_raw_files_are_counted_and_compared(changed):
    Path("images").mkdir()
    for name in ("a", "b"):
        Path(f"images/{name}.png").write_text(name)
    raw = Path("results/tiny/raw.parquet")
    table = pq.read_table(raw)
    rows = [{"path": f"{n}.png", "sha256": sha256(f"images/{n}.png"), "bytes": 1} for n in "ab"]
    write_parquet(raw, table.from_pylist(rows, table.schema))
    prepare = read_record("results/tiny/provenance/prepare/prepare.json")
    source = {"name": "image_folder", "root": "images"}
    prepare.model_copy(update={"parameters": {"data": {"source": source}}}).write(prepare.path)

    def item():
        return next(each.item for each in lineage(METRICS) if isinstance(each.item, Raw))

    assert (item().files, item().root, item().notes) == (2, Path("images"), ())
    Path("images/b.png").write_text("c")
    assert item().notes == ("images/b.png is altered",)
    shutil.rmtree("images")
    assert "2 raw" in item().notes[0] and "images" in item().notes[0]
    raw.unlink()
    assert item().files is None
    (note,) = item().notes
    assert "raw.parquet" in note and note in text(lineage(METRICS))


def test_weights_of_another_experiment_are_followed_there(changed):
    shutil.copytree("results/tiny", "results/second")
    train = read_record("results/tiny/provenance/train/logit_adjustment-0.json")
    weights = read_ledger("tiny").files[
        "results/tiny/experts/cross_entropy/seed-0/model.safetensors"
    ]
    foreign = weights.model_copy(update={"path": "elsewhere/start.safetensors"})
    inputs = [*train.inputs, weights, foreign]
    update = {"experiment": "second", "inputs": inputs}
    second = train.model_copy(update=update)
    outputs = [
        file.model_copy(update={"path": file.path.replace("tiny", "second")})
        for file in train.outputs
    ]
    second.model_copy(update={"outputs": outputs}).write(second.path)
    found = lineage(outputs[0].path)
    assert jobs(found).count("train/cross_entropy-0") == 1
    assert files(found)["elsewhere/start.safetensors"][1] == "missing"


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("README.md", r"README\.md.*results/EXPERIMENT/"),
        ("results/tinny/report/index.html", r"'tinny'.*'tiny'"),
        (
            "results/tiny/evaluation/metric.json",
            r"metric\.json\b.*'results/tiny/evaluation/metrics\.json'",
        ),
        (
            "results/tiny/provenance/split/split.json",
            r"split/split\.json\b.*results/tiny/splits\.parquet",
        ),
        (
            f"{METRICS}#experts.crossentropy.{TOP1}",
            r"metrics\.json\b.*'experts\.crossentropy'.*'cross_entropy'",
        ),
        (
            f"{METRICS}#experts.cross_entropy",
            r"experts\.cross_entropy\b.*experts\.cross_entropy\.seeds",
        ),
        ("results/tiny/splits.parquet#a", r"splits\.parquet\b.*JSON.*CSV"),
    ],
)
def test_bad_input_is_told_in_one_sentence(here, place, message):
    with pytest.raises(TailproofError, match=message) as caught:
        lineage(place)
    assert "\n" not in str(caught.value)


def test_no_results_are_told(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(TailproofError, match=r"results/tiny/provenance\b"):
        lineage(METRICS)


def test_an_absolute_path_is_the_same(here):
    assert lineage(str(Path(METRICS).resolve())).item == lineage(METRICS).item


def test_the_command_prints_plain_text_into_a_pipe(finished):
    done = finished.tailproof("lineage", f"{METRICS}#experts.cross_entropy.{TOP1}")
    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stdout
    assert all(line == line.rstrip() for line in done.stdout.splitlines())
    assert "all unchanged" in done.stdout
    done = finished.tailproof("lineage", f"{METRICS}#experts.x")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1


def test_paths_are_written_together():
    assert together(["a/b.json"]) == "a/b.json"
    assert together(["a/tune.parquet", "a/test.parquet"]) == "a/t{une,est}.parquet"
    many = [f"s/{split}/part-{part:05d}.parquet" for split in "xy" for part in range(9)]
    assert together(many) == "s/{x,y}/part-0000*.parquet"
    assert together(["a/b", "a/c/d"]) == "a/…"
