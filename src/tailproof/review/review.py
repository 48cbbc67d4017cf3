"""`tailproof review`: writes the queue as a table for Label Studio and as a page."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tailproof.config.experiment import Experiment
from tailproof.config.splits import CALIBRATED
from tailproof.config.validation import load_experiment
from tailproof.data.logits import LogitsFile
from tailproof.data.thumbnails import Picture, find_pictures
from tailproof.files import read_json, write_text
from tailproof.inspection.held_out_predictions import INSPECTED
from tailproof.inspection.label_studio import find_image_urls, local_file, write_tasks
from tailproof.inspection.labels_to_check import read_doubts
from tailproof.project import EXPERIMENTS, project_paths
from tailproof.report.render import render
from tailproof.review.answers import collect_answers, stored_votes, voters_of
from tailproof.review.distances import how_far, nearest_distances
from tailproof.review.queue import REASONS, Images, Item, order_by_usefulness
from tailproof.runtime.errors import TailproofError, unknown_name
from tailproof.runtime.records import read_record
from tailproof.text import quantity

COLUMNS = (
    "label", "suggested_label", "probability", "score", "reasons", "experts", "split",
    "sample_id", "verified",
)  # fmt: skip
"""The columns after the image. `verified` is empty: it is for the answers of a person."""

NUMBER = 100

WARNINGS = {
    "test": "test: if only the labels that the experts doubt are corrected, the experts look "
    "better than they are; correct a random sample of test, or all of it",
}
"""What is to be said of a split that nobody reviews unless asked for."""


@dataclass(frozen=True)
class Review:
    """A queue that was written.

    Attributes:
        folder: the folder of queue.csv and index.html.
        items: the images in it.
        images: the number of images that were considered.
        reasons: the number of images that have each reason, those left out included.
        chosen: the number of images with a reason.
        notes: what else is to be said.
    """

    folder: Path
    items: list[Item]
    images: int
    reasons: dict[str, int]
    chosen: int
    notes: list[str]

    def summary(self) -> Iterator[str]:
        """Yield the lines that say what is in the queue."""
        counts = [f"{REASONS[name]} ({count:,})" for name, count in self.reasons.items()]
        yield f"{self.chosen:,} of {quantity(self.images, 'image')}: {'; '.join(counts)}"
        verb = "is" if len(self.items) == 1 else "are"
        yield (
            f"{len(self.items):,} of them {verb} in {self.folder}/queue.csv, the most useful first"
        )
        yield from self.notes


def review(
    name: str,
    number: int = NUMBER,
    splits: Sequence[str] = (),
    images: str | None = None,
    output: str | None = None,
) -> Review:
    """Write queue.csv and index.html.

    Args:
        name: the name of the experiment.
        number: most images in the queue.
        splits: the splits to look at. Default: those that no expert was trained on, without test.
        images: a folder of new images to look at instead.
        output: a new folder for the files. Default: review/NAME.

    Raises:
        TailproofError: the experiment is not finished, an option is wrong, or the folder has a
            queue already.
    """
    folder = Path(output or f"review/{name}")
    _check_options(splits, images, folder)
    experiment = load_experiment(EXPERIMENTS / f"{name}.yaml")
    results = project_paths().experiment(name)
    manifest = results / "shards" / "manifest.json"
    facts = read_json(manifest)
    classes = facts["classes"][facts["target"]]
    notes = [WARNINGS[split] for split in splits if split in WARNINGS]
    if images is not None:
        parts = [_new_images(Path(images), experiment, results, classes)]
    else:
        parts, more = _stored_images(name, experiment, results, classes, splits or INSPECTED)
        notes += more
    items = order_by_usefulness(parts, classes)
    chosen = items[:number]
    urls, pictures = _pictures(chosen, manifest, results / "samples.parquet", images)
    _write(folder, name, experiment, chosen, urls, pictures, notes)
    reasons = {reason: sum(reason in item.reasons for item in items) for reason in REASONS}
    if all(part.far is None for part in parts):
        del reasons["far"]
    total = sum(len(part.sample_ids) for part in parts)
    return Review(folder, chosen, total, reasons, len(items), notes)


def _check_options(splits: Sequence[str], images: str | None, folder: Path) -> None:
    if images is not None and splits:
        raise TailproofError("--images and --split both say what to review: give one of them")
    for split in splits:
        if split not in CALIBRATED:
            raise unknown_name("split", split, CALIBRATED)
    project_paths().check_output("--output", folder)
    if (folder / "queue.csv").exists():
        raise TailproofError(
            f"{folder}/queue.csv exists and may contain answers: name a new folder with --output, "
            "or delete it"
        )


def _new_images(folder: Path, experiment: Experiment, results: Path, classes: list[str]) -> Images:
    """Return new images with the answers of the first seed of each expert."""
    from tailproof.review.new_images import read_new_images

    if not folder.is_dir():
        raise TailproofError(f"--images is {folder}, expected a folder of images")
    voters = {
        name: results / "experts" / models[0][0] / f"seed-{models[0][1]}"
        for name, models in voters_of(experiment).items()
    }
    return read_new_images(folder, voters, classes)


def _stored_images(
    name: str, experiment: Experiment, results: Path, classes: list[str], splits: Sequence[str]
) -> tuple[list[Images], list[str]]:
    """Return the images of each split, and what is to be said of them."""
    doubts = read_doubts(results / "inspection" / "labels_to_check.csv")
    far, notes = _far(name, experiment, results, splits)
    voters, parts = voters_of(experiment), []
    for split in splits:
        expert, seed = next(iter(voters.values()))[0]
        path = results / "experts" / expert / f"seed-{seed}" / "logits" / f"{split}.parquet"
        first = LogitsFile.open(path)
        answers = collect_answers(
            (voter, stored_votes(results, models, split, first.sample_ids, classes))
            for voter, models in voters.items()
        )
        distances = far.get(split)
        parts.append(Images(first.sample_ids, split, first.target, answers, doubts, distances))
    return parts, notes


def _far(
    name: str, experiment: Experiment, results: Path, splits: Sequence[str]
) -> tuple[dict[str, np.ndarray], list[str]]:
    """Return how far the images of each split are from all training images; train has none."""
    keys = _features_keys(name, experiment)
    if not keys:
        return {}, [
            "no expert has stored features, so no image can be reported as far from all "
            "training images"
        ]
    others = list(dict.fromkeys((*INSPECTED, *splits)))
    places, manifest = map(project_paths().features, keys), results / "shards" / "manifest.json"
    distances = nearest_distances(list(places), manifest, others)
    reference = np.concatenate([distances[split] for split in INSPECTED])
    return {split: how_far(distances[split], reference) for split in others}, []


def _features_keys(name: str, experiment: Experiment) -> list[str]:
    """Return the keys of the features that the first head of the experiment learnt from.

    A head that a sweep chose may have learnt from any of its points' features: it is the first.
    """
    paths = project_paths()
    for expert in experiment.trained:
        record = Path(paths.record(name, "train", f"{expert}-{experiment.seeds[0]}"))
        if record.exists() and (keys := paths.features_among(read_record(record).inputs)):
            return list(dict.fromkeys(keys)) if expert in experiment.experts else keys[:1]
    return []


def _pictures(
    items: list[Item], manifest: Path, samples: Path, images: str | None
) -> tuple[dict[str, str | None], dict[str, Picture]]:
    """Return the URL of each image for Label Studio, and its picture."""
    names = [item.sample_id for item in items]
    if images is not None:
        from tailproof.review.new_images import pictures_of

        return {name: local_file(name) for name in names}, pictures_of(Path(images), names)
    pictures: dict[str, Picture] = {}
    for split in dict.fromkeys(item.split for item in items):
        wanted = {item.sample_id for item in items if item.split == split}
        pictures |= find_pictures(manifest, split, "sample_id", wanted)
    return find_image_urls(samples, names), pictures


def _write(
    folder: Path,
    name: str,
    experiment: Experiment,
    items: list[Item],
    urls: Mapping[str, str | None],
    pictures: Mapping[str, Picture],
    notes: list[str],
) -> None:
    rows = [
        (
            item.label,
            item.answer,
            _short(item.probability),
            _short(item.score),
            ", ".join(item.reasons),
            "; ".join(f"{voter}: {answer} {p:.2f}" for voter, (answer, p) in item.votes.items()),
            item.split,
            item.sample_id,
            None,
        )
        for item in items
    ]
    page = render(
        "review.html.j2",
        name=name,
        title=experiment.title,
        items=[_shown(item, pictures[item.sample_id]) for item in items],
        notes=notes,
    )
    write_text(folder / "index.html", page)
    write_tasks(folder / "queue.csv", COLUMNS, rows, urls, pictures)


def _shown(item: Item, picture: Picture) -> dict[str, Any]:
    reasons = [
        f"{REASONS[name]} ({100 * strength:.0f} %)" for name, strength in item.reasons.items()
    ]
    return {**item._asdict(), "reasons": reasons, "picture": picture}


def _short(value: float) -> float:
    return float(f"{value:.4f}")
