"""`tailproof preflight`: show the preflight of an experiment; Snakemake builds what is missing."""

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tailproof.config.validation import load_experiment
from tailproof.files import read_json
from tailproof.preflight.estimate_errors import check_estimates
from tailproof.preflight.findings import validate_ignore
from tailproof.preflight.gate import blocking_findings
from tailproof.preflight.markdown_page import page
from tailproof.project import project_paths
from tailproof.runtime.errors import TailproofError

FILES = ("preflight.json", "preflight_timing.json", "preflight.md")


Run = Callable[..., subprocess.CompletedProcess[str]]


def ask(experiment: str, run: Run) -> tuple[str, bool]:
    """Return the page, including the accuracy of its estimates, and whether training is blocked.

    The preflight runs again if workers, devices or nodes have changed. These make nothing stale, so
    Snakemake would not run it again by itself.

    Args:
        experiment: its name.
        run: runs Snakemake for files, with further arguments.

    Raises:
        TailproofError: the configuration is wrong, or Snakemake failed.
    """
    path = f"config/experiments/{experiment}.yaml"
    config = load_experiment(path)
    validate_ignore(config.preflight.ignore, path)
    folder = project_paths().experiment(experiment)
    recipes = config.experts | config.points
    summary, timing = _build(run, folder)
    used = {name: expert["running"] for name, expert in summary["experts"].items()}
    if used != {name: recipe.execution_fields() for name, recipe in recipes.items()}:
        summary, timing = _build(run, folder, "--forcerun", "preflight")
    findings = [*summary["findings"], *timing["findings"]]
    checks = check_estimates(folder, summary, timing)
    text = page(experiment, summary, timing, checks)
    return text, bool(blocking_findings(findings, config.preflight.ignore))


def _build(run: Run, folder: Path, *options: str) -> list[dict[str, Any]]:
    """Let Snakemake build the preflight; return preflight.json and preflight_timing.json."""
    files = [folder / name for name in FILES]
    done = run(files, *options)
    if done.returncode:
        output = (done.stdout + done.stderr).strip()
        raise TailproofError(f"Snakemake could not build {files[0]}:\n{output}")
    return [read_json(path) for path in files[:2]]
