"""Give finished experiments to DVC, and their records to git's index.

One experiment after the other: DVC has one lock and writes one ``dvc.lock``. Nothing is committed
to git and nothing is pushed.
"""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tailproof.config.load import load_config
from tailproof.project import project_paths
from tailproof.provenance.audit import audit
from tailproof.runtime.errors import TailproofError, suggestion

CONFIG = "config/config.yaml"
STAGES = ("dataset", "experts", "evaluation")
"""What dvc.yaml has of each experiment that CONFIG lists."""


def publish(experiments: Sequence[str]) -> list[str]:
    """Publish these experiments, or all that the configuration lists; return their names.

    Raises:
        TailproofError: an experiment is not listed or an audit finds something wrong, and nothing
            is published; the working directory has no git or DVC repository; DVC or git fails.
    """
    listed = load_config(CONFIG).experiments
    for name in experiments:
        if name not in listed:
            raise TailproofError(
                f"DVC has no stages for '{name}'{suggestion(name, listed)}: name it in {CONFIG} "
                f"under experiments, which lists {', '.join(listed) or 'none'}"
            )
    _check_repositories()
    names = list(dict.fromkeys(experiments or listed))
    for name in names:
        _check_holds(name)
    for name in names:
        _run([sys.executable, "-m", "dvc", "commit", "--force", *(f"{s}@{name}" for s in STAGES)])
        _run(["git", "add", "--all", "--", "dvc.lock", project_paths().provenance(name).as_posix()])
    return names


def uncommitted() -> list[str]:
    """Return the files that differ from git's index or are not in it: a clone will lack them."""
    listed = ["git", "ls-files", "-z", "--others", "--modified", "--exclude-standard"]
    return sorted(set(filter(None, _run(listed).split("\0"))))


def _check_repositories() -> None:
    here = Path.cwd()
    if not any((folder / ".git").exists() for folder in (here, *here.parents)):
        raise TailproofError(
            f"{here} is in no git repository, which keeps the records and dvc.lock: work in a "
            "clone, or run `git init`"
        )
    if not (here / ".dvc").is_dir():
        raise TailproofError(
            f"{here} has no DVC repository (.dvc is missing): work where dvc.yaml lies, or run "
            "`dvc init` there"
        )


def _check_holds(name: str) -> None:
    found = audit(name)
    if found.passed:
        return
    causes = [verdict for verdict in found.wrong if not verdict.after] or found.wrong
    wrong = [f"{verdict.path} is {verdict.state}: {verdict.why}" for verdict in causes]
    wrong += found.broken
    raise TailproofError(
        f"nothing is published, since '{name}' does not hold ({len(wrong)} causes); the first: "
        f"{wrong[0]}; see `tailproof audit {name}`, and run snakemake for what is stale or missing"
    )


def _run(command: list[str]) -> str:
    """Return what a command prints, or tell in its own words why it failed."""
    shown = " ".join(command).replace(f"{sys.executable} -m ", "")
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise TailproofError(f"`{shown}` cannot be run: {command[0]} is not installed") from None
    if done.returncode:
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        told = [line for line in lines if line.startswith(("ERROR:", "fatal:"))] or lines
        raise TailproofError(f"`{shown}` failed: {' '.join(told)}")
    return done.stdout
