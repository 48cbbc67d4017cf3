"""Lists the jobs of an experiment by name; their records have the same names."""

from collections.abc import Iterable

from tailproof.config.experiment import Experiment
from tailproof.config.expert_recipes import all_recipes
from tailproof.config.features import backbones_by_key
from tailproof.config.splits import SPLITS
from tailproof.runtime.stages import STAGES


def expected_jobs(experiment: Experiment) -> list[str]:
    """Return ``STAGE/NAME`` of every job of an experiment that runs before the report."""
    wildcards = _wildcards(experiment)
    return [
        f"{name}/{(stage.job or name).format(**values)}"
        for name, stage in STAGES.items()
        for values in wildcards.get(stage.per, [])
    ]


def _wildcards(experiment: Experiment) -> dict[str | None, list[dict[str, str]]]:
    """Return the wildcards of the jobs of each stage, by `Stage.per`."""
    parts = [f"{part:05d}" for part in range(experiment.data.shards_per_split)]
    unknown_splits = experiment.data.splits_of_unknown

    def runs(experts: Iterable[str]) -> list[dict[str, str]]:
        return [
            {"expert": name, "seed": str(seed)} for name in experts for seed in experiment.seeds
        ]

    wildcards: dict[str | None, list[dict[str, str]]] = {
        "experiment": [{}],
        "compared": [] if experiment.data.near_duplicates == "off" else [{}],
        "contextual": [{}] if experiment.data.context else [],
        "shard": [
            {"split": split, "part": part} for split in (*SPLITS, *unknown_splits) for part in parts
        ],
        "trained": runs(experiment.trained),
        "evaluated": runs(experiment.evaluated),
        "scored": [] if experiment.data.unknown is None else runs(experiment.evaluated),
    }
    if experiment.students:
        wildcards["taught"] = [{"seed": str(seed)} for seed in experiment.seeds]
        wildcards["students"] = [{}]
    if unknown_splits:
        keys = backbones_by_key(experiment.data, all_recipes(experiment).values())
        wildcards["unknown"] = [{}]
        wildcards["unknown_features"] = [
            {"key": key, "part": part} for key in keys for part in parts
        ]
    if experiment.sweep:
        rounds = experiment.rounds
        wildcards |= {
            "rung": runs(name for names in rounds[:-1] for name in names),
            "promotion": [{"rung": str(rung)} for rung in range(1, len(rounds))],
            "selection": [{}],
            "winner": [{"seed": str(seed)} for seed in experiment.seeds],
        }
    return wildcards
