"""The stages of the workflow: what each writes, and how its jobs and their records are named."""

import re
from dataclasses import dataclass
from functools import cached_property

EXPERT = "experts/{expert}/seed-{seed}"
WINNER = "experts/winner"
TRAINED = ("model.safetensors", "config.json", "history.csv", "training.json")


@dataclass(frozen=True)
class Stage:
    """One stage: its rule, its script and the folder of its records have its name.

    Attributes:
        outputs: patterns of the files of a job, below results/EXPERIMENT.
        job: pattern of the name of a job; the stage's own name where there is one job.
        per: what there is a job of: ``experiment``, ``shard``, expert and seed that is ``trained``
            or ``evaluated``, expert and seed of a ``rung``, ``promotion``, or ``winner`` and seed.
            None where the report does not depend on the stage.
        reads_test: whether it may read files of the split test.
    """

    outputs: tuple[str, ...]
    job: str = ""
    per: str | None = "experiment"
    reads_test: bool = False

    @cached_property
    def _patterns(self) -> list[re.Pattern[str]]:
        return [_compiled(pattern) for pattern in self.outputs]

    def wildcards_of(self, path: str) -> dict[str, str] | None:
        """Return the wildcards of the job that writes a file below results/EXPERIMENT."""
        matches = (pattern.fullmatch(path) for pattern in self._patterns)
        return next((match.groupdict() for match in matches if match), None)


def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"\\{(\w+)\\}", r"(?P<\1>[^/]+)", re.escape(pattern)))


STAGES = {
    "prepare": Stage(("samples.parquet", "raw.parquet")),
    "split": Stage(("splits.parquet", "splits.json")),
    "manifest": Stage(("shards/manifest.json",), reads_test=True),
    "preflight": Stage(("preflight.json", "preflight_timing.json", "preflight.md")),
    "thumbnails": Stage(("thumbnails.json",)),
    "evaluate": Stage(("evaluation/{table}",), reads_test=True),
    "shortcut_probe": Stage(("shortcuts.json",), per=None),
    "report": Stage(("report/{page}",), per=None),
    "audit": Stage(("audit.json",), per=None),
    "shard": Stage(
        ("shards/{split}/part-{part}.parquet", "shards/{split}/part-{part}.json"),
        "{split}-{part}",
        "shard",
        reads_test=True,
    ),
    # Before train: the winner is an expert like the others, copied.
    "winner": Stage(
        tuple(f"{WINNER}/seed-{{seed}}/{name}" for name in TRAINED), "winner-{seed}", "winner"
    ),
    "train": Stage(tuple(f"{EXPERT}/{name}" for name in TRAINED), "{expert}-{seed}", "trained"),
    "infer": Stage(
        (f"{EXPERT}/raw_logits/{{split}}.parquet",), "{expert}-{seed}", "evaluated", True
    ),
    "calibrate": Stage((f"{EXPERT}/calibration.json",), "{expert}-{seed}", "evaluated"),
    "export": Stage((f"{EXPERT}/logits/{{split}}.parquet",), "{expert}-{seed}", "evaluated", True),
    "diagnose": Stage((f"{EXPERT}/diagnosis.json",), "{expert}-{seed}", "evaluated"),
    "card": Stage(
        tuple(f"{EXPERT}/{name}" for name in ("README.md", "example.py", "predict.json")),
        "{expert}-{seed}",
        "evaluated",
    ),
    "rung": Stage((f"{EXPERT}/rung.csv",), "{expert}-{seed}", "rung"),
    "promote": Stage((f"{WINNER}/rung-{{rung}}.json",), "rung-{rung}", "promotion"),
    "selection": Stage((f"{WINNER}/selection.json", f"{WINNER}/points.csv"), per="selection"),
}


def job_of(path: str) -> str | None:
    """Return ``STAGE/NAME`` of the job that writes a file below results/EXPERIMENT."""
    for name, stage in STAGES.items():
        wildcards = stage.wildcards_of(path)
        if wildcards is not None:
            return f"{name}/{(stage.job or name).format(**wildcards)}"
    return None
