import json
import re
import shutil
from datetime import UTC, datetime
from html.parser import HTMLParser

import pytest

from tailproof.config.validation import parse_experiment
from tailproof.config.yaml_reader import read_yaml
from tailproof.report import tables
from tailproof.report.metric_format import number
from tailproof.report.page import write_page
from tailproof.report.results import Results, Scores
from tailproof.runtime.errors import TailproofError
from tailproof.runtime.records import read_record
from tests.report.drawn_results import CLASSES, write_results


class Reader(HTMLParser):
    """Collects tags, the rows of every table by its region's id, and text by tag."""

    VOID = ("meta", "link", "img", "br", "wbr")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags, self.open, self.rows, self.text, self.region = [], [], {}, {}, None
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.tags.append((tag, attributes))
        if tag not in self.VOID:
            self.open.append(tag)
        if tag == "div" and attributes.get("role") == "region":
            self.region = attributes.get("id")
        if tag == "tr":
            self.rows.setdefault(self.region, []).append([])
        if tag == "data":
            self.rows[self.region][-1].append((float(attributes["value"]), ""))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, f"</{tag}> closes another element"

    def handle_data(self, data):
        if not self.open:
            return
        self.text.setdefault(self.open[-1], []).append(data)
        if self.open[-1] == "data":
            row = self.rows[self.region][-1]
            row[-1] = (row[-1][0], data)


@pytest.fixture(scope="module")
def html(page):
    return page.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def read(html):
    return Reader(html)


def copied(drawn, tmp_path):
    folder = tmp_path / "drawn"
    shutil.copytree(drawn[0], folder)
    return folder


def test_every_number_of_the_results_is_the_one_in_metrics_json(drawn, read):
    folder, _ = drawn
    metrics = json.loads((folder / "evaluation" / "metrics.json").read_text())
    methods = {**metrics["experts"], **metrics["ensembles"]}
    scores = Scores.read(folder)
    for split in ("test", "dev"):
        rows = [row for row in read.rows[f"results-{split}"] if row]
        assert len(rows) == len(methods) == 5
        for (name, method), row in zip(methods.items(), rows, strict=True):
            values = method["over_seeds"][split]
            expected = [
                (values[metric]["mean"], number(metric, values[metric]["mean"]))
                for metric in tables.main_columns(scores)
                if metric in values
            ]
            assert row == expected, name


def test_the_best_of_a_column_is_bold(drawn):
    scores = Results.read("drawn", drawn[1], drawn[0]).scores
    table = tables.of_methods(scores, "test", ["top1", "nll", "ece_uncalibrated"], "")
    for column, best in ((0, max), (1, min)):
        cells = [row.cells[column] for row in table.rows]
        wanted = best(cell.main.value for cell in cells)
        assert [cell.strong for cell in cells] == [cell.main.value == wanted for cell in cells]
    assert not any(row.cells[2].strong for row in table.rows)


def test_names_are_escaped_everywhere(html, read):
    assert html.count("<script") == 1
    assert not any(name.startswith("on") for _, attributes in read.tags for name in attributes)
    words = "\n".join(text for texts in read.text.values() for text in texts)
    for name in CLASSES:
        assert name in words


def test_nothing_is_fetched(read):
    for tag, attributes in read.tags:
        assert tag not in ("iframe", "object")
        for name in ("src", "srcset", "href", "xlink:href"):
            value = attributes.get(name, "#")
            allowed = ("#", "data:") if tag != "a" else ("#", "../", "preflight.html")
            assert value.startswith(allowed), (tag, value)


def test_identifiers_are_unique_and_references_found(html, read):
    found = [attributes["id"] for _, attributes in read.tags if "id" in attributes]
    assert len(found) == len(set(found))
    wanted = re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', html)
    assert {a or b for a, b in wanted} <= set(found)


def test_every_chart_has_words_and_no_fixed_colours(html, read):
    charts = [attributes for tag, attributes in read.tags if tag == "svg"]
    assert len(charts) == 3 + 3 + 1 + 1 + 4 + 5 + 3 + 1
    for attributes in charts:
        assert attributes["role"] == "img"
        assert re.search(r"\d", attributes["aria-label"])
    drawings = "".join(re.findall(r"<svg.*?</svg>", html, re.DOTALL))
    assert "var(--blue)" in drawings
    assert not re.search(r"#[0-9a-f]{6}\b", re.sub(r'(id|href)="[^"]*"|url\([^)]*\)', "", drawings))


def test_the_same_results_give_the_same_bytes_whenever_and_wherever_jobs_ran(drawn, page, tmp_path):
    folder = copied(drawn, tmp_path)
    for path in folder.glob("provenance/*/*.json"):
        record = read_record(path)
        code = record.code.model_copy(update={"commit": "1" * 40, "dirty": True})
        machine = record.machine.model_copy(update={"host": "elsewhere", "threads": 8})
        outputs = [
            file.model_copy(update={"sha256": "2" * 64})
            if file.path.endswith("training.json")
            else file
            for file in record.outputs
        ]
        changes = {"code": code, "machine": machine, "outputs": outputs, "command": "other"}
        times = {"started": record.started.replace(year=2027), "ended": datetime.now(UTC)}
        record.model_copy(update=changes | times).write(path)
    write_page("drawn", drawn[1], folder, tmp_path / "again.html")
    assert (tmp_path / "again.html").read_bytes() == page.read_bytes()


def test_the_picture_of_the_way_names_the_digests(drawn, read):
    results = Results.read("drawn", drawn[1], drawn[0])
    titles = "\n".join(each["title"] for tag, each in read.tags if tag == "li" and "title" in each)
    listed = "\n".join(read.text["td"])
    for job, name in (
        ("prepare/prepare", "samples.parquet"),
        ("shard/test-00000", "shards/test/part-00000.parquet"),
        ("train/plain-1", "experts/plain/seed-1/model.safetensors"),
        ("export/adjusted-0", "experts/adjusted/seed-0/logits/test.parquet"),
        ("evaluate/evaluate", "evaluation/metrics.json"),
    ):
        record = results.records[job]
        (file,) = (each for each in record.outputs if each.path.endswith(name))
        assert f"{name} {file.sha256[:12]}" in titles
        assert f"code {record.code.closure[:12]}" in titles
        assert file.sha256[:12] in listed
    texts = read.text["li"]
    assert [texts.count(word) for word in ("raw data", "infer", "export", "report")] == [1, 2, 2, 1]


def test_the_configuration_shown_is_the_configuration(drawn, read, tmp_path):
    shown = max(read.text["code"], key=len)
    path = tmp_path / "shown.yaml"
    path.write_text(shown, encoding="utf-8")
    assert parse_experiment(read_yaml(path)) == drawn[1]


def test_an_expert_with_another_variant_keeps_it(drawn, tmp_path):
    folder, experiment = drawn
    value = experiment.model_dump(mode="json")
    value["experts"]["plain"]["schedule"] = {"name": "multistep", "milestones": [2]}
    value["experts"]["plain"]["model"] = {"name": "resnet18", "options": {"drop_rate": 0.1}}
    value["experts"]["adjusted"]["optimizer"]["options"] = {"dampening": 0.0}
    changed = type(experiment).model_validate(value)
    write_page("drawn", changed, folder, tmp_path / "index.html")
    shown = max(Reader((tmp_path / "index.html").read_text()).text["code"], key=len)
    (tmp_path / "shown.yaml").write_text(shown)
    assert parse_experiment(read_yaml(tmp_path / "shown.yaml")) == changed


def test_a_single_expert_has_no_ensemble_to_speak_of(single, single_page):
    html = single_page.read_text()
    Reader(html)
    value = Scores.read(single[0]).value("test", "only", "balanced_accuracy")["mean"]
    assert f"{number('top1', value)}</span>\u00a0%" in html
    assert 'data-key="paired.' not in html
    assert 'data-key="agreement.' not in html
    assert "±" not in html


@pytest.mark.parametrize(
    "missing",
    [
        "evaluation/metrics.json",
        "evaluation/errors.csv",
        "evaluation/guarantees.json",
        "splits.json",
        "shards/manifest.json",
        "thumbnails.json",
        "inspection/summary.json",
        "inspection/pictures.json",
        "experts/plain/seed-1/history.csv",
        "experts/adjusted/seed-0/calibration.json",
        "provenance/export/plain-1.json",
    ],
)
def test_a_missing_file_is_named(drawn, tmp_path, missing):
    folder = copied(drawn, tmp_path)
    (folder / missing).unlink()
    with pytest.raises(TailproofError, match=re.escape(missing)) as caught:
        write_page("drawn", drawn[1], folder, tmp_path / "index.html")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "index.html").exists()


def test_damaged_files_are_named(drawn, tmp_path):
    for name, text in (
        ("provenance/train/plain-1.json", "{}"),
        ("evaluation/metrics.json", "{}"),
        ("evaluation/metrics.json", "{"),
        ("evaluation/confusion.csv", ""),
        ("inspection/pictures.json", "{}"),
        ("inspection/pictures.json", '{"labels": [{}], "odd": [], "classes": {}}'),
        ("shards/dev/part-00000.parquet", "no parquet"),
    ):
        folder = copied(drawn, tmp_path)
        (folder / name).write_text(text)
        with pytest.raises(TailproofError, match=re.escape(name)):
            write_page("drawn", drawn[1], folder, tmp_path / "index.html")
        shutil.rmtree(folder)


def test_another_configuration_is_refused(drawn, tmp_path):
    folder, experiment = drawn
    value = experiment.model_dump(mode="json")
    value["experts"]["third"] = value["experts"]["plain"]
    changed = type(experiment).model_validate(value)
    with pytest.raises(TailproofError, match=r"metrics\.json.*third"):
        write_page("drawn", changed, folder, tmp_path / "index.html")


def test_no_errors_are_shown_where_none_are_wanted(drawn, tmp_path):
    folder, experiment = drawn
    value = {**experiment.model_dump(mode="json"), "report": {"worst_errors": 0}}
    write_page("drawn", type(experiment).model_validate(value), folder, tmp_path / "index.html")
    assert '<section id="errors">' not in (tmp_path / "index.html").read_text()


def test_differences_turn_with_the_pair(drawn):
    scores = Results.read("drawn", drawn[1], drawn[0]).scores
    there = scores.difference("test", "plain", "adjusted", "nll")
    back = scores.difference("test", "adjusted", "plain", "nll")
    assert there["difference"] == -back["difference"]
    assert (there["low"], there["high"]) == (-back["high"], -back["low"])
    means = [scores.value("test", name, "nll")["mean"] for name in ("plain", "adjusted")]
    assert there["difference"] == pytest.approx(means[0] - means[1], abs=1e-8)


def test_a_group_without_classes_is_left_out(tmp_path):
    folder = tmp_path / "heads"
    evaluation = {"many_shot": 1, "few_shot": 1, "bootstrap": 100}
    experiment = write_results(folder, ["ant", "bee"], seeds=[0], evaluation=evaluation)
    write_page("heads", experiment, folder, tmp_path / "index.html")
    read = Reader((tmp_path / "index.html").read_text())
    assert any("medium or few" in text for text in read.text["p"])
    assert "Accuracy in few-shot classes" not in read.text["dt"]
    assert not {"Medium", "Few"} & set(read.text["h4"])


def test_what_was_left_out_is_counted_and_named(drawn, tmp_path):
    folder = copied(drawn, tmp_path)
    skipped = [{"reason": "<thumbnails>", "count": 60, "examples": ["@eaDir/a.png", "b.png"]}]
    prepared = {"samples": 9, "bad_images": 4, "skipped": skipped, "warnings": ["so <many>"]}
    (folder / "prepare.json").write_text(json.dumps(prepared))
    write_page("drawn", drawn[1], folder, tmp_path / "index.html")
    read = Reader((tmp_path / "index.html").read_text())
    assert [value for row in read.rows["left-out-table"] for value, _ in row] == [60, 4]
    assert "@eaDir/a.png, b.png" in read.text["small"] and "<thumbnails>" in read.text["span"]
    assert any("so <many>" in text for text in read.text["p"])
    links = {each.get("href") for tag, each in read.tags if tag == "a"}
    assert {"../prepare.json", "../bad_images.csv"} <= links


def test_nothing_is_said_where_nothing_was_left_out(html, read):
    assert 'id="left-out"' not in html and "left-out-table" not in read.rows
