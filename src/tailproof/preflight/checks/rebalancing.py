"""Checks of the losses against the class counts, and of experts against one another."""

from tailproof.config.equivalence import same_function as one_form
from tailproof.config.recipe import Recipe
from tailproof.diagnosis.finding import Finding
from tailproof.digests import canonical_json
from tailproof.preflight.checks.per_recipe import each_recipe
from tailproof.preflight.experiment_facts import FEW, ExperimentFacts
from tailproof.text import listed

LONG_TAIL, SOME_TAIL = 10, 3  # imbalances


@each_recipe
def outputs_differ(recipe: Recipe, facts: ExperimentFacts) -> Finding | None:
    """Find a head, or class weights, for another number of classes than the data have."""
    classes = len(facts.train)
    weights = getattr(recipe.loss, "class_weights", None)
    named = {
        "model.options.num_classes": recipe.model.options.get("num_classes"),
        "loss.class_weights": len(weights) if isinstance(weights, list) else None,
    }
    wrong = {name: size for name, size in named.items() if size not in (None, classes)}
    if not wrong:
        return None
    change = None
    if "loss.class_weights" in wrong:
        change = {"loss": {"class_weights": "balanced"}}
    told = ", ".join(f"{name} is for {size}" for name, size in wrong.items())
    return Finding(
        "outputs_differ",
        f"{told}, the data have {classes} classes",
        "error",
        evidence={"classes": classes, **wrong},
        confidence=1.0,
        change=change,
        expects="outputs that all stand for a class",
    )


def no_rebalancing(facts: ExperimentFacts) -> list[Finding]:
    """Find a long tail that no expert's loss makes up for."""
    losses = {name: recipe.loss for name, recipe in facts.recipes.items()}
    if facts.imbalance <= SOME_TAIL or any(loss.rebalances for loss in losses.values()):
        return []
    finding = Finding(
        "no_rebalancing",
        f"the largest class has {facts.imbalance:.3g} times the samples of the smallest, and no "
        "loss makes up for it",
        "warning" if facts.imbalance > LONG_TAIL else "info",
        evidence={
            "experts": list(losses),
            "imbalance": facts.imbalance,
            "losses": sorted({loss.name for loss in losses.values()}),
        },
        change={"loss": {"name": "balanced_softmax"}},
        expects="higher accuracy in rare classes, somewhat lower in frequent ones",
    )
    return [finding]


def rare_classes(facts: ExperimentFacts) -> list[Finding]:
    """Find classes with hardly any training sample."""
    rare = facts.rare
    if not rare:
        return []
    absent = [name for name in rare if not facts.train[name]]
    more = f", {len(absent)} of them none" if absent else ""
    finding = Finding(
        "rare_classes",
        f"{len(rare)} of {len(facts.train)} classes have fewer than {FEW} training samples{more} "
        f"({listed(rare, 3)}): watch the tail",
        "info",
        evidence={
            "classes": len(rare),
            "without_samples": len(absent),
            "fewest": facts.train[rare[0]],
            "imbalance": facts.imbalance,
        },
    )
    return [finding]


def same_function(facts: ExperimentFacts) -> list[Finding]:
    """Find experts that learn one function, told apart by nothing but name or wording."""
    level = len(set(facts.train.values())) == 1
    groups: dict[str, list[str]] = {}
    for name, recipe in facts.recipes.items():
        plain = one_form(recipe, level=level).result_fields()
        groups.setdefault(canonical_json(plain), []).append(name)
    reason = ", all classes being of one size" if level else ""
    return [
        Finding(
            "same_function",
            f"{listed(names)} learn the same function up to a constant{reason}: at one seed they "
            "are one expert",
            "warning",
            evidence={
                "experts": names,
                "losses": {name: facts.recipes[name].loss.name for name in names},
            },
            confidence=1.0,
            expects="experts that differ, as tau 0, 1 and 2 do",
        )
        for names in groups.values()
        if len(names) > 1
    ]
