"""Commands for people who have an expert or images, and maybe no project: contains, sign, verify.

`tailproof.cli` registers them next to the others.
"""

import sys
from typing import Annotated

import typer

from tailproof.output import say
from tailproof.runtime.errors import TailproofError
from tailproof.text import quantity


def contains(
    expert: Annotated[
        str,
        typer.Argument(
            metavar="EXPERT", help="Name of an experiment, or folder of an expert or a copy of it."
        ),
    ],
    images: Annotated[
        list[str], typer.Argument(metavar="IMAGES…", help="Image files and folders.")
    ],
    as_csv: Annotated[
        bool, typer.Option("--csv", help="Print a row for every image as CSV.")
    ] = False,
) -> None:
    """Say which images, or copies of them, were in train, val, calib, tune, dev or test.

    Exits with status 3 if any was, with 0 if none was, and with 1 if some cannot be read.
    """
    from tailproof.provenance.contains import contains as contains_images
    from tailproof.terminal import Console

    if status := contains_images(expert, images, as_csv=as_csv, console=Console(highlight=False)):
        sys.exit(status)


def sign(
    target: Annotated[
        str,
        typer.Argument(
            metavar="FOLDER|NAME", help="Folder of an expert, or name of an attested experiment."
        ),
    ],
    key: Annotated[
        str | None, typer.Option(metavar="KEY", help="Private elliptic-curve key in PEM.")
    ] = None,
    keyless: Annotated[
        bool, typer.Option("--keyless", help="Sign with an identity at Sigstore; needs a network.")
    ] = False,
) -> None:
    """Sign attested experts in the format of OpenSSF Model Signing, and statements as DSSE."""
    from tailproof.provenance.sign import sign as sign_target
    from tailproof.provenance.signatures import Identity, PrivateKey

    if (key is None) != keyless:
        raise TailproofError("name the key to sign with: --key KEY, or --keyless with a network")
    folders, jobs = sign_target(target, Identity() if key is None else PrivateKey.read(key))
    for folder in folders:
        say(f"signed {folder}")
    if jobs:
        say(f"signed the statements about {quantity(jobs, 'job')}")


def verify(
    folder: Annotated[
        str, typer.Argument(help="Folder of an expert or of an experiment, or a copy of it.")
    ],
    key: Annotated[
        str | None, typer.Option(metavar="PUB", help="The signer's public key in PEM.")
    ] = None,
    identity: Annotated[
        str | None, typer.Option(metavar="NAME", help="Who signed without a key, such as a@b.org.")
    ] = None,
    issuer: Annotated[
        str | None, typer.Option(metavar="URL", help="Who vouches for the identity.")
    ] = None,
) -> None:
    """Verify an attested expert from its folder alone, and say what that proves."""
    from tailproof.provenance.signatures import open_signer
    from tailproof.provenance.verify import print_verification
    from tailproof.provenance.verify import verify as verify_folder
    from tailproof.terminal import Console

    verification = verify_folder(folder, open_signer(key, identity, issuer))
    print_verification(verification, Console(highlight=False))
