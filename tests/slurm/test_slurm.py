import json
import re
import shutil
import subprocess
import sys

import pytest

from tests.project import Project
from tests.slurm.conftest import EXPERTS, SlurmProject, stop

pytestmark = pytest.mark.timeout(1800)  # some minutes; longer on a busy machine

# What says when, where, how long and in which attempts something ran.
ABOUT_A_RUN = re.compile(r"training\.json$|^provenance/|^audit\.json$|(^|/)preflight")

# Where each expert is trained, and for how long a job of it may run.
ON_NODE = "{'lost': 'node2', 'two_nodes': None}.get(wildcards.expert, 'node1')"
MINUTES = "4 if wildcards.expert == 'limited' else 60"


@pytest.fixture(scope="module")
def local(tmp_path_factory):
    """The same experiment, run here."""
    project = Project.fresh(tmp_path_factory.mktemp("local"))
    here = {**EXPERTS, "two_nodes": {**EXPERTS["two_nodes"], "nodes": 1, "devices": 2}}
    SlurmProject.write_experts(project, here)
    done = project.snakemake()
    assert done.returncode == 0, done.stdout + done.stderr
    return project


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory, cluster):
    """Run through Slurm: one expert is requeued, one reaches its limit, one loses its node."""
    project = SlurmProject.on(cluster, tmp_path_factory.mktemp("slurm"))
    project.set_resources("train", constraint=ON_NODE, runtime=MINUTES)
    process = project.submit()

    def job(expert):
        return cluster.jobs().get(f"rule_train_wildcards_tiny_{expert}_0", {})

    def training(expert):
        assert process.poll() is None, project.told
        return job(expert).get("JobState") == "RUNNING" and " epoch 9 " in project.log(expert)

    waiting = {"requeued", "lost", "node2", "limited"}

    def interrupt():
        """Do to each expert what it is here for, as soon as it is due; tell when all is done."""
        if "requeued" in waiting and training("requeued"):
            assert cluster.run("scontrol", "requeue", job("requeued")["JobId"]) == ""
            waiting.remove("requeued")
        if "lost" in waiting and training("lost"):
            cluster.kill_node("node2")
            waiting.remove("lost")
        if waiting & {"lost", "node2"} == {"node2"} and job("lost")["JobState"] != "RUNNING":
            cluster.start_node("node2")
            waiting.remove("node2")
        if "limited" in waiting and job("limited").get("Restarts") == "1":
            # Once is enough: asked to leave while it ends, it would have to be submitted again.
            asked = f"JobId={job('limited')['JobId']}"
            assert cluster.run("scontrol", "update", asked, "TimeLimit=60") == ""
            waiting.remove("limited")
        return not waiting

    try:
        cluster.wait(interrupt, 600)
        process.wait(900)
    finally:
        stop(process)
    assert process.returncode == 0, project.told
    return project, {expert: job(expert) for expert in EXPERTS}


def attempts(project, expert):
    path = project.results / "experts" / expert / "seed-0" / "training.json"
    return json.loads(path.read_text())["attempts"]


def test_interrupted_jobs_go_back_into_the_queue_and_go_on(interrupted):
    project, jobs = interrupted
    for expert, reason in (("requeued", "SIGTERM"), ("limited", "SIGTERM"), ("lost", "killed")):
        told = attempts(project, expert)
        assert int(jobs[expert]["Restarts"]) >= 1
        assert told[0]["reason"] == reason and told[-1]["reason"] == "finished", told
        assert {entry["slurm_job_id"] for entry in told} == {jobs[expert]["JobId"]}
        assert told[1]["first_epoch"] >= told[0]["last_epoch"] > 1, "it does not start anew"
        assert "goes on in epoch" in project.log(expert)


def test_two_nodes_train_one_expert(interrupted):
    project, jobs = interrupted
    assert jobs["two_nodes"]["NumNodes"] == "2"
    assert attempts(project, "two_nodes")[-1]["processes"] == 2


def test_the_results_are_those_of_a_local_run(interrupted, local):
    project, _ = interrupted
    files = {
        str(path.relative_to(local.results)): path
        for path in local.results.rglob("*")
        if path.is_file()
    }
    assert {
        str(path.relative_to(project.results))
        for path in project.results.rglob("*")
        if path.is_file()
    } == set(files)
    compared = {name: path for name, path in files.items() if not ABOUT_A_RUN.search(name)}
    assert len(compared) > 80
    assert not [
        name
        for name, path in compared.items()
        if path.read_bytes() != (project.results / name).read_bytes()
    ]


def test_every_stage_ran_once_and_short_ones_shared_a_job(interrupted, cluster):
    project, _ = interrupted
    submitted = re.findall(r"SLURM jobid (\d+) \(log: .*/logs/slurm/(\w+?)[/_]", project.told)
    kinds = re.findall(r"/logs/slurm/(rule_\w+|group_[a-z]+)", project.told)
    assert len(submitted) == len(set(submitted)) == 15
    assert {kind: kinds.count(kind) for kind in set(kinds)} == {
        "group_data": 1,
        "rule_preflight": 1,
        "rule_train": 4,
        "rule_infer": 4,
        "group_calibration": 4,
        "group_results": 1,
    }
    done = project.run("snakemake", "--profile", "slurm", "--dry-run")
    assert "Nothing to be done" in done.stdout + done.stderr


def test_only_training_inference_and_the_preflight_hold_a_gpu(interrupted, cluster):
    jobs = cluster.jobs()
    assert {comment.split("_")[1] for comment, job in jobs.items() if "TresPerJob" in job} == {
        "preflight",
        "train",
        "infer",
    }
    assert jobs["rule_train_wildcards_tiny_two_nodes_0"]["TresPerJob"] == "gres:gpu:2"


def test_a_cancelled_job_stays_cancelled(cluster, tmp_path):
    script = tmp_path / "leave.py"
    script.write_text(
        "import time\n"
        "from pathlib import Path\n"
        "from tailproof.runtime.errors import Interrupted\n"
        "from tailproof.training.requeue import requeue_if_interrupted\n"
        "from tailproof.training.signals import stop_on_signals\n"
        "with stop_on_signals() as stop, requeue_if_interrupted():\n"
        f"    Path({str(tmp_path / 'ready')!r}).touch()\n"
        "    while not stop.signal:\n"
        "        time.sleep(0.05)\n"
        "    raise Interrupted(stop.signal)\n"
    )
    command = f"srun {sys.executable} {script}"
    options = ("--parsable", "--requeue", "--comment=rule_train", f"--output={tmp_path}/out.txt")
    job = cluster.run("sbatch", *options, f"--wrap={command}").strip()
    cluster.wait((tmp_path / "ready").exists, 60)
    cluster.run("scancel", job)
    cluster.wait(lambda: cluster.jobs()["rule_train"]["JobState"] == "CANCELLED", 60)
    assert cluster.jobs()["rule_train"]["Restarts"] == "0"


@pytest.mark.parametrize(
    ("path", "partition", "message"),
    [
        (None, "nomal", "is 'nomal', a partition that this cluster does not have (did you mean "),
        ("empty", "normal", "needs Slurm's commands, and sbatch is not on the path"),
    ],
)
def test_what_slurm_would_refuse_is_told_at_once(slurm, path, partition, message):
    environment = slurm.environment
    if path:
        folder = slurm.folder / path
        folder.mkdir()
        for name in ("bash", "sh", "which", "git"):
            (folder / name).symlink_to(shutil.which(name))
        environment |= {"PATH": str(folder)}
    resource = f"slurm_partition={partition}"
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", "--profile", "slurm", "--default-resources", resource],
        cwd=slurm.folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode != 0
    assert message in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert "submitted" not in done.stderr
