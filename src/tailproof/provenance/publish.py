"""Adds finished experiments to DVC, and their records to git's index.

Experiments are added one after the other, because DVC has one lock and writes one ``dvc.lock``.
Nothing is committed to git and nothing is pushed.
"""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tailproof.config.validation import load_config
from tailproof.config.weights import SAFETENSORS
from tailproof.project import FEATURES, WEIGHTS, project_paths
from tailproof.provenance.audit import audit
from tailproof.runtime.errors import TailproofError, suggestion
from tailproof.runtime.ledger import read_ledger
from tailproof.runtime.stages import BUNDLES, POOLED
from tailproof.text import quantity

CONFIG = "config/config.yaml"
STAGES = ("dataset", "experts", "evaluation")
"""The stages of dvc.yaml for each experiment in CONFIG."""


def publish(experiments: Sequence[str]) -> list[str]:
    """Publish experiments, by default all that the configuration lists; return their names.

    Raises:
        TailproofError: an experiment is not listed, an audit fails, the working directory has no
            git or DVC repository (nothing is published in these cases), or DVC or git fails.
    """
    listed = load_config(CONFIG).experiments
    for name in experiments:
        if name not in listed:
            raise TailproofError(
                f"DVC has no stages for '{name}'{suggestion(name, listed)}: add it in {CONFIG} "
                f"under experiments, which lists {', '.join(listed) or 'none'}"
            )
    _check_repositories()
    names = list(dict.fromkeys(experiments or listed))
    for name in names:
        _check_holds(name)
    for name in names:
        _run([sys.executable, "-m", "dvc", "commit", "--force", *(f"{s}@{name}" for s in STAGES)])
        _run(["git", "add", "--all", "--", "dvc.lock", project_paths().provenance(name).as_posix()])
        _publish_stores(name)
        _publish_folders(name)
    return names


def _publish_stores(name: str) -> None:
    """Add the pretrained weights and features that an experiment uses; DVC has no stage of them."""
    paths = project_paths()
    read = {file.path for record in read_ledger(name) for file in record.inputs}
    places = [paths.inside(path) or ("", "") for path in sorted(read)]
    weights = [key for store, key, *_ in places if store == WEIGHTS and key.endswith(SAFETENSORS)]
    features = [key for store, key, *_ in places if store == FEATURES and key != "provenance"]
    # Of the features the whole folder, because pandas reads all files in that of a split.
    for store, keys in ((WEIGHTS, weights), (FEATURES, features)):
        folder = paths.experiment(store)
        if targets := [str(folder / key) for key in dict.fromkeys(keys)]:
            _run([sys.executable, "-m", "dvc", "add", "--quiet", *targets])
            _run(["git", "add", "--all", "--", folder.as_posix()])


def _publish_folders(name: str) -> None:
    """Add bundles, and what was made from all folds or draws; only some experiments have them."""
    for stage in (*POOLED, BUNDLES):
        folder = project_paths().experiment(name) / stage
        if folder.is_dir():
            _run([sys.executable, "-m", "dvc", "add", "--quiet", folder.as_posix()])
            _run(["git", "add", "--", f"{folder.as_posix()}.dvc"])


def uncommitted() -> list[str]:
    """Return the files that are new or differ from git's index; a clone will lack them."""
    listed = ["git", "ls-files", "-z", "--others", "--modified", "--exclude-standard"]
    return sorted(set(filter(None, _run(listed).split("\0"))))


def _check_repositories() -> None:
    here = Path.cwd()
    if not any((folder / ".git").exists() for folder in (here, *here.parents)):
        raise TailproofError(
            f"{here} is not in a git repository, which stores the records and dvc.lock: work in "
            "a clone, or run `git init`"
        )
    if not (here / ".dvc").is_dir():
        raise TailproofError(
            f"{here} is not a DVC repository (.dvc is missing): work in the folder of dvc.yaml, "
            "or run `dvc init` there"
        )


def _check_holds(name: str) -> None:
    result = audit(name)
    if result.passed:
        return
    causes = [verdict for verdict in result.wrong if not verdict.after] or result.wrong
    problems = [f"{verdict.path} is {verdict.state}: {verdict.why}" for verdict in causes]
    problems += result.broken
    raise TailproofError(
        f"nothing is published, because the audit of '{name}' fails "
        f"({quantity(len(problems), 'cause')}); the first: {problems[0]}; see "
        f"`tailproof audit {name}`, and run snakemake to rebuild what is stale or missing"
    )


def _run(command: list[str]) -> str:
    """Return the output of a command, or raise with the command's own error message."""
    shown = " ".join(command).replace(f"{sys.executable} -m ", "")
    try:
        done = subprocess.run(
            command, capture_output=True, encoding="utf-8", errors="replace", check=False
        )
    except FileNotFoundError:
        raise TailproofError(f"`{shown}` cannot be run: {command[0]} is not installed") from None
    if done.returncode:
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        errors = [line for line in lines if line.startswith(("ERROR:", "fatal:"))] or lines
        killed = any("RWLock-file" in error for error in errors)
        advice = ": a killed DVC left this file; delete it while no other DVC runs" * killed
        raise TailproofError(f"`{shown}` failed: {' '.join(errors)}{advice}")
    return done.stdout
