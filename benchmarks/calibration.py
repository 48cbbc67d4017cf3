"""Does calibration make the demo worse? Experts and ensembles of 20 seeds, before and after.

    make bench-calibration                                   # trains 60 small networks
    python benchmarks/calibration.py --logits results/NAME   # seeds of a finished experiment

Each expert of `config/experiments/digits_lt.yaml` is trained with every seed, calibrated on the 42
samples of calib as configured, and measured on dev, to choose a setting on, and on the 323 samples
of test, where nothing is chosen. A row counts the seeds whose debiased calibration error is higher
than before beyond its 95 % interval (paired bootstrap), and shows the means over seeds.
`temperature` is as the demo is configured: classes count as often as on tune, and a temperature
that makes tune worse is not used. `temperature, plain` counts all samples the same, and
`temperature without prior` is the most likely one of these. The exit status is 1 if the configured
calibration makes a mean over seeds worse beyond its interval on dev.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from data import build
from rich.console import Console
from rich.table import Table

from tailproof.calibration.calibrator import Calibrator
from tailproof.calibration.choice import check
from tailproof.calibration.class_weights import resolve_weighting, sample_weights
from tailproof.calibration.metrics import ece, ece_debiased, log_probabilities, nll
from tailproof.calibration.scaling import fit_matrix, fit_vector
from tailproof.calibration.temperature import SPREAD, fit_temperature
from tailproof.config.validation import load_experiment
from tailproof.data.logits import Logits
from tailproof.evaluation.ensembles import combine, stack

EXPERIMENT = Path(__file__).parents[1] / "config" / "experiments" / "digits_lt.yaml"
CHOSEN_ON, PURPOSES = "dev", {"dev": "choose on these", "test": "choose nothing on these"}
SPLITS = ("val", "calib", "tune", *PURPOSES)
ENSEMBLES = ("mean_logits", "mean_probabilities", "stacked")
METRICS = {"NLL": nll, "ECE": ece, "ECE, debiased": ece_debiased}
RESAMPLES = 1000


def train(folder: Path, seeds: int) -> None:
    """Train every expert with every seed and write its raw logits; what is there stays."""
    from tailproof.predict.infer import infer
    from tailproof.training.launcher import launch

    experiment = load_experiment(EXPERIMENT)
    manifest = folder / "shards" / "manifest.json"
    if not manifest.exists():
        build(experiment.data, folder)
    for seed in range(seeds):
        for name, recipe in experiment.experts.items():
            place = folder / "experts" / name / f"seed-{seed}"
            if not (place / "raw_logits" / "test.parquet").exists():
                launch(manifest, recipe, seed, place, folder / "states", "", folder / "log")
                infer(place, name, seed, manifest, place / "raw_logits", 1, 1e9, 0)


def read(folder: Path) -> dict[str, dict[str, dict[str, Logits]]]:
    """Return {seed: {expert: {split: raw logits}}} of the seeds that all experts have."""
    found: dict[str, dict[str, dict[str, Logits]]] = {}
    experts = sorted(path.name for path in (folder / "experts").iterdir())
    for path in sorted((folder / "experts").glob("*/seed-*/raw_logits")):
        if all((path / f"{split}.parquet").exists() for split in SPLITS):
            seed, expert = path.parent.name, path.parent.parent.name
            of_seed = found.setdefault(seed, {})
            of_seed[expert] = {split: Logits.read(path / f"{split}.parquet") for split in SPLITS}
    return {seed: each for seed, each in found.items() if len(each) == len(experts)}


def fitted(kind: str, splits: dict[str, Logits]) -> Calibrator:
    """Fit a calibrator of a kind of this benchmark on one network's logits."""
    parts = ("val", "calib") if kind.endswith("val and calib") else ("calib",)
    values = np.concatenate([splits[part].values for part in parts])
    labels = np.concatenate([splits[part].target for part in parts])
    tune = splits["tune"]
    plain = kind in ("temperature without prior", "temperature, plain")
    weighting = "plain" if plain else resolve_weighting("like_tune", labels, tune.target)
    weights = sample_weights(labels, weighting, tune.target)
    spread = np.inf if kind == "temperature without prior" else SPREAD
    temperature = fit_temperature(values, labels, weights, spread).temperature
    calibrator = Calibrator(temperature)
    if kind in ("vector", "matrix"):
        fit = fit_vector if kind == "vector" else fit_matrix
        calibrator = fit(values, labels, weights, temperature)
    if not plain and check(calibrator, tune.values, tune.target, weighting)["harmful"]:
        return Calibrator()
    return calibrator


KINDS = (
    "temperature without prior", "temperature, plain", "temperature",
    "temperature, val and calib", "vector", "matrix",
)  # fmt: skip


def predictions(
    seeds: dict, kind: str, measured_on: str
) -> dict[str, list[tuple[np.ndarray, np.ndarray]]]:
    """Return {expert or ensemble: [log-probabilities before and after, for each seed]}."""
    used = ("tune", measured_on)
    found: dict[str, list] = {}
    for experts in seeds.values():
        stacks = {"before": {}, "after": {}}
        for split in used:
            stacks["before"][split] = np.stack([e[split].values for e in experts.values()])
            stacks["after"][split] = np.stack(
                [fitted(kind, e).apply(e[split].values) for e in experts.values()]
            )
        labels = {split: next(iter(experts.values()))[split].target for split in used}
        for index, expert in enumerate(experts):
            both = [log_probabilities(stacks[stage][measured_on][index]) for stage in stacks]
            found.setdefault(expert, []).append(both)
        weights = {stage: stack(stacks[stage]["tune"], labels["tune"]) for stage in stacks}
        for name in ENSEMBLES:
            both = [combine(name, stacks[stage][measured_on], weights[stage]) for stage in stacks]
            found.setdefault(name, []).append(both)
    return found


def measure(log_p: np.ndarray, labels: np.ndarray, rows: np.ndarray) -> dict[str, np.ndarray]:
    """Return each metric for every row of weights."""
    p = np.exp(log_p)
    return {
        name: metric(log_p if metric is nll else p, labels, rows)
        for name, metric in METRICS.items()
    }


def compare(seeds: dict, split: str, kinds: Sequence[str]) -> tuple[Table, bool]:
    """Return the table of a split, and whether the configured calibration makes a mean worse."""
    labels = next(iter(next(iter(seeds.values())).values()))[split].target
    rng, size = np.random.default_rng(0), len(labels)
    rows = np.ones((1 + RESAMPLES, size))
    for row in rows[1:]:
        row[:] = np.bincount(rng.integers(size, size=size), minlength=size)
    table = Table(
        title=f"{len(seeds)} seeds, {size} samples of {split} ({PURPOSES[split]}): means over "
        "seeds, ECE in %"
    )
    for column in ("calibrator", "method", *METRICS, "difference, debiased", "seeds worse"):
        table.add_column(column)
    failed = False
    for kind in kinds:
        for method, pairs in predictions(seeds, kind, split).items():
            both = [[measure(log_p, labels, rows) for log_p in pair] for pair in pairs]
            change = np.array([a["ECE, debiased"] - b["ECE, debiased"] for b, a in both])
            worse = int((np.quantile(change[:, 1:], 0.025, axis=1) > 0).sum())
            low, high = np.quantile(change.mean(axis=0)[1:], (0.025, 0.975))
            failed |= kind == "temperature" and low > 0
            cells = []
            for name in METRICS:
                unit = 1 if name == "NLL" else 100
                means = [unit * np.mean([pair[side][name][0] for pair in both]) for side in (0, 1)]
                cells.append("{:.3f} → {:.3f}".format(*means))
            cells.append(f"{100 * change[:, 0].mean():+.2f} [{100 * low:.2f}, {100 * high:.2f}]")
            table.add_row(kind, method, *cells, f"{worse} of {len(seeds)}")
        table.add_section()
    return table, bool(failed)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--logits", type=Path, help="folder with experts/NAME/seed-S/raw_logits")
    parser.add_argument("--folder", type=Path, default=Path(".state/bench-calibration"))
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS)
    options = parser.parse_args()
    if options.logits is None:
        train(options.folder, options.seeds)
    seeds = read(options.logits or options.folder)
    compared = {split: compare(seeds, split, options.kinds) for split in PURPOSES}
    for table, _ in compared.values():
        Console(width=140).print(table)
    sys.exit(int(compared[CHOSEN_ON][1]))


if __name__ == "__main__":
    main()
