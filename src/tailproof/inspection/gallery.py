"""A few training pictures of some classes, from the largest class to the smallest."""

import numpy as np

from tailproof.data.thumbnails import Picture, picture
from tailproof.evaluation.class_groups import GROUPS
from tailproof.evaluation.task import Task

CLASSES = 20  # of each group
PICTURES = 5  # of each class
SIDE = 64  # pixels


class Gallery:
    """Collects the first pictures of the shown classes, while the images of train are read.

    A page is thus as large for ten thousand classes as for sixty.

    Args:
        task: the classes and their groups.
    """

    def __init__(self, task: Task) -> None:
        self._classes = task.classes
        self._pictures: dict[int, list[Picture]] = {
            index: [] for group in GROUPS for index in _chosen(task, group)
        }

    def add(self, data: bytes, label: int) -> None:
        """Take an encoded image of a class, if more of its pictures are needed.

        Raises:
            TailproofError: it cannot be decoded.
        """
        pictures = self._pictures.get(label)
        if pictures is not None and len(pictures) < PICTURES:
            pictures.append(picture(data, SIDE, lossy=True))

    def as_json(self) -> dict[str, list[dict[str, str | int | bool]]]:
        """Return the pictures by class, the largest class first, as plain values."""
        return {
            self._classes[index]: [picture._asdict() for picture in pictures]
            for index, pictures in self._pictures.items()
        }


def _chosen(task: Task, group: str) -> list[int]:
    """Return at most `CLASSES` classes of a group, evenly from its largest to its smallest."""
    members = np.flatnonzero(task.groups[group] & (task.train_counts > 0))
    members = members[np.argsort(-task.train_counts[members], kind="stable")]
    count = min(len(members), CLASSES)
    return members[np.linspace(0, len(members) - 1, count).astype(int)].tolist() if count else []
