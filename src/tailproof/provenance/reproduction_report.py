"""`tailproof reproduce`: writes reproduction.json, and the same on one page."""

import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tailproof.files import write_json, write_text
from tailproof.output import say
from tailproof.project import project_paths
from tailproof.provenance.reproduce import Reproduced, Reproduction, reproduce
from tailproof.runtime.records import Record
from tailproof.text import quantity

FILE, PAGE = "reproduction.json", "reproduction.md"

MOST_PACKAGES = 12
"""Packages with another version that the page names."""


def reproduce_and_report(
    experiment: str, number: int | None, seed: int, against: str | None, output: str | None
) -> bool:
    """Run jobs again, print the verdicts and write the report; return whether all are the same.

    The scratch project is kept where something differs.
    """
    states = Path(project_paths().states)
    states.mkdir(exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix="reproduce-", dir=states))
    try:
        result = reproduce(
            experiment, scratch / "project", number=number, seed=seed, against=against
        )
    except BaseException:
        shutil.rmtree(scratch)
        raise
    for job in result.jobs:
        say(f"{job.verdict:36} {job.job}  {job.why}".rstrip())
    folder = Path(output or f"reproduction/{experiment}")
    write_reproduction(result, folder)
    say(f"wrote {folder / PAGE}")
    if result.passed:
        shutil.rmtree(scratch)
    else:
        say(f"the second run is in {scratch / 'project'}; remove it when you have seen enough")
    return result.passed


def write_reproduction(result: Reproduction, folder: Path) -> None:
    """Write both files."""
    write_json(folder / FILE, as_json(result))
    write_text(folder / PAGE, "\n".join(page(result)) + "\n")


def as_json(result: Reproduction) -> dict[str, Any]:
    """Return the content of reproduction.json."""
    return {
        "experiment": result.experiment,
        "passed": result.passed,
        "from_raw_data": result.everything,
        "jobs": [
            {
                "job": job.job,
                "verdict": job.verdict,
                "different": job.different,
                "why": job.why,
                "record": job.recorded.seal,
                "differences": differences(job),
            }
            for job in result.jobs
        ],
        "recorded_jobs": result.of,
    }


def page(result: Reproduction) -> Iterator[str]:
    """Yield the lines of the page, in Markdown."""
    counts = Counter(job.verdict for job in result.jobs)
    start = "from the raw data" if result.everything else "from their recorded inputs"
    yield f"# {result.experiment}: {quantity(len(result.jobs), 'job')} of {result.of} run again"
    yield ""
    yield f"The jobs ran {start}. " + ", ".join(f"{verdict}: {n}" for verdict, n in counts.items())
    yield ""
    yield "| job | verdict | |"
    yield "| --- | --- | --- |"
    for job in result.jobs:
        yield f"| {job.job} | {job.verdict} | {job.why} |"
    yield ""
    yield from _machines(result)


def _machines(result: Reproduction) -> Iterator[str]:
    pairs = {
        (name, *values): None for job in result.jobs for name, values in differences(job).items()
    }
    yield "## Recorded, and now"
    yield ""
    if not pairs:
        yield "Machine, Python, packages and code are the same."
        return
    yield "| | recorded | now |"
    yield "| --- | --- | --- |"
    rows = sorted(pairs)
    for name, old, new in rows[:MOST_PACKAGES]:
        yield f"| {name} | {old} | {new} |"
    if len(rows) > MOST_PACKAGES:
        yield f"| and {len(rows) - MOST_PACKAGES} more | {FILE} has all | |"


def differences(job: Reproduced) -> dict[str, tuple[str, str]]:
    """Return what differs between the two runs of a job: machine, Python, packages and code."""
    if job.again is None:
        return {}
    old, new = _facts(job.recorded), _facts(job.again)
    return {
        name: (old.get(name, "none"), new.get(name, "none"))
        for name in sorted(old | new)
        if old.get(name) != new.get(name)
    }


def _facts(record: Record) -> dict[str, str]:
    facts = {
        "host": record.machine.host,
        "device": record.machine.device,
        "threads": str(record.machine.threads),
        "Python": record.code.python,
        "tailproof": record.code.version,
        f"code of {record.rule}": record.code.closure[:12],
    }
    return facts | {f"package {name}": value for name, value in record.code.packages.items()}
