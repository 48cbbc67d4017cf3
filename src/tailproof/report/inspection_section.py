"""The section on the data: doubtful labels, odd images, and training pictures by class."""

from pathlib import Path
from typing import Any, NamedTuple

from tailproof.data.thumbnails import Picture
from tailproof.evaluation.class_groups import GROUPS, describe_groups
from tailproof.files import read_json
from tailproof.report.keyed_number import KeyedNumber
from tailproof.report.results import Results
from tailproof.report.tables import Cell, Row, Table
from tailproof.runtime.errors import TailproofError
from tailproof.text import listed, quantity

KINDS = {
    "blank": ("blank", "range of grey levels"),
    "dark": ("dark", "grey level that 95 % of the pixels do not exceed"),
    "overexposed": ("overexposed", "grey level that 95 % of the pixels reach"),
    "blurred": ("blurred", "variance of the Laplacian, divided by that of the grey levels"),
    "small": ("few pixels", "width times height"),
    "large": ("many pixels", "width times height"),
    "elongated": ("elongated", "longer side divided by shorter side"),
}
"""What the page calls each kind of odd images, and the number that makes an image odd."""


class Section(NamedTuple):
    """The content of the section.

    Attributes:
        words: how many labels are doubtful.
        groups: a table of doubtful labels by group of classes.
        pairs: a table of given and suggested classes.
        labels: the most doubtful labels with their pictures.
        odd: a table of the kinds of odd images.
        odd_images: odd images of each kind with their pictures.
        classes: for each group the rule of the group, and training pictures by class.
        classes_shown: how many classes are shown, in words; empty if all are.
    """

    words: str
    groups: Table
    pairs: Table
    labels: list[dict[str, Any]]
    odd: Table
    odd_images: list[dict[str, Any]]
    classes: dict[str, tuple[str, dict[str, list[Picture]]]]
    classes_shown: str


def section(results: Results) -> Section:
    """Return the section.

    Raises:
        TailproofError: the file of pictures is damaged.
    """
    summary = results.inspection
    path = results.folder / "inspection" / "pictures.json"
    try:
        shown = read_json(path)
        pictures = {
            name: [{**sample, "picture": Picture(**sample["picture"])} for sample in shown[name]]
            for name in ("labels", "odd")
        }
        by_class = {
            name: [Picture(**fields) for fields in images]
            for name, images in shown["classes"].items()
        }
    except (AttributeError, KeyError, TypeError):
        raise _damaged(path) from None
    odd_images = [{**image, "kind": KINDS[image["kind"]][0]} for image in pictures["odd"]]
    total = len(results.classes)
    few = f"{len(by_class)} of {total:,} classes are shown." if len(by_class) < total else ""
    return Section(
        _words(summary),
        _groups(summary["labels"]["groups"]),
        _pairs(summary["labels"]["pairs"]),
        pictures["labels"],
        _odd(summary["odd"]),
        odd_images,
        _by_group(results, by_class),
        few,
    )


def _damaged(path: Path) -> TailproofError:
    return TailproofError(
        f"{path} is damaged, expected the pictures of labels, odd images and classes: delete it "
        "and run snakemake again"
    )


def _words(summary: dict[str, Any]) -> str:
    groups = summary["labels"]["groups"].values()
    labels, likely = (sum(group[key] for group in groups) for key in ("labels", "likely_wrong"))
    expected = sum(group["expected_wrong"] for group in groups)
    splits = listed(list(summary["splits"]))
    verdict = "none is" if not likely else "1 is" if likely == 1 else f"{likely:,} are"
    wrong = "1 is" if f"{expected:.0f}" == "1" else f"{expected:.0f} are"
    return (
        f"Of {quantity(labels, 'label')} in {splits}, {verdict} more likely wrong than right. In "
        f"all, about {wrong} expected to be wrong."
    )


def _groups(groups: dict[str, dict[str, float]]) -> Table:
    rows = []
    for name in GROUPS:
        group = groups[name]
        share = 100 * group["likely_wrong"] / group["labels"] if group["labels"] else None
        cells = [_count(group[key]) for key in ("classes", "labels", "likely_wrong")]
        cells.append(Cell(KeyedNumber("–" if share is None else f"{share:.1f}", share)))
        expected = group["expected_wrong"]
        cells.append(Cell(KeyedNumber(f"{expected:.1f}", expected)))
        rows.append(Row(name, "", cells))
    head = ["classes", "labels", "likely wrong", "likely wrong, %", "expected wrong"]
    return Table("Doubtful labels by group of the given class", "group", head, rows)


def _pairs(pairs: list[dict[str, Any]]) -> Table:
    rows = [Row(pair["label"], f"→ {pair['suggested']}", [_count(pair["count"])]) for pair in pairs]
    return Table(
        "Given and suggested class of labels that are likely wrong", "given", ["labels"], rows
    )


def _odd(rules: list[dict[str, Any]]) -> Table:
    rows = []
    for rule in rules:
        name, meaning = KINDS[rule["kind"]]
        sign = "above" if rule["above"] else "below"
        cells = [
            Cell(KeyedNumber(f"{rule['median']:.4g}", rule["median"])),
            Cell(KeyedNumber(f"{sign} {rule['limit']:.4g}", rule["limit"])),
            _count(rule["count"]),
        ]
        rows.append(Row(name, meaning, cells))
    return Table("Odd images", "kind", ["median of all images", "odd if", "images"], rows)


def _by_group(
    results: Results, by_class: dict[str, list[Picture]]
) -> dict[str, tuple[str, dict[str, list[Picture]]]]:
    spans = describe_groups(results.experiment.evaluation)
    groups = {
        group: {name: by_class[name] for name in by_class if results.groups[name] == group}
        for group in GROUPS
    }
    return {group: (spans[group], pictures) for group, pictures in groups.items() if pictures}


def _count(value: float) -> Cell:
    return Cell(KeyedNumber(f"{value:,}", value))
