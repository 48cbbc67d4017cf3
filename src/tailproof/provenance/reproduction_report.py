"""`tailproof reproduce`: writes reproduction.json, and the same on one page."""

import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tailproof.files import write_json, write_text
from tailproof.output import say
from tailproof.project import project_paths
from tailproof.provenance.attestation_files import REPRODUCTION, REPRODUCTION_PAGE, SIGNATURE
from tailproof.provenance.reproduce import SAME, Reproduced, Reproduction, reproduce
from tailproof.provenance.signatures import PrivateKey
from tailproof.runtime.records import Record
from tailproof.text import quantity
from tailproof.untrusted_text import printable

FORMAT = 1
MOST_PACKAGES = 12
"""Packages with another version that the page names."""


def reproduce_and_report(
    experiment: str,
    number: int | None,
    seed: int,
    against: str | None,
    output: str | None,
    signer: PrivateKey | None = None,
) -> bool:
    """Run jobs again, print the verdicts and write the report; return whether all are the same.

    The scratch project is kept where something differs. The report is signed if there is a key.
    """
    folder = Path(output or f"reproduction/{experiment}")
    project_paths().check_output("--output", folder)
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
    write_reproduction(result, folder)
    say(f"wrote {folder / REPRODUCTION_PAGE}")
    if signer is not None:
        signer.sign_folder(folder)
        say(f"signed {folder}")
    if result.passed:
        shutil.rmtree(scratch)
    else:
        say(f"the second run is in {scratch / 'project'}; remove it when you no longer need it")
    return result.passed


def write_reproduction(result: Reproduction, folder: Path) -> None:
    """Write both files, and remove the signature of earlier ones."""
    content = as_json(result)
    (folder / SIGNATURE).unlink(missing_ok=True)
    write_json(folder / REPRODUCTION, content)
    write_text(folder / REPRODUCTION_PAGE, page_text(content))


def as_json(result: Reproduction) -> dict[str, Any]:
    """Return the content of reproduction.json."""
    return {
        "format": FORMAT,
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


def page_text(content: Mapping[str, Any]) -> str:
    """Return the page in Markdown, from the content of reproduction.json."""
    return "\n".join(_page(content)) + "\n"


def passes(content: Mapping[str, Any]) -> bool:
    """Return whether no job differs, and all ran."""
    return all(job["verdict"] in SAME for job in content["jobs"])


def summary(content: Mapping[str, Any]) -> str:
    """Return how many jobs have which verdict."""
    counts = Counter(job["verdict"] for job in content["jobs"])
    return ", ".join(f"{verdict}: {number}" for verdict, number in counts.items())


def _page(content: Mapping[str, Any]) -> Iterator[str]:
    jobs = content["jobs"]
    start = "from the raw data" if content["from_raw_data"] else "from their recorded inputs"
    of = content["recorded_jobs"]
    yield f"# {content['experiment']}: {quantity(len(jobs), 'job')} of {of} run again"
    yield ""
    yield f"The jobs ran {start}. {summary(content)}"
    yield ""
    yield "| job | verdict | |"
    yield "| --- | --- | --- |"
    for job in jobs:
        yield _row(job["job"], job["verdict"], job["why"])
    yield ""
    yield from _machines(jobs)


def _machines(jobs: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    pairs = {(name, *values) for job in jobs for name, values in job["differences"].items()}
    yield "## Recorded, and now"
    yield ""
    if not pairs:
        yield "Machine, Python, packages and code are the same."
        return
    yield "| | recorded | now |"
    yield "| --- | --- | --- |"
    rows = sorted(pairs)
    for name, old, new in rows[:MOST_PACKAGES]:
        yield _row(name, old, new)
    if len(rows) > MOST_PACKAGES:
        yield _row(f"and {len(rows) - MOST_PACKAGES} more", f"{REPRODUCTION} has all", "")


def _row(*cells: str) -> str:
    """Return a row of a table in Markdown; records, which may be a stranger's, add no markup."""
    shown = [re.sub(r"([\\|<>`*\[\]])", r"\\\1", printable(cell)) for cell in cells]
    return f"| {' | '.join(shown)} |"


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
