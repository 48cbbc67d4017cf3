"""The files that a bundle is made of."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tailproof.config.evaluation import Ensemble
from tailproof.digests import known_sha256
from tailproof.files import read_json
from tailproof.runtime.errors import TailproofError

Files = Mapping[Any, str | Path]


@dataclass(frozen=True)
class Sources:
    """The experts of one seed, and what the evaluation fitted on their logits.

    Attributes:
        experiment, title: of the experiment.
        method: how the experts are combined.
        seed: their seed.
        experts: their names, in the order of the evaluation.
        weights, configs, calibrations: files of each expert.
        logits: calibrated logits by expert and split: val, calib and tune.
        manifest: the shards' manifest.json.
        samples: samples.parquet.
        metrics: metrics.json of the evaluation.
        splits: splits.parquet; only context needs it.
        context: context.parquet; None without columns of context.
        rules: guarantee_rules.json; None if the experts do not say "unknown".
        known: unknown.safetensors of each expert; empty if they do not.
        hashed: SHA-256 of inputs that were already hashed, by path.
    """

    experiment: str
    title: str
    method: Ensemble
    seed: int
    experts: Sequence[str]
    weights: Files
    configs: Files
    calibrations: Files
    logits: Files
    manifest: str | Path
    samples: str | Path
    metrics: str | Path
    splits: str | Path | None = None
    context: str | Path | None = None
    rules: str | Path | None = None
    known: Files = field(default_factory=dict)
    hashed: Mapping[str, str] = field(default_factory=dict)

    def digests(self) -> dict[str, str]:
        """Return the SHA-256 of each file that decides what the bundle answers."""
        decisive = [self.manifest, self.metrics]
        if self.rules is not None:
            decisive.append(self.rules)
        for files in (self.weights, self.configs, self.calibrations, self.known):
            decisive += [files[name] for name in self.experts if name in files]
        return {Path(path).as_posix(): known_sha256(path, self.hashed) for path in decisive}

    def read_unknown(self) -> dict[str, Any] | None:
        """Return when the ensemble says unknown; None if it does not.

        Raises:
            TailproofError: the experts keep other features than it was fitted with.
        """
        if self.rules is None:
            return None
        unknown = read_json(self.rules)[self.method][str(self.seed)]["unknown"]
        for name, digest in unknown["features_sha256"].items():
            if known_sha256(self.known[name], self.hashed) != digest:
                raise TailproofError(
                    f"{self.known[name]} is not the file that {self.rules} was made with: run "
                    "snakemake again with --forcerun score_unknown"
                )
        return unknown

    def read_metrics(self) -> dict[str, Any]:
        """Return the content of metrics.json."""
        return read_json(self.metrics)
