# Helpers of the rules that need Snakemake; no rules. Helpers that only read an experiment's
# configuration are in tailproof.workflow.
import re
import sys
from functools import cache
from importlib.metadata import version
from pathlib import Path

from tailproof import workflow as helpers
from tailproof.config.base import NAME
from tailproof.config.lint import warnings
from tailproof.config.validation import load_experiment, parse_config
from tailproof.config.splits import SPLITS
from tailproof.config.sweep import WINNER
from tailproof.data.raw_checksums import RawFiles, files_to_read, replaced_raw
from tailproof.preflight.gate import blocking_message
from tailproof.preflight.slurm_partitions import check_partitions
from tailproof.preflight.slurm_resources import cores, memory_mb
from tailproof.provenance.snakemake_bridge import (
    prepare_again,
    stage_of,
    start_after,
)
from tailproof.project import project_paths
from tailproof.runtime.code_digest import code_digest
from tailproof.runtime.errors import TailproofError
from tailproof.runtime.records import read_record, record_path
from tailproof.runtime.stages import STAGES, script_of
from tailproof.workflow import config_section

TRAINING = ("train", "rung")
EXPERIMENTS = sorted(
    path.stem
    for path in Path("config/experiments").glob("*.yaml")
    if re.fullmatch(NAME, path.stem)
)
RESULTS = project_paths().results
EXPERT_FOLDER = f"{RESULTS}/{{experiment}}/experts/{{expert}}/seed-{{seed}}"
WINNER_FOLDER = f"{RESULTS}/{{experiment}}/experts/{WINNER}"


pathvars:
    results=RESULTS,
    expert=EXPERT_FOLDER,
    winner=WINNER_FOLDER,


wildcard_constraints:
    experiment="|".join(map(re.escape, EXPERIMENTS)),
    expert=NAME,
    seed=r"\d+",
    split="|".join(SPLITS),
    part=r"\d{5}",
    rung=r"\d+",


def checked(read, *arguments):
    """Call a function; turn a TailproofError into one sentence instead of a traceback."""
    try:
        return read(*arguments)
    except TailproofError as error:
        raise WorkflowError(str(error))


LISTED = checked(parse_config, config, "config/config.yaml")


@cache
def read_experiment(name):
    path = f"config/experiments/{name}.yaml"
    experiment = checked(load_experiment, path)
    if experiment.preflight.ignore:
        from tailproof.preflight.findings import validate_ignore

        checked(validate_ignore, experiment.preflight.ignore, path)
    for warning in warnings(experiment):
        logger.warning(f"config/experiments/{name}.yaml: {warning}")
    return experiment


def check_requested():
    """Read the requested experiments early: an error in an input function shows a traceback.

    While Snakemake reads rules, it does not know the targets (`workflow.dag_settings` is None), so
    they are taken from the command line.
    """
    words = [Path(word) for word in sys.argv if word.startswith(f"{RESULTS}/")]
    targets = [word.relative_to(RESULTS).parts for word in words]
    for parts in [parts for parts in targets if len(parts) > 1] or [
        (name,) for name in LISTED.experiments
    ]:
        experiment = read_experiment(parts[0])
        if len(parts) > 2 and parts[1] == "experts":
            checked(helpers.possible_recipes, experiment, parts[2])


def experiment(wildcards):
    """Return the configuration of the wildcards' experiment."""
    return read_experiment(wildcards.experiment)


def of_expert(function):
    """Return an input function, parameter or resource: a helper applied to the expert."""
    return lambda wildcards: checked(function, experiment(wildcards), wildcards.expert)


recipe = of_expert(helpers.largest_recipe)


@cache
def code(stage):
    """Return the digest of the code that a stage's script can reach."""
    script = script_of(stage)
    workflow_script = Path(workflow.source_path(f"../workflow/scripts/{script.name}"))
    # Snakemake drops the last newline of what it fetches from a forge.
    if workflow_script.read_text().rstrip() != script.read_text().rstrip():
        raise WorkflowError(
            f"workflow/scripts/{script.name} of this workflow differs from that of the installed "
            f"tailproof {version('tailproof')}: install the version that belongs to the workflow"
        )
    return checked(code_digest, script)


def record(stage):
    """Return the path of a job's record, which the job writes last."""
    return record_path("{experiment}", stage, STAGES[stage].job or stage)


def scaled_by_attempt(amount):
    """Return a resource that grows with each attempt of a job."""
    return lambda wildcards, attempt: attempt * (
        amount(wildcards) if callable(amount) else amount
    )


def max_over_recipes(amount):
    """Return a resource: the largest amount that any expert or point needs."""
    return lambda wildcards: helpers.max_over_recipes(experiment(wildcards), amount)


def measured_resource(name):
    """Return a resource of a training job, measured by the preflight, which runs before."""

    def amount(wildcards):
        timing = Path(RESULTS, wildcards.experiment, "preflight_timing.json")
        return checked(
            helpers.measured_resource, recipe(wildcards), timing, wildcards.expert, name
        )

    return scaled_by_attempt(amount)


def cleared(wildcards, input):
    """Return "yes", or the preflight's errors that are not ignored and stop the job.

    This is a resource, evaluated when the job is about to start. An input or a parameter would
    make finished experts stale whenever the preflight changes.
    """
    manifest = Path(input.manifest)
    sentences = stopping_sentences(
        wildcards.experiment, manifest, manifest.stat().st_mtime_ns
    )
    if sentences and workflow.dryrun:
        raise WorkflowError(sentences)
    return sentences or "yes"


@cache
def stopping_sentences(name, manifest, _changed):
    experiment = read_experiment(name)
    recipes = helpers.all_recipes(experiment)
    return checked(blocking_message, manifest, recipes, experiment.preflight.ignore)


@cache
def raw_of(name):
    """Return the raw files of an experiment's source; none if prepare downloads them."""
    data = read_experiment(name).data
    if getattr(data.source, "download", False):
        return RawFiles([], None)
    files = checked(files_to_read, data, f"{RESULTS}/{name}/raw.parquet")
    find_replaced_raw(name)
    return files


@cache
def find_replaced_raw(name):
    """Run prepare again if a raw file was replaced by one with an old time."""
    try:
        record = read_record(record_path(name, "prepare", "prepare"))
    except TailproofError:
        return  # it runs anyway, or the audit reports the record
    replaced = checked(
        replaced_raw,
        read_experiment(name).data,
        f"{RESULTS}/{name}/raw.parquet",
        record.started.timestamp(),
        project_paths().raw_status(name),
    )
    if replaced:
        logger.warning(checked(prepare_again, record, replaced))


def shards_of(*splits, file="part-{part}.parquet"):
    """Return an input function: the shards of some splits, or the facts about them."""
    return lambda wildcards: expand(
        f"{RESULTS}/{{experiment}}/shards/{{split}}/{file}",
        experiment=wildcards.experiment,
        split=splits,
        part=helpers.part_numbers(experiment(wildcards)),
    )


def files_of(experts, file, **values):
    """Return an input function: a file of every seed of the experts that a function names."""
    return lambda wildcards: expand(
        f"{EXPERT_FOLDER}/{file}",
        experiment=wildcards.experiment,
        expert=experts(wildcards),
        seed=experiment(wildcards).seeds,
        **values,
    )


def files_of_evaluated(file, **values):
    """Return an input function: a file of every evaluated expert and seed."""
    return files_of(lambda w: experiment(w).evaluated, file, **values)


def rung_standing(wildcards, rung):
    """Return the file with the points promoted to a rung; none for the first rung."""
    before = f"{WINNER_FOLDER}/rung-{rung - 1}.json"
    return before.format(experiment=wildcards.experiment) if rung > 1 else []


def selection_of(wildcards):
    """Return the file with the selection of the sweep, if there is a sweep."""
    path = f"{WINNER_FOLDER}/selection.json".format(experiment=wildcards.experiment)
    return path if experiment(wildcards).sweep else []


def records_so_far(wildcards):
    """Return the records of all jobs before the report."""
    return helpers.expected_records(wildcards.experiment, experiment(wildcards))


def check_cleared(jobs):
    """Stop before the first job if the preflight blocks training on shards that exist."""
    unmade = {job.wildcards.experiment for job in jobs if stage_of(job) == "manifest"}
    for job in jobs:
        if stage_of(job) in TRAINING and job.wildcards.experiment not in unmade:
            if (sentences := cleared(job.wildcards, job.input)) != "yes":
                raise WorkflowError(sentences)


check_requested()


onstart:
    jobs = list(workflow.dag.needrun_jobs())
    if workflow.executor_plugin.name == "slurm":
        partitions = {
            job.rule.name: job.resources.get("slurm_partition") for job in jobs
        }
        checked(
            check_partitions,
            {rule: name for rule, name in partitions.items() if name},
        )
    check_cleared(jobs)
    start_after(workflow.dag, "preflight", TRAINING)
