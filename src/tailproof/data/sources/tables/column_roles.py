"""Decides what the columns of an unknown table are: the label, groups, official splits.

Names are evidence only together with cells: a label has few distinct values that repeat, a group
has more values than there are classes, a split has the names of splits.
"""

import re
import shlex
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from tailproof.config.data import RESERVED_COLUMNS
from tailproof.data.sources.folders.split_names import FLAG, kinds_of_values
from tailproof.data.sources.tables.missing_values import EMPTY, find_signs
from tailproof.data.sources.tables.unfit_labels import NUMBER, are_quantities, find_joined
from tailproof.text import listed, quantity

TAXONOMY = ("kingdom", "phylum", "class", "order", "family", "genus", "species")
"""Ranks of the taxonomy of life, coarse to fine."""

LEVELS = {"super": -2, "master": -2, "main": -2, "parent": -2, "coarse": -2, "sub": -1, "fine": 1}
"""Words for a coarser or finer level of a category; without one it is 0."""

LABELS = (
    "label", "class", "target", "category", "species", "diagnosis", "dx", "breed", "disease",
    "klasse", "kategorie", "classe", "categorie", "espece", "espèce", "clase", "categoria",
    "categoría", "especie", "specie", "soort", "y", "taxon", "scientific name", "common name",
    "variety", "cultivar", "genus", "family",
    "emotion", "expression", "style", "artist", "make", "level", "grade", "severity", "stage",
    "condition", "finding", "annotation", "answer", "choice", "animal", "type", "kind", "art",
)  # fmt: skip
"""Words in the names of columns of labels, the likeliest first."""

LABEL_WORDS = {word for name in LABELS for word in name.split()} | {"id", "name"}

LIKELY = LABELS.index("variety")
"""So many of them are evidence enough."""

GROUPS = (
    "patient", "subject", "person", "participant", "donor", "individual", "identity", "animal",
    "mouse", "case", "study", "lesion", "specimen", "observation", "occurrence", "slide", "tumor",
    "location", "site", "camera", "station", "plot", "transect", "field", "tree", "plant", "place",
    "seq", "sequence", "burst", "capture", "event", "trap", "session", "series", "video", "clip",
    "track", "scene", "visit", "group", "wsi", "volume", "flight", "trip", "night", "obs",
    "deployment", "encounter", "gbif",
    "ort", "standort", "lieu", "lugar", "sitio", "luogo", "plaats", "paciente", "patiente",
)  # fmt: skip
"""Words in the names of columns of samples that belong together."""

NO_LABELS = (
    "age", "sex", "gender", "date", "time", "year", "month", "day", "hour", "width", "height",
    "size", "url", "license", "licence", "rights", "author", "source", "country", "latitude",
    "longitude", "lat", "lon", "position", "view", "quality", "fold", "split", "set", "subset",
    "usage", "count", "frame", "frames", "num", "channel", "bits", "format", "localization",
    "site", "location", "weather", "substrate", "habitat", "camera", "id", "index", "path", "file",
    "filename", "image", "x", "y1", "xmin", "ymin", "xmax", "ymax", "x1", "y1", "x2", "y2",
)  # fmt: skip
"""Words in the names of columns that describe a picture and are no labels."""

QUALIFIERS = {
    "confidence", "score", "probability", "prob", "count", "num", "number", "source", "by", "date",
    "time", "file", "path", "url", "quality", "weight", "notes", "comment", "remark",
}  # fmt: skip
"""Words that make another thing of the name of a label, such as class_confidence."""

SPLIT_NAMES = ("split", "splits", "subset", "set", "partition", "usage", "phase", "learn tag")
"""Names of columns of official splits."""

MOST_SPLITS = 8
SPLITS = 5
"""So many groups are needed besides one for each class: one for each split but train."""

PLURALS = {"labels", "tags", "classes", "categories", "findings", "attributes", "targets"}
"""Words in the names of columns with several labels in a cell, separated by blanks."""

BINARY = {"0", "1", "0.0", "1.0", "true", "false", "-1", "-1.0"}
EPITHET = re.compile(r"[a-zà-ÿ-]+( [a-zà-ÿ-]+)*")


@dataclass
class Column:
    """A column of a table, as far as it was read.

    Attributes:
        name: its name.
        cells: its cells, without surrounding blanks.
    """

    name: str
    cells: list[str]

    @cached_property
    def counts(self) -> Counter[str]:
        """The cells with a value."""
        return Counter(cell for cell in self.cells if cell not in EMPTY)

    @cached_property
    def words(self) -> tuple[str, ...]:
        """The words of the name, in lower case: imageID and image_id are both image, id."""
        spaced = re.sub(r"([a-z])([A-Z])", r"\1 \2", self.name)
        return tuple(re.findall(r"[^\W\d_]+|\d+", spaced.lower()))

    def named(self, names: Sequence[str]) -> int | None:
        """Return the position of the first name whose words are in that of the column."""
        singular = {word.removesuffix("s") for word in self.words} | set(self.words)
        for position, name in enumerate(names):
            if set(name.split()) <= singular or "".join(self.words) == name.replace(" ", ""):
                return position
        return None

    @property
    def label_place(self) -> int | None:
        """The position of its name in `LABELS`; None if it is not that of a label."""
        return None if set(self.words) & QUALIFIERS else self.named(LABELS)

    @property
    def repeats(self) -> bool:
        """Whether there are several values, and they repeat; a long tail has many single ones."""
        place = self.label_place
        most = 0.5 if place is None or place >= LIKELY else 0.9
        return 1 < len(self.counts) <= most * self.counts.total()

    def all_match(self, pattern: re.Pattern[str]) -> bool:
        """Return whether all values fit a pattern."""
        return all(map(pattern.fullmatch, self.counts))

    def decides(self, other: "Column") -> bool:
        """Return whether each value of this column goes with one value of the other."""
        pairs = {
            (mine, theirs)
            for mine, theirs in zip(self.cells, other.cells, strict=True)
            if mine not in EMPTY and theirs not in EMPTY
        }
        return len(pairs) == len({mine for mine, _ in pairs})


@dataclass
class Roles:
    """What columns are.

    Attributes:
        ranks: the columns of labels, coarse to fine; empty if none is.
        group: the column of groups.
        split: the column of official splits.
        missing: by column the cells that are taken for no value.
        notes: a sentence for each decision.
        group_notes: those on groups.
        doubts: a sentence for each decision that may be wrong.
        named: whether the label was recognized by its name as well as by its cells.
        fault: why the labels cannot be used as they are.
        doubt: that no column is surely the label.
        one_hot: columns of 0 and 1, one per class, with 1 in one of them.
    """

    ranks: list[str] = field(default_factory=list)
    group: str | None = None
    split: str | None = None
    missing: dict[str, list[str]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    group_notes: list[str] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)
    named: bool = True
    fault: str | None = None
    doubt: str | None = None
    one_hot: list[str] = field(default_factory=list)


def find_roles(columns: Mapping[str, Column], filename: str, label: str | None = None) -> Roles:
    """Return what the columns of a table of images are.

    Args:
        columns: the columns by name.
        filename: the column of file names.
        label: the column of labels, if the user named it.
    """
    roles = Roles()
    others = [column for name, column in columns.items() if name != filename]
    roles.split = _find_split(others, roles)
    free = [column for column in others if column.name != roles.split]
    if label is not None:
        roles.ranks = [columns[label].name]
        roles.notes.insert(0, f"label: the column '{label}', which you named")
    else:
        _find_labels(free, roles)
    if roles.ranks:
        classes = columns[roles.ranks[-1]]
        roles.fault = roles.fault or _find_fault(classes)
        free = [column for column in free if column.name not in roles.ranks]
        roles.group = _find_group(free, classes, roles.group_notes)
        _find_missing(columns, roles)
    return roles


def guess_ranks(
    columns: Mapping[str, Sequence[str | None]], named: Sequence[str] = ()
) -> tuple[list[str], bool]:
    """Return the columns of labels, coarse to fine, and whether there is no doubt.

    Args:
        columns: the first cells of each column; None is no value.
        named: the columns of which the dataset itself says that they are class labels.
    """
    if len(named) == 1:
        return list(named), True
    read = {name: Column(name, [cell or "" for cell in cells]) for name, cells in columns.items()}
    if not named:
        roles = find_roles(read, "")
        return ([], False) if roles.fault else (roles.ranks, roles.named and not roles.doubts)
    ranks = sorted(named, key=lambda name: (len(read[name].counts), name))
    nested = [rank for rank in ranks if read[ranks[-1]].decides(read[rank])]
    return nested, len(nested) == len(named)


def guess_group(
    columns: Mapping[str, Sequence[str | None]], ranks: Sequence[str]
) -> tuple[str | None, list[str]]:
    """Return the column of samples that belong together, and sentences about it.

    Args:
        columns: the first cells of each column; None is no value.
        ranks: the columns of labels, coarse to fine.
    """
    read = [Column(name, [cell or "" for cell in cells]) for name, cells in columns.items()]
    classes = next(column for column in read if column.name == ranks[-1])
    notes: list[str] = []
    return _find_group([each for each in read if each.name not in ranks], classes, notes), notes


def _find_split(columns: Iterable[Column], roles: Roles) -> str | None:
    for column in columns:
        values = column.counts
        few = 1 < len(values) <= MOST_SPLITS
        kinds = set(kinds_of_values(column.name, values).values()) if few else {None}
        is_flag = FLAG.fullmatch(column.name) is not None
        named = is_flag or (column.named(SPLIT_NAMES) is not None and "id" not in column.words)
        if not (few and ("train" in kinds or named)):
            if set(column.words) & {"fold", "kfold", "folds"} and column.repeats:
                roles.notes.append(f"the column '{column.name}' has folds, which are not read")
            continue
        shown = listed([f"'{value}' ({count})" for value, count in values.items()])
        complete = len(column.cells) == values.total()
        if complete and {"train", "test"} <= kinds <= {"train", "val", "test"}:
            roles.notes.append(f"official splits: the column '{column.name}', with {shown}")
            return column.name
        if named or len(kinds - {None}) > 1:
            roles.doubts.append(
                f"the column '{column.name}' has {shown}: not read as official splits, which need "
                "train, test and perhaps val in every row, and no other value, or TRUE and FALSE "
                "in a column such as is_test; rename the values in the table to keep the "
                "official splits"
            )
    return None


def _find_labels(columns: list[Column], roles: Roles) -> None:
    taxonomy = _find_taxonomy(columns)
    if len(taxonomy) > 1:
        others = [column for column in columns if column not in taxonomy]
        _take_ranks(taxonomy, others, roles)
        return
    names = {column.words for column in columns}
    if ("x",) in names:
        columns = [column for column in columns if column.words != ("y",)]
    coded, exclusive = _find_coded(columns)
    columns = [
        column
        for column in columns
        if column not in coded or (not exclusive and set(column.words) <= LABEL_WORDS)
    ]
    labels = [column for column in columns if column.repeats and not _is_described(column)]
    named = [column for column in labels if column.label_place is not None]
    if named:
        _take_named(named, labels, roles)
        return
    roles.named = False
    if coded:
        attributes = [column.name for column in coded]
        roles.one_hot = attributes if exclusive else []
        roles.fault = None if exclusive else _describe_attributes(attributes)
        return
    roles.fault = _describe_quantity(columns)
    words = [column for column in labels if not column.all_match(NUMBER)]
    likely = [column for column in words if len(columns) == 1 or not _is_binary(column)]
    if roles.fault or all(len(column.counts) < 2 for column in columns):
        return
    if len(likely) == 1:
        roles.ranks = [likely[0].name]
        roles.doubts.append(
            f"label: the column '{likely[0].name}', the only one with few different words "
            f"({_few(likely[0])}); if it is the wrong column, name the right one with --label"
        )
        return
    shown = [f"'{column.name}' ({_values(column)})" for column in columns]
    roles.doubt = (
        "no column has a name like label, class or species: name it with --label; the columns are "
        f"{listed(shown, 8)}"
    )


def _find_taxonomy(columns: list[Column]) -> list[Column]:
    """Return the columns of the ranks of life, coarse to fine.

    A column of scientific names has the place of the species, unless there is one with more than
    the second half of the name, as 'vulgaris'.
    """
    ranks = {
        rank: column
        for rank in TAXONOMY
        for column in columns
        if column.words in ((rank,), (rank, "name")) and column.counts
    }
    names = [column for column in columns if column.words == ("scientific", "name")]
    if names and ("species" not in ranks or ranks["species"].all_match(EPITHET)):
        ranks["species"] = names[0]
    return [ranks[rank] for rank in TAXONOMY if rank in ranks]


def _take_ranks(columns: list[Column], others: list[Column], roles: Roles) -> None:
    """Take the ranks of life that nest; the finest one with few values for the label."""
    ranks: list[Column] = []
    for column in reversed(columns):
        if len(column.counts) < 2:
            roles.notes.append(f"the column '{column.name}' has only one value: not a rank")
        elif not ranks and not column.repeats:
            roles.notes.append(
                f"the column '{column.name}' has a different value in each row: not a rank"
            )
        elif ranks and column.words == ("genus",) and _are_epithets(ranks[0], column):
            roles.fault = (
                f"the column '{ranks[0].name}' has only the second half of species names, such as "
                f"'{next(iter(ranks[0].counts))}', and some of these occur in two genera: write "
                f'both halves into one column, with pandas `t["{ranks[0].name}"] = '
                f't["{column.name}"] + " " + t["{ranks[0].name}"]`, and import again'
            )
            return
        elif ranks and not ranks[0].decides(column):
            roles.notes.append(
                f"the column '{column.name}' is not a rank, because some values of "
                f"'{ranks[0].name}' occur with two of its values"
            )
        else:
            ranks.insert(0, column)
    roles.ranks = [column.name for column in ranks]
    if ranks:
        roles.doubts += _doubt_blanks(ranks[-1], others)
        roles.notes.insert(
            0, f"labels: the columns {_names(ranks)}, coarse to fine; {_few(ranks[-1])} of the last"
        )


def _doubt_blanks(label: Column, others: list[Column]) -> Iterator[str]:
    """Yield a sentence if another column of labels has values where the label has none.

    Camera traps have pictures without an animal, which have no scientific name.
    """
    for column in others:
        if column.label_place is None or not column.repeats:
            continue
        values = Counter(
            theirs
            for mine, theirs in zip(label.cells, column.cells, strict=True)
            if mine in EMPTY and theirs not in EMPTY
        )
        if values:
            shown = listed([f"'{value}' ({count})" for value, count in values.most_common()])
            yield (
                f"{quantity(values.total(), 'row')} without a value in '{label.name}' have one in "
                f"'{column.name}': {shown}; these pictures are left out; `--label "
                f"{shlex.quote(column.name)}` reads them"
            )
            return


def _are_epithets(species: Column, genus: Column) -> bool:
    return species.all_match(EPITHET) and not species.decides(genus)


def _take_named(named: list[Column], labels: list[Column], roles: Roles) -> None:
    """Take the column with the likeliest name; of equal columns the one with words."""

    def place(column: Column) -> tuple[int, bool, int]:
        exact = len(column.words) == 1
        position = column.label_place
        return (len(LABELS) if position is None else position, not exact, len(column.words))

    first = min(named, key=place)
    equal = [column for column in labels if column.decides(first) and first.decides(column)]
    words = [column for column in equal if not column.all_match(NUMBER)]
    label = min(words or [first], key=place)
    same = [column for column in equal if column is not label]
    chain = _chain([column for column in named if column not in same], label)
    roles.ranks = [column.name for column in chain]
    what = "label: the column" if len(chain) == 1 else "labels: the columns"
    roles.notes.insert(
        0, f"{what} {_names(chain)}, chosen by name and because values repeat ({_few(chain[-1])})"
    )
    if same:
        roles.notes.append(f"{_names(same)}: the same classes as '{label.name}', under other names")
    others = [column for column in named if column not in same and column not in chain]
    if others:
        roles.doubts.append(
            f"not the label, but possible: {_names(others)}; `--label "
            f"{shlex.quote(others[0].name)}` chooses the first"
        )
    roles.named = place(first)[0] < LIKELY and all(place(other) > place(first) for other in others)


def _chain(named: list[Column], label: Column) -> list[Column]:
    """Return the columns whose names say that they are levels of one category, coarse to fine."""
    others = [column for column in named if column is not label]
    members = sorted(
        [label, *(column for column in others if _kind(column) == _kind(label))], key=_level
    )
    if len({_level(column) for column in members}) < len(members):
        return [label]
    nested = all(
        fine.decides(coarse) for place, fine in enumerate(members) for coarse in members[:place]
    )
    return members if nested else [label]


def _level(column: Column) -> int:
    text = "".join(column.words)
    return next((level for word, level in LEVELS.items() if text.startswith(word)), 0)


def _kind(column: Column) -> str:
    """Return the words of a name without those for the level and for its form."""
    text = " ".join(word for word in column.words if word not in ("id", "name", "idx", "code"))
    for word in LEVELS:
        text = text.removeprefix(word).strip()
    return text.removesuffix("s").replace("categorie", "category").replace("classe", "class")


def _is_described(column: Column) -> bool:
    """Return whether a name is that of a property of a picture, not of what it shows."""
    is_label, is_group = column.label_place is not None, column.named(GROUPS) is not None
    is_id = is_group and "id" in column.words
    return (
        column.name in RESERVED_COLUMNS
        or is_id
        or (not is_label and (is_group or column.named(NO_LABELS) is not None))
    )


def _find_fault(label: Column) -> str | None:
    """Return why labels are no classes."""
    values = label.counts
    if are_quantities(values):
        return (
            f"the column '{label.name}' has {quantity(len(values), 'number')} such as "
            f"{next(iter(values))}, which look like a quantity, expected class names: name "
            "another column with --label, or write a column of classes"
        )
    if joined := find_joined(values, is_list=bool(PLURALS & set(label.words))):
        return (
            f"the column '{label.name}' has several labels in {quantity(len(joined), 'value')} "
            f"such as '{joined[0]}', but a picture has one class here: keep the rows with one "
            "label, or write a column with the label that matters"
        )
    return None


def _find_coded(columns: list[Column]) -> tuple[list[Column], bool]:
    """Return columns of 0 and 1 next to each other, and whether each row has 1 in one of them."""
    best: list[Column] = []
    run: list[Column] = []
    for column in [*columns, None]:
        if column is not None and {cell.lower() for cell in column.counts} <= BINARY:
            run = [*run, column] if column.counts else run
            continue
        best, run = max(best, run, key=len), []
    if len(best) < 3:
        return [], False
    rows = zip(*(column.cells for column in best), strict=True)
    ones = [sum(cell.lower() in ("1", "1.0", "true") for cell in row) for row in rows]
    return best, sum(one == 1 for one in ones) >= 0.99 * len(ones) > 0


def _describe_attributes(names: list[str]) -> str:
    return (
        f"{len(names)} columns such as {listed([repr(name) for name in names], 3)} have two "
        "values each and do not exclude each other, but a picture has one class here: name one "
        f"of them with --label, such as --label {shlex.quote(names[0])}"
    )


def _is_binary(column: Column) -> bool:
    """Return whether a column says yes or no, or of which sex a person is."""
    return {cell.lower() for cell in column.counts} <= {
        *BINARY, "yes", "no", "y", "n", "t", "f", "m", "male", "female", "unknown",
    }  # fmt: skip


def _values(column: Column) -> str:
    kind = "number" if column.all_match(NUMBER) else "value"
    return quantity(len(column.counts), kind)


def _describe_quantity(columns: list[Column]) -> str | None:
    for column in columns:
        if column.label_place is None or len(column.counts) < 2 or not column.all_match(NUMBER):
            continue
        if "id" in column.words and len(column.counts) == column.counts.total():
            continue  # of each row
        return (
            f"the column '{column.name}' has {quantity(len(column.counts), 'number')} in "
            f"{quantity(column.counts.total(), 'row')} ({listed(list(column.counts), 3)}), "
            "expected a few classes, of several images each: name another column with --label, or "
            "write a column of classes"
        )
    return None


def _find_group(columns: list[Column], classes: Column, notes: list[str]) -> str | None:
    """Return the coarsest column that names what belongs together."""
    groups = [
        column
        for column in columns
        if column.named(GROUPS) is not None
        and len(classes.counts) < len(column.counts) < column.counts.total()
        and _largest(column) <= max(0.2 * len(column.cells), 2)
    ]
    if not groups:
        few = [column for column in columns if column.named(GROUPS) is not None]
        few = [column for column in few if 1 < len(column.counts) < column.counts.total()]
        if few:
            notes.append(
                f"no groups: too few values, or one value in most rows, in {_names(few)}; set "
                "'group' if images with the same value belong together nevertheless"
            )
        return None
    enough = [column for column in groups if len(column.counts) >= len(classes.counts) + SPLITS]
    chosen = min(enough or groups, key=lambda column: len(column.counts))
    notes.append(
        f"groups: the column '{chosen.name}', whose {quantity(len(chosen.counts), 'value')} in "
        f"{quantity(chosen.counts.total(), 'row')} repeat: images with the same value stay in one "
        "split"
    )
    others = [column for column in groups if column is not chosen]
    if others:
        notes.append(f"groups could also be {_names(others)}")
    return chosen.name


def _largest(column: Column) -> int:
    """Return the size of the largest group, apart from cells that may mean 'no value'."""
    counts = column.counts - Counter(
        {sign: column.counts[sign] for sign in find_signs(column.counts, words=True)}
    )
    return max(counts.values(), default=0)


def _find_missing(columns: Mapping[str, Column], roles: Roles) -> None:
    for name in [*roles.ranks, *filter(None, [roles.group])]:
        is_group = name == roles.group
        signs = find_signs(columns[name].counts, words=is_group)
        signs = [sign for sign in signs if columns[name].counts[sign] > 1 or not is_group]
        if not signs:
            continue
        roles.missing[name] = signs
        cells = listed([f"'{sign}' ({columns[name].counts[sign]})" for sign in signs])
        what = "each of these images is a group of its own" if is_group else "they have no label"
        roles.doubts.append(
            f"{cells} in '{name}': read as 'no value', so {what}; if such a cell is a name, "
            "remove it from 'missing'"
        )


def _few(column: Column) -> str:
    return f"{quantity(len(column.counts), 'value')} in {quantity(len(column.cells), 'row')}"


def _names(columns: Iterable[Column]) -> str:
    return listed([f"'{column.name}'" for column in columns], 8)
