"""report/preflight.html: what the preflight estimated, and what came.

Its times are never twice the same, so they stay off the report's main page, which is.
"""

from pathlib import Path

from tailproof.config.experiment import Experiment
from tailproof.files import read_json, write_text
from tailproof.preflight.estimate_accuracy import check_estimates
from tailproof.preflight.markdown_page import WHAT, came_cells, run_name
from tailproof.report.finding_cards import before_training
from tailproof.report.render import render


def write_preflight_page(
    name: str, experiment: Experiment, results: str | Path, output: str | Path
) -> None:
    """Write the page.

    Args:
        name: of the experiment.
        experiment: its configuration.
        results: the folder results/NAME.
        output: the page.

    Raises:
        TailproofError: a file is missing or damaged.
    """
    folder = Path(results)
    found, probe = (
        read_json(folder / f"{each}.json") for each in ("preflight", "preflight_timing")
    )
    came = check_estimates(folder, found, probe)
    cells = [came_cells(each) for each in came]
    names = [name for name in WHAT if any(name in own for own in cells)]
    page = render(
        "preflight.html.j2",
        name=name,
        title=experiment.title,
        device=probe["device"],
        head=[WHAT[each] for each in names],
        rows=[
            (run_name(each), [own.get(column, ("–", "")) for column in names])
            for each, own in zip(came, cells, strict=True)
        ],
        failed=before_training(probe),
        findings=before_training(found),
    )
    write_text(output, page)
