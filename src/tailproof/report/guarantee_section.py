"""The section on promises: prediction sets, promised risks, and the roll-up."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from tailproof.evaluation.registry import METRICS
from tailproof.guarantees.summary import NORMAL_QUANTILE
from tailproof.number_format import MISSING, format_number
from tailproof.report.keyed_number import KeyedNumber, excludes_zero, keyed
from tailproof.report.metric_format import SPACE
from tailproof.report.results import Results
from tailproof.report.tables import Cell, Row, Table
from tailproof.text import listed, quantity

SPLIT = "test"
PROCEDURES = {
    "thr": "softmax",
    "aps": "summed softmax",
    "raps": "summed, regularized",
    "pas": "softmax / class share",
    "interp_q": "softmax, class thresholds softened",
    "classwise": "softmax, class thresholds",
}
WEIGHTINGS = {"plain": "", "long_tail": ", weighted by the training class distribution"}
SET_HEAD = (
    f"promise,{SPACE}%", f"coverage,{SPACE}%", f"macro coverage,{SPACE}%",
    f"few-shot coverage,{SPACE}%", f"classes below half,{SPACE}%", "mean size", "kept",
)  # fmt: skip
SET_METRICS = ("coverage", "macro_coverage", "tail_coverage", "below_half")


class Section(NamedTuple):
    """The content of the section.

    Attributes:
        words: what the promises are fitted on, and for whom they hold.
        notes: what a reader must know.
        method: the method that is shown.
        sets: the table of sets at the first coverage, for images like those of tune.
        other_sets: the tables at other coverages and weightings.
        strengths: a table of what each softmax assumes.
        risks: a table of promised risks.
        roll_up: a table of the roll-up; None if the target has no coarser rank.
        groups: what is promised of groups of samples; None if there are none.
        context: what columns of context change; None without such columns.
    """

    words: str
    notes: list[str]
    method: str
    sets: Table
    other_sets: list[Table]
    strengths: Table
    risks: Table
    roll_up: Table | None
    groups: "GroupPromises | None"
    context: "ContextEffects | None"


class GroupPromises(NamedTuple):
    """The promises of one answer for all samples of a group: a sentence and tables."""

    words: str
    tables: list[Table]


class ContextEffects(NamedTuple):
    """What columns of context change.

    Attributes:
        words: what was fitted on what.
        effects: a table with a row for each method, and one for its groups if there are any.
        promises: what is promised in context; empty if no column counts.
    """

    words: str
    effects: list[Table]
    promises: list[Table]


def section(results: Results) -> Section:
    """Return the section."""
    guarantees = results.guarantees
    method = results.scores.best
    shown = guarantees["methods"][method]
    tables = _sets(method, shown["sets"])
    return Section(
        _words(guarantees),
        guarantees["notes"],
        method,
        tables[0],
        tables[1:],
        _strengths(guarantees),
        risk_table(method, shown["risks"]),
        _roll_up(method, shown["roll_ups"]) if len(guarantees["ranks"]) > 1 else None,
        _group_promises(method, guarantees) if "groups" in guarantees else None,
        _context_effects(method, guarantees) if "context" in guarantees else None,
    )


def _group_promises(method: str, guarantees: dict[str, Any]) -> GroupPromises:
    shown, groups = guarantees["methods"][method]["groups"], guarantees["groups"]
    words = (
        "The same promises for one answer per group are fitted on "
        f"{quantity(groups['tune'], 'group')} of tune and measured on "
        f"{quantity(groups[SPLIT], 'group')} of {SPLIT}. Groups are independent of each other, "
        "which their samples are not."
    )
    return GroupPromises(words, _tables(f"groups by {method}", shown, guarantees))


def _tables(name: str, shown: dict[str, Any], guarantees: dict[str, Any]) -> list[Table]:
    """Return the tables of promises: sets at the first coverage, risks, and the roll-up."""
    tables = [_sets(name, shown["sets"])[0], risk_table(name, shown["risks"])]
    if len(guarantees["ranks"]) > 1:
        tables.append(_roll_up(name, shown["roll_ups"]))
    return tables


def _context_effects(method: str, guarantees: dict[str, Any]) -> ContextEffects:
    columns = guarantees["context"]
    described = [
        f"{name} ({quantity(facts['values'], facts['kind'])})" for name, facts in columns.items()
    ]
    words = (
        f"p(y|x) is multiplied by (p(y|c) / p(y))^a for each of {listed(described)}, counted on "
        "train. The exponents a are fitted on tune; all are 0 if the NLL on tune is not lower "
        "beyond its interval. Differences are with context minus without, on the same samples; "
        "one is bold if its interval excludes zero."
    )
    methods = guarantees["methods"]
    effects, promises = [_effects(f"Context on {SPLIT}", columns, methods)], []
    shown = {method: methods[method]}
    if "groups" in guarantees:
        of_groups = {name: own["groups"] for name, own in methods.items()}
        effects.append(_effects(f"Context on {SPLIT}, of groups", columns, of_groups, "groups"))
        shown[f"groups by {method}"] = of_groups[method]
    for name, own in shown.items():
        if in_context := own["context"].get("promises"):
            promises += _tables(f"{name} in context", in_context, guarantees)
    return ContextEffects(words, effects, promises)


def _effects(
    title: str, columns: Mapping[str, Any], methods: Mapping[str, Any], of: str = ""
) -> Table:
    """Return a table of the exponents of each method, and of what context changes."""
    rows = []
    for name, method in methods.items():
        own = method["context"]
        cells = []
        for column in columns:
            values = [fit[column] for fit in own["exponents"].values()]
            mean = sum(values) / len(values)
            cells.append(Cell(KeyedNumber(format_number(mean, ".2"), mean)))
        for metric, effect in own[SPLIT].items():
            change = effect["changed"]
            cells.append(Cell(**keyed(metric, change, sign=True), strong=excludes_zero(change)))
        rows.append(Row(name, of or method["kind"], cells, name))
    head = [f"a of {name}" for name in columns]
    head += [
        f"{METRICS[name].label},{SPACE}points" if METRICS[name].percent else METRICS[name].label
        for name in next(iter(methods.values()))["context"][SPLIT]
    ]
    return Table(title, "method", head, rows)


def _words(guarantees: dict[str, Any]) -> str:
    rows = guarantees["rows"]
    return (
        f"Promises are fitted on tune ({quantity(rows['tune'], 'sample')}) and measured on {SPLIT} "
        f"({quantity(rows[SPLIT], 'sample')}). A promise holds for images of the same kind, with "
        "classes as frequent as in tune. The coverage of sets holds on average over draws of tune; "
        f"a risk or a precision holds with a probability of {100 * guarantees['confidence']:g} %."
    )


def _sets(method: str, rows: list[dict[str, Any]]) -> list[Table]:
    """Return a table for each weighting and coverage."""
    tables: dict[tuple[str, float], list[Row]] = {}
    for row in rows:
        values = row[SPLIT]
        cells = [_percent(row["promise"])]
        cells += [_cell("top1", values[name]) for name in SET_METRICS]
        kept = values["coverage"]["mean"] >= row["lowest"][SPLIT]
        cells += [_cell("nll", values["size"]), _verdict(kept)]
        tag = PROCEDURES[row["procedure"]]
        tables.setdefault((row["weighting"], row["coverage"]), []).append(
            Row(row["procedure"], tag, cells)
        )
    return [
        Table(
            f"Prediction sets of {method} on {SPLIT} at {100 * coverage:g} %"
            f"{WEIGHTINGS[weighting]}",
            "sets",
            list(SET_HEAD),
            shown,
        )
        for (weighting, coverage), shown in tables.items()
    ]


def _strengths(guarantees: dict[str, Any]) -> Table:
    """Return what each softmax assumes, next to the sets of thr and of pas."""
    rows = []
    for name, method in guarantees["methods"].items():
        strengths = list(method["prior_strength"].values())
        value = sum(own["value"] for own in strengths) / len(strengths)
        error = sum(own["error"] ** 2 for own in strengths) ** 0.5 / len(strengths)
        first = method["sets"][0]
        sets = {
            row["procedure"]: row[SPLIT]
            for row in method["sets"]
            if (row["weighting"], row["coverage"]) == (first["weighting"], first["coverage"])
        }
        ends = (value, value - NORMAL_QUANTILE * error, value + NORMAL_QUANTILE * error)
        main, low, high = (KeyedNumber(format_number(number, ".2"), number) for number in ends)
        strength = Cell(main, low, high)
        cells = [strength]
        for procedure in ("thr", "pas"):
            cells.append(_cell("top1", sets[procedure]["macro_coverage"]))
            cells.append(_cell("nll", sets[procedure]["size"]))
        rows.append(Row(name, method["kind"], cells, name))
    head = ["strength of the training shares"]
    head += [
        f"{what} of {name}"
        for name in ("thr", "pas")
        for what in (f"macro coverage,{SPACE}%,", "size")
    ]
    return Table(
        f"What the softmax of each method assumes, and its sets on {SPLIT}", "method", head, rows
    )


def risk_table(method: str, rows: list[dict[str, Any]]) -> Table:
    """Return a table of promised risks.

    Args:
        method: whose answers these are, as the title names it.
        rows: the risks, as guarantees.json has them.
    """
    shown = []
    for row in rows:
        values = row[SPLIT]
        low = values["error"]["low"]
        verdict = Cell(KeyedNumber(MISSING)) if low is None else _verdict(low <= row["risk"])
        cells = [_promised(list(row["fits"].values())), *_answers(values), verdict]
        shown.append(Row(f"{100 * row['risk']:g} %", row["group"], cells))
    head = ["promised", f"answered,{SPACE}%", f"error,{SPACE}%", "kept"]
    title = f"Promised risk of {method}, thresholds from tune, on {SPLIT}"
    return Table(title, "risk", head, shown)


def _roll_up(method: str, rows: list[dict[str, Any]]) -> Table:
    shown = []
    for row in rows:
        gain = row["gain"][SPLIT]
        cells = _answers(row["all"][SPLIT])
        cells += _answers(row["rejection"][SPLIT])
        cells.append(Cell(**keyed("top1", gain, sign=True), strong=excludes_zero(gain)))
        cells += [cell for own in row["ranks"].values() for cell in _answers(own[SPLIT])]
        shown.append(Row(f"{100 * row['precision']:g} %", "", cells))
    parts = ["answered", "by rejection", *(f"at {rank}" for rank in rows[0]["ranks"])]
    head = [name for part in parts for name in (f"{part},{SPACE}%", f"error,{SPACE}%")]
    head.insert(4, "more answers, points")
    title = f"Roll-up of {method}, thresholds from tune, on {SPLIT}"
    return Table(title, "precision", head, shown)


def _answers(values: dict[str, Any]) -> list[Cell]:
    if values["error"]["mean"] is None:
        return [Cell(KeyedNumber(MISSING))] * 2
    return [_cell("top1", values[name]) for name in ("answered", "error")]


def _cell(like: str, value: dict[str, Any]) -> Cell:
    return Cell(**keyed(like, value) | {"sd": None})


def _percent(value: float) -> Cell:
    return Cell(KeyedNumber(f"{100 * value:g}", value))


def _promised(fits: list[dict[str, Any]]) -> Cell:
    """Say for how many seeds something is promised, or what it takes if for none."""
    promised = sum(fit["threshold"] is not None for fit in fits)
    if promised and len(fits) > 1:
        return Cell(KeyedNumber(f"{promised} of {len(fits)} seeds"))
    if promised:
        return Cell(KeyedNumber("yes"))
    most = max(fits, key=lambda fit: fit["samples"])
    if most["samples"] < most["needed"]:
        return Cell(KeyedNumber(f"no: {most['samples']:,} of {most['needed']:,} needed"))
    return Cell(KeyedNumber("no: too many errors"))


def _verdict(kept: bool) -> Cell:
    return Cell(KeyedNumber("yes" if kept else "no"), strong=not kept)
