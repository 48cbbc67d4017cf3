"""Comparisons of experts: which one is better where, and whether they differ at all."""

import numpy as np

from tailproof.config.equivalence import same_function
from tailproof.diagnosis.finding import Finding, certainty
from tailproof.diagnosis.registry import comparison
from tailproof.diagnosis.run_set import RunSet, noise_of_runs
from tailproof.digests import canonical_json

ALIKE = 0.97


@comparison("head_tail_trade_off")
def head_tail_trade_off(runs: RunSet) -> list[Finding]:
    """Find two experts, one better over all samples, the other better over all classes."""
    for tail in ("val_balanced_accuracy", "val_macro_f1"):
        trade_offs = []
        for first, second in runs.pairs():
            head = _difference(runs, first, second, "val_accuracy")
            rare = _difference(runs, first, second, tail)
            if head is None or rare is None or head * rare >= 0:
                continue
            least = max(0.01, 3 * (noise_of_runs(runs.compared) or 0))
            if min(abs(head), abs(rare)) > least:
                pair = (first, second) if head > 0 else (second, first)
                trade_offs.append((min(abs(head), abs(rare)), *pair, abs(head), abs(rare), least))
        if trade_offs:
            _, first, second, head, rare, least = max(trade_offs)
            return [
                Finding(
                    "head_tail_trade_off",
                    f"{first} is better by {100 * head:.1f} points of accuracy, {second} by "
                    f"{100 * rare:.1f} of {tail.removeprefix('val_').replace('_', ' ')}: head "
                    "against tail.",
                    "info",
                    (),
                    {"head": first, "tail": second, "accuracy": head, tail: rare},
                    certainty(min(head, rare), least),
                    {},
                    None,
                    "an ensemble of both keeps most of the gain of each",
                )
            ]
    return []


@comparison("calibration_drift")
def calibration_drift(runs: RunSet) -> list[Finding]:
    """Find an expert whose calibration error differs between splits by more than chance."""
    drifts = []
    for name, splits in runs.ece.items():
        low = min(splits, key=lambda split: splits[split][0])
        high = max(splits, key=lambda split: splits[split][0])
        drift = splits[high][0] - splits[low][0]
        if drift > 0.02 and _at_least(splits[high]) > splits[low][2]:
            drifts.append((drift, name, low, high))
    return [
        Finding(
            "calibration_drift",
            f"{name} is calibrated on {low} but not on {high}: ECE "
            f"{100 * runs.ece[name][low][0]:.1f} against {100 * runs.ece[name][high][0]:.1f} %.",
            "warning",
            (),
            {"expert": name, low: list(runs.ece[name][low]), high: list(runs.ece[name][high])},
            certainty(drift, 0.02),
            {"ece": drift},
            None,
            "with a split calib that is drawn or weighted like the samples in use, probabilities "
            "are calibrated for these samples",
        )
        for drift, name, low, high in sorted(drifts, reverse=True)
    ]


def _at_least(ece: tuple[float, float, float]) -> float:
    """Return the lower limit of the basic bootstrap interval, from a value and percentiles.

    An ECE of few samples is biased upwards, and that of their resamples even more so. The basic
    interval, mirrored at the value, corrects this (Davison & Hinkley 1997, equation 5.6).
    """
    value, _, high = ece
    return 2 * value - high


@comparison("experts_too_alike")
def experts_too_alike(runs: RunSet) -> list[Finding]:
    """Find experts that are one function, have one curve, or agree on nearly all samples."""
    alike: dict[tuple[str, str], tuple[str, float]] = {}
    keys: dict[str, str] = {}
    for name, recipe in runs.recipes.items():
        key = canonical_json(same_function(recipe).result_fields())
        if key in keys:
            alike[keys[key], name] = ("are trained to the same function", 0.99)
        keys.setdefault(key, name)
    curves = {name: [run.values for run in seeds] for name, seeds in runs.by_name().items()}
    for first, second in runs.pairs():
        same = curves[first] == curves[second] and len(curves[first][0]) > 2
        if same and (first, second) not in alike:
            alike[first, second] = ("have the same values in every epoch", 0.99)
    for pair, share in runs.agreement.items():
        if share >= ALIKE and pair not in alike:
            alike[pair] = (f"agree on {100 * share:.1f} % of the samples", 0.9)
    return [
        Finding(
            "experts_too_alike",
            f"{first} and {second} {words}: an ensemble gains little from both.",
            "warning",
            (),
            {"experts": [first, second], "agreement": runs.agreement.get((first, second))},
            confidence,
            {},
            None,
            "experts for different priors, such as logit_adjustment with another tau, differ more",
        )
        for (first, second), (words, confidence) in alike.items()
    ]


@comparison("difference_inside_noise")
def difference_inside_noise(runs: RunSet) -> list[Finding]:
    """Find a best expert whose lead over the second one is within the noise of one seed."""
    names = runs.by_name()
    if len(names) < 2 or any(len(seeds) > 1 for seeds in names.values()):
        return []
    levels = [(run.best, run) for run in runs.compared if run.best is not None]
    (best, first), (next_best, second) = sorted(
        levels, key=lambda item: runs.sign * item[0], reverse=True
    )[:2]
    if first.noise is None or second.noise is None or first.values == second.values:
        return []
    difference = abs(best - next_best)
    noise = float(np.hypot(first.noise, second.noise))
    if difference >= 2 * noise:
        return []
    return [
        Finding(
            "difference_inside_noise",
            f"{first.name} is ahead of {second.name} by {difference:.4f} {first.metric}, a lead "
            f"that the noise between epochs ({noise:.4f}) can explain, with one seed each.",
            "info",
            (),
            {
                "metric": first.metric,
                "best": first.name,
                "next": second.name,
                "difference": difference,
                "noise": noise,
                "effect_in_noise": difference / noise,
            },
            0.9,
            {},
            None,
            "three seeds (`seeds: [0, 1, 2]`) show whether the difference is real",
        )
    ]


def _difference(runs: RunSet, first: str, second: str, metric: str) -> float | None:
    """Return the difference of the means over seeds, first less second."""
    means = []
    for name in (first, second):
        values = [run.levels[metric] for run in runs.by_name()[name] if metric in run.levels]
        if not values:
            return None
        means.append(float(np.mean(values)))
    return means[0] - means[1]
