"""`tailproof import`: look at a collection, and write the experiment that trains on it."""

import logging
import math
import re
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tailproof.config.base import NAME
from tailproof.config.data import Data
from tailproof.config.experiment import Experiment
from tailproof.config.validation import parse_experiment
from tailproof.config.yaml_writer import comment, dump_commented
from tailproof.data.split_advice import find_fault
from tailproof.data.split_assignment import assign_splits, count_classes
from tailproof.data.splits import drop_shared_groups, refuse_single_class
from tailproof.importer.choice import Choice, choose_source
from tailproof.importer.collection import Collection, read_collection, read_source
from tailproof.importer.detections import crop_to_detections
from tailproof.importer.doubts import doubt_sides, doubt_versions, revise_source, without_groups
from tailproof.importer.recipe import (
    PER_SHARD,
    Settings,
    design_evaluation,
    design_experts,
    design_recipe,
    positive_class,
)
from tailproof.project import EXPERIMENTS, STORES, add_experiment
from tailproof.runtime.errors import TailproofError

GENERIC = {
    "train",
    "training",
    "images",
    "image",
    "imgs",
    "data",
    "dataset",
    "raw",
    "all",
    "labels",
}
"""Names of folders and tables that say nothing of the collection."""

FRACTIONS = (0.3, 0.2, 0.4, 0.5)
"""Shares of the test set that are tried."""


@dataclass(frozen=True)
class Import:
    """An imported collection.

    Attributes:
        name: the name of the experiment.
        file: its file.
        choice: what the path was taken for.
        collection: what is there.
        splits: the number of samples of each split.
        experiment: the experiment.
    """

    name: str
    file: str
    choice: Choice
    collection: Collection
    splits: dict[str, int]
    experiment: Experiment


def import_collection(
    place: str, name: str | None = None, source: str | None = None, label: str | None = None
) -> Import:
    """Write the experiment for a collection into the project in the current folder.

    Args:
        place: a file or folder.
        name: the name of the experiment. Default: that of the folder.
        source: the source that reads it. Default: the most specific that recognizes it.
        label: the column of labels. Default: by its name and cells.

    Raises:
        TailproofError: this is no project, no source reads the collection, or it cannot be used.
    """
    logging.getLogger("tailproof").addHandler(logging.NullHandler())
    path = _checked(place)
    name = _experiment_name(path, name)
    choice = choose_source(path, source, label)
    recognition = choice.recognition
    collection = read_collection(read_source(recognition.source))
    if (revised := revise_source(recognition, collection)) is not None:
        recognition = revised
        collection = read_collection(read_source(recognition.source))
    recognition, collection = crop_to_detections(path, recognition, collection)
    choice = replace(choice, recognition=recognition)
    data, used = _design_data(choice, collection)
    if used is None and (ungrouped := without_groups(recognition, collection)) is not None:
        choice = replace(choice, recognition=ungrouped)
        collection = read_collection(read_source(ungrouped.source))
        data, used = _design_data(choice, collection)
    if used is None:
        raise _split_error(collection, data)
    recognition = doubt_sides(choice.recognition, collection)
    choice = replace(choice, recognition=doubt_versions(recognition, collection))
    train = Counter({str(label): int(n) for label, n in used["train"].items()})
    sections, comments = _sections(name, data, train, collection)
    experiment = parse_experiment(sections, f"the experiment for {path}")
    text = "\n".join(map(comment, _heading(place, choice))) + "\n"
    file = add_experiment(".", name, text + dump_commented(sections, comments))
    splits = {split: int(count) for split, count in used.sum().items()}
    return Import(name, file, choice, collection, splits, experiment)


def _checked(place: str) -> Path:
    if not EXPERIMENTS.is_dir():
        raise TailproofError(
            f"{Path.cwd()} is not a project, expected the folder {EXPERIMENTS}: run "
            "`tailproof init study && cd study`, and import there"
        )
    path = Path(place)
    if not path.exists():
        missing = "is a link to nothing" if path.is_symlink() else "does not exist"
        raise TailproofError(f"{path} {missing}, expected a folder or file of labelled pictures")
    if not path.is_dir() and not path.is_file():
        raise TailproofError(f"{path} is a pipe or a device, expected a folder or a file")
    if not str(path).isprintable():
        raise TailproofError(
            f"{str(path)!a} has characters that are not printable, or not UTF-8: rename it"
        )
    absolute = path.absolute()
    return absolute.relative_to(Path.cwd()) if absolute.is_relative_to(Path.cwd()) else path


def _experiment_name(path: Path, wanted: str | None) -> str:
    """Return the name of the experiment.

    Raises:
        TailproofError: it is not valid, or an experiment or a store has it.
    """
    if wanted is not None and not re.fullmatch(NAME, wanted):
        raise TailproofError(
            f"--name is '{wanted}', expected letters, digits, '_', '-' and '.', the first a letter "
            "or digit"
        )
    name = wanted or _name_of(path.resolve())
    if name in STORES:
        raise TailproofError(
            f"'{name}' is the name of a folder that all experiments share: choose another name "
            "with --name"
        )
    file = EXPERIMENTS / f"{name}.yaml"
    if file.exists():
        raise TailproofError(f"{file} exists: remove it, or choose another name with --name")
    return name


def _name_of(path: Path) -> str:
    parts = [
        part
        for part in path.with_suffix("").parts
        if part.lower().rstrip("0123456789") not in GENERIC
    ]
    stem = parts[-1] if parts else path.name
    name = re.sub(r"[^A-Za-z0-9_-]+", "_", stem).strip("_-")
    return name if re.fullmatch(NAME, name) else "collection"


def _design_data(choice: Choice, collection: Collection) -> tuple[Settings, Any]:
    """Return the section data, and the number of samples of each class in each split.

    The second is None if no split of the samples has all classes.
    """
    data = Settings()
    data.add("source", choice.recognition.source, f"{choice.recognition.reason}.")
    data.add(
        "on_bad_image",
        "skip",
        "Pictures that cannot be read are left out, listed and counted; 'stop' ends the run.",
    )
    refuse_single_class(list(collection.counts))
    positive = positive_class(collection.counts)
    if positive:
        data.add("positive_class", *positive)
    counts = _split(collection, data)
    shards = math.ceil(len(collection.table) / PER_SHARD)
    if shards > 1:
        data.add("shards_per_split", min(shards, 64), f"About {PER_SHARD:,} pictures per file.")
    return data, counts


def _split(collection: Collection, data: Settings) -> Any:
    """Return the number of samples of each class in each split; set a test share that works.

    Returns:
        None if no share works.
    """
    samples, names = _labelled(collection), list(collection.counts)
    has_test = samples["pool"].notna().any()
    for fraction in FRACTIONS[:1] if has_test else FRACTIONS:
        config = Data.model_validate({**data.values, "test_fraction": fraction})
        assigned = assign_splits(samples, collection.target, names, config)
        joined = samples[[collection.target]].join(assigned.rename("split"), how="inner")
        counts = count_classes(joined, collection.target, names)
        if counts.sum().all() and counts["train"].all():
            if fraction != FRACTIONS[0]:
                data.add("test_fraction", fraction, "So that each split has samples.")
            return counts
    return None


def _split_error(collection: Collection, data: Settings) -> TailproofError:
    """Build the error that says what is missing for six splits."""
    samples, names = _labelled(collection), list(collection.counts)
    config = Data.model_validate(data.values)
    assigned = assign_splits(samples, collection.target, names, config)
    return TailproofError(find_fault(samples, collection.target, names, assigned, config))


def _labelled(collection: Collection) -> Any:
    """Return the samples with a label, without those whose group is in the test set."""
    table = collection.table
    return drop_shared_groups(table[table[collection.target].notna()])[0]


def _sections(
    name: str, data: Settings, train: Counter[str], collection: Collection
) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the experiment as plain values, and its comments."""
    recipe = design_recipe(train, collection.pictures)
    experts, why = design_experts(train)
    sections = {
        "title": name.replace("_", " "),
        "data": data.values,
        "recipe": recipe.values,
        "experts": experts,
        "seeds": [0],
    }
    comments = {
        "experts": why,
        "seeds": "Three seeds, [0, 1, 2], show which differences are chance.",
    }
    for section, settings in (("data", data), ("recipe", recipe)):
        comments |= {f"{section}.{key}": reason for key, reason in settings.reasons.items()}
    evaluation = design_evaluation(train)
    if evaluation:
        sections["evaluation"], comments["evaluation"] = evaluation
    return sections, comments


def _heading(place: str, choice: Choice) -> list[str]:
    recognition = choice.recognition
    return [
        f"Written by `tailproof import {place}`. Change what you like; the comments say why each "
        "value was chosen.",
        *(f"  {note}." for note in (*recognition.notes, *recognition.group_notes)),
        *(f"  Check: {doubt}." for doubt in recognition.doubts),
    ]
