"""Checks of losses for long-tailed data, and of experts that are equal."""

from tailproof.config.equivalence import same_function as one_form
from tailproof.config.recipe import Recipe
from tailproof.diagnosis.finding import Finding
from tailproof.digests import canonical_json
from tailproof.preflight.experiment_facts import FEW, ExperimentFacts
from tailproof.preflight.registry import check, each_recipe, each_trained_recipe, reports
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
    sizes = ", ".join(
        f"{name} is for {size} class{'es' * (size != 1)}" for name, size in wrong.items()
    )
    follows = "model.options.num_classes" in wrong
    advice = ": remove model.options.num_classes, which follows from the data" if follows else ""
    return Finding(
        "outputs_differ",
        f"{sizes}, but the data have {classes}{advice}",
        "error",
        evidence={"classes": classes, **wrong},
        confidence=1.0,
        change=change,
        expects="one output per class",
    )


@check("no_rebalancing")
def no_rebalancing(facts: ExperimentFacts) -> list[Finding]:
    """Find a long tail that no loss and no sampler rebalances."""
    trained = {name: recipe for name, recipe in facts.recipes.items() if not recipe.is_fitted}
    losses = {name: recipe.loss for name, recipe in trained.items()}
    phases = [phase for recipe in trained.values() for phase in recipe.timeline]
    rebalanced = any(phase.loss.rebalances or phase.sampler != "instance" for phase in phases)
    if facts.imbalance <= SOME_TAIL or rebalanced or not trained:
        return []
    finding = Finding(
        "no_rebalancing",
        f"the largest class has {facts.imbalance:.3g} times as many samples as the smallest one, "
        "and no loss or sampler rebalances them",
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


@check("rebalanced_twice")
@each_trained_recipe
def rebalanced_twice(recipe: Recipe, facts: ExperimentFacts) -> Finding | None:
    """Find rare classes that are drawn more often and count for more in the loss."""
    twice = next(
        (
            phase
            for phase in recipe.timeline
            if phase.sampler != "instance" and phase.loss.corrects_prior
        ),
        None,
    )
    if facts.imbalance <= SOME_TAIL or twice is None:
        return None
    of_phase = any(phase.loss for phase in recipe.phases)
    return Finding(
        "rebalanced_twice",
        f"the sampler {twice.sampler} draws rare classes more often, and the loss "
        f"{twice.loss.name} raises their weight again, by their share of train instead of their "
        "share of the drawn samples",
        "warning",
        evidence={"sampler": twice.sampler, "loss": twice.loss.name},
        change=None if of_phase else {"loss": {"name": "cross_entropy"}},
        expects="higher accuracy in frequent classes, somewhat lower in rare ones",
    )


@check("rare_classes")
def rare_classes(facts: ExperimentFacts) -> list[Finding]:
    """Find classes with very few training samples."""
    rare = facts.rare
    if not rare:
        return []
    absent = [name for name in rare if not facts.train[name]]
    more = f", {len(absent)} of them {'has' if len(absent) == 1 else 'have'} none" if absent else ""
    has, their = ("has", "its") if len(rare) == 1 else ("have", "their")
    finding = Finding(
        "rare_classes",
        f"{len(rare)} of {len(facts.train)} classes {has} fewer than {FEW} training samples{more} "
        f"({listed(rare, 3)}): check {their} recall",
        "info",
        evidence={
            "classes": len(rare),
            "without_samples": len(absent),
            "fewest": facts.train[rare[0]],
            "imbalance": facts.imbalance,
        },
    )
    return [finding]


@reports("loss_effect")
def weighed_tail(facts: ExperimentFacts, losses: dict[str, dict[str, float]]) -> list[Finding]:
    """Name the losses that weigh the tail against the head, where others do not.

    Args:
        facts: of the experiment.
        losses: of each expert at random logits, of a sample of the ``head`` and of the ``tail``.
    """
    lifting = [name for name, loss in losses.items() if loss["tail"] > 1.2 * loss["head"]]
    others = [name for name in losses if name not in lifting]
    if not (lifting and others):
        return []
    lifted, level = losses[lifting[0]], losses[others[0]]
    finding = Finding(
        "loss_effect",
        f"At random logits, {listed(lifting)} give{'s' if len(lifting) == 1 else ''} a sample of "
        f"the tail a higher loss ({lifted['tail']:.2f}) than one of the head "
        f"({lifted['head']:.2f}); {others[0]} has {level['tail']:.2f} and {level['head']:.2f}.",
        "info",
        evidence={"head": facts.head, "tail": facts.tail, "losses": losses},
    )
    return [finding]


@check("same_function")
def same_function(facts: ExperimentFacts) -> list[Finding]:
    """Find experts that learn the same function although their recipes differ."""
    balanced = len(set(facts.train.values())) == 1
    groups: dict[str, list[str]] = {}
    for name, recipe in facts.recipes.items():
        plain = one_form(recipe, level=balanced).result_fields()
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
