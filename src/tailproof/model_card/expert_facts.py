"""What a card is written from: files of one expert and of its experiment, read and checked."""

from dataclasses import dataclass
from typing import Any

from tailproof.calibration.calibration_file import temperatures
from tailproof.config.evaluation import Evaluation
from tailproof.data.taxonomy import head_columns
from tailproof.digests import sha256_file
from tailproof.files import read_json
from tailproof.runtime.errors import TailproofError

CARD_SPLIT = "test"
SHOWN_DIGESTS = ("config", "calibration", "manifest", "metrics")

Value = dict[str, float | None]


@dataclass(frozen=True)
class ExpertFacts:
    """All that is known of one expert.

    Attributes:
        experiment: its name.
        title: of the experiment.
        source: the name of the source of the images.
        expert: its name.
        seed: of the expert.
        config, calibration, training, diagnosis: the expert's JSON files.
        manifest, splits, metrics: those of the experiment.
        evaluation: what was measured.
        digests: SHA-256 by path of the files that say what the expert is.
    """

    experiment: str
    title: str
    source: str
    expert: str
    seed: int
    config: dict[str, Any]
    calibration: dict[str, Any]
    training: dict[str, Any]
    diagnosis: dict[str, Any]
    manifest: dict[str, Any]
    splits: dict[str, Any]
    metrics: dict[str, Any]
    evaluation: Evaluation
    digests: dict[str, str]

    @classmethod
    def read(
        cls, files: dict[str, str], weights: str, evaluation: Evaluation, **named: Any
    ) -> "ExpertFacts":
        """Read the files.

        Args:
            files: paths by the names of the attributes that they fill.
            weights: path of the expert's weights, whose digest calibration.json holds.
            evaluation: what was measured.
            named: experiment, title, source, expert and seed.

        Raises:
            TailproofError: a file is missing or damaged, or the expert was not evaluated.
        """
        values = {name: read_json(path) for name, path in files.items()}
        digests = {weights: values["calibration"]["weights_sha256"]}
        digests |= {files[name]: sha256_file(files[name]) for name in SHOWN_DIGESTS}
        found = cls(**values, evaluation=evaluation, digests=digests, **named)
        if str(found.seed) not in found.metrics["experts"].get(found.expert, {}).get("seeds", {}):
            raise TailproofError(
                f"{files['metrics']} has nothing of {found.expert}, seed {found.seed}: run "
                "evaluate again"
            )
        return found

    @property
    def target(self) -> str:
        """The taxonomic rank that decisions are about."""
        return self.config["tailproof"]["target"]

    @property
    def recipe(self) -> dict[str, Any]:
        """How the expert was trained."""
        return self.config["tailproof"]["recipe"]

    @property
    def classes(self) -> list[str]:
        """Class names of the target."""
        return self.metrics["classes"]

    @property
    def columns(self) -> slice:
        """Which of the model's outputs are the target's."""
        return head_columns(self.config["tailproof"]["heads"])[self.target]

    @property
    def temperatures(self) -> dict[str, float]:
        """What the logits of each rank are divided by, the target's first."""
        return temperatures(self.calibration, self.target)

    def counts(self, split: str) -> dict[str, int]:
        """Return the images of each class of the target in a split."""
        return self.manifest["splits"][split]["class_counts"][self.target]

    def measured(self, metric: str) -> Value | None:
        """Return a metric on test with its interval; None where it is undefined."""
        seeds = self.metrics["experts"][self.expert]["seeds"]
        found = seeds[str(self.seed)][CARD_SPLIT].get(metric)
        return None if found is None or found["value"] is None else found

    def over_seeds(self, metric: str) -> Value | None:
        """Return a metric's mean over seeds on test."""
        return self.metrics["experts"][self.expert]["over_seeds"][CARD_SPLIT].get(metric)
