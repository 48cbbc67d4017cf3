"""The JSON-LD graph of a crate: which entity of RO-Crate stands for which part of the ledger.

A rule's script is the tool of a step (`HowToStep`); a job is its run (`CreateAction`), which a
`ControlAction` of the engine started. Files outside of the crate (raw data, weights of another
experiment) have identifiers that start with ``#``, since a crate's paths may not leave it.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from graphlib import TopologicalSorter
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import quote

from tailproof.digests import canonical_json, digest_of
from tailproof.provenance.crate_terms import (
    CONTEXT,
    LANGUAGE,
    PROFILES,
    RO_CRATE,
    WORKFLOW_RO_CRATE,
    media_type,
)
from tailproof.provenance.croissant import UNKNOWN_LICENCE
from tailproof.runtime.ledger import Ledger
from tailproof.runtime.records import Code, File, Machine, Record

LISTED_RAW = 100
"""Up to so many raw files are entities; more are in raw.parquet alone, as all are."""

Entity = dict[str, Any]


@dataclass(frozen=True)
class Run:
    """What a crate is made from.

    Attributes:
        more: files of the crate that no job has as output.
        raw: the rows of raw.parquet.
    """

    title: str
    description: str
    ledger: Ledger
    more: list[File]
    raw: list[dict[str, Any]]

    def place(self, path: str) -> str:
        """Return the identifier of a file."""
        root = f"results/{self.ledger.experiment}/"
        return quote(path.removeprefix(root)) if path.startswith(root) else f"#{quote(path)}"


def crate_of(run: Run) -> Entity:
    """Return what ro-crate-metadata.json holds."""
    jobs = [entity for record in run.ledger for entity in _job(run, record)]
    files = _files(run)
    inside = [file["@id"] for file in files if not file["@id"].startswith("#")]
    actions = [entity["@id"] for entity in jobs if entity["@type"] == "CreateAction"]
    graph = [
        {
            "@id": "ro-crate-metadata.json",
            "@type": "CreativeWork",
            "about": _ref("./"),
            "conformsTo": _refs([RO_CRATE, WORKFLOW_RO_CRATE]),
        },
        {
            "@id": "./",
            "@type": "Dataset",
            "name": run.title,
            "description": run.description or run.title,
            "datePublished": _time(max(record.ended for record in run.ledger)),
            "license": UNKNOWN_LICENCE,
            "conformsTo": _refs(PROFILES),
            "hasPart": _refs(inside),
            "mainEntity": _ref("code/Snakefile"),
            "mentions": _refs(["#run", *actions]),
        },
        *_profiles(),
        *_plan(run),
        *_whole(run, [entity["@id"] for entity in jobs if entity["@type"] == "ControlAction"]),
        *jobs,
        *_raw(run),
        *files,
    ]
    return {"@context": CONTEXT, "@graph": _merged(graph)}


def _profiles() -> list[Entity]:
    return [
        {"@id": this, "@type": "CreativeWork", "name": name, "version": this.rsplit("/", 1)[1]}
        for this, name in PROFILES.items()
    ]


def _plan(run: Run) -> list[Entity]:
    """Return the workflow, and for each rule its step and its tool."""
    rules = _in_order(run.ledger)
    workflow = {
        "@id": "code/Snakefile",
        "@type": ["File", "SoftwareSourceCode", "ComputationalWorkflow", "HowTo"],
        "name": "Tailproof",
        "version": ", ".join(sorted({_version(record.code) for record in run.ledger})),
        "programmingLanguage": _ref(LANGUAGE["@id"]),
        "hasPart": _refs([_script(rule) for rule in rules]),
        "step": _refs([f"#step/{rule}" for rule in rules]),
    }
    engine = {
        "@id": "#snakemake",
        "@type": "SoftwareApplication",
        "name": "Snakemake",
        "url": LANGUAGE["url"],
        "softwareVersion": ", ".join(
            sorted({record.code.packages["snakemake"] for record in run.ledger})
        ),
    }
    entities = [workflow, LANGUAGE, engine]
    for position, (rule, records) in enumerate(rules.items()):
        entities += [
            {
                "@id": f"#step/{rule}",
                "@type": "HowToStep",
                "name": rule,
                "position": str(position),
                "workExample": _ref(_script(rule)),
            },
            *_tool(rule, records),
        ]
    return entities


def _tool(rule: str, records: list[Record]) -> list[Entity]:
    """Return a rule's script, with the parameters it takes and the packages it ran with."""
    packages = [package for record in records for package in _packages(record.code)]
    names = dict.fromkeys(name for record in records for name, _ in _parameters(record))
    takes = [
        {
            "@id": f"#parameter/{rule}/{quote(name)}",
            "@type": "FormalParameter",
            "additionalType": "PropertyValue",
            "name": name,
        }
        for name in names
    ]
    tool = {
        "@id": _script(rule),
        "@type": ["File", "SoftwareSourceCode", "SoftwareApplication"],
        "name": rule,
        "version": ", ".join(sorted({f"code closure {record.code.closure}" for record in records})),
        "softwareRequirements": _refs([package["@id"] for package in packages]),
        "input": _refs([parameter["@id"] for parameter in takes]),
    }
    return [tool, *takes, *packages]


def _job(run: Run, record: Record) -> list[Entity]:
    """Return a job as an action, what started it, and the values that it took and gave."""
    this = f"{record.rule}/{quote(record.name)}"
    memory = {
        "@id": f"#memory/{this}",
        "@type": "PropertyValue",
        "name": "peak memory of the largest process",
        "propertyID": "peak_memory_bytes",
        "unitCode": "https://qudt.org/vocab/unit/BYTE",
        "value": record.machine.peak_memory_bytes,
    }
    parameters = [_parameter(record.rule, name, value) for name, value in _parameters(record)]
    results = [
        _value(f"#result/{this}/{quote(name)}", name, value)
        for name, value in _flat(record.results)
    ]
    agent = _agent(record)
    action = {
        "@id": f"#run/{this}",
        "@type": "CreateAction",
        "name": " ".join(dict.fromkeys([record.rule, record.name])),
        "description": f"`{record.command}` on {_place(record.machine)}",
        "instrument": _ref(_script(record.rule)),
        "agent": _ref(agent["@id"]),
        "startTime": _time(record.started),
        "endTime": _time(record.ended),
        "object": _refs(
            [run.place(file.path) for file in record.inputs]
            + ["#raw"] * (record.rule == "prepare")
            + [value["@id"] for value in parameters]
        ),
        "result": _refs(
            [run.place(file.path) for file in record.outputs] + [value["@id"] for value in results]
        ),
        "resourceUsage": _ref(memory["@id"]),
        "subjectOf": _ref(run.place(record.path)),
    }
    control = {
        "@id": f"#control/{this}",
        "@type": "ControlAction",
        "name": f"orchestrate {action['name']}",
        "instrument": _ref(f"#step/{record.rule}"),
        "object": _ref(action["@id"]),
    }
    return [action, control, memory, agent, *parameters, *results]


def _whole(run: Run, controls: list[str]) -> list[Entity]:
    """Return the run of the workflow, and of the engine that carried it out."""
    agents = {agent["@id"]: agent for agent in map(_agent, run.ledger)}
    common = {
        "agent": _refs(list(agents)),
        "startTime": _time(min(record.started for record in run.ledger)),
        "endTime": _time(max(record.ended for record in run.ledger)),
    }
    configuration = f"code/config/experiments/{run.ledger.experiment}.yaml"
    return [
        {
            "@id": "#run",
            "@type": "CreateAction",
            "name": f"run of {run.ledger.experiment}",
            "description": f"{run.title}: {len(controls)} jobs, each with its own command",
            "instrument": _ref("code/Snakefile"),
            "object": _refs(["#raw", configuration]),
            "result": _refs([run.place(path) for path in run.ledger.files]),
            **common,
        },
        {
            "@id": "#organize",
            "@type": "OrganizeAction",
            "name": f"Snakemake on {run.ledger.experiment}",
            "instrument": _ref("#snakemake"),
            "object": _refs(controls),
            "result": _ref("#run"),
            **common,
        },
    ]


def _raw(run: Run) -> list[Entity]:
    """Return the raw data: as one entity, and file by file where they are few."""
    prepare = next(record for record in run.ledger if record.rule == "prepare")
    source = prepare.parameters["data"]["source"]["name"]
    said = f"{len(run.raw)} files with checksums in raw.parquet"
    listed = run.raw if len(run.raw) <= LISTED_RAW else []
    files = [
        _file(f"#raw/{quote(row['path'])}", row["path"], row["bytes"], row["sha256"])
        for row in listed
    ]
    raw = {
        "@id": "#raw",
        "@type": "Collection" if files else "CreativeWork",
        "name": f"raw data of the source '{source}'",
        "description": said if run.raw else "images that come with an installed package",
        "subjectOf": _ref("raw.parquet"),
        "hasPart": _refs([file["@id"] for file in files]),
    }
    return [raw, *files]


def _files(run: Run) -> list[Entity]:
    """Return every file that is in the crate, and every one outside that a job read."""
    known = {file.path: file for record in run.ledger for file in record.inputs}
    known |= run.ledger.files | {file.path: file for file in run.more}
    return [
        _file(run.place(path), PurePosixPath(path).name, file.bytes, file.sha256)
        for path, file in sorted(known.items())
    ]


def _file(this: str, name: str, size: int, sha256: str) -> Entity:
    return {
        "@id": this,
        "@type": "File",
        "name": name,
        "encodingFormat": media_type(name),
        "contentSize": str(size),
        "sha256": sha256,
    }


def _in_order(ledger: Ledger) -> dict[str, list[Record]]:
    """Return the records of each rule, by how many jobs lie before the last of them.

    That is a rule after those whose files it reads, unless they read each other's, as in a sweep.
    """
    before = {
        record.path: [ledger.makers[f.path].path for f in record.inputs if f.path in ledger.makers]
        for record in ledger
    }
    depth: dict[str, int] = {}
    for path in TopologicalSorter(before).static_order():
        depth[path] = max((depth[other] + 1 for other in before[path]), default=0)
    by_rule: dict[str, list[Record]] = {}
    for record in ledger:
        by_rule.setdefault(record.rule, []).append(record)
    last = {rule: max(depth[each.path] for each in records) for rule, records in by_rule.items()}
    return {rule: by_rule[rule] for rule in sorted(by_rule, key=lambda rule: last[rule])}


def _parameters(record: Record) -> list[tuple[str, Any]]:
    """Return what told a job what to do: the wildcards of its files and its parameters."""
    wildcards = {key: text for key, text in record.wildcards.items() if key != "experiment"}
    return _flat(wildcards | record.parameters)


def _parameter(rule: str, name: str, value: Any) -> Entity:
    """Return a parameter's value; jobs of a rule that agree on it share it."""
    this = f"#parameter/{rule}/{quote(name)}/{digest_of(value)[:12]}"
    return _value(this, name, value) | {"exampleOfWork": _ref(f"#parameter/{rule}/{quote(name)}")}


def _flat(value: dict[str, Any], above: str = "") -> list[tuple[str, Any]]:
    """Return plain values by their dotted names."""
    found = []
    for key, inner in value.items():
        if isinstance(inner, dict) and inner:
            found += _flat(inner, f"{above}{key}.")
        else:
            found.append((f"{above}{key}", inner))
    return found


def _value(this: str, name: str, value: Any) -> Entity:
    plain = value if isinstance(value, str | bool | int | float) else canonical_json(value)
    return {"@id": this, "@type": "PropertyValue", "name": name, "value": plain}


def _agent(record: Record) -> Entity:
    user = record.machine.user
    return {"@id": f"#user/{quote(user)}", "@type": "Person", "name": user}


def _place(machine: Machine) -> str:
    told = [machine.device, f"threads: {machine.threads}"]
    told += [f"Slurm job {machine.slurm_job}"] if machine.slurm_job else []
    return f"{machine.host} ({', '.join(told)})"


def _packages(code: Code) -> list[Entity]:
    """Return the interpreter and the packages as software, by their package URLs."""
    named = [("generic", "python", code.python)]
    named += [("pypi", name, version) for name, version in code.packages.items()]
    return [
        {
            "@id": f"pkg:{kind}/{name}@{quote(version)}",
            "@type": "SoftwareApplication",
            "name": name,
            "softwareVersion": version,
        }
        for kind, name, version in named
    ]


def _version(code: Code) -> str:
    if code.commit is None:
        return "not in a git repository"
    return f"commit {code.commit}" + (" with changes" if code.dirty else "")


def _script(rule: str) -> str:
    return f"code/workflow/scripts/{rule}.py"


def _time(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds")


def _ref(this: str) -> Entity:
    return {"@id": this}


def _refs(all_of: Iterable[str]) -> Entity | list[Entity]:
    """Return references, each once; RO-Crate wants a single one without a list."""
    found = [_ref(this) for this in dict.fromkeys(all_of)]
    return found[0] if len(found) == 1 else found


def _merged(entities: list[Entity]) -> list[Entity]:
    """Return each entity once, without what is empty: code is also a file with a checksum."""
    merged: dict[str, Entity] = {}
    for entity in entities:
        told = {key: value for key, value in entity.items() if value != []}
        merged[entity["@id"]] = told | merged.get(entity["@id"], {})
    return list(merged.values())
