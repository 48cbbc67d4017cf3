import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tailproof.digests import sha256_file
from tailproof.provenance.numeric_distance import numeric_distance
from tailproof.provenance.reproduce import _in_scratch, _within_noise, _within_spread, draw
from tailproof.provenance.upgrade import stale_stages
from tailproof.runtime.ledger import read_ledger
from tailproof.runtime.records import File


def reproduction(project):
    path = project.folder / "reproduction" / "tiny" / "reproduction.json"
    return json.loads(path.read_text())


def verdicts(project):
    return {job["job"]: job["verdict"] for job in reproduction(project)["jobs"]}


def test_drawn_jobs_give_the_same_bytes_and_leave_the_results_alone(finished, tmp_path):
    project = finished.copy(tmp_path / "project")
    before = {path: path.stat().st_mtime_ns for path in project.results.rglob("*")}
    done = project.tailproof("reproduce", "tiny", "--jobs", "3", "--seed", "2")
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(verdicts(project)) == 3 and set(verdicts(project).values()) == {"same bytes"}
    assert len({job.split("/")[0] for job in verdicts(project)}) == 3
    assert {path: path.stat().st_mtime_ns for path in project.results.rglob("*")} == before
    assert not list((project.folder / ".state").glob("reproduce-*"))


def test_a_forged_result_differs_from_what_its_job_writes(finished, tmp_path, monkeypatch):
    """Even if its record and the records of all that read it were rewritten."""
    project = finished.copy(tmp_path / "project")
    monkeypatch.chdir(project.folder)
    forged = "results/tiny/experts/cross_entropy/seed-0/calibration.json"
    forge(forged)
    seed = seed_that_draws(forged)
    done = project.tailproof("reproduce", "tiny", "--jobs", "1", "--seed", str(seed))
    assert done.returncode == 1
    [job] = reproduction(project)["jobs"]
    assert job["job"] == "calibrate/cross_entropy-0" and job["verdict"] == "differs"
    assert job["different"] == [forged]


def forge(path):
    """Change a number of a file, and its digest in every record."""
    content = json.loads(Path(path).read_text())
    content["temperature"] *= 1.01
    Path(path).write_text(json.dumps(content))
    now = File(path=path, sha256=sha256_file(path), bytes=Path(path).stat().st_size)
    for record in read_ledger("tiny"):
        lists = {
            name: [now if file.path == path else file for file in getattr(record, name)]
            for name in ("inputs", "outputs")
        }
        record.model_copy(update=lists).write(record.path)


def seed_that_draws(path):
    records = [record for record in read_ledger("tiny") if record.rule != "audit"]
    drawn = (draw(records, 1, seed) for seed in range(10_000))
    return next(
        seed for seed, [record] in enumerate(drawn) if path in [f.path for f in record.outputs]
    )


def test_an_input_that_was_altered_is_named(finished, tmp_path):
    project = finished.copy(tmp_path / "project")
    for path in project.results.glob("s*.parquet"):  # samples and splits, which most jobs read
        path.write_bytes(path.read_bytes() + b"x")
    done = project.tailproof("reproduce", "tiny", "--jobs", "3")
    assert done.returncode == 1 and "results/tiny/s" in done.stderr


@pytest.mark.parametrize("version", ["9.9", "f" * 40])
def test_a_version_that_made_nothing_is_refused(finished, tmp_path, version):
    project = finished.copy(tmp_path / "project")
    done = project.tailproof("reproduce", "tiny", "--against", version)
    assert done.returncode == 1 and version in done.stderr and len(done.stderr.splitlines()) == 1


def test_an_upgrade_lists_the_stages_that_would_run_again(finished, tmp_path, monkeypatch):
    project = finished.copy(tmp_path / "project")
    monkeypatch.chdir(project.folder)
    assert stale_stages("tiny") == []
    path = project.folder / "config" / "experiments" / "tiny.yaml"
    config = yaml.safe_load(path.read_text())
    config["experts"]["cross_entropy"]["epochs"] = 3
    path.write_text(yaml.safe_dump(config))
    stages = {stage.stage: stage for stage in stale_stages("tiny")}
    assert (stages["train"].jobs, stages["train"].of) == (1, 3)
    assert next(iter(stages["train"].reasons)).startswith("recipe.epochs")
    assert (stages["infer"].jobs, stages["evaluate"].jobs) == (1, 1)
    assert "split" not in stages and "shard" not in stages


def test_jobs_of_as_many_stages_as_possible_are_drawn(finished, monkeypatch):
    monkeypatch.chdir(finished.folder)
    records = list(read_ledger("tiny"))
    stages = {record.rule for record in records}
    assert {record.rule for record in draw(records, len(stages), 0)} == stages
    assert draw(records, 4, 1) == draw(records, 4, 1) != draw(records, 4, 2)
    assert draw(records, 10_000, 0) == records


NUMBERS = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=20)


@given(numbers=NUMBERS, move=st.floats(0, 10))
def test_distance_is_the_mean_difference_in_every_format(tmp_path_factory, numbers, move):
    folder = tmp_path_factory.mktemp("distance")
    for name, values in (("old", numbers), ("new", [value + move for value in numbers])):
        rows = {"sample_id": [str(n) for n in range(len(values))], "score": values}
        pq.write_table(pa.table(rows), folder / f"{name}.parquet")
        (folder / f"{name}.json").write_text(json.dumps({"scores": values, "unit": "x"}))
        text = "".join(f"{value!r}\n" for value in values)
        (folder / f"{name}.csv").write_text("score\n" + text)
    for suffix in ("parquet", "json", "csv"):
        distance = numeric_distance(folder / f"old.{suffix}", folder / f"new.{suffix}")
        assert distance == pytest.approx(move, rel=1e-6, abs=1e-6)


def test_files_with_other_texts_or_lengths_have_no_distance(tmp_path):
    for name, value in (("a", {"x": 1}), ("b", {"y": 1}), ("c", {"x": [1, 2]}), ("d", {"x": "1"})):
        (tmp_path / f"{name}.json").write_text(json.dumps(value))
    assert numeric_distance(tmp_path / "a.json", tmp_path / "a.json") == 0
    for name in "bcd":
        assert numeric_distance(tmp_path / "a.json", tmp_path / f"{name}.json") is None


def summary(path, **cells):
    """Write a table of evaluation with one metric."""
    row = {"split": "test", "method": "a", "metric": "top1", "mean": 0.5, "sd": 0.01} | cells
    path.write_text(f"{','.join(row)}\n{','.join(map(str, row.values()))}\n")
    return path


@pytest.mark.parametrize(
    ("sd", "mean", "same"),
    [(0.01, 0.51, True), (0.01, 0.6, False), (0.0, 0.5, True), (0.0, 0.6, False), ("", 0.6, False)],
)
def test_seeds_that_agree_exactly_have_no_noise_to_hide_a_difference(tmp_path, sd, mean, same):
    old = summary(tmp_path / "old.csv", sd=sd)
    again = summary(tmp_path / "new.csv", sd=sd, mean=mean)
    assert _within_spread(old, again)[0] is same


def test_a_file_that_is_the_same_for_all_seeds_must_be_the_same_again(
    finished, tmp_path, monkeypatch
):
    monkeypatch.chdir(finished.folder)
    record = next(iter(read_ledger("tiny")))
    monkeypatch.chdir(tmp_path)

    def job(seed, **contents):
        outputs = []
        for name, content in contents.items():
            path = Path("results", "tiny", f"seed-{seed}", f"{name}.json")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(content))
            outputs.append(File(path=path.as_posix(), sha256="0" * 64, bytes=1))
        return record.model_copy(update={"outputs": outputs, "wildcards": {"seed": str(seed)}})

    jobs = [job(0, a={"x": 1}, b={"x": 1.0}), job(1, a={"x": 1}, b={"x": 2.0})]
    different = [file.path for file in jobs[0].outputs]
    for path, content in zip(different, ({"x": 3}, {"x": 1.5}), strict=True):
        again = tmp_path / "again" / _in_scratch(path)
        again.parent.mkdir(parents=True, exist_ok=True)
        again.write_text(json.dumps(content))
    same, _ = _within_noise(jobs[0], different, jobs, tmp_path / "again")
    assert not same
