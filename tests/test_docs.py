"""What a reader of the pages types or follows exists."""

import re
from itertools import chain
from pathlib import Path

import pytest
import yaml
from typer.main import get_command

from tailproof.cli import app
from tailproof.config.experiment import Experiment
from tailproof.config.validation import parse_experiment
from tailproof.config.yaml_reader import read_yaml

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "config" / "README.md"]
PAGES += sorted((ROOT / "docs").glob("*.md"))

LINK = re.compile(r"\]\((?!\w+:)([^)#]*)(?:#([^)]*))?\)")
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.M | re.S)
COMMAND = re.compile(r"\btailproof ([a-z]+)\b")


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def code_of(page: Path) -> str:
    """All code of a page: its blocks and what stands in backquotes."""
    text = page.read_text()
    blocks = [body for language, body in BLOCK.findall(text) if language == "bash"]
    return "\n".join(chain(blocks, re.findall(r"`([^`\n]+)`", BLOCK.sub("", text))))


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", BLOCK.sub("", page.read_text()), re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in headings}


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_links_lead_to_files_and_headings(page):
    for path, anchor in LINK.findall(BLOCK.sub("", page.read_text())):
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), path
        assert not anchor or anchor in anchors(target), f"{path}#{anchor}"


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_commands_exist(page):
    text = code_of(page)
    assert set(COMMAND.findall(text)) <= set(get_command(app).commands)
    targets = set(re.findall(r"^([a-z.\-/]+):", (ROOT / "Makefile").read_text(), re.M))
    named = re.findall(r"^(?:sudo )?make ([a-z.\-/]+)", text, re.M)
    assert set(named) <= targets


def experiments() -> list:
    """Every YAML block that shows parts of an experiment, by page."""
    sections = {"data", "recipe", "experts", "sweep", "preflight", "calibration", "evaluation"}
    return [
        pytest.param(body, id=f"{relative(page)}-{number}")
        for page in PAGES
        for number, (language, body) in enumerate(BLOCK.findall(page.read_text()))
        if language == "yaml" and sections & (yaml.safe_load(body) or {}).keys()
    ]


@pytest.mark.parametrize("body", experiments())
def test_configurations_are_read(body, tmp_path):
    file = tmp_path / "shown.yaml"
    file.write_text(body.replace("{…}", "{optimizer.weight_decay: [0.0, 5e-4]}"))
    shown = read_yaml(file)
    experiment = {"title": "Shown", "data": {"source": {"name": "digits"}}} | {
        key: shown[key] for key in shown if key in Experiment.model_fields
    }
    if "sweep" not in experiment:
        experiment.setdefault("experts", {"plain": {}})
    parse_experiment(experiment)
