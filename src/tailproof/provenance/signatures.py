"""Signs folders and statements, and verifies signatures, with packages of other people.

A folder is signed in the format of OpenSSF Model Signing (a Sigstore bundle over the digests of all
files), a statement as a DSSE envelope. Both are made with the same elliptic-curve key. Everything
that needs the extra `sign` is imported here, inside functions.
"""

import base64
import getpass
import stat
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tailproof.digests import sha256_bytes
from tailproof.files import json_text, parse_json, write_text
from tailproof.output import report
from tailproof.provenance.attestation_files import SIGNATURE
from tailproof.provenance.statements import needs_extra
from tailproof.runtime.errors import TailproofError
from tailproof.text import listed
from tailproof.untrusted_files import read_bytes, read_json

IN_TOTO = "application/vnd.in-toto+json"
CURVES = ("secp256r1", "secp384r1", "secp521r1")
MAKE_A_KEY = "`openssl ecparam -name prime256v1 -genkey -noout -out key.pem`"
LARGEST_KEY = 2**16  # bytes
LARGEST = 64 * 2**20  # bytes of a signature
REASON = 300  # characters of the text of a package's error


@dataclass(frozen=True)
class PrivateKey:
    """A key to sign with.

    Attributes:
        path: its file, in PEM.
        password: None if the file is not encrypted.
        key: the key, as the package cryptography has it.
    """

    path: Path
    password: bytes | None
    key: Any

    @classmethod
    def read(cls, path: str | Path) -> "PrivateKey":
        """Read a key; ask for its password on the terminal if it has one.

        Raises:
            TailproofError: the file is missing, is no private key of a supported curve, or its
                password is wrong or cannot be asked for.
        """
        with needs_extra():
            from cryptography.hazmat.primitives import serialization
        data = read_bytes(path, limit=LARGEST_KEY)
        password = None
        try:
            key = serialization.load_pem_private_key(data, None)
        except TypeError:
            password = _ask_password(path)
            try:
                key = serialization.load_pem_private_key(data, password)
            except ValueError:
                raise TailproofError(f"the password of {path} is wrong") from None
        except Exception as error:
            raise _not_a_key(path, data, "private", error) from None
        _check_curve(path, key)
        if password is None and Path(path).stat().st_mode & (stat.S_IRGRP | stat.S_IROTH):
            report(f"{path} can be read by other users, who could sign with it: chmod 600 {path}")
        return cls(Path(path), password, key)

    def sign_folder(self, folder: Path) -> None:
        """Write the signature of a folder into it."""
        with needs_extra():
            from model_signing import signing
        config = signing.Config()
        # model_signing declares a str, but hands it to cryptography, which takes only bytes.
        config.use_elliptic_key_signer(private_key=self.path, password=self.password)  # type: ignore[arg-type]
        _sign(config, folder)

    def envelope(self, text: str) -> str:
        """Return the DSSE envelope of a statement's text."""
        with needs_extra():
            from securesystemslib import dsse, signer
        envelope = dsse.Envelope(text.encode(), IN_TOTO, {})
        envelope.sign(signer.CryptoSigner(self.key))
        return json_text(envelope.to_dict())


@dataclass(frozen=True)
class PublicKey:
    """A key to verify with.

    Attributes:
        path: its file, in PEM.
        key: the key, as the package cryptography has it.
    """

    path: Path
    key: Any

    @classmethod
    def read(cls, path: str | Path) -> "PublicKey":
        """Read a key.

        Raises:
            TailproofError: the file is missing, or is no public key of a supported curve.
        """
        with needs_extra():
            from cryptography.hazmat.primitives import serialization
        data = read_bytes(path, limit=LARGEST_KEY)
        try:
            key = serialization.load_pem_public_key(data)
        except Exception as error:
            raise _not_a_key(path, data, "public", error) from None
        _check_curve(path, key)
        return cls(Path(path), key)

    def __str__(self) -> str:
        with needs_extra():
            from cryptography.hazmat.primitives import serialization
        der = self.key.public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        return f"the key in {self.path} (SHA-256 {sha256_bytes(der)[:12]}…)"

    def verify_folder(self, folder: Path, files: Iterable[str]) -> None:
        """Verify the signature of a folder.

        Args:
            folder: the folder.
            files: the files that it must cover.

        Raises:
            TailproofError: it is missing, is in another format, was made with another key or for
                other files, or leaves out a file.
        """
        with needs_extra():
            from model_signing import verifying
        config = verifying.Config()
        config.use_elliptic_key_verifier(public_key=self.path)
        _verify(config, folder, files, str(self))

    def verify_envelope(self, path: Path, text: str) -> None:
        """Verify the DSSE envelope of a statement.

        Raises:
            TailproofError: it is missing, is damaged, holds another statement, or was made with
                another key.
        """
        with needs_extra():
            from securesystemslib import dsse, signer
        value = read_json(path, limit=LARGEST)
        try:
            envelope = dsse.Envelope.from_dict(value)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise TailproofError(
                f"{path} is not a DSSE envelope ({_reason(error)}): sign again"
            ) from None
        if envelope.payload_type != IN_TOTO or envelope.payload != text.encode():
            raise TailproofError(f"{path} is the envelope of another statement: sign again")
        key = signer.SSlibKey.from_crypto(self.key)
        for signature in envelope.signatures.values():
            signature.keyid = key.keyid  # a hint of the signer, which proves nothing
        try:
            envelope.verify([key], 1)
        except Exception:
            raise TailproofError(
                f"{path} was not signed with {self}: the statement is another person's, or the "
                "envelope was changed"
            ) from None


@dataclass(frozen=True)
class Identity:
    """A person whom Sigstore knows, to sign or to verify without a key; it needs the network.

    Attributes:
        name: address or URL of the signer; empty to sign.
        issuer: URL of who vouches for the name.
    """

    name: str = ""
    issuer: str = ""

    def sign_folder(self, folder: Path) -> None:
        """Write the signature of a folder into it; the identity is asked for in a browser."""
        with needs_extra():
            from model_signing import signing
        with _network("signing without a key", "sign with --key"):
            config = signing.Config().use_sigstore_signer(use_ambient_credentials=True)
            _sign(config, folder)

    def verify_folder(self, folder: Path, files: Iterable[str]) -> None:
        """Verify the signature of a folder; see `PublicKey.verify_folder`."""
        with needs_extra():
            from model_signing import verifying
        config = verifying.Config()
        with _network("verifying without a key", "verify with --key, or with a network"):
            config.use_sigstore_verifier(identity=self.name, oidc_issuer=self.issuer)
        _verify(config, folder, files, str(self))

    def __str__(self) -> str:
        return f"'{self.name}' of {self.issuer}"


def open_signer(
    key: str | None, identity: str | None, issuer: str | None
) -> PublicKey | Identity | None:
    """Return whose signature is expected, by the options of `tailproof verify`; None for nobody's.

    Raises:
        TailproofError: the options do not fit together, or the key cannot be read.
    """
    if (identity is None) != (issuer is None) or (key is not None and identity is not None):
        raise TailproofError(
            "name the signer either with --key PUB, or with both --identity NAME and --issuer URL"
        )
    if key is not None:
        return PublicKey.read(key)
    return None if identity is None or issuer is None else Identity(identity, issuer)


@contextmanager
def _network(what: str, advice: str) -> Iterator[None]:
    """Turn whatever the packages of Sigstore raise into one sentence."""
    try:
        yield
    except TailproofError:
        raise
    except Exception as error:
        raise TailproofError(
            f"{what} needs the network, to reach Sigstore ({_reason(error)}): {advice}"
        ) from None


def _sign(config: Any, folder: Path) -> None:
    """Sign a folder; nothing of it is left out but the signature and what belongs to git."""
    from model_signing import hashing

    hashed = hashing.Config().set_ignored_paths(paths=[SIGNATURE]).set_allow_symlinks(False)
    with TemporaryDirectory() as elsewhere:
        signature = Path(elsewhere, SIGNATURE)
        config.set_hashing_config(hashed).sign(folder, signature)
        write_text(folder / SIGNATURE, signature.read_text(encoding="utf-8"))


def _verify(config: Any, folder: Path, files: Iterable[str], signer: str) -> None:
    from cryptography.exceptions import InvalidSignature

    path = folder / SIGNATURE
    covered = signed_files(path)
    try:
        with redirect_stdout(sys.stderr):  # where its warnings belong
            config.verify(folder, path)
    except TailproofError:  # a signal may arrive at any time
        raise
    except InvalidSignature:
        raise TailproofError(
            f"{path} was not made with {signer}, or was changed since: ask the signer which key "
            "or identity signed it, or copy the whole folder again"
        ) from None
    except Exception as error:
        raise TailproofError(
            f"{path} cannot be verified with {signer} ({_reason(error)}): ask the signer which "
            "key or identity signed it, or copy the whole folder again"
        ) from None
    if left_out := sorted(set(files) - {SIGNATURE} - covered):
        raise TailproofError(
            f"{path} leaves out {listed(left_out)}: sign the whole folder with `tailproof sign`"
        )


def signed_files(path: Path) -> set[str]:
    """Return the files that a signature is about, without verifying it.

    Raises:
        TailproofError: the file is missing, or is no signature of OpenSSF Model Signing.
    """
    if not path.is_file():
        raise TailproofError(
            f"{path.parent} is not signed: it has no {path.name}; ask the signer to sign it with "
            "`tailproof sign`, or copy the whole folder again"
        )
    try:
        envelope = read_json(path, limit=LARGEST)["dsseEnvelope"]
        statement = parse_json(base64.b64decode(envelope["payload"], validate=True).decode())
        if not envelope["signatures"]:
            raise ValueError("it has no signatures")
        return {str(file["name"]) for file in statement["predicate"]["resources"]}
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise TailproofError(
            f"{path} is not a signature in the format of OpenSSF Model Signing "
            f"({type(error).__name__}: {_reason(error)}): sign again with `tailproof sign`"
        ) from None


def _check_curve(path: str | Path, key: Any) -> None:
    curve = getattr(getattr(key, "curve", None), "name", type(key).__name__.strip("_"))
    if curve not in CURVES:
        raise TailproofError(
            f"{path} is a key of the kind {curve}, expected an elliptic-curve key on a NIST "
            f"curve (P-256, P-384 or P-521): make one with {MAKE_A_KEY}"
        )


def _not_a_key(path: str | Path, data: bytes, kind: str, error: Exception) -> TailproofError:
    other = "public" if kind == "private" else "private"
    if f"{other} KEY".upper().encode() in data:
        return TailproofError(
            f"{path} is a {other} key, expected the {kind} key"
            + (": never give the private key away" if other == "private" else "")
        )
    return TailproofError(
        f"{path} is not a {kind} key in PEM ({_reason(error)}): make a key with {MAKE_A_KEY}, and "
        "its public part with `openssl ec -in key.pem -pubout -out key.pub`"
    )


def _ask_password(path: str | Path) -> bytes:
    if not sys.stdin.isatty():
        raise TailproofError(
            f"{path} is encrypted, and there is no terminal to ask for its password: run the "
            "command in a terminal"
        )
    return getpass.getpass(f"password of {path}: ").encode()


def _reason(error: BaseException) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= REASON else f"{text[:REASON]}…"
