"""Detectors that compare several runs: points of a sweep, experts, seeds."""

import re
from collections.abc import Callable

import numpy as np
import pandas as pd

from tailproof.config.equivalence import same_function
from tailproof.diagnosis.finding import Finding
from tailproof.diagnosis.finding_ids import certainty
from tailproof.diagnosis.run_set import DiagnosedRun, RunSet
from tailproof.digests import canonical_json

POINTS = 4
"""Fewer runs than this make no sweep."""
REGULARISATION = re.compile(
    r"weight_decay|drop(?!_last)|label_smoothing|mixup|cutmix|cutout|augmentation\.noise"
)
ALIKE = 0.97


def sweep_ceiling(runs: RunSet) -> list[Finding]:
    """Tell of a sweep all points of which end as far from the target, or at one value."""
    points = runs.compared
    if len(points) < POINTS or not runs.varied():
        return []
    values = runs.sign * np.array([run.best for run in points])
    best, spread = points[int(values.argmax())], float(np.ptp(values))
    noise = _noise(points)
    if runs.target is not None:
        short = float(runs.sign * runs.target - values.max())
        if short < max(spread, 0.02):
            return []
        words = f", {100 * short:.0f} points short of {runs.target:g}"
    elif noise and spread < 3 * noise:
        short, words = 0.0, ", which is the noise between epochs"
    else:
        return []
    low, high = sorted((float(runs.sign * values.min()), float(runs.sign * values.max())))
    return [
        Finding(
            "sweep_ceiling",
            f"All {len(points)} points lie between {low:.3f} and {high:.3f}{words}: what the sweep "
            "varies is not what holds them back.",
            "warning",
            (),
            {
                "metric": best.metric,
                "best": best.name,
                "lowest": low,
                "highest": high,
                "spread": spread,
                "target": runs.target,
                "noise": noise,
                "varied": list(runs.varied()),
            },
            certainty(short, spread) if short else 0.7,
            {"points_lost": short} if short else {},
            None,
            "a change of data, labels, model or image size moves all points; these settings do not",
        )
    ]


def costly_regularisation(runs: RunSet) -> list[Finding]:
    """Tell of a setting that narrows the gap and lowers val, the more the stronger it is."""
    points = [run for run in runs.compared if run.train is not None]
    own = RunSet(points)
    if len(points) < POINTS:
        return []
    values = runs.sign * np.array([run.best for run in points])
    train = runs.sign * np.array([run.train for run in points])
    found = []
    for key, settings in own.varied().items():
        if not REGULARISATION.search(key):
            continue
        cost = float(
            values[settings == settings.min()].mean() - values[settings == settings.max()].mean()
        )
        falling, narrowing = -_rank(settings, values), -_rank(settings, train)
        if falling >= 0.7 and narrowing >= 0.5 and cost > max(0.01, 2 * (_noise(points) or 0)):
            found.append((cost, falling, narrowing, key, settings))
    if not found:
        return []
    cost, falling, narrowing, key, settings = max(found, key=lambda each: each[0])
    first, *rest = reversed(key.split("."))
    change = {first: float(settings.min())}
    for part in rest:
        change = {part: change}
    best = points[int(values.argmax())]
    return [
        Finding(
            "costly_regularisation",
            f"{key} costs more than it brings: from {settings.min():g} to {settings.max():g} the "
            f"gap narrows and {best.metric} falls by {100 * cost:.1f} points.",
            "warning",
            (),
            {
                "setting": key,
                "values": sorted(set(settings.tolist())),
                "best": best.name,
                "rank_correlation_val": -falling,
                "rank_correlation_train": -narrowing,
                "noise": _noise(points),
            },
            certainty(falling, 0.5),
            {"points_lost": cost},
            change,
            f"about {100 * cost:.1f} points against the strongest {first}",
        )
    ]


def loss_before_accuracy(runs: RunSet) -> list[Finding]:
    """Tell of points whose val loss is lowest long before their accuracy is highest."""
    known = [
        run
        for run in runs.compared
        if run.val_loss_epoch is not None and "loss" not in run.metric and run.epochs
    ]
    early = [run for run in known if run.val_loss_epoch < 0.75 * run.best_epoch]
    if len(known) < POINTS or len(early) < 0.8 * len(known) or not runs.varied():
        return []
    lowest = [run.val_loss_epoch for run in known]
    best = [run.best_epoch for run in known]
    return [
        Finding(
            "overconfidence",
            f"In all points val loss is lowest at epochs {min(lowest)} to {max(lowest)}, "
            f"{known[0].metric} highest at {min(best)} to {max(best)} of {known[0].epochs}: to "
            "stop at the lowest loss saves epochs, not accuracy.",
            "info",
            (min(lowest), max(lowest)),
            {"val_loss_epochs": lowest, "best_epochs": best, "points": len(known)},
            certainty(len(early) / len(known), 0.6),
            {"epochs_wasted": float(known[0].epochs - np.median(lowest))},
            {"loss": {"name": "cross_entropy", "label_smoothing": 0.1}},
            "val loss stays near its minimum at the same accuracy",
        )
    ]


def head_tail_trade_off(runs: RunSet) -> list[Finding]:
    """Tell of two experts of which one is better in all samples, the other over the classes."""
    for tail in ("val_balanced_accuracy", "val_macro_f1"):
        found = []
        for first, second in runs.pairs():
            head = _difference(runs, first, second, "val_accuracy")
            rare = _difference(runs, first, second, tail)
            if head is None or rare is None or head * rare >= 0:
                continue
            least = max(0.01, 3 * (_noise(runs.compared) or 0))
            if min(abs(head), abs(rare)) > least:
                pair = (first, second) if head > 0 else (second, first)
                found.append((min(abs(head), abs(rare)), *pair, abs(head), abs(rare), least))
        if found:
            _, first, second, head, rare, least = max(found)
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
                    "an ensemble of both keeps most of either",
                )
            ]
    return []


def calibration_drift(runs: RunSet) -> list[Finding]:
    """Tell of an expert whose calibration error differs between splits by more than chance."""
    found = []
    for name, splits in runs.ece.items():
        low = min(splits, key=lambda split: splits[split][0])
        high = max(splits, key=lambda split: splits[split][0])
        drift = splits[high][0] - splits[low][0]
        if drift > 0.02 and _at_least(splits[high]) > splits[low][2]:
            found.append((drift, name, low, high))
    return [
        Finding(
            "calibration_drift",
            f"{name} is calibrated on {low} and not on {high}: ECE "
            f"{100 * runs.ece[name][low][0]:.1f} against {100 * runs.ece[name][high][0]:.1f} %.",
            "warning",
            (),
            {"expert": name, low: list(runs.ece[name][low]), high: list(runs.ece[name][high])},
            certainty(drift, 0.02),
            {"ece": drift},
            None,
            "a calib split drawn as the samples in use, or weighted like them, calibrates for them",
        )
        for drift, name, low, high in sorted(found, reverse=True)
    ]


def _at_least(ece: tuple[float, float, float]) -> float:
    """Return the lower end of the basic bootstrap's interval, from a value and the percentiles.

    An ECE of few samples is too high, and that of their resamples is so once more: turned about the
    value, the interval lies lower by as much (Davison & Hinkley 1997, equation 5.6).
    """
    value, _, high = ece
    return 2 * value - high


def experts_too_alike(runs: RunSet) -> list[Finding]:
    """Tell of experts that are one function, have one curve, or agree on nearly all samples."""
    found: dict[tuple[str, str], tuple[str, float]] = {}
    keys: dict[str, str] = {}
    for name, recipe in runs.recipes.items():
        key = canonical_json(same_function(recipe).result_fields())
        if key in keys:
            found[keys[key], name] = ("are trained by one and the same function", 0.99)
        keys.setdefault(key, name)
    curves = {name: [run.values for run in own] for name, own in runs.by_name().items()}
    for first, second in runs.pairs():
        same = curves[first] == curves[second] and len(curves[first][0]) > 2
        if same and (first, second) not in found:
            found[first, second] = ("have the same values in every epoch", 0.99)
    for pair, share in runs.agreement.items():
        if share >= ALIKE and pair not in found:
            found[pair] = (f"say the same of {100 * share:.1f} % of the samples", 0.9)
    return [
        Finding(
            "experts_too_alike",
            f"{first} and {second} {words}: an ensemble gains nothing from both.",
            "warning",
            (),
            {"experts": [first, second], "agreement": runs.agreement.get((first, second))},
            confidence,
            {},
            None,
            "experts for different priors, as logit_adjustment with another tau, disagree more",
        )
        for (first, second), (words, confidence) in found.items()
    ]


def difference_inside_noise(runs: RunSet) -> list[Finding]:
    """Tell of a best expert that one seed does not show to be better than the next one."""
    names = runs.by_name()
    if len(names) < 2 or any(len(own) > 1 for own in names.values()):
        return []
    order = sorted(runs.compared, key=lambda run: runs.sign * run.best, reverse=True)
    first, second = order[:2]
    if first.noise is None or second.noise is None or first.values == second.values:
        return []
    difference = abs(first.best - second.best)
    noise = float(np.hypot(first.noise, second.noise))
    if difference >= 2 * noise:
        return []
    return [
        Finding(
            "difference_inside_noise",
            f"{first.name} is ahead of {second.name} by {difference:.4f} {first.metric}, less than "
            f"the noise between epochs ({noise:.4f}) can make with one seed each.",
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
            "three seeds each (`seeds: [0, 1, 2]`) tell whether it is one",
        )
    ]


DETECTORS: tuple[Callable[[RunSet], list[Finding]], ...] = (
    sweep_ceiling,
    costly_regularisation,
    loss_before_accuracy,
    head_tail_trade_off,
    calibration_drift,
    experts_too_alike,
    difference_inside_noise,
)


def compare(runs: RunSet) -> list[Finding]:
    """Return what is to be said of several runs together, the worst first."""
    found = [finding for detector in DETECTORS for finding in detector(runs)]
    return sorted(found, key=lambda finding: finding.order)


def _noise(points: list[DiagnosedRun]) -> float | None:
    known = [run.noise for run in points if run.noise is not None]
    return float(np.median(known)) if known else None


def _rank(first: np.ndarray, second: np.ndarray) -> float:
    """Return Spearman's rank correlation; 0 where one of them is constant."""
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return 0.0
    return float(np.corrcoef(pd.Series(first).rank(), pd.Series(second).rank())[0, 1])


def _difference(runs: RunSet, first: str, second: str, metric: str) -> float | None:
    """Return by how much the mean over seeds of the first is higher."""
    means = []
    for name in (first, second):
        values = [run.levels[metric] for run in runs.by_name()[name] if metric in run.levels]
        if not values:
            return None
        means.append(float(np.mean(values)))
    return means[0] - means[1]
