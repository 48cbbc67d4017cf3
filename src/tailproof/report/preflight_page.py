"""The page report/preflight.html: preflight estimates next to actual times and sizes.

Times differ from run to run, so they are not on the main page, which is reproducible.
"""

from pathlib import Path

from tailproof.config.experiment import Experiment
from tailproof.files import read_json, write_text
from tailproof.preflight.estimate_errors import check_estimates
from tailproof.preflight.markdown_page import WHAT, estimate_cells, run_name
from tailproof.report.finding_cards import before_training
from tailproof.report.render import render


def write_preflight_page(
    name: str, experiment: Experiment, results: str | Path, output: str | Path
) -> None:
    """Write the page.

    Args:
        name: name of the experiment.
        experiment: its configuration.
        results: the folder results/NAME.
        output: path of the page.

    Raises:
        TailproofError: a file is missing or damaged.
    """
    folder = Path(results)
    preflight, probe = (
        read_json(folder / f"{stem}.json") for stem in ("preflight", "preflight_timing")
    )
    checks = check_estimates(folder, preflight, probe)
    cells = [estimate_cells(check) for check in checks]
    names = [name for name in WHAT if any(name in of_run for of_run in cells)]
    page = render(
        "preflight.html.j2",
        name=name,
        title=experiment.title,
        device=probe["device"],
        head=[WHAT[name] for name in names],
        rows=[
            (run_name(check), [of_run.get(column, ("–", "")) for column in names])
            for check, of_run in zip(checks, cells, strict=True)
        ],
        failed=before_training(probe),
        findings=before_training(preflight),
    )
    write_text(output, page)
