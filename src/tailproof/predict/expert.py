"""An expert to be used from Python: `tailproof.open` returns one."""

import os
import warnings
from collections.abc import Iterable, Mapping
from functools import partial
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tailproof.data.image_files import find_images
from tailproof.guarantees.expert_guarantees import StoredFit
from tailproof.predict.answers import Answers
from tailproof.predict.class_priors import allowed_classes, class_counts
from tailproof.predict.classify import Batch, Classifier, Note
from tailproof.predict.groups import FOLDER, Group, named_groups
from tailproof.predict.image_inputs import GivenImage, list_images
from tailproof.predict.loaded_expert import LoadedExpert, load_expert
from tailproof.predict.option_rules import CHOW, Options, Promised
from tailproof.predict.promises import SET_SIZE
from tailproof.runtime.errors import TailproofError
from tailproof.text import quantity
from tailproof.untrusted_text import printable

if TYPE_CHECKING:
    import pandas as pd

FILE, GROUP, IMAGES, ERROR = "file", "group", "images", "error"
NOTHING_READ = Batch([], None, {}, [], [])
Answered = list[tuple[Batch, "pd.DataFrame"]]
"""Batches with their answers as tables."""


class Expert:
    """A trained expert that classifies images.

    Attributes:
        loaded: its networks, probabilities and rules, one by one.
    """

    def __init__(self, loaded: LoadedExpert) -> None:
        self.loaded = loaded

    def __repr__(self) -> str:
        made = self.loaded.deployment
        return (
            f"<{made.experiment}: {made.expert}, seed {made.seed}, "
            f"{quantity(len(self.classes), 'class', 'classes')}>"
        )

    @property
    def folder(self) -> Path:
        """The folder that it was loaded from."""
        return self.loaded.folder

    @property
    def target(self) -> str:
        """The rank that is answered, which names a column of the table."""
        return self.loaded.target

    @property
    def classes(self) -> list[str]:
        """The names of the classes."""
        return self.loaded.classes[self.target]

    def predict(
        self,
        images: Any,
        *,
        rule: str = CHOW,
        coverage: float | None = None,
        set: float | None = None,
        score: str | None = None,
        risk: float | None = None,
        by_group: bool = False,
        precision: float | None = None,
        unknown: float | None = None,
        group: str | Iterable[str] | None = None,
        classes: Iterable[str] | None = None,
        prior: Mapping[str, float] | None = None,
        adapt: bool = False,
        context: Mapping[str, Iterable[Any]] | None = None,
        probabilities: bool = False,
    ) -> "pd.DataFrame":
        """Classify images; the options are those of `tailproof predict`.

        Args:
            images: an image or several: paths, Pillow images, arrays, or a column of a table. A
                folder stands for all images in it, if it is given alone.
            rule: what accepts or rejects answers: chow, plugin_balanced or plugin_worst.
            coverage: share of images to accept, as measured on the split tune.
            set: add the set of classes that holds the true one this often.
            score: score of the sets.
            risk: accept as many answers as possible while at most this share of them is wrong.
            by_group: keep the risk in each class group (many, medium, few), not only over all.
            precision: add the finest rank whose answers are right this often.
            unknown: call images unknown, among them at most this share of the images of known
                classes.
            group: give one answer per group: the group of each image, or "folder".
            classes: names of the classes that are possible.
            prior: how many of the images are of each class, by its name.
            adapt: estimate from the images how frequent classes are.
            context: columns such as habitat by name, with a value for each image; None or NaN for
                none.
            probabilities: add the probabilities of all classes.

        Returns:
            A row per image, with the index of the given column, or a row per group. Images that
            cannot be read have the reason in the column error.

        Raises:
            TailproofError: no image can be read, the options do not fit together, or the expert
                cannot do what is asked.
        """
        options = Options(
            rule,
            coverage,
            Promised(set, score, risk, by_group, precision, unknown),
            group is not None,
            None if classes is None else partial(allowed_classes, classes),
            None if prior is None else partial(class_counts, prior),
            adapt,
            None if context is None else lambda names: _cells(context, names, len(given)),
        )
        notes: list[str] = []
        classifier = self.classifier(options, notes.append)
        given, index = self._given(images, notes.append)
        groups = None if group is None else _groups(group, given)
        broken: dict[int, TailproofError] = {}
        answered = []
        for batch in classifier.batches(given, groups):
            broken |= batch.broken
            if batch.answers is not None:
                answered.append((batch, _frame(batch.answers, probabilities)))
        if broken:
            notes.append(_report_broken(broken, len(given)))
        if not answered:
            answered = [(NOTHING_READ, _frame(classifier.no_answers, probabilities))]
        table = (_table if groups is None else _table_of_groups)(answered, given, broken)
        for note in notes:
            warnings.warn(note, stacklevel=2)
        return table if index is None or groups is not None else table.set_axis(index)

    def classifier(self, options: Options, note: Note) -> Classifier:
        """Return what answers batch by batch; see `tailproof.predict.classify`."""
        return Classifier(self.loaded, options, note)

    @property
    def promises(self) -> "pd.DataFrame":
        """What can be promised: a row for each set, risk, precision and false-alarm rate.

        Raises:
            TailproofError: the folder has no guarantees.
        """
        import pandas as pd

        guarantees = self.loaded.guarantees()
        ranks = [rank.name for rank in guarantees.ranks]
        rows: list[tuple[str, float, str, bool]] = [
            ("set", rule.coverage, rule.procedure, True) for rule in guarantees.sets
        ]
        for risk in guarantees.risks:
            fits: dict[str, StoredFit] = {"all": risk.overall}
            fits |= risk.groups.items()
            rows += [("risk", risk.risk, *cells) for cells in _possible(fits)]
        for precision in guarantees.roll_ups:
            fits = dict(zip(ranks, precision.ranks, strict=True))
            rows += [("precision", precision.precision, *cells) for cells in _possible(fits)]
        if unknown := guarantees.unknown:
            rows += [
                ("unknown", fit.rate, unknown.score, fit.threshold is not None)
                for fit in unknown.false_alarms
            ]
        return pd.DataFrame(rows, columns=["promise", "level", "of", "possible"])

    def _given(self, images: Any, note: Note) -> tuple[list[GivenImage], Any]:
        """Return the images and the index of their table; those in a folder that is given alone."""
        if not isinstance(images, str | PathLike):
            return list_images(images)
        found = find_images([os.fspath(images)], self.loaded.deployment.images)
        for error in found.unreadable:
            note(str(error))
        if found.skipped:
            note(found.passed_over)
        return [GivenImage(file, file) for file in found.files], None


def _cells(
    context: Mapping[str, Iterable[Any]], names: list[str], images: int
) -> list[tuple[str | None, ...]]:
    """Return the cells of each image in columns of context."""
    columns = []
    if not hasattr(context, "keys"):
        raise TailproofError(
            f"context is a {type(context).__name__}, expected a table with the columns "
            f"{', '.join(names)}"
        )
    for name in names:
        if name not in context:
            raise TailproofError(
                f"context has no column '{printable(name)}', expected {', '.join(names)}: add it"
            )
        values = list(context[name])
        if len(values) != images:
            raise TailproofError(
                f"the column '{printable(name)}' of context has "
                f"{quantity(len(values), 'value')}, expected {images}, one for each image"
            )
        columns.append(_texts(values))
    return list(zip(*columns, strict=True))


def _texts(values: list[Any]) -> list[str | None]:
    """Return values as text; None for what pandas takes for missing, such as NaN."""
    import pandas as pd

    missing = pd.isna(pd.Series(values, dtype=object)).tolist()
    cells = zip(values, missing, strict=True)
    return [None if absent else str(value) for value, absent in cells]


def _possible(fits: Mapping[str, StoredFit]) -> list[tuple[str, bool]]:
    return [(name, fit.threshold is not None) for name, fit in fits.items()]


def _table(
    answered: Answered, given: list[GivenImage], broken: Mapping[int, TailproofError]
) -> "pd.DataFrame":
    """Return a row per image, in the order of the images."""
    import pandas as pd

    parts = [frame.set_axis(batch.rows) for batch, frame in answered]
    table = pd.concat(parts).reindex(range(len(given)))
    files = [str(one.name) if isinstance(one.name, Path) else None for one in given]
    errors = [str(broken[row]) if row in broken else None for row in range(len(given))]
    table.insert(0, FILE, pd.Series(files, dtype=object), allow_duplicates=True)
    table.insert(1, ERROR, pd.Series(errors, dtype=object), allow_duplicates=True)
    return table


def _table_of_groups(answered: Answered, *_: object) -> "pd.DataFrame":
    """Return a row per group, in the order of their first images."""
    ((batch, table),) = answered
    table.insert(0, GROUP, batch.names, allow_duplicates=True)
    table.insert(1, IMAGES, batch.images, allow_duplicates=True)
    return table


def _frame(answers: Answers, probabilities: bool) -> "pd.DataFrame":
    """Return the answers as a table."""
    import pandas as pd

    columns = answers.columns()
    table = pd.DataFrame({place: values for place, (_, values) in enumerate(columns)})
    names = [name for name, _ in columns]
    for place, name in enumerate(names):
        if name == SET_SIZE:
            table[place] = table[place].astype("Int64")  # also for an image without an answer
    table.columns = names
    if not probabilities:
        return table
    p = np.concatenate(list(answers.probabilities.values()), axis=1)
    return pd.concat([table, pd.DataFrame(p, columns=answers.probability_names)], axis=1)


def _groups(group: str | Iterable[Any], given: list[GivenImage]) -> list[Group]:
    """Return the group of each image; an image of no group is one of its own."""
    if isinstance(group, str):
        files = [one.name for one in given if isinstance(one.name, Path)]
        unplaced = len(files) < len(given)
        if group != FOLDER:
            raise TailproofError(
                f"group is '{printable(group)}', expected the group of each image, such as a "
                f"column of the table{'' if unplaced else f', or {FOLDER!r}'}"
            )
        if unplaced:
            raise TailproofError(
                f"group is '{FOLDER}', but not every image is given as a path: give the group of "
                "each image, such as a column of the table"
            )
        return [Group(str(file.parent)) for file in files]
    if not isinstance(group, Iterable):
        raise TailproofError(f"group is {group!r}, expected the group of each image")
    names = list(group)
    if len(names) != len(given):
        raise TailproofError(
            f"group has {quantity(len(names), 'name')} for {quantity(len(given), 'image')}: give "
            "the group of each image"
        )
    return named_groups([one.name for one in given], [text or None for text in _texts(names)])


def _report_broken(broken: Mapping[int, TailproofError], count: int) -> str:
    """Return a sentence about images that cannot be read.

    Raises:
        TailproofError: there are no others.
    """
    first = str(next(iter(broken.values())))
    if len(broken) < count:
        return f"{len(broken):,} of {count:,} images cannot be read; the first: {first}"
    raise TailproofError(
        first if count == 1 else f"none of {count:,} images can be read; the first: {first}"
    )


def open_expert(folder: str | PathLike[str]) -> Expert:
    """Load an expert from its folder, or a copy of it.

    Args:
        folder: results/NAME/experts/EXPERT/seed-S, or a copy of it.

    Raises:
        TailproofError: it is not the folder of an expert, or its files are damaged, of another
            version, or do not belong together.
    """
    return Expert(load_expert(Path(folder)))
