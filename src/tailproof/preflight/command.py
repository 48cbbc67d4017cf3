"""The preflight of an experiment on request, made by Snakemake where it is not there."""

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tailproof.config.load import load_experiment
from tailproof.files import read_json
from tailproof.preflight.estimate_accuracy import check_estimates
from tailproof.preflight.gate import blocking_findings
from tailproof.preflight.markdown_page import page
from tailproof.project import project_paths
from tailproof.runtime.errors import TailproofError

FILES = ("preflight.json", "preflight_timing.json", "preflight.md")


Run = Callable[..., subprocess.CompletedProcess[str]]


def ask(experiment: str, run: Run) -> tuple[str, bool]:
    """Return the page, with what came of finished runs, and whether training would not start.

    It is made again where it was made for other workers, devices or nodes: that makes nothing
    stale, so that Snakemake by itself would leave it.

    Args:
        experiment: its name.
        run: runs Snakemake with arguments.

    Raises:
        TailproofError: the configuration is wrong, or Snakemake could not make it.
    """
    config = load_experiment(f"config/experiments/{experiment}.yaml")
    folder = project_paths().experiment(experiment)
    everyone = config.experts | config.points
    found, probe = _made(run, folder)
    of_each = {name: each["running"] for name, each in found["experts"].items()}
    if of_each != {name: each.execution_fields() for name, each in everyone.items()}:
        found, probe = _made(run, folder, "--forcerun", "preflight")
    findings = [*found["findings"], *probe["findings"]]
    came = check_estimates(folder, found, probe)
    text = page(experiment, found, probe, came)
    return text, bool(blocking_findings(findings, config.preflight.ignore))


def _made(run: Run, folder: Path, *options: str) -> list[dict[str, Any]]:
    """Let Snakemake make the preflight; return preflight.json and preflight_timing.json."""
    files = [folder / name for name in FILES]
    done = run(*options, "--", *map(str, files))
    if done.returncode:
        output = (done.stdout + done.stderr).strip()
        raise TailproofError(f"Snakemake could not make {files[0]}:\n{output}")
    return [read_json(path) for path in files[:2]]
