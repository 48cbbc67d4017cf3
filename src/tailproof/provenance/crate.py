"""One run of the workflow as a Provenance Run Crate 0.5, and its shards as a Croissant dataset.

The crate is the folder ``results/EXPERIMENT/``. What a crate holds must lie in it, the workflow
above all, so the code that ran is copied there.
"""

import os
import shutil
from pathlib import Path

from tailproof.core.errors import TailproofError
from tailproof.core.files import read_json, read_parquet, write_json
from tailproof.provenance import croissant
from tailproof.provenance.audit import audit
from tailproof.provenance.closure import ROOT
from tailproof.provenance.crate_graph import Run, crate_of
from tailproof.provenance.ledger import Ledger, read_ledger
from tailproof.provenance.recorder import described

FILE = "ro-crate-metadata.json"

CODE = "code"
"""The folder of the copies."""

COPIED = ("Snakefile", "rules", "workflow", "envs", "src/tailproof", "constraints.txt")


def write_crate(experiment: str) -> Path:
    """Write the folder code, croissant.json and, last, ro-crate-metadata.json of an experiment.

    The same results and code give the same bytes.

    Returns:
        the path of ro-crate-metadata.json.

    Raises:
        TailproofError: the experiment is not built, or an audit finds that something of it does
            not hold, so that a crate would tell what is not so.
    """
    folder = Path("results", experiment)
    ledger = _checked(experiment)
    report = ledger.makers[f"results/{experiment}/report/index.html"]
    target = folder / FILE
    target.unlink(missing_ok=True)
    _copy_code(folder / CODE, Path("config", "experiments", f"{experiment}.yaml"))
    title, description = (report.parameters["experiment"][key] for key in ("title", "description"))
    manifest = folder / "shards" / "manifest.json"
    write_json(
        folder / croissant.FILE,
        croissant.describe_shards(
            title, description, read_json(manifest), ledger.makers[manifest.as_posix()]
        ),
    )
    run = Run(
        title=title,
        description=description,
        ledger=ledger,
        more=described(_undeclared(folder, ledger)),
        raw=read_parquet(folder / "raw.parquet").to_pylist(),
    )
    write_json(target, crate_of(run))
    return target


def _checked(experiment: str) -> Ledger:
    """Read the ledger of an experiment of which everything holds."""
    found = audit(experiment)
    if not found.passed:
        causes = [verdict for verdict in found.wrong if not verdict.after] or found.wrong
        problems = [f"{verdict.path} is {verdict.state}" for verdict in causes] + found.broken
        raise TailproofError(
            f"the results of '{experiment}' do not hold ({problems[0]}"
            + (f", and {len(problems) - 1} more" if len(problems) > 1 else "")
            + f"): see `tailproof audit {experiment}`, and make again what is stale with "
            f"`snakemake results/{experiment}/report/index.html`"
        )
    return read_ledger(experiment)


def _copy_code(folder: Path, configuration: Path) -> None:
    """Copy what the audit found to be the code and configuration of every job."""
    beside = folder.with_name(f".{folder.name}")
    shutil.rmtree(beside, ignore_errors=True)
    sources = {name: ROOT / name for name in COPIED} | {configuration.as_posix(): configuration}
    for name, source in sources.items():
        target = beside / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target)
    shutil.rmtree(folder, ignore_errors=True)
    os.replace(beside, folder)


def _undeclared(folder: Path, ledger: Ledger) -> list[str]:
    """Files of the crate that no job has as output: the records, code, the other description."""
    code = [path.as_posix() for path in sorted((folder / CODE).rglob("*")) if path.is_file()]
    return [*ledger.records, *code, (folder / croissant.FILE).as_posix()]
