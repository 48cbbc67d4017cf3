"""What the README and the notebook type into Python, in a project whose experiment has run."""

import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from PIL import Image

import tailproof
from tailproof.loading import Split
from tailproof.runtime.errors import TailproofError

ROOT = Path(__file__).resolve().parents[1]
DEMO = '"digits_lt"'


@pytest.fixture
def demo(finished, tmp_path, monkeypatch) -> Path:
    """The folder of a project with results, and some new images."""
    for name in ("results", "config"):
        (tmp_path / name).symlink_to(finished.folder / name)
    split = Split(finished.results / "shards" / "manifest.json", "test")
    (tmp_path / "new").mkdir()
    for row in range(3):
        Image.fromarray(split.image(row)[:, :, 0]).save(tmp_path / "new" / f"{row}.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_ten_lines_of_the_readme(demo, capsys):
    section = (ROOT / "README.md").read_text().split("## Use it from Python")[1]
    code = re.search(r"```python\n(.*?)```", section, re.S)[1]
    assert len(code.splitlines()) <= 10
    exec(code.replace(DEMO, '"tiny"'), names := {})
    printed = capsys.readouterr().out
    assert "stacked" in printed and "new/0.png" in printed
    assert len(names["table"]) == 3 and (names["table"]["set_size"] >= 1).all()


def test_the_notebook_runs(demo):
    notebook = nbformat.read(ROOT / "docs" / "notebook.ipynb", as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert not any(cell.outputs or cell.execution_count for cell in code)
    for cell in code:
        cell.source = cell.source.replace(DEMO, '"tiny"')
    resources = {"metadata": {"path": str(demo)}}
    NotebookClient(notebook, resources=resources, timeout=600, kernel_name="python3").execute()
    drawn = [
        output for cell in code for output in cell.outputs if "image/png" in output.get("data", {})
    ]
    assert len(drawn) == 4


def test_results_are_those_of_the_files(demo, finished):
    results = tailproof.results("tiny", project=demo)
    assert results.seeds == {
        name: [0] for name in ("balanced_softmax", "cross_entropy", "logit_adjustment")
    }
    by_seed = results.metrics_by_seed.query("split == 'test' and metric == 'top1'")
    over = results.metrics.query("split == 'test' and metric == 'top1'")
    assert set(by_seed["method"]) == set(over["method"]) >= {"stacked", "cross_entropy"}
    assert list(results.histories["epoch"]) == [1, 2] * 3
    raw = results.logits("cross_entropy", "dev", calibrated=False)
    calibrated = results.logits("cross_entropy", "dev", seed=0)
    assert (
        list(raw.index) == list(calibrated.index) and len(raw.filter(like="class=").columns) == 10
    )
    assert not raw.equals(calibrated)


def test_results_that_are_not_there_are_one_sentence(demo):
    results = tailproof.results("tiny")
    for ask in (
        lambda: tailproof.results("tinny"),
        lambda: tailproof.results("tiny", project=demo / "new"),
        lambda: results.expert("cross_entropi"),
        lambda: results.expert("cross_entropy", 7),
        lambda: results.logits("cross_entropy", "testing"),
    ):
        with pytest.raises(TailproofError) as error:
            ask()
        assert len(str(error.value)) < 400 and "\n" not in str(error.value)


def test_a_type_checker_sees_what_the_pages_type():
    checked = (ROOT / "tests" / "typed_door.py").read_text().splitlines()
    for page in ("README.md", "docs/python.md"):
        for code in re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), re.S):
            assert set(code.splitlines()) <= {"", *checked}
