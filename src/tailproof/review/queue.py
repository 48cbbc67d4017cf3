"""The queue: images with a reason to look at them, the most useful first."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from tailproof.review.answers import Answers

MAJORITY = 0.5
"""An image is rejected if at least this share of the voters rejects its answer."""

REASONS = {
    "suspect": "the label is probably wrong",
    "rejected": "the experts reject their answer",
    "disagree": "the experts answer differently",
    "far": "the image is far from all training images",
}


class Item(NamedTuple):
    """An image of the queue.

    Attributes:
        sample_id: the sample, or the path of a new image.
        split: its split; empty for a new image.
        label: its given class; empty if it has none.
        answer: the class that the experts answer together.
        probability: the probability of that class.
        score: how useful a look is, from 0 to 1.
        reasons: the strength of each reason, the strongest first.
        votes: the class and the probability of each voter.
    """

    sample_id: str
    split: str
    label: str
    answer: str
    probability: float
    score: float
    reasons: dict[str, float]
    votes: dict[str, tuple[str, float]]


@dataclass(frozen=True)
class Images:
    """N images with all that is known of them.

    Attributes:
        sample_ids: N strings.
        split: their split; empty for new images.
        labels: N class indices, -1 for none.
        answers: what the experts answer.
        doubts: the probability that the label is wrong, by sample; only where it is not small.
        far: how far each is from all training images, [N]; None without features.
    """

    sample_ids: np.ndarray
    split: str
    labels: np.ndarray
    answers: Answers
    doubts: Mapping[str, float]
    far: np.ndarray | None = None

    def strengths(self) -> dict[str, np.ndarray]:
        """Return the strength of each reason, [N] from 0 to 1; 0 where the reason does not hold.

        A label that is probably wrong counts with that probability, a rejected answer with the
        probability that it is wrong, a disagreement with the divergence of the voters.
        """
        answers, count = self.answers, len(self.sample_ids)
        doubts = [self.doubts.get(sample, 0.0) for sample in self.sample_ids]
        wrong = 1 - answers.p.max(axis=1)
        return {
            "suspect": np.array(doubts, float),
            "rejected": np.where(answers.rejected >= MAJORITY, wrong, 0.0),
            "disagree": np.where(answers.disagree, answers.divergence, 0.0),
            "far": np.zeros(count) if self.far is None else self.far,
        }


def order_by_usefulness(parts: list[Images], classes: list[str]) -> list[Item]:
    """Return the images with a reason, the most useful first.

    The score is 1 minus the product over the reasons of 1 minus their strength: an image with two
    reasons comes before one with either of them.

    Args:
        parts: the images.
        classes: the names of the classes.
    """
    items = [item for images in parts for item in _items(images, classes)]
    return sorted(items, key=lambda item: (-item.score, item.sample_id))


def _items(images: Images, classes: list[str]) -> list[Item]:
    strengths, answers = images.strengths(), images.answers
    score = 1 - np.prod([1 - values for values in strengths.values()], axis=0)
    best = answers.p.argmax(axis=1)
    items = []
    for row in np.flatnonzero(score > 0).tolist():
        reasons = {name: float(values[row]) for name, values in strengths.items() if values[row]}
        label = int(images.labels[row])
        items.append(
            Item(
                str(images.sample_ids[row]),
                images.split,
                classes[label] if label >= 0 else "",
                classes[best[row]],
                float(answers.p[row, best[row]]),
                float(score[row]),
                dict(sorted(reasons.items(), key=lambda reason: -reason[1])),
                {
                    name: (classes[of_voter[row]], float(answers.confidence[name][row]))
                    for name, of_voter in answers.classes.items()
                },
            )
        )
    return items
