# What all rules use; no rules. What needs no Snakemake is in tailproof.workflow.
import re
import sys
from functools import cache
from importlib.metadata import version
from pathlib import Path

from tailproof import workflow as helpers
from tailproof.config import expert_recipes
from tailproof.config.base import NAME
from tailproof.config.evaluation import ENSEMBLES
from tailproof.config.section_fields import config_section, data_section
from tailproof.config.splits import CALIBRATED, SPLITS, UNKNOWN_SPLITS
from tailproof.config.sweep import WINNER
from tailproof.config.validation import parse_config
from tailproof.extensions import import_extensions
from tailproof.preflight.slurm_partitions import check_partitions
from tailproof.preflight.slurm_resources import cores, memory_mb
from tailproof.provenance.snakemake_bridge import (
    before_jobs,
    let_times_follow_inputs,
    name_user,
    prepare_again,
    stage_of,
    start_after,
)
from tailproof.project import FEATURES, WEIGHTS, project_paths
from tailproof.runtime.code_digest import CodeRead, code_digest
from tailproof.runtime.errors import TailproofError
from tailproof.runtime.git import why_unreadable
from tailproof.runtime.records import read_record, record_path
from tailproof.runtime.stages import STAGES, TRAINED, script_of

TRAINING = ("train", "rung")
RESULTS = project_paths().results
EXPERT_FOLDER = f"{RESULTS}/{{experiment}}/experts/{{expert}}/seed-{{seed}}"
WINNER_FOLDER = f"{RESULTS}/{{experiment}}/experts/{WINNER}"


pathvars:
    results=RESULTS,
    expert=EXPERT_FOLDER,
    winner=WINNER_FOLDER,
    weights=project_paths().experiment(WEIGHTS).as_posix(),
    features=project_paths().experiment(FEATURES).as_posix(),


name_user()
let_times_follow_inputs()


def checked(read, *arguments):
    """Call a function; turn a TailproofError into one sentence instead of a traceback."""
    try:
        return read(*arguments)
    except TailproofError as error:
        raise WorkflowError(str(error))


wildcard_constraints:
    experiment="|".join(map(re.escape, checked(helpers.experiment_names))),
    expert=NAME,
    key=NAME,
    seed=r"\d+",
    split="|".join([*SPLITS, *UNKNOWN_SPLITS]),
    part=r"\d{5}",
    rung=r"\d+",
    method="|".join(ENSEMBLES),


checked(import_extensions)
pipeline = helpers.Pipeline(project_paths(), logger.warning)
experiment, recipe, of_expert = (
    pipeline.experiment,
    pipeline.recipe,
    pipeline.of_expert,
)
shards_of, files_of = pipeline.shards_of, pipeline.files_of
files_of_evaluated, records_so_far = (
    pipeline.files_of_evaluated,
    pipeline.records_so_far,
)
pairs_to_group, leakage_of = pipeline.pairs_to_group, pipeline.leakage_of
context_of = pipeline.context_of
rung_standing, selection_of = pipeline.rung_standing, pipeline.selection_of
max_over_recipes = pipeline.max_over_recipes

# An error in an input function shows a traceback, so the requested experiments are read here. While
# Snakemake reads rules, it does not know the targets: they are taken from the command line.
checked(pipeline.check_folder, Path.cwd())
LISTED = checked(parse_config, config, "config/config.yaml")
checked(pipeline.check_requested, sys.argv[1:], LISTED.experiments)


code_read = CodeRead()


@cache
def code(stage, variant=""):
    """Return the digest of the code that a stage's script, or a variant of it, can reach."""
    script = script_of(stage, variant)
    workflow_script = Path(workflow.source_path(f"../workflow/scripts/{script.name}"))
    # Snakemake drops the last newline of what it fetches from a forge.
    if (
        workflow_script.read_text("utf-8").rstrip()
        != script.read_text("utf-8").rstrip()
    ):
        raise WorkflowError(
            f"workflow/scripts/{script.name} of this workflow differs from that of the installed "
            f"tailproof {version('tailproof')}: install the version that belongs to the workflow"
        )
    return checked(lambda: code_digest(script, read=code_read))


def record(stage):
    """Return the path of a job's record, which the job writes last."""
    return record_path("{experiment}", stage, STAGES[stage].job or stage)


def scaled_by_attempt(amount):
    """Return a resource that grows with each attempt of a job."""
    return lambda wildcards, attempt: attempt * (
        amount(wildcards) if callable(amount) else amount
    )


def measured_resource(name):
    """Return a resource of a training job, measured by the preflight, which runs before."""
    amount = pipeline.measured(name)
    return scaled_by_attempt(lambda wildcards: checked(amount, wildcards))


def cleared(wildcards, input):
    """Return "yes", or the preflight's errors that are not ignored and stop the job.

    This is a resource, evaluated when the job is about to start. An input or a parameter would
    make finished experts stale whenever the preflight changes.
    """
    name, manifest = wildcards.experiment, Path(input.manifest)
    sentences = checked(pipeline.stopping_sentences, name, manifest)
    if sentences and workflow.dryrun:
        raise WorkflowError(sentences)
    return sentences or "yes"


@cache
def raw_of(name):
    """Return the raw files of a source; run prepare again if one was replaced."""
    files = checked(pipeline.raw_of, name)
    if replaced := checked(pipeline.replaced_raw, name):
        made = read_record(record_path(name, "prepare", "prepare"))
        logger.warning(checked(prepare_again, made, replaced))
    return files


def check_cleared(jobs):
    """Stop before the first job if the preflight blocks training on shards that exist."""
    unmade = {job.wildcards.experiment for job in jobs if stage_of(job) == "manifest"}
    for job in jobs:
        if stage_of(job) in TRAINING and job.wildcards.experiment not in unmade:
            if (sentences := cleared(job.wildcards, job.input)) != "yes":
                raise WorkflowError(sentences)


def check_jobs():
    """Check the partitions and the preflight; let training wait for a preflight that runs."""
    jobs = list(workflow.dag.needrun_jobs())
    if workflow.executor_plugin.name == "slurm":
        partitions = {
            job.rule.name: job.resources.get("slurm_partition") for job in jobs
        }
        checked(
            check_partitions,
            {rule: name for rule, name in partitions.items() if name},
        )
    if why := why_unreadable(Path()):
        logger.warning(
            f"git cannot read the repository ({why}): records name no commit"
        )
    check_cleared(jobs)
    start_after(workflow.dag, "preflight", TRAINING)


before_jobs(workflow, check_jobs)
