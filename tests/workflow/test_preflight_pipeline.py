"""The preflight in the real pipeline: what stops training, what does not, what is made again."""

import json
import re
import shutil
import subprocess
import sys
from copy import deepcopy

from tests.project import TINY

WEIGHTS = "results/tiny/experts/{}/seed-0/model.safetensors"
SHOWING = {"write the report", "audit every file"}
FAR_OFF = {"optimizer": {"name": "adamw", "learning_rate": 0.05}}

RUNTIME = """
import sys
from pathlib import Path
from snakemake.api import SnakemakeApi
from snakemake.settings.types import DAGSettings, OutputSettings, ResourceSettings
with SnakemakeApi(OutputSettings(dryrun=True)) as api:
    workflow = api.workflow(ResourceSettings(), snakefile=Path("Snakefile"))
    workflow.dag(DAGSettings(targets=sys.argv[1:])).execute_workflow("dryrun")
    (job,) = [job for job in workflow._workflow.dag.jobs if job.rule.name == "train"]
    print(job.resources.runtime)
"""


def configure(project, **changes):
    project.write("config/experiments/tiny.yaml", {**deepcopy(TINY), **changes})


def planned(project) -> set[str]:
    done = project.plan()
    assert done.returncode == 0, done.stdout + done.stderr
    return set(re.findall(r"^Job \d+: tiny: (.+)$", done.stdout + done.stderr, flags=re.M))


def test_an_error_stops_before_training_unless_it_is_accepted(twin):
    (twin.results / "shards" / "manifest.json").unlink()
    shutil.rmtree(twin.folder / ".state")
    recipe = {**TINY["recipe"], "epochs": 1}
    configure(twin, recipe=recipe, experts={"fast": FAR_OFF, "slow": {}})
    target = WEIGHTS.format("slow")
    done = twin.snakemake(target)
    assert done.returncode != 0
    assert re.search(r"train failed: .*\n  unusual_rate: .*\(fast\)", done.stderr)
    assert "preflight: {ignore: [unusual_rate]}" in done.stderr
    assert not (twin.folder / target).exists()
    assert not (twin.folder / ".state").exists()
    again = twin.snakemake(target)  # the shards exist now: it stops before any job
    assert again.returncode != 0 and "unusual_rate" in again.stdout + again.stderr
    assert "Finished jobid" not in again.stdout + again.stderr

    shown = twin.tailproof("preflight", "tiny")
    assert shown.returncode == 1 and "unusual_rate" in shown.stdout
    assert "unusual_rate" in (twin.results / "preflight.md").read_text()
    probe = (twin.results / "preflight_timing.json").read_bytes()

    ignore = {"ignore": ["unusual_rate"]}
    configure(twin, recipe=recipe, experts={"fast": FAR_OFF, "slow": {}}, preflight=ignore)
    done = twin.snakemake(target)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (twin.folder / target).exists()
    shown = twin.tailproof("preflight", "tiny")
    assert shown.returncode == 0 and "Estimates" in shown.stdout
    assert (twin.results / "preflight_timing.json").read_bytes() == probe  # not made again


def test_a_faulty_expert_added_makes_no_finished_one_stale(twin):
    experts = {**TINY["experts"], "added": FAR_OFF}
    configure(twin, experts=experts)
    done = twin.snakemake()
    assert done.returncode != 0 and "unusual_rate" in done.stdout + done.stderr
    assert twin.tailproof("preflight", "tiny").returncode == 1
    experts["added"] = {"optimizer": {"name": "adamw", "learning_rate": 1e-3}}
    configure(twin, experts=experts)
    trained = {job for job in planned(twin) if job.startswith("train ")}
    assert trained == {"train added, seed 0"}
    configure(twin)
    assert planned(twin) == {"preflight", *SHOWING}


def test_new_times_make_nothing_stale_but_what_shows_them(twin):
    first = (twin.results / "preflight.json").read_bytes()
    page = "results/tiny/preflight.md"
    done = twin.snakemake(page, "--forcerun", "preflight")
    assert done.returncode == 0, done.stdout + done.stderr
    assert (twin.results / "preflight.json").read_bytes() == first
    assert planned(twin) == SHOWING


def test_other_workers_are_told_of_on_request(twin):
    configure(twin, recipe={**TINY["recipe"], "workers": 3, "cache_gb": 0.0})
    assert planned(twin) == set()
    shown = twin.tailproof("preflight", "tiny")
    assert shown.returncode == 0, shown.stderr
    assert re.search(r"\b3 loader workers\b.*\b1 row group", re.sub(r"\s+", " ", shown.stdout))
    found = json.loads((twin.results / "preflight.json").read_text())
    assert found["experts"]["cross_entropy"]["request"]["cores_a_node"] == 4


def test_the_request_follows_the_measured_time(twin):
    probe = twin.results / "preflight_timing.json"
    found = json.loads(probe.read_text())
    found["experts"]["cross_entropy"]["run"] = 7200.0
    probe.write_text(json.dumps(found))
    command = [sys.executable, "-c", RUNTIME, WEIGHTS.format("cross_entropy")]
    done = subprocess.run(
        command,
        cwd=twin.folder,
        env=twin.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.splitlines()[-1] == "270", done.stderr


def test_a_kind_that_is_not_known_is_told_with_a_suggestion(project):
    configure(project, preflight={"ignore": ["unusual_rates"]})
    done = project.plan()
    assert done.returncode != 0
    message = "'unusual_rates'.*'unusual_rate'"
    assert re.search(message, done.stdout + done.stderr)
    shown = project.tailproof("preflight", "tiny")
    assert shown.returncode == 1 and re.search(message, shown.stderr)
    missing = project.tailproof("preflight", "tinny")
    assert missing.returncode == 1 and "'tiny'" in missing.stderr
