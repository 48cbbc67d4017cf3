"""What was estimated before training, against what came."""

import re
import shutil
from datetime import timedelta

import pytest

from tailproof.files import read_json, write_json
from tailproof.preflight.estimate_errors import check_estimates
from tailproof.preflight.markdown_page import estimate_cells, run_name
from tailproof.report.preflight_page import write_preflight_page
from tailproof.runtime.errors import TailproofError
from tailproof.runtime.records import File, read_record

RUN = "provenance/{}/plain-0.json"


@pytest.fixture
def copied(drawn, tmp_path):
    folder = tmp_path / "drawn"
    shutil.copytree(drawn[0], folder)
    return folder


def change(folder, rule, **changes):
    path = folder / RUN.format(rule)
    read_record(path).model_copy(update=changes).write(path)


def sized(folder, rule, name, mebibytes):
    files = [File(path=f"results/drawn/{name}", sha256="0" * 64, bytes=mebibytes * 2**20)]
    change(folder, rule, outputs=files)


def came(folder):
    found, probe = (
        read_json(folder / f"{each}.json") for each in ("preflight", "preflight_timing")
    )
    return check_estimates(folder, found, probe)


def of_plain(folder):
    return next(each for each in came(folder) if (each.expert, each.seed) == ("plain", "0"))


def test_times_are_compared_with_their_error(copied):
    run = of_plain(copied)
    assert run.seconds == {"epoch": (2.0, 2.5), "run": (11.0, 20.0)}, "of two attempts"
    cells = estimate_cells(run)
    assert cells["epoch"] == ("2 s → 2.5 s", "−20 %")
    assert cells["run"] == ("11 s → 20 s", "−45 %")
    assert len(came(copied)) == 4


def test_sizes_are_those_on_record(copied):
    sized(copied, "infer", "raw_logits/test.parquet", 1)
    sized(copied, "export", "logits/test.parquet", 3)
    sized(copied, "train", "model.safetensors", 2)
    machine = read_record(copied / RUN.format("train")).machine
    machine = machine.model_copy(update={"peak_memory_bytes": 200 * 2**20})
    change(copied, "train", machine=machine, results={"checkpoint_bytes": 2**20})
    cells = estimate_cells(of_plain(copied))
    assert cells["logits"] == ("1 MB → 4 MB", "−75 %")
    assert cells["weights"] == ("2 MB → 2 MB", "0 %")
    assert cells["memory"] == ("300 MB → 200 MB", "+50 %")
    assert cells["checkpoints"] == ("8 MB → 2 MB", "+300 %")


def test_what_cannot_be_compared_is_left_out(copied):
    path = copied / "experts/plain/seed-0/training.json"
    training = read_json(path)
    training["attempts"][0]["device"] = "cuda:0"
    write_json(path, training | {"epochs": 3})
    run = of_plain(copied)
    assert "memory" not in run.megabytes and "checkpoints" not in run.megabytes
    assert run_name(run) == "plain, seed 0 (3 of 5 epochs; resumed in epoch 4)"
    (copied / RUN.format("train")).unlink()
    assert "weights" not in of_plain(copied).megabytes
    probe = read_json(copied / "preflight_timing.json")
    probe["experts"]["plain"] = {"failed": "out of memory"}
    probe["experts"]["adjusted"]["epoch"] = [1.0, 2.0]
    write_json(copied / "preflight_timing.json", probe)
    assert {each.expert for each in came(copied)} == {"adjusted"}
    assert all("epoch" not in each.seconds for each in came(copied)), "phases have no one epoch"


def test_an_estimate_that_came_after_the_run_is_told(copied):
    path = copied / "provenance/preflight/preflight.json"
    record = read_record(path)
    record.model_copy(update={"started": record.started + timedelta(days=1)}).write(path)
    told = run_name(of_plain(copied))
    assert told == "plain, seed 0 (resumed in epoch 4; estimated afterwards)"


def test_the_page_has_estimates_and_findings_escaped(copied, drawn):
    output = copied / "report" / "preflight.html"
    write_preflight_page("drawn", drawn[1], copied, output)
    html = output.read_text()
    assert html.count('<th scope="row">') == 4
    assert "11 s → 10 s" in html and "+10 %" in html
    assert "the rate &lt;stays&gt; the same" in html and "name: cosine" in html
    links = re.findall(r'(?:href|src)="([^"]*)"', html)
    assert links and all(link.startswith(("../", "index.html", "data:")) for link in links)
    write_json(copied / "preflight_timing.json", {"device": "x", "experts": {}, "findings": []})
    write_preflight_page("drawn", drawn[1], copied, output)
    assert '<th scope="row">' not in output.read_text()
    (copied / "preflight.json").unlink()
    with pytest.raises(TailproofError, match=r"preflight\.json"):
        write_preflight_page("drawn", drawn[1], copied, output)
