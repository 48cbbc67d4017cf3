"""Statements, signatures and their refusals, with real keys and upstream's verifier."""

import base64
import csv
import json
import os
import shutil
import subprocess
import sys
from contextlib import chdir
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from hypothesis import given, settings
from hypothesis import strategies as st
from model_signing._cli import main as upstream
from securesystemslib import dsse, signer

from tailproof.config.splits import SPLITS
from tailproof.data.tables import read_parquet
from tailproof.files import json_text, read_json
from tailproof.provenance.attest import expert_ids, write_attestations
from tailproof.provenance.attestation_files import (
    ENVELOPE,
    ENVELOPES,
    FINGERPRINTS,
    RECORDS,
    SIGNATURE,
    STATEMENT,
    STATEMENTS,
)
from tailproof.provenance.contains import FOUND, contains
from tailproof.provenance.sign import sign
from tailproof.provenance.signatures import PrivateKey, PublicKey
from tailproof.provenance.statements import (
    PREDICATE,
    ExpertId,
    Ids,
    expert_statement,
    is_absolute,
    job_statement,
    portable,
    statement_text,
)
from tailproof.provenance.verify import verify
from tailproof.runtime.errors import TailproofError
from tailproof.runtime.ledger import Ledger, read_ledger
from tailproof.runtime.records import File, Record, read_record
from tailproof.terminal import Console
from tests.project import Project

EXPERT, OTHER = "experts/cross_entropy/seed-0", "experts/balanced_softmax/seed-0"
TRAIN = f"{RECORDS}/tiny/train/cross_entropy-0.json"


def write_key(folder: Path, name: str, key=None, password: bytes | None = None) -> Path:
    """Write NAME.pem and NAME.pub; return the first."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    form = serialization.PrivateFormat.PKCS8
    locked = (
        serialization.BestAvailableEncryption(password)
        if password
        else serialization.NoEncryption()
    )
    path = folder / f"{name}.pem"
    path.write_bytes(key.private_bytes(serialization.Encoding.PEM, form, locked))
    path.with_suffix(".pub").write_bytes(
        key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    )
    return path


@dataclass(frozen=True)
class Signed:
    """A project whose experiment is attested and signed, and keys; not to be changed."""

    project: Project
    keys: Path

    @property
    def expert(self) -> Path:
        return self.project.results / EXPERT

    @property
    def public(self) -> PublicKey:
        return PublicKey.read(self.keys / "ours.pub")


@pytest.fixture(scope="module")
def signed(finished, tmp_path_factory) -> Signed:
    place = tmp_path_factory.mktemp("signed")
    project = finished.copy(place / "project")
    write_key(place, "ours")
    write_key(place, "theirs")
    with chdir(project.folder):
        write_attestations(read_ledger("tiny"), fingerprints=True)
        sign("tiny", PrivateKey.read(place / "ours.pem"))
    return Signed(project, place)


@pytest.fixture
def copy(signed, tmp_path) -> Path:
    """A copy of the expert's folder, as a stranger has it."""
    return Path(shutil.copytree(signed.expert, tmp_path / "downloaded"))


def accepts(folder: Path, key: Path) -> bool:
    """Return whether upstream's own command accepts the signature of a folder."""
    arguments = ("--signature", folder / SIGNATURE, "--public_key", key, folder)
    return CliRunner().invoke(upstream, ["verify", "key", *map(str, arguments)]).exit_code == 0


def refusal(folder: Path, key: PublicKey | None) -> str:
    """The sentence with which a folder is refused."""
    with pytest.raises(TailproofError) as error:
        verify(folder, key)
    return str(error.value)


def edit(path: Path, change) -> None:
    value = read_json(path)
    change(value)
    path.write_text(json_text(value))


def test_an_ensemble_is_no_expert(finished):
    with chdir(finished.folder):
        ledger = read_ledger("tiny")
        experts = expert_ids(ledger)
        network = File(
            path="results/tiny/bundles/stacked/seed-0/model.safetensors", sha256="0" * 64, bytes=1
        )
        record = next(iter(ledger)).model_copy(update={"rule": "bundle", "outputs": [network]})
        bundled = Ledger("tiny", {**ledger.records, record.path: record})
        assert len(experts) == 3 and expert_ids(bundled) == experts


def test_a_copy_of_a_signed_expert_is_verified_by_us_and_by_upstream(signed, copy):
    result = verify(copy, signed.public)
    assert len(result.proven) == 4 and len(result.open) == 3
    command = (sys.executable, "-m", "model_signing", "verify", "key")
    options = ("--signature", copy / SIGNATURE, "--public_key", signed.keys / "ours.pub", copy)
    done = subprocess.run([*command, *map(str, options)], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    without_key = verify(copy, None)
    assert len(without_key.proven) == 3 and len(without_key.open) == 4


def test_an_experiment_is_verified_with_all_its_jobs(signed):
    result = verify(signed.project.results, signed.public)
    assert len(result.proven) == 2 + 3 * 4
    assert not any("not attested" in sentence for sentence in result.open)


def test_a_statement_is_one_of_in_toto_about_all_files_and_the_whole_lineage(signed):
    statement = read_json(signed.expert / STATEMENT)
    assert (statement["_type"], statement["predicateType"]) == (
        "https://in-toto.io/Statement/v1",
        PREDICATE,
    )
    subject = {file["name"] for file in statement["subject"]}
    files = {
        path.relative_to(signed.expert).as_posix()
        for path in signed.expert.rglob("*")
        if path.is_file()
    }
    ours = {name for name in files if name.startswith("attestation/")} | {SIGNATURE}
    assert subject == files - ours
    definition = statement["predicate"]["buildDefinition"]
    names = {part["name"] for part in definition["resolvedDependencies"]}
    assert {"results/tiny/raw.parquet", "code of train", "environment of train"} <= names
    records = [path.name for path in (signed.expert / RECORDS).rglob("*.json")]
    assert len(records) == sum(name.startswith("record of ") for name in names)
    assert "prepare.json" in records and "cross_entropy-0.json" in records
    with chdir(signed.project.folder):
        every = read_ledger("tiny").records
    statements = list((signed.project.results / STATEMENTS).rglob("*.json"))
    assert len(statements) == len(every) > 20


def test_a_statement_names_no_machine_no_user_and_no_absolute_path(signed):
    record = read_record(signed.project.results / "provenance/train/cross_entropy-0.json")
    machine = record.machine.model_copy(update={"host": "node17", "user": "lovelace"})
    parameters = {
        "root": "/srv/lovelace/photos",
        "text": '{"cache": "/srv/lovelace/cache", "url": "https://example.org/lovelace"}',
        "list": ["C:\\Users\\lovelace\\x.pth", "../raw", "and/or"],
    }
    inputs = [
        file.model_copy(update={"path": f"/srv/lovelace/study/{file.path}"})
        for file in record.inputs
    ]
    outputs = [
        file.model_copy(update={"path": f"/srv/lovelace/study/{file.path}"})
        for file in record.outputs
    ]
    update = {
        "machine": machine,
        "parameters": parameters,
        "inputs": inputs,
        "outputs": outputs,
        "command": "snakemake --directory /srv/lovelace/study",
    }
    moved = record.model_copy(update=update)
    statement = job_statement(moved, Ids([moved]))
    text = statement_text(statement)
    assert "/home" not in text and "node17" not in text and "Users" not in text
    assert text.count("lovelace") == 1  # in the URL
    made = {file["name"] for file in statement["subject"]}
    assert f"results/tiny/{EXPERT}/model.safetensors" in made
    lists = statement["predicate"]["buildDefinition"]["externalParameters"]["list"]
    assert lists == ["…/x.pth", "../raw", "and/or"]


@settings(max_examples=25)
@given(
    st.recursive(
        st.text() | st.integers() | st.none(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=5,
    )
)
def test_no_value_of_a_portable_parameter_is_an_absolute_path(value):
    def texts(inner):
        if isinstance(inner, dict | list):
            for each in inner.values() if isinstance(inner, dict) else inner:
                yield from texts(each)
        elif isinstance(inner, str):
            yield inner

    changed = portable(value)
    assert not any(map(is_absolute, texts(changed)))
    assert portable(changed) == changed


def test_the_same_records_give_the_same_bytes_and_keep_signatures(signed, tmp_path):
    project = signed.project.copy(tmp_path / "project")
    before = {path: path.read_bytes() for path in project.results.rglob("*") if path.is_file()}
    done = project.tailproof("attest", "tiny", "--fingerprints")  # audits: nothing is an orphan
    assert done.returncode == 0, done.stderr
    after = {path: path.read_bytes() for path in project.results.rglob("*") if path.is_file()}
    assert after == before
    with chdir(project.folder):
        write_attestations(read_ledger("tiny"), fingerprints=False)
    expert = project.results / EXPERT
    left = [name for name in (SIGNATURE, ENVELOPE, FINGERPRINTS) if (expert / name).exists()]
    assert left == []
    assert "is not signed" in refusal(expert, signed.public)


def flip_a_byte(folder, _):
    path = folder / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def add_a_file(folder, _):
    (folder / "logits" / "more.parquet").write_bytes(b"x")


def add_a_hidden_file(folder, _):
    (folder / ".hidden.py").write_text("x")


def add_to_the_attestation(folder, _):
    (folder / "attestation" / "notes.txt").write_text("x")


def remove_a_file(folder, _):
    (folder / "history.csv").unlink()


def remove_a_record(folder, _):
    (folder / TRAIN).unlink()


def remove_the_envelope(folder, _):
    (folder / ENVELOPE).unlink()


def edit_a_record(folder, _):
    edit(folder / TRAIN, lambda value: value.update(seeds=[1]))


def forge_a_record(folder, _):
    """Edit a record, and seal it again."""
    record = read_record(folder / TRAIN)
    record.model_copy(update={"seeds": [1]}).write(folder / TRAIN)


def forge_a_record_and_the_statement(folder, _):
    """Rewrite a record and everything that follows from it except the signatures."""
    forge_a_record(folder, _)
    _attest_again(folder, "cross_entropy")


def sign_with_another_key(folder, signed):
    sign(str(folder), PrivateKey.read(signed.keys / "theirs.pem"))


def take_the_attestation_of_another_run(folder, signed):
    shutil.rmtree(folder / "attestation")
    shutil.copytree(signed.project.results / OTHER / "attestation", folder / "attestation")


def take_the_network_of_another_expert(folder, signed):
    shutil.copy(signed.project.results / OTHER / "model.safetensors", folder)


def take_the_signature_of_another_expert(folder, signed):
    shutil.copy(signed.project.results / OTHER / SIGNATURE, folder)


def empty_the_signature(folder, _):
    (folder / SIGNATURE).write_text("")


def sign_with_nothing(folder, _):
    edit(folder / SIGNATURE, lambda value: value["dsseEnvelope"].update(signatures=[]))


def sign_with_an_empty_text(folder, _):
    edit(folder / SIGNATURE, lambda value: value["dsseEnvelope"]["signatures"][0].update(sig=""))


def change_the_signed_list(folder, _):
    def change(value):
        payload = json.loads(base64.b64decode(value["dsseEnvelope"]["payload"]))
        payload["predicate"]["resources"].pop()
        text = json.dumps(payload).encode()
        value["dsseEnvelope"]["payload"] = base64.b64encode(text).decode()

    edit(folder / SIGNATURE, change)


def change_the_format(folder, _):
    bundle = "application/vnd.dev.sigstore.bundle+json;version=0.1"
    edit(folder / SIGNATURE, lambda value: value.update(mediaType=bundle))


def link_a_file_outside(folder, signed):
    (folder / "history.csv").unlink()
    (folder / "history.csv").symlink_to(signed.expert / "history.csv")


def link_a_folder_outside(folder, signed):
    shutil.rmtree(folder / "logits")
    (folder / "logits").symlink_to(signed.expert / "logits")


def make_a_pipe(folder, _):
    (folder / "history.csv").unlink()
    os.mkfifo(folder / "history.csv")


ATTACKS = (
    flip_a_byte, add_a_file, add_a_hidden_file, add_to_the_attestation, remove_a_file,
    remove_a_record, remove_the_envelope, edit_a_record, forge_a_record,
    forge_a_record_and_the_statement, sign_with_another_key, take_the_attestation_of_another_run,
    take_the_network_of_another_expert, take_the_signature_of_another_expert, empty_the_signature,
    sign_with_nothing, sign_with_an_empty_text, change_the_signed_list, change_the_format,
    link_a_file_outside, link_a_folder_outside, make_a_pipe,
)  # fmt: skip


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__)
def test_an_attack_is_refused_by_us_and_by_upstream(signed, copy, attack):
    attack(copy, signed)
    sentence = refusal(copy, signed.public)
    assert "\n" not in sentence and str(copy) in sentence
    assert not accepts(copy, signed.keys / "ours.pub")


@pytest.mark.parametrize(
    "attack", [flip_a_byte, add_a_file, remove_a_file, forge_a_record, empty_the_signature]
)
def test_what_contradicts_itself_is_refused_without_a_key(copy, signed, attack):
    attack(copy, signed)
    refusal(copy, None)


def _attest_again(folder: Path, expert: str) -> None:
    """Write the statement that the records give."""
    paths = sorted((folder / RECORDS).glob("*/*/*.json"))
    records: dict[str, Record] = {
        path.relative_to(folder).as_posix(): read_record(path) for path in paths
    }
    ours = ExpertId("tiny", expert, "0")
    fingerprints = next(
        part["digest"]["sha256"]
        for part in read_json(folder / STATEMENT)["predicate"]["runDetails"]["byproducts"]
    )
    text = statement_text(expert_statement(ours, records, fingerprints))
    (folder / STATEMENT).write_text(text)


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("_type",), "https://in-toto.io/Statement/v0.1"),
        (("predicateType",), "https://slsa.dev/provenance/v0.2"),
        (("predicate", "buildDefinition", "buildType"), "urn:tailproof:expert:v9"),
        (("predicate", "buildDefinition"), []),
        (("subject",), []),
        (("subject",), None),
        (("predicate", "buildDefinition", "externalParameters", "seed"), 0),
    ],
)
def test_a_foreign_statement_is_refused(copy, place, value):
    def change(statement):
        *above, last = place
        for key in above:
            statement = statement[key]
        statement[last] = value

    edit(copy / STATEMENT, change)
    assert str(copy / STATEMENT) in refusal(copy, None)


def test_a_missing_record_of_the_lineage_is_a_gap_even_if_the_statement_follows(copy, signed):
    (copy / RECORDS / "tiny" / "split" / "split.json").unlink()
    _attest_again(copy, "cross_entropy")
    assert "split" in refusal(copy, None)


def test_records_that_contradict_each_other_are_refused(copy):
    record = read_record(copy / TRAIN)
    outputs = [file.model_copy(update={"sha256": "0" * 64}) for file in record.outputs]
    record.model_copy(update={"outputs": outputs}).write(copy / TRAIN)
    _attest_again(copy, "cross_entropy")
    assert "infer cross_entropy-0" in refusal(copy, None)


def test_an_expert_in_the_place_of_another_is_refused(signed, tmp_path):
    place = tmp_path / OTHER
    shutil.copytree(signed.expert, place)
    assert "'cross_entropy'" in refusal(place, signed.public)


def test_what_belongs_to_git_is_named_as_not_covered(signed, copy):
    (copy / ".git").mkdir()
    (copy / ".git" / "HEAD").write_text("ref: refs/heads/main\n")
    (copy / ".gitattributes").write_text("*.safetensors filter=lfs\n")
    result = verify(copy, signed.public)
    assert ".gitattributes" in result.open[-1]
    assert accepts(copy, signed.keys / "ours.pub")


def test_nothing_is_signed_that_does_not_hold(signed, copy):
    before = (copy / SIGNATURE).read_bytes()
    flip_a_byte(copy, signed)
    with pytest.raises(TailproofError):
        sign(str(copy), PrivateKey.read(signed.keys / "ours.pem"))
    assert (copy / SIGNATURE).read_bytes() == before


def test_a_statement_about_a_job_is_refused_if_its_record_or_envelope_is_another(signed, tmp_path):
    results = Path(shutil.copytree(signed.project.results, tmp_path / "tiny"))
    shutil.copy(
        results / ENVELOPES / "split/split.json", results / ENVELOPES / "prepare/prepare.json"
    )
    assert "prepare.json" in refusal(results, signed.public)
    edit(results / STATEMENTS / "split/split.json", lambda value: value["subject"].pop())
    assert "split.json" in refusal(results, signed.public)


def test_an_envelope_is_a_dsse_envelope_of_the_statement(signed):
    envelope = dsse.Envelope.from_dict(read_json(signed.expert / ENVELOPE))
    assert envelope.payload == (signed.expert / STATEMENT).read_bytes()
    assert envelope.payload_type == "application/vnd.in-toto+json"
    key = signer.SSlibKey.from_crypto(signed.public.key)
    assert envelope.verify([key], 1)


@pytest.mark.parametrize("curve", [ec.SECP384R1(), ec.SECP521R1()], ids=lambda curve: curve.name)
def test_other_curves_sign_too(signed, copy, tmp_path, curve):
    key = write_key(tmp_path, "other", ec.generate_private_key(curve))
    sign(str(copy), PrivateKey.read(key))
    verify(copy, PublicKey.read(key.with_suffix(".pub")))
    assert accepts(copy, key.with_suffix(".pub"))


def test_without_the_extra_one_sentence_names_it(copy, monkeypatch):
    monkeypatch.setitem(sys.modules, "in_toto_attestation.v1", None)
    assert "tailproof[sign]" in refusal(copy, None)


def first_image(results: Path, split: str, folder: Path) -> str:
    """Write the first image of a split as a file."""
    shard = read_parquet(results / "shards" / split / "part-00000.parquet", ["image"])
    path = folder / f"{split}.png"
    path.write_bytes(shard["image"][0].as_py()["bytes"])
    return str(path)


def test_the_project_and_a_copy_know_images_of_all_splits(signed, copy, tmp_path, capsys):
    files = [first_image(signed.project.results, split, tmp_path) for split in SPLITS]
    assert signed.project.tailproof("contains", "tiny", *files).returncode == FOUND
    for expert in ("tiny", f"results/tiny/{EXPERT}", str(copy)):
        with chdir(signed.project.folder):
            assert contains(expert, files, as_csv=True, console=Console()) == FOUND
        rows = list(csv.DictReader(capsys.readouterr().out.splitlines()))
        same = [row for row in rows if row["answer"] == "pixels"]
        assert {(Path(row["file"]).stem, row["split"]) for row in same} == {
            (split, split) for split in SPLITS
        }


def test_keys_that_cannot_sign_are_refused_in_one_sentence(signed, tmp_path, monkeypatch):
    locked = write_key(tmp_path, "locked", password=b"secret")
    other = write_key(tmp_path, "ed25519", ed25519.Ed25519PrivateKey.generate())
    bitcoin = write_key(tmp_path, "k1", ec.generate_private_key(ec.SECP256K1()))
    text = tmp_path / "text.pem"
    text.write_text("no key")
    for path in (
        locked,
        other,
        bitcoin,
        text,
        tmp_path,
        tmp_path / "none.pem",
        signed.keys / "ours.pub",
    ):
        with pytest.raises(TailproofError) as error:
            PrivateKey.read(path)
        assert "\n" not in str(error.value) and str(path) in str(error.value)
    for path in (text, signed.keys / "ours.pem"):
        with pytest.raises(TailproofError):
            PublicKey.read(path)
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("getpass.getpass", lambda _: "secret")
    assert PrivateKey.read(locked).password == b"secret"


def test_a_key_that_others_can_read_is_named(tmp_path, capsys):
    path = write_key(tmp_path, "open")
    path.chmod(0o644)
    PrivateKey.read(path)
    assert "chmod 600" in capsys.readouterr().err
    path.chmod(0o600)
    PrivateKey.read(path)
    assert capsys.readouterr().err == ""


def test_files_of_an_experiment_that_no_job_wrote_are_named(signed, tmp_path):
    results = Path(shutil.copytree(signed.project.results, tmp_path / "tiny"))
    (results / "bundles").mkdir()
    (results / "bundles" / "evil.json").write_text("{}")
    result = verify(results, signed.public)
    assert any(sentence.startswith("bundles/evil.json") for sentence in result.open)
    assert not any("no job wrote" in sentence for sentence in verify(signed.expert, None).open)
