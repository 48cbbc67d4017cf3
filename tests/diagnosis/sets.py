"""Several runs together with known faults, and healthy sets of runs."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from tailproof.config.recipe import Recipe
from tailproof.diagnosis.run_set import DiagnosedRun, RunSet


@dataclass(frozen=True)
class Set:
    """Runs together with what must, and what may, be found in them."""

    name: str
    runs: RunSet
    expected: frozenset[str] = frozenset()
    allowed: frozenset[str] = frozenset()
    strength: str = ""
    noise: str = ""


def run(rng: np.random.Generator, name: str, best: float, **more) -> DiagnosedRun:
    sd = rng.uniform(0.002, 0.006)
    values = tuple(best * (1 - np.exp(-np.arange(1, 41) / 6)) + rng.normal(0, sd, 40))
    known = {
        "best": best,
        "best_epoch": int(rng.integers(30, 40)),
        "train": best + 0.04,
        "val_loss_epoch": int(rng.integers(32, 40)),
        "epochs": 40,
        "noise": sd,
        "levels": {"val_accuracy": best, "val_balanced_accuracy": best - 0.1},
        "values": values,
    }
    return DiagnosedRun(name, **(known | more))


def sweep(rng, values, **more) -> list[DiagnosedRun]:
    """Eight points of weight decay and dropout."""
    settings = [(decay, drop) for decay in (1e-4, 1e-3, 1e-2, 1e-1) for drop in (0.1, 0.2)]
    return [
        run(rng, f"point{i}", value,
            settings={"optimizer.weight_decay": decay, "model.options.drop_rate": drop},
            **{key: each[i] for key, each in more.items()})
        for i, ((decay, drop), value) in enumerate(zip(settings, values, strict=True))
    ]  # fmt: skip


def healthy_sweep(rng, strength):
    """One setting matters, its best value is in the middle, the target is reached."""
    peak = np.repeat([0.0, 0.05, 0.08, 0.02], 2) + np.tile([0, 0.02], 4)
    return RunSet(sweep(rng, 0.75 + peak + rng.normal(0, 0.003, 8)), target=0.8)


def healthy_experts(rng, strength):
    experts = [
        run(rng, name, 0.7 + 0.06 * i, levels={"val_accuracy": 0.7 + 0.06 * i,
                                                "val_balanced_accuracy": 0.6 + 0.06 * i})
        for i, name in enumerate(("a", "b", "c"))
    ]  # fmt: skip
    ece = {"a": {"dev": (0.015, 0.01, 0.02), "test": (0.018, 0.013, 0.024)}}
    return RunSet(experts, agreement={("a", "b"): 0.85, ("a", "c"): 0.9}, ece=ece)


def healthy_seeds(rng, strength):
    return RunSet([run(rng, "a", 0.7 + rng.normal(0, 0.004), seed=i) for i in range(3)])


def sweep_ceiling(rng, strength):
    values = rng.uniform(0.6, 0.66, 8)
    return RunSet(sweep(rng, values), target=0.66 + (0.08, 0.12, 0.2)[strength])


def costly_regularisation(rng, strength):
    cost = np.repeat([0, 1, 2, 3], 2) / 3 * (0.03, 0.06, 0.1)[strength]
    values = 0.7 - cost + rng.normal(0, 0.003, 8)
    train = 0.9 - 2 * cost + rng.normal(0, 0.003, 8)
    return RunSet(sweep(rng, values, train=train))


def head_tail_trade_off(rng, strength):
    by = (0.03, 0.05, 0.1)[strength]
    levels = [(0.75 + by, 0.5), (0.75, 0.5 + by)]
    return RunSet(
        [
            run(rng, name, rare, levels={"val_accuracy": all_, "val_balanced_accuracy": rare})
            for name, (all_, rare) in zip(("plain", "adjusted"), levels, strict=True)
        ]
    )


def calibration_drift(rng, strength):
    high = 0.02 + (0.03, 0.05, 0.1)[strength]
    splits = {"dev": (0.02, 0.015, 0.026), "test": (high, high - 0.008, high + 0.008)}
    return RunSet([run(rng, "a", 0.7)], ece={"a": splits})


def experts_too_alike(rng, strength):
    experts = [run(rng, name, best) for name, best in (("a", 0.7), ("b", 0.78))]
    if strength == 0:
        return RunSet(experts, agreement={("a", "b"): 0.98})
    if strength == 1:
        return RunSet([experts[0], run(rng, "b", 0.7, values=experts[0].values)])
    losses = ({"name": "balanced_softmax"}, {"name": "logit_adjustment", "tau": 1.0})
    recipes = {
        name: Recipe.model_validate({"loss": loss})
        for name, loss in zip(("a", "b"), losses, strict=True)
    }
    return RunSet(experts, recipes=recipes)


def difference_inside_noise(rng, strength):
    by = (0.003, 0.001, 0.0)[strength]
    return RunSet([run(rng, "a", 0.7, noise=0.005), run(rng, "b", 0.7 + by, noise=0.005)])


def overconfidence(rng, strength):
    lowest = rng.integers(*((14, 20), (10, 16), (5, 12))[strength], 8)
    peak = np.repeat([0.0, 0.05, 0.08, 0.02], 2) + np.tile([0, 0.02], 4)
    return RunSet(sweep(rng, 0.75 + peak, val_loss_epoch=lowest.tolist()), target=0.8)


STRENGTHS = ("weak", "medium", "strong")
Maker = Callable[[np.random.Generator, int], RunSet]
HEALTHY: tuple[Maker, ...] = (healthy_sweep, healthy_experts, healthy_seeds)
NOISE = frozenset({"difference_inside_noise"})
FAULTS: dict[Maker, frozenset[str]] = {
    sweep_ceiling: NOISE,
    costly_regularisation: NOISE,
    head_tail_trade_off: NOISE,
    calibration_drift: frozenset(),
    experts_too_alike: NOISE,
    difference_inside_noise: frozenset(),
    overconfidence: NOISE,
}


def sets(seed: int, each: int) -> Iterator[Set]:
    """Yield healthy and faulty sets, `each` of every kind and strength."""
    for number, make in enumerate((*HEALTHY, *FAULTS)):
        for strength in range(3):
            for index in range(each):
                runs = make(np.random.default_rng([seed, 5000 + number, strength, index]), strength)
                fault = make in FAULTS
                yield Set(
                    make.__name__,
                    runs,
                    frozenset({make.__name__}) if fault else frozenset(),
                    FAULTS.get(make, frozenset()),
                    STRENGTHS[strength],
                )
