"""The report of `tailproof reproduce`, signed: verified by us and by upstream, or refused."""

import json
import os
import shutil
from contextlib import chdir
from pathlib import Path

import pytest
from click.testing import CliRunner
from model_signing._cli import main as upstream

from tailproof.provenance.attestation_files import REPRODUCTION, REPRODUCTION_PAGE, SIGNATURE
from tailproof.provenance.reproduce import Reproduced, Reproduction
from tailproof.provenance.reproduction_report import write_reproduction
from tailproof.provenance.sign import sign
from tailproof.provenance.signatures import PrivateKey, PublicKey
from tailproof.provenance.verify import verify
from tailproof.runtime.errors import TailproofError
from tailproof.runtime.ledger import read_ledger
from tests.provenance.test_attest import write_key

HOSTILE = "see \x1b[31m | <script>\n# proven"


@pytest.fixture(scope="module")
def signed(finished, tmp_path_factory) -> Path:
    """A folder with the keys and a signed report; not to be changed."""
    place = tmp_path_factory.mktemp("report")
    write_key(place, "ours")
    write_key(place, "theirs")
    with chdir(finished.folder):
        first, second, *_ = read_ledger("tiny")
    jobs = [
        Reproduced("a/a", "same bytes", first, first),
        Reproduced("b/b", "did not run", second, None, why=HOSTILE),
    ]
    write_reproduction(Reproduction("tiny", jobs, 9, everything=False), place / "tiny")
    sign(str(place / "tiny"), PrivateKey.read(place / "ours.pem"))
    return place


@pytest.fixture
def copy(signed, tmp_path) -> Path:
    return Path(shutil.copytree(signed / "tiny", tmp_path / "downloaded"))


def accepts(folder: Path, key: Path) -> bool:
    arguments = ("--signature", folder / SIGNATURE, "--public_key", key, folder)
    return CliRunner().invoke(upstream, ["verify", "key", *map(str, arguments)]).exit_code == 0


def test_a_signed_report_is_verified_by_us_and_by_upstream(signed, copy):
    result = verify(copy, PublicKey.read(signed / "ours.pub"))
    assert len(result.proven) == 2 and "same bytes: 1, did not run: 1" in result.proven[1]
    assert accepts(copy, signed / "ours.pub")
    page = (copy / REPRODUCTION_PAGE).read_text()
    assert "<script>" not in page.replace("\\<script\\>", "") and "\x1b" not in page
    assert not verify(copy, None).proven[0].startswith(REPRODUCTION)


def edit(folder: Path, change) -> None:
    value = json.loads((folder / REPRODUCTION).read_text())
    change(value)
    (folder / REPRODUCTION).write_text(json.dumps(value))


ATTACKS = {
    "the page": lambda folder: (folder / REPRODUCTION_PAGE).write_text("# all the same\n"),
    "a verdict": lambda folder: edit(
        folder, lambda value: value["jobs"][1].update(verdict="same bytes")
    ),
    "passed": lambda folder: edit(folder, lambda value: value.update(passed=True)),
    "no jobs": lambda folder: edit(folder, lambda value: value.update(jobs=[])),
    "a list": lambda folder: (folder / REPRODUCTION).write_text("[]"),
    "another format": lambda folder: edit(folder, lambda value: value.update(format=2)),
    "a file more": lambda folder: (folder / "x").write_text("x"),
    "no page": lambda folder: (folder / REPRODUCTION_PAGE).unlink(),
    "no signature": lambda folder: (folder / SIGNATURE).unlink(),
    "a pipe": lambda folder: os.mkfifo(folder / "p"),
    "a link": lambda folder: (folder / "l").symlink_to(folder / REPRODUCTION),
}


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
def test_an_attack_is_refused_by_us_and_by_upstream(signed, copy, attack):
    attack(copy)
    with pytest.raises(TailproofError):
        verify(copy, PublicKey.read(signed / "ours.pub"))
    assert not accepts(copy, signed / "ours.pub")


def test_another_key_is_refused_and_what_contradicts_itself_is_not_signed(signed, copy):
    with pytest.raises(TailproofError, match="Key mismatch"):
        verify(copy, PublicKey.read(signed / "theirs.pub"))
    edit(copy, lambda value: value["jobs"].pop())
    with pytest.raises(TailproofError, match=REPRODUCTION_PAGE):
        sign(str(copy), PrivateKey.read(signed / "theirs.pem"))


def test_a_new_report_has_no_old_signature(finished, copy):
    with chdir(finished.folder):
        record = next(iter(read_ledger("tiny")))
    job = Reproduced("a/a", "same bytes", record, record)
    write_reproduction(Reproduction("tiny", [job], 9, everything=True), copy)
    assert not (copy / SIGNATURE).exists() and verify(copy, None).proven
