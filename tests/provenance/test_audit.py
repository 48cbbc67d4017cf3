"""What an audit finds, asked of the real command on a finished experiment."""

import json
import re
import subprocess
import sys
from importlib.metadata import version

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tailproof.digests import digest_of, sha256_file
from tailproof.files import json_text, read_json, write_json
from tests.project import TINY, Project

EXPERTS = "results/tiny/experts"


def audited(twin) -> str:
    """Run the audit, which must fail; return what it prints."""
    done = twin.tailproof("audit", "tiny")
    assert done.returncode == 1, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1].startswith("tiny does not hold: ")
    return done.stdout


def found(twin) -> dict[str, set[str]]:
    """Return the paths in each state that is a cause."""
    return causes(audited(twin))


def causes(text) -> dict[str, set[str]]:
    states: dict[str, set[str]] = {}
    for line in text.splitlines():
        if cause := re.match(r"(stale|altered|orphan|missing|broken) +(.+)", line):
            words = cause[2] if cause[1] == "broken" else cause[2].split()[0]
            states.setdefault(cause[1], set()).add(words)
    return states


def depending(text, cause) -> set[str]:
    """What the audit lists below a cause."""
    lines = text.splitlines()
    start = next(n for n, line in enumerate(lines) if cause in line)
    below = []
    for line in lines[start + 1 :]:
        if not line.startswith("  "):
            break
        below.append(line.strip())
    return set(below[1:])


def as_json(twin) -> dict[str, dict]:
    """What audit.json would hold of each artefact, by path."""
    program = "import json; from tailproof.provenance.audit import audit; "
    program += "print(json.dumps(audit('tiny').as_json()))"
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=twin.folder,
        env=twin.environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return {verdict["path"]: verdict for verdict in json.loads(done.stdout)["artefacts"]}


def flip(path, position=None):
    content = bytearray(path.read_bytes())
    content[len(content) // 2 if position is None else position] ^= 1
    path.write_bytes(content)


def reseal(record):
    """Write a record as one would who knows how it is sealed."""
    value = {name: item for name, item in record.items() if name != "seal"}
    return json_text(value | {"seal": digest_of(value)})


def test_a_finished_experiment_holds_from_the_page_to_the_raw_data(finished):
    done = finished.tailproof("audit", "tiny")
    assert done.returncode == 0, done.stdout + done.stderr
    files = [path for path in finished.results.rglob("*") if path.is_file()]
    assert done.stdout == f"tiny holds: {len(files)} proven\n"
    written = read_json(finished.results / "audit.json")
    assert written["passed"] is True
    assert written["counts"]["proven"] == len(files) - 2  # but itself and its record


def test_a_flipped_byte_is_found_in_every_file(twin):
    """One in each file at a random place, all at once: none may hide another."""
    rng = np.random.default_rng(0)
    files = [path for path in twin.results.rglob("*") if path.is_file()]
    records = {path for path in files if "provenance" in path.parts}
    for path in set(files) - records:
        flip(path, rng.integers(path.stat().st_size))
    assert len(files) - len(records) > 70
    names = {str(path.relative_to(twin.folder)) for path in set(files) - records}
    assert found(twin)["altered"] == names
    for path in records:
        flip(path, rng.integers(path.stat().st_size))
    names = {str(path.relative_to(twin.folder)) for path in records}
    assert found(twin)["altered"] == names


def test_what_depends_on_an_altered_file_is_listed(twin):
    name = f"{EXPERTS}/logit_adjustment/seed-0/raw_logits/calib.parquet"
    flip(twin.folder / name)
    text = audited(twin)
    assert causes(text)["altered"] == {name}
    below = depending(text, name)
    assert f"{EXPERTS}/logit_adjustment/seed-0/calibration.json" in below
    assert "results/tiny/report/index.html" in below
    others = [path for path in below if "cross_entropy" in path or "model" in path]
    # The card of any expert tells what was measured of it beside the others.
    cards = (
        "README.md",
        "example.py",
        "deployment.json",
        "guarantees.json",
        "card/cross_entropy-0.json",
    )
    assert not [path for path in others if not path.endswith(cards)]


def test_swapped_logits_of_two_experts_are_found(twin):
    one, other = (
        twin.folder / f"{EXPERTS}/{name}/seed-0/logits/test.parquet"
        for name in ("cross_entropy", "logit_adjustment")
    )
    kept = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(kept)
    altered = found(twin)["altered"]
    assert altered == {str(path.relative_to(twin.folder)) for path in (one, other)}


def test_an_edited_record_is_found_even_where_its_seal_was_made_anew(twin):
    path = twin.results / "provenance/train/cross_entropy-0.json"
    name = str(path.relative_to(twin.folder))
    record = read_json(path)
    record["parameters"]["recipe"]["optimizer"]["learning_rate"] = 0.3
    write_json(path, record)
    assert found(twin)["altered"] == {name}
    path.write_text(reseal(record))
    states = found(twin)
    assert f"{EXPERTS}/cross_entropy/seed-0/model.safetensors" in states["stale"]
    record["parameters"]["recipe"]["optimizer"]["learning_rate"] = 0.1
    record["machine"]["host"] = "another"
    path.write_text(reseal(record))
    text = audited(twin)
    assert "altered" not in causes(text)
    assert "results/tiny/report/index.html" in depending(text, name)


def test_a_row_copied_from_test_into_train_is_found_though_the_records_agree(twin):
    shards = twin.results / "shards"
    train, test = (shards / split / "part-00000.parquet" for split in ("train", "test"))
    tables = [pq.read_table(path) for path in (train, test)]
    joined = pa.concat_tables([tables[0], tables[1].slice(0, 1)], promote_options="none")
    pq.write_table(joined.replace_schema_metadata(tables[0].schema.metadata), train)
    record = twin.results / "provenance/shard/train-00000.json"
    value = read_json(record)
    entry = next(file for file in value["outputs"] if file["path"].endswith(".parquet"))
    entry |= {"sha256": sha256_file(train), "bytes": train.stat().st_size}
    record.write_text(reseal(value))
    by_place = {sentence.split()[0]: sentence for sentence in found(twin)["broken"]}
    assert f"results/tiny/{train.relative_to(twin.results)}" in by_place, "the manifest lists it"
    sentence = by_place["results/tiny/shards/train:"]
    foreign, repeated, missing = map(int, re.findall(r"\b\d+\b", sentence))
    assert (foreign, repeated, missing) == (1, 0, 0)


def test_files_without_a_record_and_without_a_job_are_told(twin):
    (twin.results / "evaluation/extra.csv").write_text("by hand\n")
    (twin.results / "experts/cross_entropy/seed-0/history.csv").unlink()
    (twin.results / "provenance/calibrate/logit_adjustment-0.json").unlink()
    states = found(twin)
    assert states["orphan"] == {
        "results/tiny/evaluation/extra.csv",
        f"{EXPERTS}/logit_adjustment/seed-0/calibration.json",
    }
    assert states["missing"] == {
        f"{EXPERTS}/cross_entropy/seed-0/history.csv",
        "results/tiny/provenance/calibrate/logit_adjustment-0.json",
    }


def test_what_changed_since_is_named(twin):
    losses = twin.folder / "src/tailproof/losses.py"
    losses.write_text(losses.read_text() + "\nEDITED = 1\n")
    experts = {
        **TINY["experts"],
        "logit_adjustment": {"loss": {"name": "logit_adjustment", "tau": 1.5}},
    }
    twin.write("config/experiments/tiny.yaml", {**TINY, "experts": experts})
    lines = twin.tailproof("audit", "tiny").stdout
    weights = f"{EXPERTS}/logit_adjustment/seed-0/model.safetensors"
    assert re.search(
        rf"^stale +{weights}  .*\bcode\b.*\btrain\b.*recipe\.loss\.tau\b.*2\.0.*1\.5$", lines, re.M
    )
    by_code = f"^stale +{EXPERTS}/cross_entropy/seed-0/model.safetensors  .*{version('tailproof')}"
    assert re.search(by_code, lines, re.M)


def test_what_is_stale_by_code_only_names_the_version_that_made_it(twin):
    """Of two experts one has another loss, too: nothing made from it is stale by code only."""
    losses = twin.folder / "src/tailproof/losses.py"
    losses.write_text(losses.read_text() + "\nEDITED = 1\n")
    experts = {
        **TINY["experts"],
        "logit_adjustment": {"loss": {"name": "logit_adjustment", "tau": 1.5}},
    }
    twin.write("config/experiments/tiny.yaml", {**TINY, "experts": experts})
    record = twin.results / "provenance/train/cross_entropy-0.json"
    value = read_json(record)
    value["code"]["version"] = "0.0.9"
    record.write_text(reseal(value))
    verdicts = as_json(twin)
    now = version("tailproof")
    expected = {
        "cross_entropy/seed-0/model.safetensors": {"made_by": "0.0.9", "now": now},
        "balanced_softmax/seed-0/model.safetensors": {"made_by": now, "now": now},
        "balanced_softmax/seed-0/raw_logits/test.parquet": {"made_by": now, "now": now},
        "logit_adjustment/seed-0/model.safetensors": None,
        "logit_adjustment/seed-0/raw_logits/test.parquet": None,
    }
    found = {name: verdicts[f"{EXPERTS}/{name}"] for name in expected}
    assert {name: verdict["code_only"] for name, verdict in found.items()} == expected
    assert {verdict["state"] for verdict in found.values()} == {"stale"}
    for path in ("evaluation/metrics.json", "report/index.html"):
        assert verdicts[f"results/tiny/{path}"]["state"] == "stale"
        assert verdicts[f"results/tiny/{path}"]["code_only"] is None
    assert verdicts["results/tiny/splits.parquet"]["state"] == "proven"


def test_an_expert_that_was_taken_out_is_told_and_is_no_cause(twin):
    experts = {**TINY["experts"]}
    del experts["logit_adjustment"]
    twin.write("config/experiments/tiny.yaml", {**TINY, "experts": experts})
    text = audited(twin)
    assert f"{EXPERTS}/logit_adjustment/seed-0/model.safetensors" not in text
    assert re.search(f"^note +.*{EXPERTS}/logit_adjustment/seed-0", text, re.M)


def test_results_behind_a_link_are_the_same_results(twin, tmp_path):
    folder = (twin.results / "experts").rename(tmp_path / "elsewhere")
    (twin.results / "experts").symlink_to(folder)
    done = twin.tailproof("audit", "tiny")
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda record: {**record, "version": 3}, r"schema 3\b"),
        (lambda record: [], r"\brecord\b"),
    ],
)
def test_a_foreign_record_is_told_in_a_sentence(twin, change, message):
    path = twin.results / "provenance/split/split.json"
    path.write_text(json.dumps(change(read_json(path))))
    done = twin.tailproof("audit", "tiny")
    assert done.returncode == 1
    assert re.search(rf"split\.json .*{message}", done.stdout + done.stderr)
    assert "Traceback" not in done.stderr


def test_an_experiment_that_is_not_there_is_told(finished):
    done = finished.tailproof("audit", "tinny")
    assert done.returncode == 1
    assert "config/experiments/tinny.yaml" in done.stderr and "'tiny'?" in done.stderr
    assert done.stderr.count("\n") == 1


def test_an_experiment_of_which_nothing_was_made_is_told(tmp_path):
    done = Project.fresh(tmp_path).tailproof("audit", "tiny")
    assert done.returncode == 1
    assert done.stderr.startswith("tailproof: 'tiny' ")
    assert "`snakemake --cores all results/tiny/report/index.html`" in done.stderr
    assert done.stderr.count("\n") == 1
