"""The stage draws: how far the results of an experiment vary between draws of its splits."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tailproof.evaluation.bootstrap import finite_or_none
from tailproof.evaluation.table_columns import DRAWS_COLUMNS
from tailproof.evaluation.tables import Row, write_tables
from tailproof.files import read_json, write_json
from tailproof.runtime.errors import TailproofError
from tailproof.text import quantity

TEST = "test"
KINDS = {"experts": "expert", "ensembles": "ensemble"}


def compare_draws(
    metrics: Mapping[str, str | Path], seeds: Mapping[str, int], output: str | Path
) -> dict[str, Any]:
    """Summarise the metrics of every method on test over the draws.

    Args:
        metrics: evaluation/metrics.json of each draw, by the name of its experiment.
        seeds: the seed of the data of each draw.
        output: folder for metrics.json and the tables.

    Returns:
        The content of metrics.json.

    Raises:
        TailproofError: a file is damaged, or the draws have different methods.
    """
    read = {name: read_json(path) for name, path in metrics.items()}
    first = next(iter(read))
    for name, draw in read.items():
        for kind in KINDS:
            if list(draw[kind]) != list(read[first][kind]):
                raise TailproofError(
                    f"{metrics[name]} and {metrics[first]} have different {kind}: run `snakemake "
                    "--cores all --forcerun evaluate` for all draws"
                )
    result: dict[str, Any] = {
        "target": read[first]["target"],
        "draws": {
            name: {"data_seed": seeds[name], "test_rows": draw["splits"][TEST]["rows"]}
            for name, draw in read.items()
        },
        "notes": _notes(read),
    }
    for kind in KINDS:
        result[kind] = {
            method: _over_draws(
                {name: draw[kind][method]["over_seeds"][TEST] for name, draw in read.items()},
                "mean",
            )
            for method in read[first][kind]
        }
    result["paired"] = {
        pair: _over_draws({name: draw["paired"][TEST][pair] for name, draw in read.items()})
        for pair in read[first]["paired"][TEST]
    }
    write_json(Path(output) / "metrics.json", result)
    rows = {"summary": _summary_rows(result), "per_draw": _draw_rows(result)}
    write_tables(Path(output), DRAWS_COLUMNS, rows)
    return result


def _over_draws(
    draws: Mapping[str, dict[str, Any]], field: str = "difference"
) -> dict[str, dict[str, Any]]:
    """Return, by metric, its mean, sd and range over draws, and its value in each draw."""
    summaries = {}
    for metric in next(iter(draws.values())):
        values = {name: metrics[metric] for name, metrics in draws.items() if metric in metrics}
        found = np.array([v[field] for v in values.values() if v[field] is not None])
        defined = len(found) > 0
        summaries[metric] = {
            "mean": finite_or_none(found.mean()) if defined else None,
            "sd": finite_or_none(found.std(ddof=1)) if len(found) > 1 else None,
            "lowest": finite_or_none(found.min()) if defined else None,
            "highest": finite_or_none(found.max()) if defined else None,
            "defined": len(found),
            "draws": values,
        }
    return summaries


def _notes(read: dict[str, dict[str, Any]]) -> list[str]:
    return [
        f"sd is the standard deviation between {quantity(len(read), 'draw')} (n − 1). It covers "
        "the choice of the images for train and its tail, test and the other splits, and the "
        "training on them. All draws share most of their images, so it does not cover the choice "
        "of the collection",
        "the interval of a draw is the bootstrap over its own test images: it covers the choice "
        "of the test images, but neither the choice of the training images nor chance in training",
    ]


def _summary_rows(result: dict[str, Any]) -> Iterator[Row]:
    for kind, word in KINDS.items():
        for method, metrics in result[kind].items():
            for metric, over in metrics.items():
                ends = (over[field] for field in ("mean", "sd", "lowest", "highest", "defined"))
                yield (method, word, metric, *ends)


def _draw_rows(result: dict[str, Any]) -> Iterator[Row]:
    for name, draw in result["draws"].items():
        for kind, word in KINDS.items():
            for method, metrics in result[kind].items():
                for metric, over in metrics.items():
                    value = over["draws"].get(name)
                    if value is not None:
                        fields = (value[key] for key in ("mean", "sd", "low", "high", "seeds"))
                        yield (name, draw["data_seed"], method, word, metric, *fields)
