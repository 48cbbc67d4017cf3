"""The shards as a dataset that others can find and load: a Croissant 1.0 description.

Its paths are relative to the folder that it lies in, ``results/EXPERIMENT/``.
"""

from typing import Any
from urllib.parse import quote

from tailproof.runtime.records import Record

FILE = "croissant.json"

UNKNOWN_LICENCE = (
    "Not stated: the configuration of the experiment names no licence. Ask who made the dataset, "
    "and see the terms of the raw data."
)
"""Both descriptions demand a licence; this is what is known of it."""

PARQUET = "application/x-parquet"
"""The name that readers of Croissant know the format by."""

SPLIT = "^shards/([^/]+)/.*$"
"""Where the path of a shard names its split."""


def describe_shards(
    title: str, description: str, manifest: dict[str, Any], maker: Record
) -> dict[str, Any]:
    """Return the Croissant description of an experiment's shards.

    Args:
        title: of the experiment.
        description: of the experiment; empty where it has none.
        manifest: what is in manifest.json.
        maker: the record of the job that wrote the manifest.
    """
    day = maker.ended.date().isoformat()
    return {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "name": maker.experiment,
        "alternateName": title,
        "description": f"{description or title} {_summary(manifest)}",
        "license": UNKNOWN_LICENCE,
        "creator": {"@type": "sc:Person", "name": maker.machine.user},
        "dateCreated": day,
        "datePublished": day,
        "distribution": [*_files(manifest), _all_files(manifest)],
        "recordSet": [
            _splits(manifest),
            *(_classes(rank, manifest["classes"][rank]) for rank in manifest["ranks"]),
            _samples(manifest),
        ],
    }


def _summary(manifest: dict[str, Any]) -> str:
    rows = ", ".join(f"{name} {split['rows']}" for name, split in manifest["splits"].items())
    return (
        f"Images with labels ({', '.join(manifest['ranks'])}) in splits that share no content and "
        f"no group; rows: {rows}. The model learns '{manifest['target']}'."
    )


def _files(manifest: dict[str, Any]) -> list[dict[str, Any]]:
    """Return every shard with its checksum."""
    return [
        {
            "@type": "cr:FileObject",
            "@id": f"shards/{shard['path']}",
            "name": shard["path"],
            "description": f"{shard['rows']} samples of the split {split}",
            "contentUrl": f"shards/{shard['path']}",
            "contentSize": f"{shard['bytes']} B",
            "encodingFormat": PARQUET,
            "sha256": shard["sha256"],
        }
        for split, facts in manifest["splits"].items()
        for shard in facts["shards"]
    ]


def _all_files(manifest: dict[str, Any]) -> dict[str, Any]:
    """Return the shards of all splits as one set: the records come from it."""
    return {
        "@type": "cr:FileSet",
        "@id": "shards",
        "name": "shards",
        "description": f"All shards of the splits {', '.join(manifest['splits'])}.",
        "encodingFormat": PARQUET,
        "includes": "shards/*/part-*.parquet",
    }


def _splits(manifest: dict[str, Any]) -> dict[str, Any]:
    return {
        "@type": "cr:RecordSet",
        "@id": "splits",
        "name": "splits",
        "dataType": "cr:Split",
        "key": {"@id": "splits/name"},
        "field": [_field("splits/name", "name", "sc:Text", "Name of the split.")],
        "data": [{"splits/name": name} for name in manifest["splits"]],
    }


def _classes(rank: str, names: list[str]) -> dict[str, Any]:
    """Return the class names of a taxonomic rank, by the number that stands in the shards."""
    identifier = f"classes/{quote(rank)}"
    return {
        "@type": "cr:RecordSet",
        "@id": identifier,
        "name": f"classes/{rank}",
        "description": f"What the numbers of '{rank}' stand for.",
        "dataType": "sc:Enumeration",
        "key": {"@id": f"{identifier}/number"},
        "field": [
            _field(f"{identifier}/number", "number", "sc:Integer", "As in the shards."),
            _field(f"{identifier}/name", "name", ["sc:Text", "sc:name"], "Of the class."),
        ],
        "data": [
            {f"{identifier}/number": number, f"{identifier}/name": name}
            for number, name in enumerate(names)
        ],
    }


def _samples(manifest: dict[str, Any]) -> dict[str, Any]:
    fields = [
        _column("sample_id", "sc:Text", "Unique over all splits."),
        _field("samples/image", "image", "sc:ImageObject", "The picture.")
        | _source({"extract": {"column": "image"}, "transform": {"jsonPath": "bytes"}}),
        *(_label(rank) for rank in manifest["ranks"]),
        _column("weight", "sc:Float", "For figures under the long-tailed prior."),
        _field("samples/split", "split", ["sc:Text", "cr:Split"], "One of six.")
        | _source({"extract": {"fileProperty": "fullpath"}, "transform": {"regex": SPLIT}}),
    ]
    return {
        "@type": "cr:RecordSet",
        "@id": "samples",
        "name": "samples",
        "description": "One record per sample.",
        "key": {"@id": "samples/sample_id"},
        "field": fields,
    }


def _label(rank: str) -> dict[str, Any]:
    description = f"The class, as a number (see classes/{rank}); empty where there is no label."
    return _column(rank, ["sc:Integer", "cr:Label"], description)


def _column(name: str, kind: str | list[str], description: str) -> dict[str, Any]:
    return _field(f"samples/{quote(name)}", name, kind, description) | _source(
        {"extract": {"column": name}}
    )


def _field(identifier: str, name: str, kind: str | list[str], description: str) -> dict[str, Any]:
    return {
        "@type": "cr:Field",
        "@id": identifier,
        "name": name,
        "description": description,
        "dataType": kind,
    }


def _source(properties: dict[str, Any]) -> dict[str, Any]:
    return {"source": {"fileSet": {"@id": "shards"}, **properties}}


CONTEXT = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileProperty": "cr:fileProperty",
    "fileObject": "cr:fileObject",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
"""The terms of Croissant 1.0, as its specification gives them."""
