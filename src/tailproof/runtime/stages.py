"""The registry of stages: the outputs of each, and the names of its jobs and records."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from tailproof.project import STORES, project_paths, stage_script

EXPERT = "experts/{expert}/seed-{seed}"
WINNER = "experts/winner"
BUNDLES = "bundles"
BUNDLED = (
    "model.safetensors",
    "bundle.json",
    "deployment.json",
    "guarantees.json",
    "README.md",
)
TRAINED = ("model.safetensors", "config.json", "history.csv", "training.json")

TIMED = ("training.json", "preflight_timing.json", "preflight.md", "preflight.html", "cost.json")
"""Names of outputs that hold times, so that their bytes differ from run to run."""


@dataclass(frozen=True)
class Stage:
    """One stage; its rule, its script and the folder of its records share its name.

    Attributes:
        outputs: patterns of a job's files, below results/EXPERIMENT, or next to results in a
            store.
        job: pattern of a job's name; empty if the stage has a single job, named like the stage.
        per: the unit of one job: ``experiment``, ``compared`` if the experiment compares images,
            ``contextual`` if it names columns of context, ``unknown`` if it has unknown pictures,
            ``shard``, features and shard of ``unknown_features``, expert and seed (``trained``,
            ``evaluated``, or ``scored`` if it says "unknown"), expert and seed of a ``rung``,
            ``promotion``, ``selection``, seed of the ``winner``, with students the seed that is
            ``taught``, and ``students``. None if the report does not depend on it.
        reads_test: whether the stage may read files of the splits test and unknown_test.
        reads_raw: whether the stage may read raw files.
        reads_all: whether the stage may read all results, declared or not.
        script: the stage whose script runs; empty for the stage's own.
        variants: other scripts that may run, chosen by the parameter `script` of a job.
    """

    outputs: tuple[str, ...]
    job: str = ""
    per: str | None = "experiment"
    reads_test: bool = False
    reads_raw: bool = False
    reads_all: bool = False
    script: str = ""
    variants: tuple[str, ...] = ()

    @cached_property
    def _patterns(self) -> list[re.Pattern[str]]:
        return [_compiled(pattern) for pattern in self.outputs]

    def wildcards_of(self, path: str) -> dict[str, str] | None:
        """Return the wildcards of the job that writes a file below results/EXPERIMENT, or None."""
        matches = (pattern.fullmatch(path) for pattern in self._patterns)
        return next((match.groupdict() for match in matches if match), None)


def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"\\{(\w+)\\}", r"(?P<\1>[^/]+)", re.escape(pattern)))


STAGES = {
    "prepare": Stage(
        (
            "samples.parquet",
            "raw.parquet",
            "prepare.json",
            "bad_images.csv",
            "near_duplicates/thumbnails.parquet",
        ),
        reads_raw=True,
    ),
    "near_duplicates": Stage(("near_duplicates/pairs.parquet",), per="compared"),
    "context": Stage(("context.parquet",), per="contextual", reads_raw=True),
    "split": Stage(("splits.parquet", "splits.json")),
    "leakage": Stage(
        ("near_duplicates/leakage.json", "near_duplicates/cross_class_pairs.csv"), per="compared"
    ),
    "manifest": Stage(("shards/manifest.json",), reads_test=True),
    "manifest_unknown": Stage(("shards/unknown.json",), per="unknown", reads_test=True),
    "preflight": Stage(("preflight.json", "preflight_timing.json", "preflight.md")),
    "thumbnails": Stage(("thumbnails.json",)),
    "inspect": Stage(
        tuple(
            f"inspection/{name}"
            for name in ("summary.json", "labels_to_check.csv", "odd_images.csv", "pictures.json")
        )
    ),
    # Before evaluate, whose pattern its files match too.
    "guarantee": Stage(
        ("evaluation/guarantees.json", "evaluation/guarantee_rules.json"), reads_test=True
    ),
    "evaluate": Stage(("evaluation/{table}",), reads_test=True),
    "shortcut_probe": Stage(("shortcuts.json",), per=None),
    "cross_fit": Stage(("cross_fit/{table}",), per=None, reads_test=True),
    "draws": Stage(("draws/{table}",), per=None),
    "report": Stage(("report/{page}",), per=None),
    "audit": Stage(("audit.json",), per=None, reads_all=True),
    "shard": Stage(
        ("shards/{split}/part-{part}.parquet", "shards/{split}/part-{part}.json"),
        "{split}-{part}",
        "shard",
        reads_test=True,
        reads_raw=True,
    ),
    # Before train: the winner is a copy of a trained expert and matches its patterns too.
    "winner": Stage(
        tuple(f"{WINNER}/seed-{{seed}}/{name}" for name in TRAINED), "winner-{seed}", "winner"
    ),
    "train": Stage(
        tuple(f"{EXPERT}/{name}" for name in TRAINED),
        "{expert}-{seed}",
        "trained",
        variants=("train_head",),
    ),
    "infer": Stage(
        (f"{EXPERT}/raw_logits/{{split}}.parquet",),
        "{expert}-{seed}",
        "evaluated",
        True,
        variants=("infer_head",),
    ),
    "score_unknown": Stage(
        (f"{EXPERT}/unknown_scores.parquet", f"{EXPERT}/unknown.safetensors"),
        "{expert}-{seed}",
        "scored",
        True,
        variants=("score_unknown_head",),
    ),
    "calibrate": Stage((f"{EXPERT}/calibration.json",), "{expert}-{seed}", "evaluated"),
    "export": Stage((f"{EXPERT}/logits/{{split}}.parquet",), "{expert}-{seed}", "evaluated", True),
    "diagnose": Stage((f"{EXPERT}/diagnosis.json",), "{expert}-{seed}", "evaluated"),
    "card": Stage(
        tuple(
            f"{EXPERT}/{name}"
            for name in ("README.md", "example.py", "deployment.json", "guarantees.json")
        ),
        "{expert}-{seed}",
        "evaluated",
    ),
    "bundle": Stage(
        tuple(f"{BUNDLES}/{{method}}/seed-{{seed}}/{name}" for name in BUNDLED),
        "{method}-{seed}",
        per=None,
    ),
    "rung": Stage(
        (f"{EXPERT}/rung.csv",),
        "{expert}-{seed}",
        "rung",
        script="train",
        variants=("train_head",),
    ),
    "fetch": Stage(("weights/{key}.safetensors", "weights/{key}.json"), "{key}", per=None),
    "embed": Stage(
        ("features/{key}/{split}.parquet/part-{part}.parquet",),
        "{key}-{part}",
        per=None,
        reads_test=True,
    ),
    "teach": Stage(("experts/teacher-{seed}.parquet",), "teacher-{seed}", "taught"),
    "cost": Stage(("experts/cost.json",), per="students"),
    "embed_unknown": Stage(
        ("shards/unknown_features/{key}/{split}.parquet/part-{part}.parquet",),
        "{key}-{part}",
        "unknown_features",
        True,
    ),
    "promote": Stage((f"{WINNER}/rung-{{rung}}.json",), "rung-{rung}", "promotion"),
    "selection": Stage((f"{WINNER}/selection.json", f"{WINNER}/points.csv"), per="selection"),
}


POOLED = ("cross_fit", "draws")
"""The stages that read several experiments; each writes a folder of its own."""


def script_of(stage: str, variant: str = "") -> Path:
    """Return the path of a stage's script; for a removed stage, where it used to be.

    Args:
        stage: name of the stage.
        variant: the parameter `script` of the job, for a stage that has several scripts.
    """
    known = STAGES.get(stage, Stage(()))
    return stage_script(variant if variant in known.variants else known.script or stage)


def job_of(path: str) -> tuple[str, str] | None:
    """Return the stage and the name of the job that writes a results file, or None."""
    for name, stage in STAGES.items():
        wildcards = stage.wildcards_of(_below_experiment(path))
        if wildcards is not None:
            return name, (stage.job or name).format(**wildcards)
    return None


def paths_by(stage: str, names: tuple[str, ...], paths: Iterable[str]) -> dict[Any, str]:
    """Return output files of a stage by their wildcards, in the order of the paths.

    Args:
        stage: the stage that writes the files.
        names: names of the wildcards. With one name a key is its value, with several a tuple.
        paths: paths of the files.

    Raises:
        ValueError: a file is not an output of the stage.
    """
    keyed = {}
    for path in paths:
        wildcards = STAGES[stage].wildcards_of(_below_experiment(path))
        if wildcards is None:
            raise ValueError(f"{path} is not an output of the stage {stage}")
        values = tuple(wildcards[name] for name in names)
        keyed[values if len(values) > 1 else values[0]] = path
    return keyed


def logits_by_expert(paths: Iterable[str], params: Any) -> dict[str, dict[str, dict[str, str]]]:
    """Return files of calibrated logits by expert, seed and split.

    Args:
        paths: the files.
        params: the parameters of a job, with its `experts`, `seeds` and `splits`.
    """
    keyed = paths_by("export", ("expert", "seed", "split"), paths)
    return {
        expert: {
            str(seed): {split: keyed[expert, str(seed), split] for split in params.splits}
            for seed in params.seeds
        }
        for expert in params.experts
    }


def unknown_scores_by_expert(paths: Iterable[str]) -> dict[str, dict[str, str]]:
    """Return files of unknown scores by expert and seed.

    Args:
        paths: the files.
    """
    keyed: dict[str, dict[str, str]] = {}
    for (expert, seed), path in paths_by("score_unknown", ("expert", "seed"), paths).items():
        keyed.setdefault(expert, {})[seed] = path
    return keyed


def _below_experiment(path: str) -> str:
    """Return the path below its experiment; in a store, the path next to results."""
    first, *below = project_paths().inside(path) or ("",)
    return "/".join([first, *below] if first in STORES else below)
