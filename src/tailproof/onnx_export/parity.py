"""Compares an exported file with its expert: probabilities and every decision that it can take."""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np

from tailproof.guarantees.expert_guarantees import ExpertGuarantees
from tailproof.guarantees.prediction_sets import SetRule, set_scores
from tailproof.guarantees.risk import answered_above
from tailproof.guarantees.roll_up import NONE, Rank, answer_rank, answers_by_rank
from tailproof.onnx_export.compared_images import Images
from tailproof.onnx_export.graph import ACCEPTED, CLASS, output_names
from tailproof.predict.loaded_expert import LoadedExpert
from tailproof.predict.option_rules import CHOW
from tailproof.predict.rejector import Rejector
from tailproof.runtime.errors import TailproofError
from tailproof.text import quantity

TOLERANCE = 1e-4
"""Largest difference of a probability in single precision."""

Array = np.ndarray
Decide = Callable[[Array], Array]


@dataclass(frozen=True)
class Parity:
    """The result of the comparison.

    Attributes:
        images: where the images are from, in words.
        count: number of images.
        largest_difference: largest difference of a probability, over all ranks.
        decisions: number of compared decisions of each kind; a decision is one rule on one image.
        different: number of those that differ.
        classes_different: number of images whose most probable class differs.
        accepted_different: number of images that one accepts and the other rejects, by the rule
            of the file.
    """

    images: str
    count: int
    largest_difference: float
    decisions: dict[str, int]
    different: dict[str, int]
    classes_different: int
    accepted_different: int

    @property
    def passed(self) -> bool:
        """Whether the file answers as the expert does."""
        return self.largest_difference <= TOLERANCE and not any(self.different.values())

    def to_jsonable(self) -> dict[str, Any]:
        """Return what the record and the file hold."""
        return asdict(self) | {"tolerance": TOLERANCE, "passed": self.passed}

    def sentence(self) -> str:
        """Say it in one sentence."""
        total, wrong = sum(self.decisions.values()), sum(self.different.values())
        verdict = f"all {total:,} decisions are the same"
        if wrong:
            verdict = (
                f"{wrong:,} of {total:,} decisions differ (the class of "
                f"{quantity(self.classes_different, 'image')}, the acceptance of "
                f"{self.accepted_different:,})"
            )
        return (
            f"compared with the expert on {quantity(self.count, 'image')} ({self.images}): the "
            f"largest difference of a probability is {self.largest_difference:.1e}, and {verdict}"
        )


def run_file(session: Any, images: Images) -> dict[str, Array]:
    """Return the outputs of an ONNX file.

    Args:
        session: an `onnxruntime.InferenceSession`.
        images: the images.

    Raises:
        TailproofError: a number is not finite.
    """
    inputs, outputs = session.get_inputs(), session.get_outputs()
    feeds = images.feeds([one.name for one in inputs])
    batches = [session.run(None, feed) for feed in feeds]
    joined = list(map(np.concatenate, zip(*batches, strict=True)))
    if not all(np.isfinite(values).all() for values in joined):
        raise TailproofError(
            "the file would compute numbers that are not finite, so it is not written: use "
            "`tailproof predict`, or leave out --int8 if you gave it"
        )
    return {output.name: values for output, values in zip(outputs, joined, strict=True)}


def run_expert(expert: LoadedExpert, images: Images) -> dict[str, Array]:
    """Return the log-probabilities of each rank, as `tailproof predict` computes them.

    Raises:
        TailproofError: a network does not accept the images, or a logit is not finite.
    """
    batches = [expert.posterior(expert.raw_logits(batch)) for batch in images.batches()]
    return {rank: np.concatenate([batch[rank] for batch in batches]) for rank in batches[0]}


def compare(
    expert: LoadedExpert,
    guarantees: ExpertGuarantees | None,
    log_p: dict[str, Array],
    outputs: dict[str, Array],
    images: Images,
) -> Parity:
    """Compare the answers of a file with those of its expert.

    Args:
        expert: the expert.
        guarantees: its guarantees.json; None without one.
        log_p: the answers of the expert, from `run_expert`.
        outputs: the answers of the file, from `run_file`.
        images: the images.
    """
    target = expert.target
    with np.errstate(divide="ignore"):
        theirs = {
            rank: np.log(outputs[name]) for rank, name in output_names(expert.classes).items()
        }
    difference = max(np.abs(np.exp(log_p[rank]) - np.exp(theirs[rank])).max() for rank in log_p)
    decisions, different = dict[str, int](), dict[str, int]()
    for kind, decide in _rules(expert, guarantees):
        wrong = (decide(log_p[target]) != decide(theirs[target])).any(axis=1)
        decisions[kind] = decisions.get(kind, 0) + len(wrong)
        different[kind] = different.get(kind, 0) + int(wrong.sum())
    chosen, accepted = Rejector(expert.deployment, expert.classes[target], CHOW)(log_p[target])
    own = (outputs[CLASS] != chosen) | (outputs[ACCEPTED] != accepted)
    decisions["of the file"], different["of the file"] = len(own), int(own.sum())
    for rank in log_p.keys() - {target}:
        other = log_p[rank].argmax(1) != theirs[rank].argmax(1)
        decisions[f"class of {rank}"], different[f"class of {rank}"] = len(other), int(other.sum())
    return Parity(
        images.source,
        len(images.prepared),
        float(difference),
        decisions,
        different,
        int((log_p[target].argmax(1) != theirs[target].argmax(1)).sum()),
        int((outputs[ACCEPTED] != accepted).sum()),
    )


def _rules(
    expert: LoadedExpert, guarantees: ExpertGuarantees | None
) -> Iterator[tuple[str, Decide]]:
    """Yield the kind of each rule and what it decides for log-probabilities: a row per image."""
    deployment, classes = expert.deployment, expert.classes[expert.target]
    for name, rules in deployment.rules.items():
        for rule in rules:
            yield name, partial(_decided, Rejector(deployment, classes, name, rule.coverage))
    if guarantees is None:
        return
    shares = np.array(guarantees.shares)
    for stored in guarantees.sets:
        yield "sets", partial(_held, stored.rule(), shares)
    for risk in guarantees.risks:
        overall = dict.fromkeys(guarantees.groups, risk.overall)
        for fits in (overall, risk.groups):
            limits = np.array([fits[group].limit for group in guarantees.groups])
            yield "risks", partial(_above, limits)
    ranks = [rank.rank() for rank in guarantees.ranks]
    for roll_up in guarantees.roll_ups:
        yield "roll-ups", partial(_rolled_up, ranks, [fit.threshold for fit in roll_up.ranks])


def _decided(rejector: Rejector, log_p: Array) -> Array:
    return np.stack(rejector(log_p), 1)


def _held(rule: SetRule, shares: Array, log_p: Array) -> Array:
    return rule.holds(set_scores(rule.score, np.exp(log_p), shares))


def _above(limits: Array, log_p: Array) -> Array:
    return answered_above(np.exp(log_p.max(axis=1)), limits[log_p.argmax(axis=1)])[:, None]


def _rolled_up(ranks: list[Rank], limits: list[float | None], log_p: Array) -> Array:
    """Return the rank and the class of each answer, int [N, 2]."""
    answers = answers_by_rank(np.exp(log_p), ranks)
    rank = answer_rank(answers, limits)
    chosen = np.stack([*(answer.chosen for answer in answers), np.full(len(rank), NONE)])
    return np.stack([rank, chosen[rank, np.arange(len(rank))]], 1)
