"""Describes the shards as a dataset in Croissant 1.0, so that others can find and load it.

Paths are relative to the folder of the description, ``results/EXPERIMENT/``.
"""

from typing import Any
from urllib.parse import quote

from tailproof.runtime.records import Record

FILE = "croissant.json"

UNKNOWN_LICENCE = (
    "Not stated: the configuration of the experiment has no licence. Ask the creator of the "
    "dataset, and see the terms of the raw data."
)
"""The licence in both descriptions, which require one."""

PARQUET = "application/x-parquet"
"""Name of the format that readers of Croissant expect."""

SPLIT = "^shards/([^/]+)/.*$"
"""Pattern of a shard's path; its group is the split."""


def describe_shards(
    title: str, description: str, manifest: dict[str, Any], maker: Record
) -> dict[str, Any]:
    """Return the Croissant description of an experiment's shards.

    Args:
        title: title of the experiment.
        description: description of the experiment; may be empty.
        manifest: content of manifest.json.
        maker: record of the job that wrote the manifest.
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
        f"no group; rows: {rows}. The target is '{manifest['target']}'."
    )


def _files(manifest: dict[str, Any]) -> list[dict[str, Any]]:
    """Return every shard with its checksum."""
    return [
        {
            "@type": "cr:FileObject",
            "@id": f"shards/{shard['path']}",
            "name": shard["path"],
            "description": f"{shard['rows']} sample{'s' * (shard['rows'] != 1)} of the split "
            f"{split}",
            "contentUrl": f"shards/{shard['path']}",
            "contentSize": f"{shard['bytes']} B",
            "encodingFormat": PARQUET,
            "sha256": shard["sha256"],
        }
        for split, facts in manifest["splits"].items()
        for shard in facts["shards"]
    ]


def _all_files(manifest: dict[str, Any]) -> dict[str, Any]:
    """Return the shards of all splits as one file set, the source of the records."""
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
    """Return the class names of a rank by their number in the shards."""
    identifier = f"classes/{quote(rank)}"
    return {
        "@type": "cr:RecordSet",
        "@id": identifier,
        "name": f"classes/{rank}",
        "description": f"Class names of the rank '{rank}' by number.",
        "dataType": "sc:Enumeration",
        "key": {"@id": f"{identifier}/number"},
        "field": [
            _field(
                f"{identifier}/number", "number", "sc:Integer", "Number of the class in the shards."
            ),
            _field(f"{identifier}/name", "name", ["sc:Text", "sc:name"], "Name of the class."),
        ],
        "data": [
            {f"{identifier}/number": number, f"{identifier}/name": name}
            for number, name in enumerate(names)
        ],
    }


def _samples(manifest: dict[str, Any]) -> dict[str, Any]:
    fields = [
        _column("sample_id", "sc:Text", "Identifier, unique over all splits."),
        _field("samples/image", "image", "sc:ImageObject", "The image.")
        | _source({"extract": {"column": "image"}, "transform": {"jsonPath": "bytes"}}),
        *(_label(rank) for rank in manifest["ranks"]),
        _column("weight", "sc:Float", "Weight for metrics under the long-tailed prior."),
        _field("samples/split", "split", ["sc:Text", "cr:Split"], "One of the six splits.")
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
    description = f"Number of the class (see classes/{rank}); empty without a label."
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
"""The context of Croissant 1.0 from its specification."""
