"""Downloads a published file and checks its checksum."""

import hashlib
import http.client
import logging
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from tailproof.runtime.errors import TailproofError

log = logging.getLogger(__name__)

CHUNK = 1 << 20  # bytes
TIMEOUT = 60  # seconds without an answer


def fetch(url: str, target: Path, sha256: str) -> None:
    """Download `url` to `target`, which appears whole and with the right checksum or not at all.

    Raises:
        TailproofError: the publisher cannot be reached or does not have the file, the connection
            breaks, the checksum differs, or the disk is full.
    """
    from tailproof.files import atomic

    log.info("downloading %s", url)
    digest = hashlib.sha256()
    with atomic(target) as temporary:
        with temporary.open("wb") as file:
            for chunk in _chunks(url, target):
                digest.update(chunk)
                file.write(chunk)
        if digest.hexdigest() != sha256:
            raise TailproofError(
                f"{url} has SHA-256 {digest.hexdigest()}, expected {sha256}; the download was "
                f"deleted: save the published file as {target} by hand"
            )
    log.info("downloaded %s; its checksum is right", target)


def _chunks(url: str, target: Path) -> Iterator[bytes]:
    """Yield the body; every network failure becomes a TailproofError."""
    by_hand = f"try again, or save the file as {target} by hand"
    if not url.startswith(("http://", "https://")):
        raise TailproofError(f"{url} is not an http or https address: correct the URL")
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT) as answer:  # noqa: S310 - checked above
            announced = answer.headers.get("Content-Length")
            received = 0
            while chunk := answer.read(CHUNK):
                received += len(chunk)
                yield chunk
        if announced is not None and received != int(announced):
            raise TailproofError(
                f"{url}: the connection broke after {received} of {announced} bytes: {by_hand}"
            )
    except urllib.error.HTTPError as error:
        raise TailproofError(
            f"{url}: the server answered {error.code} {error.reason}: {by_hand}"
        ) from None
    except urllib.error.URLError as error:
        raise TailproofError(f"{url} cannot be reached ({error.reason}): {by_hand}") from None
    except (OSError, http.client.HTTPException) as error:
        raise TailproofError(f"{url}: the connection broke ({error}): {by_hand}") from None
