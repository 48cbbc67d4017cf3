"""Downloads the weights that timm publishes for a model, and checks their SHA-256."""

import re
from pathlib import Path
from typing import NamedTuple

import timm

from tailproof.config.weights import FILES
from tailproof.digests import sha256_file
from tailproof.runtime.errors import TailproofError, suggestion
from tailproof.untrusted_text import printable


class Download(NamedTuple):
    """A downloaded file of weights.

    Attributes:
        file: the file, in the cache of the hub's client.
        origin: repository, file name and revision; or an address.
    """

    file: Path
    origin: str


def download(name: str) -> Download:
    """Download the weights of a model, unless the cache has them.

    Args:
        name: a model of timm, with or without the tag of its weights.

    Raises:
        TailproofError: timm knows no weights of this model, the hub cannot be reached, or the file
            differs from its published checksum.
    """
    source = timm.get_pretrained_cfg(name, allow_unregistered=True) if _known(name) else None
    if source is None or not (source.hf_hub_id or source.url):
        tagged = timm.list_pretrained(f"{name.split('.', maxsplit=1)[0]}*")
        raise TailproofError(
            f"no weights are published for '{name}'{suggestion(name, tagged)}: choose one of "
            f"timm.list_pretrained(), or set recipe.model.weights to a file"
        )
    try:
        if source.hf_hub_id:
            names = (source.hf_hub_filename,) if source.hf_hub_filename else FILES
            return _from_hub(source.hf_hub_id, names)
        return _from_address(str(source.url))
    except TailproofError:
        raise
    except Exception as error:  # clients of the network raise errors of many kinds
        copy = f"{FILES[0]} of {source.hf_hub_id}" if source.hf_hub_id else source.url
        raise TailproofError(
            f"the weights of '{name}' cannot be downloaded ({type(error).__name__}: "
            f"{printable(str(error).strip().splitlines()[0] if str(error) else ''):.160}): run "
            f"`tailproof fetch {name}` where there is a network and copy the folder 'weights' "
            f"here, or set recipe.model.weights to a copy of {copy}"
        ) from None


def _known(name: str) -> bool:
    return timm.is_model(name.split(".", maxsplit=1)[0])


def _from_hub(repository: str, names: tuple[str, ...]) -> Download:
    from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    for name in names:
        try:
            facts = get_hf_file_metadata(hf_hub_url(repository, name))
        except LocalEntryNotFoundError:
            raise
        except EntryNotFoundError:
            continue
        file = Path(hf_hub_download(repository, name, revision=facts.commit_hash))
        if facts.etag and re.fullmatch("[0-9a-f]{64}", facts.etag):  # the name of a large file
            _check(file, sha256_file(file), facts.etag)
        return Download(file, f"{repository}/{name}@{facts.commit_hash}")
    raise FileNotFoundError(f"{repository} has none of {', '.join(names)}")


def _from_address(address: str) -> Download:
    import torch

    name = address.rsplit("/", maxsplit=1)[-1]
    file = Path(torch.hub.get_dir()) / "checkpoints" / name
    file.parent.mkdir(parents=True, exist_ok=True)
    pinned = re.search(r"-([0-9a-f]{8,})\.", name)  # PyTorch's convention
    if not file.exists():
        torch.hub.download_url_to_file(address, str(file), pinned and pinned[1], progress=False)
    if pinned:
        _check(file, sha256_file(file)[: len(pinned[1])], pinned[1])
    return Download(file, address)


def _check(file: Path, actual: str, published: str) -> None:
    if actual != published:
        raise TailproofError(
            f"{file} has the SHA-256 {actual[:12]}…, expected {published[:12]}… as published: "
            "delete the file and fetch it again"
        )
