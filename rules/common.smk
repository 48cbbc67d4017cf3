# Helpers of the rules, and nothing that makes a file.
import json
import re
import sys
from functools import cache
from pathlib import Path

from tailproof.core.config.load import load_experiment, parse_config
from tailproof.core.config.splits import SPLITS
from tailproof.core.config.warnings import warnings
from tailproof.core.errors import TailproofError, suggestion
from tailproof.data.sources import open_source
from tailproof.provenance.closure import code_digest

ROOT = Path(workflow.basedir)
EXPERIMENTS = sorted(path.stem for path in Path("config/experiments").glob("*.yaml"))
SHARD = "results/{experiment}/shards/{split}/part-{part}.parquet"
SEED_FOLDER = "results/{experiment}/experts/{expert}/seed-{seed}"
NAME = r"[A-Za-z0-9][A-Za-z0-9_.-]*"


wildcard_constraints:
    experiment="|".join(map(re.escape, EXPERIMENTS)),
    expert=NAME,
    seed=r"\d+",
    split="|".join(SPLITS),
    part=r"\d{5}",


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


def read_recipe(name, expert):
    experts = read_experiment(name).experts
    if expert not in experts:
        stop(
            f"experiment '{name}' has no expert '{expert}'{suggestion(expert, experts)}; "
            f"known: {', '.join(experts)}"
        )
    return experts[expert]


def recipe(wildcards):
    """The recipe of the wildcards' expert."""
    return read_recipe(wildcards.experiment, wildcards.expert)


def running(wildcards):
    """How the wildcards' expert is run, as JSON: a resource, since it makes nothing stale."""
    return json.dumps(recipe(wildcards).running())


def initial_weights(wildcards):
    """The weights that the wildcards' expert starts from, if it starts from others."""
    path = recipe(wildcards).init_from
    if path is None or path.endswith((".safetensors", ".pt")):
        return path or []
    return f"{path}/model.safetensors"


def check_requested():
    """Read what was asked for now: from an input function a mistake comes with a traceback.

    Snakemake does not know its targets yet while it reads rules; the command line does.
    """
    targets = [Path(word).parts for word in sys.argv if word.startswith("results/")]
    for parts in targets or [("results", name) for name in LISTED.experiments]:
        read_experiment(parts[1])
        if len(parts) > 3 and parts[2] == "experts":
            read_recipe(parts[1], parts[3])


def plain(model, *names):
    """A configuration section, or only the named fields of it, as plain values."""
    return model.model_dump(mode="json", include=set(names) or None)


@cache
def code(script, data=""):
    """The digest of the code that a script can reach, and of data files that the code reads."""
    files = sorted(path for path in ROOT.glob(data) if path.is_file()) if data else []
    return code_digest(ROOT / "workflow" / "scripts" / script, ROOT, files)


def raw_files(wildcards):
    """The raw files of a source, or none where prepare downloads them."""
    source = experiment(wildcards).data.source
    return (
        [] if getattr(source, "download", False) else checked(open_source(source).files)
    )


def shards_of(*splits):
    """An input function: the shards of these splits."""
    return lambda wildcards: expand(
        SHARD, experiment=wildcards.experiment, split=splits, part=parts(wildcards)
    )


def parts(wildcards):
    """The part numbers of each split."""
    return [f"{part:05d}" for part in range(experiment(wildcards).data.parts)]


def seed_folders(wildcards):
    """The folders of all experts and seeds, in the order of the configuration."""
    found = experiment(wildcards)
    return expand(
        SEED_FOLDER,
        experiment=wildcards.experiment,
        expert=found.experts,
        seed=found.seeds,
    )


def of_all_experts(*names):
    """An input function: these files of every expert and seed."""
    return lambda wildcards: [
        f"{folder}/{name}" for folder in seed_folders(wildcards) for name in names
    ]


check_requested()
