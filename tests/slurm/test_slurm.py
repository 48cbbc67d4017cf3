import json
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest

from tests.held_import import hold_imports, hold_training
from tests.project import Project
from tests.slurm.conftest import EXPERTS, HELD, SlurmProject, stop

pytestmark = pytest.mark.timeout(5400)  # ten minutes; longer on a busy machine

# What says when, where, how long and in which attempts something ran.
ABOUT_A_RUN = re.compile(r"training\.json$|^provenance/|^audit\.json$|(^|/)preflight")

# Where each expert is trained.
ON_NODE = "{'lost': 'node2', 'two_nodes': None}.get(wildcards.expert, 'node1')"

# Held where they start: a job of its own, and one of several that share a job.
STARTING = (
    "name == 'torch' and sys.argv[0].endswith('.train.py')"
    " and b'/train/starting-0.log' in open(sys.argv[0], 'rb').read()"
    " or name == 'pydantic' and sys.argv[0].endswith('.manifest.py')"
)


@dataclass
class Interrupted:
    """A project that was run through Slurm, and what was done to its jobs.

    Attributes:
        project: the project.
        local: the same experiment, run on this machine without Slurm.
        started: numbers of the Slurm jobs that were signalled while they started.
        jobs: what Slurm knows of all jobs at the end, by number.
    """

    project: SlurmProject
    local: Project
    started: list[str]
    jobs: dict[str, dict[str, str]]

    def training(self, expert):
        """What Slurm knows of the job that trained an expert."""
        (job,) = [
            job
            for job in self.jobs.values()
            if job["Comment"] == f"rule_train_wildcards_tiny_{expert}_0"
        ]
        return job


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory, cluster):
    """Run through Slurm: jobs are requeued, reach a limit, lose a node, are signalled at start.

    The same experiment runs without Slurm at the same time, because Slurm's jobs wait a lot.
    """
    local = Project.fresh(tmp_path_factory.mktemp("local"))
    here = {**EXPERTS, "two_nodes": {**EXPERTS["two_nodes"], "nodes": 1, "devices": 2}}
    SlurmProject.write_experts(local, here)
    with ThreadPoolExecutor() as second:
        run = second.submit(local.snakemake)
        project, started = interrupt_jobs(cluster, tmp_path_factory)
        done = run.result()
    assert done.returncode == 0, done.stdout + done.stderr
    jobs = {job["JobId"]: job for job in cluster.jobs().values()}
    return Interrupted(project, local, started, jobs)


def interrupt_jobs(cluster, tmp_path_factory):
    """Return the finished project and the numbers of the jobs signalled while they started."""
    project = SlurmProject.on(cluster, tmp_path_factory.mktemp("slurm"))
    project.set_resources("train", constraint=ON_NODE)
    holds = hold_imports(project.folder / "held", STARTING)
    trained = hold_training(project.folder / "held", HELD)
    process = project.submit()

    waiting, started = {"requeued", "lost", "node2", "limited", "unlimited"}, []

    def interrupt():
        """Do to each job what it is here for, as soon as it is due; say when all is done."""
        assert process.poll() is None, project.told
        for hold in {path.name.removesuffix("-") for path in holds.iterdir()} - set(started):
            # As Slurm signals a job before its limit: all processes of its steps.
            assert cluster.run("scancel", "--signal=TERM", hold) == ""
            started.append(hold)
        held = {path.name for path in trained.iterdir()}
        jobs = {
            expert: job
            for comment, job in cluster.jobs().items()
            for expert in EXPERTS
            if comment == f"rule_train_wildcards_tiny_{expert}_0" and job["JobId"] in held
        }

        def limit(minutes):
            asked = f"JobId={jobs['limited']['JobId']}"
            assert cluster.run("scontrol", "update", asked, f"TimeLimit={minutes}") == ""

        due = waiting & jobs.keys()
        if "requeued" in due:
            assert cluster.run("scontrol", "requeue", jobs["requeued"]["JobId"]) == ""
        if "lost" in due:
            cluster.kill_node("node2")
        if "limited" in due:
            hours, minutes, _ = jobs["limited"]["RunTime"].split(":")
            limit(60 * int(hours) + int(minutes) + 3)  # so it is signalled now
        if waiting & {"lost", "node2"} == {"node2"} and jobs["lost"]["JobState"] != "RUNNING":
            cluster.start_node("node2")
            waiting.remove("node2")
        if (
            waiting & {"limited", "unlimited"} == {"unlimited"}
            and jobs["limited"]["Restarts"] != "0"
        ):
            limit(600)  # once is enough
            waiting.remove("unlimited")
        waiting.difference_update(due)
        return not waiting and len(started) == 2

    try:
        cluster.wait(interrupt)
        process.wait()
    finally:
        stop(process)
    assert process.returncode == 0, project.told
    return project, started


def attempts(project, expert):
    path = project.results / "experts" / expert / "seed-0" / "training.json"
    return json.loads(path.read_text())["attempts"]


def test_interrupted_jobs_go_back_into_the_queue_and_resume(interrupted):
    project = interrupted.project
    for expert, reason in (("requeued", "SIGTERM"), ("limited", "SIGTERM"), ("lost", "killed")):
        entries = attempts(project, expert)
        assert entries[0]["reason"] == reason and entries[-1]["reason"] == "finished", entries
        assert entries[1]["first_epoch"] >= entries[0]["last_epoch"] > 1, "it does not start again"
        assert "resumes in epoch" in project.log(expert)
    # Slurm itself may end a step on a node that has just returned: no promise for the lost one.
    for expert in ("requeued", "limited"):
        job = interrupted.training(expert)
        assert int(job["Restarts"]) >= 1
        assert {entry["slurm_job_id"] for entry in attempts(project, expert)} == {job["JobId"]}


def test_jobs_that_are_signalled_while_they_start_go_back_into_the_queue(interrupted):
    for number in interrupted.started:
        job = interrupted.jobs[number]
        assert job["JobState"] == "COMPLETED" and int(job["Restarts"]) >= 1, job
    assert interrupted.training("starting")["JobId"] in interrupted.started
    (entry,) = attempts(interrupted.project, "starting")
    assert entry["reason"] == "finished"


def test_two_nodes_train_one_expert(interrupted):
    assert interrupted.training("two_nodes")["NumNodes"] == "2"
    assert attempts(interrupted.project, "two_nodes")[-1]["processes"] == 2


def test_the_results_are_those_of_a_local_run(interrupted):
    """Every job's results and record are there, and no file more."""
    project, local = interrupted.project, interrupted.local
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


def test_nothing_is_left_to_do_and_short_stages_shared_a_job(interrupted):
    """How often a job was submitted is not asked: a machine that is slow may lose one more."""
    project = interrupted.project
    assert set(re.findall(r"/logs/slurm/(rule_\w+|group_[a-z]+)", project.told)) == {
        "group_data",
        "rule_preflight",
        "rule_train",
        "rule_infer",
        "rule_inspect",
        "group_calibration",
        "group_results",
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
        "from tailproof.runtime.requeue import requeue_if_interrupted\n"
        "from tailproof.runtime.signals import REQUEST, take_signals\n"
        "take_signals()\n"
        "with requeue_if_interrupted(), REQUEST.leave_at_once():\n"
        f"    Path({str(tmp_path / 'ready')!r}).touch()\n"
        "    while True:\n"
        "        time.sleep(0.05)\n"
    )
    command = f"srun {sys.executable} {script}"
    options = ("--parsable", "--requeue", "--comment=rule_train", f"--output={tmp_path}/out.txt")
    job = cluster.run("sbatch", *options, f"--wrap={command}").strip()
    cluster.wait((tmp_path / "ready").exists)
    cluster.run("scancel", job)
    cluster.wait(lambda: cluster.jobs()["rule_train"]["JobState"] == "CANCELLED")
    assert cluster.jobs()["rule_train"]["Restarts"] == "0"


@pytest.mark.parametrize(
    ("path", "partition", "message"),
    [
        (None, "nomal", r"'nomal'.*'normal'"),
        ("empty", "normal", r"\bsbatch\b"),
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
        check=False,
    )
    assert done.returncode != 0
    assert re.search(message, done.stdout + done.stderr)
    assert "Traceback" not in done.stdout + done.stderr
    assert "submitted" not in done.stderr
