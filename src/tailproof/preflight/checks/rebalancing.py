"""Checks of losses for long-tailed data, and of experts that are equal."""

from tailproof.config.equivalence import same_function as one_form
from tailproof.config.recipe import Recipe
from tailproof.diagnosis.finding import Finding
from tailproof.digests import canonical_json
from tailproof.preflight.experiment_facts import FEW, ExperimentFacts
from tailproof.preflight.loss_effect import effect, rebalances
from tailproof.preflight.registry import check, each_recipe
from tailproof.text import listed

LONG_TAIL, SOME_TAIL = 10, 3  # imbalances


@check("outputs_differ")
@each_recipe
def outputs_differ(recipe: Recipe, facts: ExperimentFacts) -> Finding | None:
    """Find a head or class weights whose number of classes differs from the data."""
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
    sizes = ", ".join(f"{name} is for {size} classes" for name, size in wrong.items())
    return Finding(
        "outputs_differ",
        f"{sizes}, the data have {classes}",
        "error",
        evidence={"classes": classes, **wrong},
        confidence=1.0,
        change=change,
        expects="one output per class",
    )


@check("no_rebalancing")
def no_rebalancing(facts: ExperimentFacts) -> list[Finding]:
    """Find a long tail without any rebalancing loss."""
    losses = {name: recipe.loss.model_dump(mode="json") for name, recipe in facts.recipes.items()}
    if facts.imbalance <= SOME_TAIL or any(map(rebalances, losses.values())):
        return []
    finding = Finding(
        "no_rebalancing",
        f"the largest class has {facts.imbalance:.3g} times as many samples as the smallest one, "
        "and no loss rebalances them",
        "warning" if facts.imbalance > LONG_TAIL else "info",
        evidence={
            "experts": list(losses),
            "imbalance": facts.imbalance,
            "losses": sorted({loss["name"] for loss in losses.values()}),
        },
        change={"loss": {"name": "balanced_softmax"}},
        expects="higher accuracy in rare classes, somewhat lower in frequent ones",
    )
    return [finding]


@check("rare_classes")
def rare_classes(facts: ExperimentFacts) -> list[Finding]:
    """Find classes with very few training samples."""
    rare = facts.rare
    if not rare:
        return []
    absent = [name for name in rare if not facts.train[name]]
    more = f", {len(absent)} of them have none" if absent else ""
    finding = Finding(
        "rare_classes",
        f"{len(rare)} of {len(facts.train)} classes have fewer than {FEW} training samples{more} "
        f"({listed(rare, 3)}): check their recall",
        "info",
        evidence={
            "classes": len(rare),
            "without_samples": len(absent),
            "fewest": facts.train[rare[0]],
            "imbalance": facts.imbalance,
        },
    )
    return [finding]


@check("loss_effect")
def loss_effect(facts: ExperimentFacts) -> list[Finding]:
    """Tell what the rebalancing losses do to head and tail, beside those that do nothing."""
    head, tail = facts.head, facts.tail
    if facts.imbalance <= SOME_TAIL or head == tail:
        return []
    lifting, plain, losses = [], [], {}
    for name, recipe in facts.recipes.items():
        found = effect(recipe, facts.train, [head, tail])["random"]
        losses[name] = {"head": found[head], "tail": found[tail]}
        (lifting if found[tail] > 1.2 * found[head] else plain).append(name)
    if not (lifting and plain):
        return []
    shown, beside = losses[lifting[0]], losses[plain[0]]
    finding = Finding(
        "loss_effect",
        f"at random logits {listed(lifting)} weigh{'s' if len(lifting) == 1 else ''} the tail "
        f"({shown['tail']:.2f}) against the head ({shown['head']:.2f}), where {plain[0]} has "
        f"{beside['tail']:.2f} and {beside['head']:.2f}",
        "info",
        evidence={"head": head, "tail": tail, "losses": losses},
    )
    return [finding]


@check("same_function")
def same_function(facts: ExperimentFacts) -> list[Finding]:
    """Find experts that learn the same function although their recipes differ."""
    balanced = len(set(facts.train.values())) == 1
    groups: dict[str, list[str]] = {}
    for name, recipe in facts.recipes.items():
        plain = one_form(recipe.result_fields())
        if balanced and rebalances(plain["loss"]):
            plain = one_form({**plain, "loss": _without_prior(plain["loss"])})
        groups.setdefault(canonical_json(plain), []).append(name)
    reason = ", because all classes have the same size" if balanced else ""
    return [
        Finding(
            "same_function",
            f"{listed(names)} learn the same function up to a constant{reason}: with the same seed "
            "they are the same expert",
            "warning",
            evidence={
                "experts": names,
                "losses": {name: facts.recipes[name].loss.name for name in names},
            },
            confidence=1.0,
            expects="experts that differ, such as those with tau 0, 1 and 2",
        )
        for names in groups.values()
        if len(names) > 1
    ]


def _without_prior(loss: dict) -> dict:
    """Return the loss that a rebalancing loss equals on balanced classes."""
    if loss["name"] == "logit_adjustment":
        return {**loss, "tau": 0}
    return {**loss, "class_weights": None} if loss["class_weights"] == "balanced" else loss
