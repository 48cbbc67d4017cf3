import shutil

import pytest

from tailproof.diagnosis.finding import Finding
from tailproof.files import read_json, write_json
from tailproof.report.finding_cards import TOGETHER, cards
from tailproof.report.page import write_page
from tailproof.report.results import Results


@pytest.fixture
def spoilt(drawn, tmp_path):
    """The drawn results with a finding in both seeds of one expert, and one in one seed."""
    folder = tmp_path / "drawn"
    shutil.copytree(drawn[0], folder)
    for seed in (0, 1):
        path = folder / "experts" / "plain" / f"seed-{seed}" / "diagnosis.json"
        found = [
            Finding("overfitting", f"Worse <b>from</b> epoch {seed + 2}.", "warning", (seed + 2, 5),
                    {"noise": 0.01}, 0.8, {"points_lost": 0.1 * (seed + 1)},
                    {"export": "best", "loss": {"name": "focal"}}, "a later minimum")
        ]  # fmt: skip
        found += [Finding("divergence", "It diverged.", "error")] if seed else []
        write_json(path, {"findings": [each.to_jsonable() for each in found]})
    return folder, drawn[1]


def test_a_card_a_finding_the_worst_first_and_seeds_together(spoilt):
    folder, experiment = spoilt
    shown = [
        card for card in cards(Results.read("drawn", experiment, folder)) if card.who != TOGETHER
    ]
    assert [card.severity for card in shown] == ["error", "warning"]
    assert shown[0].who == "plain, seed 1"
    assert shown[1].who.startswith("plain, seeds 0, 1 ")
    assert shown[1].title == "Worse <b>from</b> epoch 3.", "the costlier of the two"
    assert shown[1].patch.splitlines() == [
        "recipe:", "  export: best", "  loss:", "    name: focal"
    ]  # fmt: skip


def test_cards_are_on_the_page_escaped(spoilt):
    folder, experiment = spoilt
    write_page("drawn", experiment, folder, folder / "report" / "index.html")
    page = (folder / "report" / "index.html").read_text()
    section = page[page.index('<section id="findings">') : page.index('<section id="calibration">')]
    section = section.replace("<wbr>", "")
    assert section.count('<article class="finding') >= 2
    assert "Worse &lt;b&gt;from&lt;/b&gt; epoch 3." in section
    assert "  export: best" in section and "a later minimum." in section


def test_a_healthy_experiment_gets_nothing_found(single, single_page):
    folder, experiment = single
    results = Results.read("single", experiment, folder)
    assert read_json(folder / "experts/only/seed-3/diagnosis.json") == {"findings": []}
    assert cards(results) == []
    page = single_page.read_text()
    section = page[page.index('<section id="findings">') : page.index('<section id="calibration">')]
    assert "<article" not in section
