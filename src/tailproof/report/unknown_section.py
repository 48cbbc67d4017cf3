"""The section on unknown images: how well they are recognized, and at what cost."""

from typing import Any, NamedTuple

from tailproof.config.splits import UNKNOWN_SPLITS
from tailproof.evaluation.class_groups import GROUPS
from tailproof.guarantees.unknown import ALL, MEASURED_ON
from tailproof.guarantees.unknown_scores import DEFAULT
from tailproof.number_format import MISSING
from tailproof.report.guarantee_section import risk_table
from tailproof.report.keyed_number import KeyedNumber, keyed
from tailproof.report.metric_format import SPACE
from tailproof.report.results import Results
from tailproof.report.tables import Cell, Row, Table
from tailproof.text import quantity

NAMES = {
    "max_softmax": "maximum softmax",
    "max_logit": "maximum logit",
    "energy": "energy",
    "knn": "nearest neighbours of features",
    "mahalanobis": "Mahalanobis distance of features",
}


class Section(NamedTuple):
    """The content of the section.

    Attributes:
        words: what was measured on what.
        methods: a table of all experts and ensembles, each with its score.
        scores: a table of the scores of the best method; None without unknown images.
        false_alarms: a table of its false alarms by class group.
        risks: tables of the risks that are promised of images that are not called unknown.
        groups: tables of the false alarms and the risks of groups; empty without groups.
    """

    words: str
    methods: Table
    scores: Table | None
    false_alarms: Table
    risks: list[Table]
    groups: list[Table]


def section(results: Results) -> Section | None:
    """Return the section; None if the experts do not say "unknown"."""
    methods = results.guarantees["methods"]
    unknown = {name: own["unknown"] for name, own in methods.items() if "unknown" in own}
    if not unknown:
        return None
    best = results.scores.best
    shown = best if best in unknown else next(iter(unknown))
    own = unknown[shown]
    return Section(
        _words(own["rows"], results.guarantees["confidence"]),
        _methods(unknown),
        _scores(shown, own["scores"], own["score"]) if own["scores"] else None,
        _false_alarms(shown, own["answers"]),
        _risks(shown, own["answers"]),
        _of_groups(shown, own["groups"]) if "groups" in own else [],
    )


def _words(rows: dict[str, int], confidence: float) -> str:
    tune, test = (rows.get(split, 0) for split in UNKNOWN_SPLITS)
    known = quantity(rows[MEASURED_ON], "known image")
    promise = (
        "Each threshold is fitted on tune, so that known images are called unknown at most as "
        f"often as promised, with a probability of {100 * confidence:g} %."
    )
    if not test:
        return (
            f"{promise} There are no unknown images, so only false alarms are measured, on {known} "
            f"of {MEASURED_ON}, and the score is {DEFAULT}."
        )
    return (
        f"Experts and ensembles are measured on {known} of {MEASURED_ON} and "
        f"{quantity(test, 'unknown image')}, on which nothing was fitted or chosen. {promise} The "
        f"score is {DEFAULT}, unless another score has a higher AUROC on tune and "
        f"{quantity(tune, 'other unknown image')}, beyond the interval."
    )


def _methods(methods: dict[str, dict[str, Any]]) -> Table:
    rows = []
    for name, own in methods.items():
        ranking = own["scores"].get(own["score"], {}).get(ALL)
        always = own["always"][MEASURED_ON]["open_set_risk"]
        for answers in own["answers"]:
            if answers["score"] != own["score"]:
                continue
            values, rate = answers[MEASURED_ON], answers["false_alarm"]
            cells = [Cell(KeyedNumber(f"{100 * rate:g}", rate))]
            cells += _cells(ranking or {}, ("auroc", "fpr_at_tpr_95"))
            cells += _cells(values, ("false_alarm", "missed", "error", "open_set_risk"))
            cells.append(_cell(always))
            cells.append(_verdict(values["false_alarm"]["low"], rate, answers["fits"]))
            rows.append(Row(name, own["score"], cells, name))
    head = [
        f"promised false alarms,{SPACE}%",
        f"AUROC,{SPACE}%",
        f"FPR at 95{SPACE}% TPR,{SPACE}%",
        f"false alarms,{SPACE}%",
        f"missed,{SPACE}%",
        f"error,{SPACE}%",
        f"open-set risk,{SPACE}%",
        f"if it always answers,{SPACE}%",
        "kept",
    ]
    return Table(f"Unknown images and {MEASURED_ON}: experts and ensembles", "method", head, rows)


def _scores(expert: str, scores: dict[str, Any], chosen: str) -> Table:
    rows = []
    for score, groups in scores.items():
        cells = [_cell(groups[ALL]["auroc"]), _cell(groups[ALL]["fpr_at_tpr_95"])]
        cells += [_cell(groups[group]["auroc"]) for group in GROUPS]
        tag = f"{NAMES[score]}{', chosen' if score == chosen else ''}"
        rows.append(Row(score, tag, cells))
    head = [f"AUROC,{SPACE}%", f"FPR at 95{SPACE}% TPR,{SPACE}%"]
    head += [f"AUROC of {group}-shot,{SPACE}%" for group in GROUPS]
    return Table(f"Scores of {expert}", "score", head, rows)


def _of_groups(expert: str, own: dict[str, Any]) -> list[Table]:
    """Return the tables of groups, which the mean score of their images calls unknown."""
    answers = own["answers"]
    return [_false_alarms(expert, answers, "groups"), *_risks(f"groups by {expert}", answers)]


def _risks(name: str, rows: list[dict[str, Any]]) -> list[Table]:
    """Return a table of risks for each false-alarm rate, without and in context."""
    tables = []
    for row in rows:
        rate = f"{100 * row['false_alarm']:g} %"
        for key, more in {"risks": "", "context_risks": " in context"}.items():
            if key in row:
                title = (
                    f"{name}{more} for images that are not called unknown at {rate} false alarms"
                )
                tables.append(risk_table(title, row[key]))
    return tables


def _false_alarms(expert: str, shown: list[dict[str, Any]], what: str = "images") -> Table:
    rows = []
    for answers in shown:
        values = answers[MEASURED_ON]
        names = ["false_alarm", *(f"false_alarm_{group}" for group in GROUPS), "missed"]
        cells = [*_cells(values, tuple(names)), _cell(values["open_set_risk"])]
        rows.append(Row(f"{100 * answers['false_alarm']:g} %", answers["score"], cells))
    head = [f"false alarms,{SPACE}%", *(f"{group}-shot,{SPACE}%" for group in GROUPS)]
    head += [f"missed,{SPACE}%", f"open-set risk,{SPACE}%"]
    title = f"Known {what} that {expert} calls unknown, by class group"
    return Table(title, "promised", head, rows)


def _cells(values: dict[str, Any], names: tuple[str, ...]) -> list[Cell]:
    return [_cell(values.get(name)) for name in names]


def _cell(value: dict[str, Any] | None) -> Cell:
    if value is None or value["mean"] is None:
        return Cell(KeyedNumber(MISSING))
    return Cell(**keyed("top1", value) | {"sd": None})


def _verdict(low: float | None, rate: float, fits: dict[str, dict[str, Any]]) -> Cell:
    """Say whether the promise is kept, or how many samples it takes."""
    if low is not None:
        kept = low <= rate
        return Cell(KeyedNumber("yes" if kept else "no"), strong=not kept)
    most = max(fits.values(), key=lambda fit: fit["samples"])
    return Cell(KeyedNumber(f"no: {most['samples']:,} of {most['needed']:,} needed"))
