"""Results over draws: means and deviations of what each draw's metrics.json holds."""

import csv
import statistics

import pytest

from tailproof.config.evaluation import Evaluation
from tailproof.evaluation.draws import compare_draws
from tailproof.evaluation.evaluate import evaluate
from tailproof.evaluation.table_columns import DRAWS_COLUMNS
from tailproof.files import read_json, write_json
from tailproof.runtime.errors import TailproofError
from tests.evaluation.drawn_experts import write_experts

SEEDS = {"one": 0, "one-draw-4": 4, "one-draw-7": 7}
CONFIG = Evaluation(bootstrap=100, many_shot=100, few_shot=20)


@pytest.fixture(scope="module")
def metrics(tmp_path_factory):
    """Three draws, which differ in the number of their test samples and in their logits."""
    paths = {}
    for index, name in enumerate(SEEDS):
        folder = tmp_path_factory.mktemp(name)
        sizes = {"tune": 30, "dev": 20, "test": 40 + 10 * index}
        files = write_experts(folder, sizes=sizes)
        evaluate(files, folder / "manifest.json", CONFIG, folder / "evaluation")
        paths[name] = folder / "evaluation" / "metrics.json"
    return paths


def test_mean_and_sd_are_those_of_the_draws(metrics, tmp_path):
    result = compare_draws(metrics, SEEDS, tmp_path)
    assert read_json(tmp_path / "metrics.json") == result
    read = {name: read_json(path) for name, path in metrics.items()}
    assert {name: draw["data_seed"] for name, draw in result["draws"].items()} == SEEDS
    assert [draw["test_rows"] for draw in result["draws"].values()] == [40, 50, 60]
    for kind in ("experts", "ensembles"):
        assert result[kind].keys() == read["one"][kind].keys() and result[kind]
        for method, over in result[kind].items():
            for metric, summary in over.items():
                draws = {n: m[kind][method]["over_seeds"]["test"][metric] for n, m in read.items()}
                assert summary["draws"] == draws
                values = [draw["mean"] for draw in draws.values() if draw["mean"] is not None]
                assert summary["defined"] == len(values)
                if len(values) > 1:
                    assert summary["mean"] == pytest.approx(statistics.mean(values))
                    assert summary["sd"] == pytest.approx(statistics.stdev(values), rel=1e-9)
                    assert (summary["lowest"], summary["highest"]) == (min(values), max(values))
    pair = result["paired"]["plain - adjusted"]["top1"]
    differences = [
        m["paired"]["test"]["plain - adjusted"]["top1"]["difference"] for m in read.values()
    ]
    assert pair["mean"] == pytest.approx(statistics.mean(differences))


def test_the_tables_hold_every_method_and_metric(metrics, tmp_path):
    result = compare_draws(metrics, SEEDS, tmp_path)
    rows = {}
    for table, columns in DRAWS_COLUMNS.items():
        with (tmp_path / f"{table}.csv").open(newline="") as file:
            rows[table] = list(csv.DictReader(file))
        assert list(rows[table][0]) == columns.split()
    measured = sum(len(over) for kind in ("experts", "ensembles") for over in result[kind].values())
    assert len(rows["summary"]) == measured
    assert len(rows["per_draw"]) == sum(
        len(summary["draws"])
        for kind in ("experts", "ensembles")
        for over in result[kind].values()
        for summary in over.values()
    )
    assert {(row["experiment"], int(row["data_seed"])) for row in rows["per_draw"]} == set(
        SEEDS.items()
    )


def test_draws_of_other_methods_are_refused(metrics, tmp_path):
    other = read_json(metrics["one"])
    del other["experts"]["adjusted"]
    write_json(tmp_path / "other.json", other)
    with pytest.raises(TailproofError, match=r"other\.json .*metrics\.json .*experts"):
        compare_draws({**metrics, "one-draw-7": tmp_path / "other.json"}, SEEDS, tmp_path)


def test_a_metric_that_some_draws_lack_is_counted(metrics, tmp_path):
    """Such as the accuracy of few-shot classes where a draw has none."""
    lacking = read_json(metrics["one"])
    value = lacking["experts"]["plain"]["over_seeds"]["test"]["few_accuracy"]
    value |= dict.fromkeys(("mean", "sd", "low", "high"))
    write_json(tmp_path / "lacking.json", lacking)
    result = compare_draws({**metrics, "one": tmp_path / "lacking.json"}, SEEDS, tmp_path)
    assert result["experts"]["plain"]["few_accuracy"]["defined"] == 2
    assert result["experts"]["plain"]["top1"]["defined"] == 3
