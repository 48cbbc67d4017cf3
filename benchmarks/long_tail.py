"""Writes the long-tail table of docs/benchmarks.md from the results and ledgers of a project.

Run it in a project whose results exist, after `snakemake results/NAME/report/index.html` for each
experiment that benchmarks/long_tail.yaml names:

    python …/benchmarks/long_tail.py > docs/benchmarks.md
"""

import csv
import json
import statistics
import sys
import textwrap
from collections.abc import Container, Iterable, Iterator
from pathlib import Path
from typing import Any

import yaml

from tailproof.digests import digest_of
from tailproof.number_format import format_interval, format_number
from tailproof.project import project_paths
from tailproof.runtime.errors import TailproofError
from tailproof.runtime.ledger import Ledger, read_ledger

ROWS = Path(__file__).with_suffix(".yaml")
COLUMNS = {
    "many": ("many_accuracy", "%.1"),
    "medium": ("medium_accuracy", "%.1"),
    "few": ("few_accuracy", "%.1"),
    "ECE raw": ("ece_uncalibrated", "%.1"),
    "ECE": ("ece", "%.1"),
    "AURC Chow": ("aurc_balanced_chow", ".3"),
    "AURC plug-in": ("aurc_balanced_plugin_balanced", ".3"),
}
"""Metrics of `test` in a row, with their number format, after the balanced accuracy."""


def main() -> None:
    """Print the page."""
    config = yaml.safe_load(ROWS.read_text("utf-8"))
    experiments = list(dict.fromkeys(row["experiment"] for row in config["rows"]))
    ledgers = {name: read_ledger(name) for name in experiments}
    metrics = {name: _metrics(name) for name in experiments}
    drawn = {name: draws for name in experiments if (draws := _summary_of_draws(name))}
    lines = [*_head(config, ledgers, drawn), *_table(config["rows"], metrics, ledgers), ""]
    lines += [*_draws(config["rows"], drawn), *_published(config["rows"]), "", *_ledgers(ledgers)]
    sys.stdout.write("\n".join(lines) + "\n")


def _head(config: dict[str, Any], ledgers: dict[str, Ledger], drawn: Container[str]) -> list[str]:
    machines = {record.machine.device for ledger in ledgers.values() for record in ledger}
    return [
        "# A long-tail table that can be audited",
        "",
        f"This page compares methods on {config['title']}, with numbers that you can audit and "
        "reproduce. Balanced accuracy on",
        "`test` is in percent, with the 95 % bootstrap interval over test samples and seeds. ECE "
        "is in percent, with 15 bins.",
        "AURC is the area under the curve of balanced risk over coverage (lower is better), by "
        "Chow's rule and by the plug-in",
        "rule. Minutes are for one seed: the median epoch time times the number of epochs, plus "
        "the time to embed features,",
        f"from the records. Device: {' and '.join(sorted(machines))}.",
        "",
        *textwrap.wrap(config["note"], 118),
        "",
        "To reproduce the table, run these commands in a project, with raw data and weights where "
        "the experiment files expect them:",
        "",
        "```bash",
        *_commands(ledgers, drawn),
        "python benchmarks/long_tail.py > docs/benchmarks.md     # in a clone",
        "```",
        "",
    ]


def _commands(experiments: Iterable[str], drawn: Container[str]) -> Iterator[str]:
    for name in experiments:
        yield f"snakemake --cores 2 results/{name}/report/index.html"
        if name in drawn:
            yield f"tailproof draws {name}"
            yield f"snakemake --cores 2 results/{name}/draws/summary.csv"


def _table(
    rows: list[dict[str, str]], metrics: dict[str, Any], ledgers: dict[str, Ledger]
) -> Iterator[str]:
    yield "| | seeds | balanced accuracy | " + " | ".join(COLUMNS) + " | minutes |"
    yield "| --- | " + " | ".join(["---:"] * (len(COLUMNS) + 3)) + " |"
    for row in rows:
        values = metrics[row["experiment"]].get(row["method"])
        if values is None:
            raise TailproofError(f"{row['experiment']} has no method '{row['method']}' on test")
        accuracy = values["balanced_accuracy"]
        minutes = _minutes(row, ledgers[row["experiment"]])
        cells = [
            row["name"],
            accuracy["seeds"],
            f"**{_number(accuracy['mean'], '%.1')}** "
            + format_interval(float(accuracy["low"]), float(accuracy["high"]), "%.1"),
            *(_number(values[metric]["mean"], form) for metric, form in COLUMNS.values()),
            f"{minutes:.1f}",
        ]
        yield "| " + " | ".join(cells) + " |"


def _draws(
    rows: list[dict[str, str]], drawn: dict[str, dict[str, dict[str, str]]]
) -> Iterator[str]:
    if not drawn:
        return
    yield "## Other draws of the subset"
    yield ""
    yield "Another value of `data.seed` draws other images for the long tail, for `test` and for"
    yield "the other splits. Balanced accuracy on `test`, with experts trained on each draw:"
    yield ""
    yield "| | draws | mean | sd | range |"
    yield "| --- | ---: | ---: | ---: | ---: |"
    for row in rows:
        if row["experiment"] not in drawn:
            continue
        values = drawn[row["experiment"]][row["method"]]
        shares = (_number(values[name], "%.1") for name in ("mean", "sd", "lowest", "highest"))
        mean, deviation, lowest, highest = shares
        cells = [row["name"], values["draws"], mean, deviation, f"{lowest} to {highest}"]
        yield "| " + " | ".join(cells) + " |"
    yield ""


def _summary_of_draws(experiment: str) -> dict[str, dict[str, str]]:
    """Return the balanced accuracy of each method over the draws; nothing if there is one draw."""
    path = project_paths().experiment(experiment) / "draws" / "summary.csv"
    if not path.exists():
        return {}
    with path.open(encoding="utf-8", newline="") as file:
        return {
            row["method"]: row
            for row in csv.DictReader(file)
            if row["metric"] == "balanced_accuracy"
        }


def _published(rows: list[dict[str, str]]) -> Iterator[str]:
    yield "## Published results, and why ours differ"
    yield ""
    yield "| | published | why ours differs |"
    yield "| --- | --- | --- |"
    for row in rows:
        yield f"| {row['name']} | {row['published']} | {row['why']} |"


def _ledgers(ledgers: dict[str, Ledger]) -> Iterator[str]:
    yield "## Ledgers"
    yield ""
    yield "`tailproof audit NAME` proves the numbers of an experiment. The digest covers the"
    yield "seals of all its records except the audit's own."
    yield ""
    yield "| experiment | jobs | digest of the ledger |"
    yield "| --- | ---: | --- |"
    for name, ledger in ledgers.items():
        seals = {
            path: record.seal for path, record in ledger.records.items() if record.rule != "audit"
        }
        yield f"| {name} | {len(seals)} | `{digest_of(seals)}` |"


def _metrics(experiment: str) -> dict[str, dict[str, dict[str, str]]]:
    path = project_paths().experiment(experiment) / "evaluation" / "summary.csv"
    if not path.exists():
        raise TailproofError(
            f"{path} does not exist: run `snakemake results/{experiment}/report/index.html` first"
        )
    values: dict[str, dict[str, dict[str, str]]] = {}
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if row["split"] == "test":
                values.setdefault(row["method"], {})[row["metric"]] = row
    return values


def _minutes(row: dict[str, str], ledger: Ledger) -> float:
    """Return the minutes of one seed of a method: its networks and heads, and their features."""
    trained = [record for record in ledger if record.rule == "train"]
    experts = {record.wildcards["expert"] for record in trained}
    members = [row["method"]] if row["method"] in experts else sorted(experts)
    seconds = 0.0
    stores = set()
    for expert in members:
        of_expert = [record for record in trained if record.wildcards["expert"] == expert]
        seconds += statistics.median(map(_training_seconds, of_expert))
        stores |= {key for record in of_expert for key in record.parameters.get("features") or {}}
    for record in read_ledger("features"):
        if record.wildcards["key"] in stores:
            seconds += (record.ended - record.started).total_seconds()
    return seconds / 60


def _training_seconds(record: Any) -> float:
    path = next(file.path for file in record.outputs if file.path.endswith("training.json"))
    epochs = json.loads(Path(path).read_text("utf-8"))["seconds_an_epoch"]
    return statistics.median(epochs) * len(epochs)


def _number(value: str, form: str) -> str:
    return format_number(float(value), form)


if __name__ == "__main__":
    try:
        main()
    except TailproofError as error:
        sys.exit(str(error))
