"""Signs what `tailproof attest` and `tailproof reproduce` wrote: experts, jobs, reports."""

from pathlib import Path

from tailproof.files import write_text
from tailproof.project import project_paths
from tailproof.provenance.attest import expert_ids, job_statements
from tailproof.provenance.attestation_files import ENVELOPE, ENVELOPES, STATEMENTS
from tailproof.provenance.attested_folder import AttestedFolder, refuse
from tailproof.provenance.reproduction_folder import ReproductionFolder
from tailproof.provenance.signatures import Identity, PrivateKey
from tailproof.runtime.errors import TailproofError
from tailproof.runtime.ledger import read_ledger
from tailproof.untrusted_files import read_text


def sign(target: str, signer: PrivateKey | Identity) -> tuple[list[Path], int]:
    """Sign an expert's folder, or all experts and jobs of an experiment.

    Nothing is signed that does not hold: each folder is first compared with its statement, and each
    statement about a job with its record. Without a key, only folders are signed.

    Args:
        target: the folder of an expert or of a report, or the name of an experiment of the project.
        signer: the key, or the person.

    Returns:
        the signed folders, and the number of signed statements about jobs.

    Raises:
        TailproofError: there is nothing to sign, or it does not hold, or signing fails.
    """
    experiment = project_paths().experiment(target)
    is_name = Path(target).name == target and (experiment / STATEMENTS).is_dir()
    if is_name:
        ledger = read_ledger(target)
        folders = [experiment / expert.folder for expert in expert_ids(ledger)]
        statements = job_statements(ledger)
        refuse(_changed(experiment, statements))
    elif ReproductionFolder.is_at(target):
        report = ReproductionFolder.read(target)
        refuse(report.problems())
        signer.sign_folder(report.path)
        return [report.path], 0
    elif Path(target).is_dir():
        folders, statements = [Path(target)], {}
    else:
        raise TailproofError(
            f"{target} is neither the folder of an expert or of a report of `tailproof reproduce` "
            "nor an attested experiment: run `tailproof attest NAME` first"
        )
    attested = [AttestedFolder.read(folder) for folder in folders]
    refuse([problem for folder in attested for problem in folder.problems()])
    for folder in attested:
        if isinstance(signer, PrivateKey):
            write_text(folder.path / ENVELOPE, signer.envelope(folder.text))
        signer.sign_folder(folder.path)
    if not isinstance(signer, PrivateKey):
        return folders, 0
    for name, text in statements.items():
        write_text(experiment / ENVELOPES / name, signer.envelope(text))
    return folders, len(statements)


def _changed(experiment: Path, statements: dict[str, str]) -> list[str]:
    """Return a sentence for each statement about a job that its record does not give."""
    paths = {name: experiment / STATEMENTS / name for name in statements}
    advice = "run `tailproof attest` again"
    return [
        f"{path} does not match the record of its job: {advice}"
        if path.is_file()
        else f"{path} is missing, although its job has a record: {advice}"
        for name, path in paths.items()
        if not path.is_file() or read_text(path) != statements[name]
    ]
