# Helpers of the rules, and nothing that makes a file.
import json
import re
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

from tailproof.config.base import NAME
from tailproof.config.load import load_experiment, parse_config
from tailproof.config.splits import SPLITS
from tailproof.config.sweep import WINNER
from tailproof.config.lint import warnings
from tailproof.runtime.errors import TailproofError, suggestion
from tailproof.files import read_json
from tailproof.preflight.slurm_resources import cores as cores_of
from tailproof.preflight.slurm_resources import with_measurements, memory_mb, request_of
from tailproof.data.raw_checksums import files_to_read
from tailproof.runtime import code_digest
from tailproof.provenance.expected_jobs import expected_jobs
from tailproof.runtime.records import record_path

ROOT = Path(workflow.basedir)
if code_digest.ROOT != ROOT.resolve():
    raise WorkflowError(
        f"the installed tailproof is that of {code_digest.ROOT}, this workflow is in {ROOT}: "
        "install this one (`pip install -e .`), so that the code that runs is the code on record"
    )
EXPERIMENTS = sorted(path.stem for path in Path("config/experiments").glob("*.yaml"))
SHARD = "results/{experiment}/shards/{split}/part-{part}.parquet"
SEED_FOLDER = "results/{experiment}/experts/{expert}/seed-{seed}"


wildcard_constraints:
    experiment="|".join(map(re.escape, EXPERIMENTS)),
    expert=NAME,
    seed=r"\d+",
    split="|".join(SPLITS),
    part=r"\d{5}",
    rung=r"\d+",


def stop(error):
    """End with one sentence instead of a traceback."""
    raise WorkflowError(str(error))


def checked(read, *arguments):
    """Read configuration, or stop with what is wrong in it."""
    try:
        return read(*arguments)
    except TailproofError as error:
        stop(error)


LISTED = checked(parse_config, config, "config/config.yaml")


@cache
def read_experiment(name):
    experiment = checked(load_experiment, f"config/experiments/{name}.yaml")
    for warning in warnings(experiment):
        logger.warning(f"config/experiments/{name}.yaml: {warning}")
    return experiment


def experiment(wildcards):
    """The configuration of the wildcards' experiment."""
    return read_experiment(wildcards.experiment)


def read_recipes(name, expert):
    """The recipes that an expert may have: one, or those of all points of the sweep."""
    found = read_experiment(name)
    known = found.experts | found.points
    if expert in known:
        return [known[expert]]
    if expert in found.evaluated or any(expert in names for names in found.rounds):
        return list(found.points.values())
    stop(
        f"experiment '{name}' has no expert '{expert}'{suggestion(expert, known)}; "
        f"known: {', '.join(known)}"
    )


def recipes(wildcards):
    return read_recipes(wildcards.experiment, wildcards.expert)


def recipe(wildcards):
    """The wildcards' expert's recipe, or of those it may have the one that takes most."""
    return max(recipes(wildcards), key=lambda found: found.threads)


def recipes_by_name(wildcards):
    """What the wildcards' expert learns, or by name what each point may that it can be."""
    found = experiment(wildcards)
    if wildcards.expert in found.experts:
        return {wildcards.expert: found.experts[wildcards.expert].result_fields()}
    return {name: each.result_fields() for name, each in found.points.items()}


def learning(wildcards):
    """What the wildcards' expert learns, as plain values; nothing where a rung decides that."""
    return {} if rung_of(wildcards.expert) > 1 else recipe(wildcards).result_fields()


def rung_of(expert):
    """The rung of a sweep that an expert is trained in; places are named by theirs."""
    place = re.fullmatch(r"rung-(\d+)-place-\d+", expert)
    return int(place[1]) if place else 1


def standing_before(wildcards, rung):
    """The file that says who came to which place of a rung; none of the first."""
    before = f"results/{wildcards.experiment}/experts/{WINNER}/rung-{rung - 1}.json"
    return before if rung > 1 else []


def standing(wildcards):
    """The file that says which point the wildcards' expert is, if it is a place."""
    return standing_before(wildcards, rung_of(wildcards.expert))


def of_round(wildcards, number):
    """The histories of a round of the sweep, counted from 1, by expert, then by seed."""
    found = experiment(wildcards)
    whole = number == len(found.rounds)
    return expand(
        f"{SEED_FOLDER}/{'history' if whole else 'rung'}.csv",
        experiment=wildcards.experiment,
        expert=found.rounds[number - 1],
        seed=found.seeds,
    )


def selection_of(wildcards):
    """What the sweep chose, if there is one."""
    path = f"results/{wildcards.experiment}/experts/{WINNER}/selection.json"
    return path if experiment(wildcards).sweep else []


def running(wildcards):
    """How the wildcards' expert is run, as JSON: a resource, since it makes nothing stale."""
    return json.dumps(recipe(wildcards).execution_fields())


def everyone(wildcards):
    """The recipe of every expert and of every point of the sweep, by name."""
    found = experiment(wildcards)
    return found.experts | found.points


def running_of_all(wildcards):
    """How experts and points are run, as JSON: that of the recipe, and of those that differ."""
    usual = experiment(wildcards).recipe.execution_fields()
    of_each = {name: each.execution_fields() for name, each in everyone(wildcards).items()}
    others = {name: each for name, each in of_each.items() if each != usual}
    return json.dumps({"usual": usual, "others": others})


def most(amount):
    """A resource: of what all experts and points take, the most."""
    return lambda wildcards: max(map(amount, everyone(wildcards).values()))


STARTED = []  # holds something once jobs run


def cleared(wildcards, input):
    """Whether the job may train: not where the preflight finds an error that is not accepted.

    A resource, looked up when the job is about to start: an input would make finished experts
    stale with every change of the preflight, and `ancient` hides other changes from Snakemake.
    Before the first job it ends everything; later, when other jobs run, the job itself ends.
    """
    manifest = Path(input.manifest)
    said = stopping_sentences(
        wildcards.experiment, manifest, manifest.stat().st_mtime_ns
    )
    if said and not STARTED:
        stop(said)
    return said or "yes"


@cache
def stopping_sentences(name, manifest, _changed):
    from tailproof.preflight.gate import blocking_message

    found = read_experiment(name)
    return checked(
        blocking_message, manifest, found.experts | found.points, found.preflight.ignore
    )


def growing(amount):
    """A resource that a job gets more of, each time that it is tried again."""
    return lambda wildcards, attempt: amount * attempt


def cores(wildcards):
    """How many cores the processes that train an expert on one node, and their workers, take."""
    return cores_of(recipe(wildcards))


def memory(wildcards):
    """How much memory, in MB, a process that trains or infers and its workers take."""
    return memory_mb(recipe(wildcards))


def requested(name):
    """A resource of a job that trains: by what the preflight measured, where there is one.

    It grows each time that the job is tried again.
    """

    def amount(wildcards, attempt):
        probe = Path(f"results/{wildcards.experiment}/preflight_timing.json")
        experts = checked(read_json, probe)["experts"] if probe.exists() else {}
        timed = experts.get(wildcards.expert, {})
        return attempt * with_measurements(request_of(recipe(wildcards)), timed)[name]

    return amount


def check_slurm():
    """Tell now what Slurm would refuse when a job is submitted, which may be a day from here."""
    if workflow.executor_plugin.name != "slurm":
        return
    if shutil.which("sbatch") is None:
        stop(
            "the profile slurm needs Slurm's commands, and sbatch is not on the path: "
            "run on a login node of the cluster, or load Slurm's module"
        )
    asked = ["sinfo", "--all", "--noheader", "--format=%R"]
    known = subprocess.run(asked, capture_output=True, text=True, check=False)
    if known.returncode:
        stop(f"Slurm does not answer: {known.stderr.strip()}")
    for job in workflow.dag.needrun_jobs():
        name = job.resources.get("slurm_partition")
        if name and not set(str(name).split(",")) <= set(known.stdout.split()):
            stop(
                f"slurm_partition of {job.rule.name} is '{name}', a partition that this cluster "
                f"does not have{suggestion(name, known.stdout.split())}; it has: "
                f"{', '.join(sorted(known.stdout.split()))}; set it in slurm/config.yaml"
            )


def initial_weights(wildcards):
    """The weights that the wildcards' expert starts from, if it starts from others."""
    found = [each.initial_weights for each in recipes(wildcards)]
    return [path for path in dict.fromkeys(found) if path]


def check_requested():
    """Read what was asked for now: from an input function a mistake comes with a traceback.

    Snakemake does not know its targets yet while it reads rules; the command line does.
    """
    words = [Path(word).parts for word in sys.argv if word.startswith("results/")]
    targets = [parts for parts in words if len(parts) > 2]
    for parts in targets or [("results", name) for name in LISTED.experiments]:
        read_experiment(parts[1])
        if len(parts) > 3 and parts[2] == "experts":
            read_recipes(parts[1], parts[3])


def plain(model, *names):
    """A configuration section, or only the named fields of it, as plain values."""
    return model.model_dump(mode="json", include=set(names) or None)


@cache
def code(rule):
    """The digest of the code that a rule's script can reach."""
    return checked(
        code_digest.code_digest, ROOT / "workflow" / "scripts" / f"{rule}.py", ROOT
    )


def record(rule, name=None):
    """Where a job writes what it did, last of all."""
    return record_path("{experiment}", rule, name or rule)


def raw_files(wildcards):
    """The raw files of a source, or none where prepare downloads them."""
    data = experiment(wildcards).data
    if getattr(data.source, "download", False):
        return []
    return checked(files_to_read, data, f"results/{wildcards.experiment}/raw.parquet")


def shards_of(*splits):
    """An input function: the shards of these splits."""
    return lambda wildcards: expand(
        SHARD, experiment=wildcards.experiment, split=splits, part=parts(wildcards)
    )


def parts(wildcards):
    """The part numbers of each split."""
    return part_numbers(experiment(wildcards))


def part_numbers(found):
    return [f"{part:05d}" for part in range(found.data.shards_per_split)]


def seed_folders(wildcards):
    """The folders of all experts and seeds, in the order of the configuration."""
    found = experiment(wildcards)
    return expand(
        SEED_FOLDER,
        experiment=wildcards.experiment,
        expert=found.evaluated,
        seed=found.seeds,
    )


def of_all_experts(*names):
    """An input function: these files of every expert and seed."""
    return lambda wildcards: [
        f"{folder}/{name}" for folder in seed_folders(wildcards) for name in names
    ]


def of_all_trained(name):
    """An input function: this file of every run that is trained in full."""
    return lambda wildcards: expand(
        f"{SEED_FOLDER}/{name}",
        experiment=wildcards.experiment,
        expert=experiment(wildcards).trained,
        seed=experiment(wildcards).seeds,
    )


def records_of_all(name):
    """The records of all jobs of an experiment that come before the report."""
    jobs = [job.split("/") for job in expected_jobs(read_experiment(name))]
    return [record_path(name, rule, job) for rule, job in jobs]


def records_so_far(wildcards):
    """The records of all jobs before the report."""
    return records_of_all(wildcards.experiment)


check_requested()


onstart:
    check_slurm()
    STARTED.append(True)
