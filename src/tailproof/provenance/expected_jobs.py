"""The names of an experiment's jobs, which are those of their records."""

from tailproof.config.experiment import Experiment
from tailproof.config.splits import SPLITS
from tailproof.config.sweep import WINNER


def expected_jobs(experiment: Experiment) -> list[str]:
    """Return ``RULE/NAME`` of every job of an experiment that comes before the report."""
    rules = ("prepare", "split", "manifest", "preflight", "evaluate")
    once = [f"{rule}/{rule}" for rule in rules]
    parts = range(experiment.data.shards_per_split)
    shards = [f"shard/{split}-{part:05d}" for split in SPLITS for part in parts]
    experts = [
        f"{rule}/{expert}-{seed}"
        for rule, names in (
            ("train", experiment.trained),
            ("infer", experiment.evaluated),
            ("calibrate", experiment.evaluated),
            ("export", experiment.evaluated),
            ("diagnose", experiment.evaluated),
            ("card", experiment.evaluated),
        )
        for expert in names
        for seed in experiment.seeds
    ]
    return once + shards + experts + _of_sweep(experiment)


def _of_sweep(experiment: Experiment) -> list[str]:
    if not experiment.sweep:
        return []
    rungs = [
        f"rung/{name}-{seed}"
        for names in experiment.rounds[:-1]
        for name in names
        for seed in experiment.seeds
    ]
    promoted = [f"promote/rung-{rung}" for rung in range(1, len(experiment.rounds))]
    winners = [f"winner/{WINNER}-{seed}" for seed in experiment.seeds]
    return [*rungs, *promoted, "selection/selection", *winners]
