"""Recognizes class folders: at which level they are, which are splits, and which are no classes."""

import re
import shlex
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from tailproof.data.sources.advised_commands import import_command
from tailproof.data.sources.base import Recognition
from tailproof.data.sources.folders.class_folders import MASK, UNREAD_PICTURES, masks_among
from tailproof.data.sources.folders.folder_layout import (
    MASKS,
    alike_folders,
    quoted,
    source_yaml,
)
from tailproof.data.sources.folders.folder_survey import Surveyed, split_kinds, survey_folder
from tailproof.data.sources.folders.foreign_files import describe_foreign
from tailproof.data.sources.folders.labels_in_paths import (
    FIRST_FOLDER,
    LABEL_AND_PLACE,
    PLACE_AND_LABEL,
    label_names,
    table_command,
)
from tailproof.data.sources.folders.official_lists import describe_official_lists
from tailproof.data.sources.folders.split_names import are_splits
from tailproof.runtime.errors import TailproofError
from tailproof.text import quantity

MOST = 0.8  # share of folders that decides what all are
FEW = 0.05  # share of masks among pictures from which on they are no accident

CONTAINER = re.compile(
    r"((all|raw|original|full|train|test)[ _-]*)?(images?|imgs?|pics?|pictures?|photos?|jpe?gs?"
    r"|pngs?|jpegimages|data|dataset|samples?|raw|input|files?|frames?|crops?|thumb(nail)?s?)"
    r"[ _-]*(\d+(px?)?)?",
    re.IGNORECASE,
)
"""Names of folders that say that there are pictures, not of which class."""

PART = re.compile(
    r".*(part|batch|chunk|images?|imgs?|pics?|pictures?|photos?|folder|archive|disk|shard|zip)"
    r"[ _-]*\d+",
    re.IGNORECASE,
)
"""Names of the parts of a collection that is too large for one folder."""

ANNOTATION = re.compile(
    r".*(?<![a-z])(masks?|segmentations?|annotations?|ground[ _-]?truths?)(?![a-z]).*",
    re.IGNORECASE,
)
"""Names of folders that have a word for annotations in them."""

FOLD = re.compile(r"(cv|k)?[ _-]*fold[ _-]*\d+", re.IGNORECASE)

NUMBERED = re.compile(r"(|.*?[^\d _-])[ _-]*(\d{1,4}|(19|20)\d\d[-_.]?[01]\d[-_.]?[0-3]\d)")

NO_CLASS = re.compile(
    r"[ _.-]*(un-?(labell?ed|sorted|known|used|classified|identified|determined)|to[ _-]?do|misc"
    r"|tmp|temp|trash|rejected|discarded|duplicates?|background(_google)?|clutter|other|none"
    r"|ambiguous|unclear|bad)[ _.-]*",
    re.IGNORECASE,
)
"""Names of folders of what was not sorted."""

PLACES = re.compile(
    r"(cam(era)?|site|loc(ation)?|place|plot|transect|station|trap|deploy(ment)?|pat(ient)?|subj?"
    r"|subject|person|participant|individual|specimen|night|day|date|week|visit|session|video|clip"
    r"|seq(uence)?|burst|flight|folder|roll|batch)s?",
    re.IGNORECASE,
)
"""Words for what pictures belong to, other than a class; with a number each is one of many."""

SPLIT_WORD = re.compile(r"train|test|val|split|fold", re.IGNORECASE)
LISTS = (".txt", ".csv", ".tsv", ".json", ".mat", ".lst")
"""Names of files that may list official splits."""


@dataclass
class Layout:
    """Class folders.

    Attributes:
        root: the path of `data.source.root` below the folder that was recognized.
        reason: the evidence.
        fields: the other fields of `data.source`.
        sure: whether these are probably class folders.
    """

    root: str
    reason: str
    fields: dict[str, Any] = field(default_factory=dict)
    sure: bool = True


def recognize_class_folders(root: Path) -> Recognition | None:
    """Return the class folders in or below a folder; None if it contains no picture.

    Raises:
        TailproofError: the folders or files are not sorted by class, or in several ways.
    """
    if not root.is_dir():
        return None
    top = survey_folder(root)
    if not top.seen():
        return None
    finder = _LayoutFinder(root, top)
    layout = finder.find(top)
    source = {"name": "image_folder", "root": str(root / layout.root), **layout.fields}
    doubts = (*finder.doubts, *_doubts_about_lists(root, top))
    return Recognition(source, layout.reason, layout.sure, tuple(finder.notes), doubts)


class _LayoutFinder:
    """Finds the class folders in a folder.

    Attributes:
        notes: sentences about what is left out, and why.
        doubts: sentences about decisions that may be wrong.
    """

    def __init__(self, root: Path, top: Surveyed) -> None:
        self.notes: list[str] = []
        self.doubts: list[str] = []
        self._root = root
        self._top = top

    def find(self, folder: Surveyed) -> Layout:
        """Return the layout of a folder.

        Raises:
            TailproofError: it is not sorted by class, or in several ways.
        """
        folder = self._class_level(folder)
        inner = self._without_masks(folder)
        kinds = split_kinds(list(inner))
        trains = [name for name, kind in kinds.items() if kind == "train"]
        others = [name for name, kind in kinds.items() if kind in ("val", "test")]
        if trains and (others or any(len(inner[name].with_pictures()) > 1 for name in trains)):
            return self._pools(folder, {name: inner[name] for name in kinds if kinds[name]})
        if not inner or (len(inner) == 1 and not _has_unread(folder)):
            raise self._not_sorted(folder, inner)
        copy = _copy_of_the_others(folder)
        if copy is not None:
            same = quoted(name for name in folder.names if name != copy.name)
            self.notes.append(
                f"{same} next to {copy.path}: left out, because {copy.path} contains folders with "
                "the same names"
            )
            return self.find(copy)
        parts = [name for name in inner if PART.fullmatch(name) or CONTAINER.fullmatch(name)]
        others = [name for name in inner if name not in parts]
        if len(parts) > 1 and all(map(ANNOTATION.fullmatch, others)):
            raise self._flat(inner[name] for name in parts)
        self._refuse_alike(folder, inner)
        self._refuse_places(folder)
        self._refuse_masks(folder, "filename,label", FIRST_FOLDER)
        return self._class_folders(folder)

    def _class_level(self, folder: Surveyed) -> Surveyed:
        """Go down as long as one folder alone contains folders of pictures."""
        while True:
            inner = self._without_masks(folder)
            nested = [name for name, child in inner.items() if child.with_pictures()]
            if (only := self._only_sorted(inner)) is not None:
                unsorted = quoted(name for name in inner if name != only.name)
                self.notes.append(
                    f"{unsorted} next to {only.path}: left out, for lack of class folders"
                )
                folder = only
                continue
            wrapped = len(inner) == 1 and nested
            boxed = len(nested) == 1 and all(map(CONTAINER.fullmatch, inner))
            if not (wrapped or boxed):
                return folder
            others = [name for name in inner if name != nested[0]]
            if others or folder.pictures:
                unused = quoted(others) if others else quantity(len(folder.pictures), "picture")
                self.notes.append(f"{unused} next to {inner[nested[0]].path}: left out")
            folder = inner[nested[0]]

    def _only_sorted(self, inner: dict[str, Surveyed]) -> Surveyed | None:
        """Return the only folder that is no validation or test set without class folders.

        Collections of contests have their unsorted test set next to the folder of all others.
        """
        kinds = split_kinds(list(inner))
        spare = [
            name
            for name, child in inner.items()
            if kinds[name] in ("val", "test") and len(_descend(child).with_pictures()) < 2
        ]
        rest = [name for name in inner if name not in spare]
        if not spare or len(rest) != 1 or kinds[rest[0]] is not None:
            return None
        return inner[rest[0]] if len(_descend(inner[rest[0]]).with_pictures()) > 1 else None

    def _without_masks(self, folder: Surveyed) -> dict[str, Surveyed]:
        """Return the folders with pictures, without those of masks next to those of pictures."""
        inner = folder.with_pictures()
        masks = [name for name in inner if MASKS.fullmatch(name) or name.lower() == "trimaps"]
        others = [name for name in inner if name not in masks]
        if not (masks and others and all(map(CONTAINER.fullmatch, others))):
            return inner
        note = (
            f"{quoted(masks)}: left out, because by name these are annotations, not pictures of "
            "classes"
        )
        if note not in self.notes:
            self.notes.append(note)
        return {name: inner[name] for name in others}

    def _pools(self, folder: Surveyed, splits: dict[str, Surveyed]) -> Layout:
        """Return the layout of a folder that contains the folders of splits."""
        kinds = split_kinds(list(splits))
        inside = {name: self._class_level(split) for name, split in splits.items()}
        classes = {
            name: set(level.names)
            for name, level in inside.items()
            if (inner := self._without_masks(level)) and not all(map(CONTAINER.fullmatch, inner))
        }
        trains = [name for name in classes if kinds[name] == "train"]
        if not trains:
            raise self._flat(splits.values())
        train = max(trains, key=lambda name: (len(classes[name]), -len(name)))
        chosen = {"train": train}
        for kind in ("val", "test"):
            shared = {
                name: len(names & classes[train])
                for name, names in classes.items()
                if kinds[name] == kind and names & classes[train]
            }
            if shared:
                chosen[kind] = max(shared, key=lambda name: (shared[name], -len(name)))
        if "test" not in chosen and "val" in chosen:
            chosen["test"] = chosen.pop("val")
            self.notes.append(
                f"'{chosen['test']}' serves as the test set, because there is no other one"
            )
        self._note_unused(splits, chosen, classes)
        level = inside[train]
        self._refuse_places(level)
        layout = self._class_folders(level)
        if len(chosen) == 1:
            self._refuse_masks(level, "filename,label", FIRST_FOLDER)
            layout.reason += ", and no folder of another split does"
            return layout
        self._refuse_masks(folder, "filename,label,split", PLACE_AND_LABEL)
        depth = len(folder.path) + bool(folder.path)
        fields = {kind: inside[name].path[depth:] for kind, name in chosen.items()}
        *first, last = [f"'{name}'" for name in chosen.values()]
        layout.reason = (
            f"{', '.join(first)} and {last} in {self._root / folder.path} contain the same class "
            f"folders ({len(level.names)} in {first[0]})"
        )
        layout.root, layout.fields = folder.path, {**fields, **layout.fields}
        return layout

    def _note_unused(
        self, splits: Iterable[str], chosen: dict[str, str], classes: dict[str, set[str]]
    ) -> None:
        unused = [name for name in splits if name not in chosen.values()]
        sorted_too = [
            name for name in unused if classes.get(name, set()) & classes[chosen["train"]]
        ]
        for names, why in (
            (sorted_too, "another folder is used for the same split"),
            (
                [name for name in unused if name not in sorted_too],
                f"no class folder of '{chosen['train']}' is in there",
            ),
        ):
            if names:
                self.notes.append(f"{quoted(names)}: not used, because {why}")

    def _class_folders(self, folder: Surveyed) -> Layout:
        """Return the layout of a folder whose folders are classes, or coarser ranks of classes."""
        place, levels = self._root / folder.path, _levels(folder)
        count = f"{quantity(len(folder.names), 'folder')} of pictures ({quoted(folder.names)})"
        layout = Layout(folder.path, f"{place} contains {count}")
        layout.sure = len(folder.pictures) <= folder.seen() / 2
        if len(levels) > 1 and _are_numbered(levels[1:]):
            layout.fields["group"] = "folder"
            self.doubts.append(
                f"each class folder contains folders of pictures, such as {quoted(levels[1], 2)}: "
                "each is taken for one group, such as a patient, a place or a night, which stays "
                "in one split; if they are the classes, replace 'group' by 'ranks: [coarse, class]'"
            )
        elif len(levels) > 1:
            ranks = [f"level_{number}" for number in range(1, len(levels))]
            layout.fields["ranks"] = [*ranks, "class"]
            layout.reason += f", which contain folders of pictures, such as {quoted(levels[-1], 2)}"
            self.doubts.append(
                f"the {len(levels)} levels of folders are read as ranks, and the innermost one is "
                "classified: rename them in 'ranks' as you like"
            )
        if "group" not in layout.fields:
            self._doubt_merged(folder, len(levels))
        doubtful = [name for name in folder.names if NO_CLASS.fullmatch(name)]
        if doubtful and len(doubtful) < len(folder.names):
            self.doubts.append(f"read as a class: {quoted(doubtful)}; move out what is not a class")
        if _are_serial(folder.names):
            layout.sure = False
            self.doubts.append(
                f"the folders are numbered ({quoted(folder.names, 3)}): if they are places, days "
                "or cameras and not classes, list files and labels in a table, and import the "
                "table"
            )
        return layout

    def _doubt_merged(self, folder: Surveyed, depth: int) -> None:
        """Say which classes are merged of several folders, unlike the others (Places365)."""
        classes = [folder]
        for _ in range(depth):
            classes = [inner for each in classes for inner in each.with_pictures().values()]
        merged = {
            each.name: list(each.with_pictures())
            for each in classes
            if len(each.with_pictures()) > 1 and not each.pictures
        }
        if not merged or len(merged) > MOST * len(classes):
            return
        name, names = next(iter(merged.items()))
        if not _are_numbered([names]):
            self.doubts.append(
                f"{quantity(len(merged), 'folder')} of {len(classes)}, such as '{name}', "
                f"{'contains' if len(merged) == 1 else 'contain'} folders of pictures "
                f"({quoted(names)}), which are read as one class: if they are classes, move them "
                f"out, as {folder.name or self._root.name}/{name}_{names[0]}"
            )

    def _refuse_places(self, folder: Surveyed) -> None:
        """Refuse folders whose names are those of cameras, patients or days."""
        if not _are_places(folder.names):
            return
        place = self._root / folder.path
        raise TailproofError(
            f"{place}: the folders are numbered ({quoted(folder.names, 3)}), as places, days and "
            "patients often are, which are not classes: write a table with the columns filename, "
            f"label and group into {place}, and import again; if they are the classes, write an "
            f"experiment with {source_yaml(str(place))}"
        )

    def _refuse_masks(self, folder: Surveyed, columns: str, rule: str) -> None:
        """Refuse class folders with a mask next to its picture, such as a_mask.png next to a.png.

        Args:
            folder: the folder above them.
            columns: the header of the table without masks.
            rule: what sed makes of the path of a picture.
        """
        masks = [
            name
            for inner in folder.below()
            for name in masks_among([f"{inner.path}/{name}" for name in inner.pictures])
        ]
        if not masks or len(masks) < FEW * folder.seen():
            return
        place = self._root / folder.path
        matches = [MASK.fullmatch(PurePosixPath(name).stem) for name in masks]
        endings = {_ending(match) for match in matches if match}
        without = " ".join(f"-not -iname '*{ending}'" for ending in sorted(endings))
        raise TailproofError(
            f"{place} has masks next to the pictures that they belong to, such as "
            f"{quoted(masks, 1)}: write a table without them, "
            f"`{table_command(place, columns, rule, without)}`, and import it: "
            f"{import_command(place)}"
        )

    def _refuse_alike(self, folder: Surveyed, inner: dict[str, Surveyed]) -> None:
        """Refuse folders that contain the same folders: either these or those are the classes."""
        names = {name: frozenset(_descend(child).with_pictures()) for name, child in inner.items()}
        several = {name: folders for name, folders in names.items() if len(folders) > 1}
        alike = next(alike_folders(several), None)
        if alike is None:
            return
        below = sorted(several[alike[0]] & several[alike[1]])
        place = self._root / folder.path
        text = f"{place}: {quoted(alike)} contain the same folders, {quoted(below)}"
        again = import_command(place)
        masks = [name for name in below if MASKS.fullmatch(name)]
        pictures = [name for name in below if name not in masks]
        if masks and all(map(CONTAINER.fullmatch, pictures)):
            without = " ".join(f"-not -path {shlex.quote(f'*/{name}/*')}" for name in masks)
            command = table_command(place, "filename,label", FIRST_FOLDER, without)
            raise TailproofError(
                f"{text}: the pictures in {quoted(masks)} are masks, not pictures of classes; "
                f"write a table without them, `{command}`, and import it: {again}"
            )
        deep = any(child.with_pictures() for name in alike for child in _inside(inner[name]))
        if are_splits(below) and not deep:
            command = table_command(place, "filename,label,split", LABEL_AND_PLACE)
            raise TailproofError(
                f"{text}, which are splits inside of the classes: write a table with them, "
                f"`{command}`, and import it: {again}"
            )
        if _are_places(below) and not deep:
            command = table_command(place, "filename,label,group", LABEL_AND_PLACE)
            raise TailproofError(
                f"{text}, which are numbered as places, days and patients are: write a table with "
                f"them as groups, `{command}`, and import it: {again}"
            )
        one = import_command(place / alike[0])
        if all(map(FOLD.fullmatch, alike)):
            raise TailproofError(f"{text}, as folds of the same pictures do: import one, {one}")
        command = table_command(place, "filename,label,group", PLACE_AND_LABEL)
        versions = (
            f"If {quoted(alike, 2)} are versions of the same pictures, or collections of their "
            f"own, import one of them: {one}. "
        )
        raise TailproofError(
            f"{text}. {'' if _are_places(alike) else versions}If {quoted(alike, 2)} are places and "
            f"the folders in them classes, write a table of both, `{command}`, and import it: "
            f"{again}. If {quoted(alike, 2)} are the classes, replace filename,label,group in this "
            "command by filename,group,label"
        )

    def _not_sorted(self, folder: Surveyed, inner: dict[str, Surveyed]) -> TailproofError:
        """Say why one folder of pictures cannot be used, and what to do."""
        named = any(label_names(child.pictures) for child in inner.values())
        if not inner or folder.pictures or named or any(map(CONTAINER.fullmatch, inner)):
            return self._flat([*inner.values()] or [folder])
        (name,) = inner
        others = [other for other in folder.names if other != name]
        without = f", and {quoted(others)} without a picture" if others else ""
        return TailproofError(
            f"{self._root / folder.path} contains one folder of pictures, '{name}'{without}, "
            "expected one per class, of two classes at least: add the others, or write a table "
            "with the columns filename and label, and import again"
        )

    def _flat(self, folders: Iterable[Surveyed]) -> TailproofError:
        """Say why pictures that are not sorted by class cannot be used, and what to do."""
        flat = [inner for folder in folders for inner in folder.below() if inner.pictures]
        folder = max(flat, key=lambda each: len(each.pictures))
        place, pictures = self._root / folder.path, len(folder.pictures)
        what = quantity(pictures, "picture, which is", "pictures, which are")
        text = f"{place} contains {what} not sorted by class"
        if named := label_names(folder.pictures):
            labels, rule = named
            shown = quoted(f"{label} ({number})" for label, number in labels.most_common(4))
            command = table_command(place, "filename,label", rule)
            return TailproofError(
                f"{text}, but have names such as {quoted(folder.pictures, 1)}: if their labels are "
                f"{shown}, write a table of them, `{command}`, and import it: "
                f"{import_command(place)}"
            )
        files = (
            f"{each.path}/{name}" if each.path else name
            for each in self._top.below()
            for name in each.files
        )
        advice = describe_foreign(files) or (
            "put the pictures of each class into a folder of its own, or write a table with the "
            "columns filename and label into the folder"
        )
        return TailproofError(f"{text} ({quoted(folder.pictures, 3)}): {advice}, and import again")


def _ending(mask: re.Match[str]) -> str:
    """Return the pattern of find that the names of masks end in, of which this is one."""
    if mask[2]:
        return f"[ _-]{mask[4]}*"
    return f"{mask[3]}{'[0-9]*' if mask[5] else ''}.*"  # no other word that contains this one


def _has_unread(folder: Surveyed) -> bool:
    """Return whether a folder in it contains pictures alone that are not read, such as GIF."""
    return any(
        not child.seen()
        and any(
            UNREAD_PICTURES.fullmatch(PurePosixPath(name).suffix.lower()) for name in child.files
        )
        for child in folder.folders.values()
    )


def _descend(folder: Surveyed) -> Surveyed:
    """Go down as long as all that a folder contains is one folder that contains folders."""
    inner = folder.with_pictures()
    while len(inner) == 1 and not folder.pictures:
        (only,) = inner.values()
        if not only.with_pictures():
            break
        folder, inner = only, only.with_pictures()
    return folder


def _inside(folder: Surveyed) -> Iterable[Surveyed]:
    """Return the folders with pictures in a folder, or in the only folder in it."""
    return _descend(folder).with_pictures().values()


def _copy_of_the_others(folder: Surveyed) -> Surveyed | None:
    """Return a folder that contains folders with the names of all that are next to it."""
    for name, child in folder.with_pictures().items():
        others = set(folder.names) - {name}
        if len(others) > 1 and others <= set(child.names):
            return child
    return None


def _are_serial(names: list[str]) -> bool:
    """Return whether names are one word with a number, or dates."""
    matches = [NUMBERED.fullmatch(name) for name in names]
    stems = {match[1] if match else None for match in matches}
    dates = all(match and len(match[2]) > 4 for match in matches)
    return len(stems) == 1 and None not in stems and (stems != {""} or dates)


def _are_places(names: list[str]) -> bool:
    """Return whether names are dates, or differ in numbers next to a word for a place or a person.

    Such are cam1, and patient_012_node_3.
    """
    match = NUMBERED.fullmatch(names[0]) if _are_serial(names) else None
    if match is not None and not match[1]:
        return True
    texts = {re.sub(r"\d+", "0", name) for name in names}
    words = re.findall(r"[^\W\d_]+(?=[ _-]*\d)", names[0])
    return len(texts) == 1 and any(map(PLACES.fullmatch, words))


def _doubts_about_lists(root: Path, top: Surveyed) -> list[str]:
    """Name the text files that may list official splits."""
    official = describe_official_lists(root, top)
    if official is not None:
        return [official[1]]
    files = [
        f"{folder.path}/{name}" if folder.path else name
        for folder in top.below()
        for name in folder.files
        if PurePosixPath(name).suffix.lower() in LISTS
        and SPLIT_WORD.search(PurePosixPath(name).stem)
    ]
    if not files:
        return []
    verb = "is" if len(files) == 1 else "are"
    return [
        (
            f"{quoted(files)} may list official splits, but {verb} not read; to use the splits, "
            "write a table with the columns filename, label and split, and import it"
        )
    ]


def _levels(folder: Surveyed) -> list[list[str]]:
    """Return the names of the folders by level, as far as nearly all contain several of their own.

    Names that are in several folders, such as day and night, are no classes.
    """
    level, levels = list(folder.with_pictures().values()), [list(folder.with_pictures())]
    while level:
        inner = [list(child.with_pictures().values()) for child in level]
        nested = [
            children
            for child, children in zip(level, inner, strict=True)
            if children and not child.pictures
        ]
        level = [child for children in nested for child in children]
        names = Counter(child.name for child in level)
        if len(nested) < MOST * len(inner) or len(level) <= len(inner):
            break
        if len(names) < MOST * len(level):
            break
        levels.append(list(names))
    return levels


def _are_numbered(levels: list[list[str]]) -> bool:
    """Return whether names have numbers in them, as those of patients and sequences have."""
    names = [name for level in levels for name in level]
    return sum(bool(re.search(r"\d", name)) for name in names) >= len(names) / 2
