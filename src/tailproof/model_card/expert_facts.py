"""The facts of a model card, from the files of an expert and its experiment."""

from dataclasses import dataclass
from typing import Any

from tailproof.calibration.calibration_file import CalibrationFile
from tailproof.calibration.calibrator import Calibrator
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
    """The facts about one expert.

    Attributes:
        experiment: name of the experiment.
        title: title of the experiment.
        source: name of the data source.
        expert: name of the expert.
        seed: seed of the expert.
        config, calibration, training, diagnosis: the expert's JSON files.
        promises: the content of guarantees.json in the expert's folder.
        manifest, splits, metrics: the experiment's JSON files.
        evaluation: configuration of the stage evaluate.
        digests: {path: SHA-256} of the files that define the expert.
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
    promises: dict[str, Any]
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
            files: {attribute: path of the file that fills it}; promises are taken from
                guarantee_rules.json of the experiment.
            weights: path of the expert's weights, whose digest calibration.json holds.
            evaluation: configuration of the stage evaluate.
            named: experiment, title, source, expert and seed.

        Raises:
            TailproofError: a file is missing or damaged, or the expert was not evaluated, or no
                promise was fitted for its weights.
        """
        values = {name: read_json(path) for name, path in files.items()}
        expert, seed = named["expert"], str(named["seed"])
        values["promises"] = values["promises"].get(expert, {}).get(seed, {})
        digests = {weights: values["calibration"]["weights_sha256"]}
        digests |= {files[name]: sha256_file(files[name]) for name in SHOWN_DIGESTS}
        facts = cls(**values, evaluation=evaluation, digests=digests, **named)
        if seed not in facts.metrics["experts"].get(expert, {}).get("seeds", {}):
            raise TailproofError(
                f"{files['metrics']} has no results for {expert}, seed {seed}: run snakemake "
                "again with --forcerun evaluate"
            )
        if facts.promises.get("weights_sha256") != facts.calibration["weights_sha256"]:
            raise TailproofError(
                f"{files['promises']} has no rules for the weights of {expert}, seed {seed}: run "
                "snakemake again with --forcerun guarantee"
            )
        return facts

    @property
    def target(self) -> str:
        """The taxonomic rank that the expert classifies."""
        return self.config["tailproof"]["target"]

    @property
    def recipe(self) -> dict[str, Any]:
        """The recipe of the expert."""
        return self.config["tailproof"]["recipe"]

    @property
    def classes(self) -> list[str]:
        """Class names of the target."""
        return self.metrics["classes"]

    @property
    def columns(self) -> slice:
        """The model's outputs that belong to the target."""
        return head_columns(self.config["tailproof"]["heads"])[self.target]

    @property
    def calibrators(self) -> dict[str, Calibrator]:
        """The calibrator of each rank, the target's first."""
        return CalibrationFile(**self.calibration).calibrators(self.target)

    @property
    def calibration_raised(self) -> bool:
        """Whether calibration raised the calibration error on test beyond noise, over seeds."""
        effect = self.metrics["calibration"][CARD_SPLIT][self.expert]["ece_debiased"]
        return effect["low"] is not None and effect["low"] > 0

    @property
    def group_temperature(self) -> float | None:
        """The temperature of groups of images; None if they were not measured."""
        groups = self.metrics["sample_groups"]
        return groups and groups["temperatures"][self.expert][str(self.seed)]

    @property
    def assumptions(self) -> dict[str, Any]:
        """What the probabilities assume of images."""
        confidence = self.metrics["class_confidence"][self.expert][str(self.seed)]
        return {"shares": self.promises["shares"], **confidence}

    def counts(self, split: str) -> dict[str, int]:
        """Return the number of images of each class in a split."""
        return self.manifest["splits"][split]["class_counts"][self.target]

    def measured(self, metric: str) -> Value | None:
        """Return a metric on test with its interval; None if it is undefined."""
        seeds = self.metrics["experts"][self.expert]["seeds"]
        value = seeds[str(self.seed)][CARD_SPLIT].get(metric)
        return None if value is None or value["value"] is None else value

    def over_seeds(self, metric: str) -> Value:
        """Return a metric's mean over seeds on test."""
        return self.metrics["experts"][self.expert]["over_seeds"][CARD_SPLIT][metric]
