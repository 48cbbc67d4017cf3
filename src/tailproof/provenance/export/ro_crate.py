"""Describes a workflow run as a Provenance Run Crate 0.5; ``results/EXPERIMENT/`` is the crate.

A rule's script is the tool of a step (`HowToStep`). A job is a run of that tool (`CreateAction`),
which a `ControlAction` of the engine started. A crate must contain the files that it describes,
above all the workflow, so the code that ran is copied into it. Files outside of the crate (raw
data, weights of another experiment) have identifiers that start with ``#``, because paths must
stay within the crate.

The graph is built here because no library supports these profiles: the package rocrate takes every
entity as a finished dictionary and adds only the context.
"""

import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from graphlib import TopologicalSorter
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote

from tailproof.data.tables import read_parquet
from tailproof.digests import canonical_json, digest_of
from tailproof.files import read_json, write_json
from tailproof.project import PIPELINE, project_paths
from tailproof.provenance.audit import audited_ledger
from tailproof.provenance.export import croissant
from tailproof.runtime.code_digest import SOURCE
from tailproof.runtime.ledger import Ledger
from tailproof.runtime.packages import LOCK
from tailproof.runtime.recorder import described
from tailproof.runtime.records import Code, File, Machine, Record

FILE = "ro-crate-metadata.json"

CODE = "code"
"""Folder of the copied code."""

COPIED = ("Snakefile", "rules", "workflow", "envs")
"""Copied parts of the workflow; the package is copied to src, as in a checkout."""

LISTED_RAW = 100
"""Maximum number of raw files that become entities; raw.parquet always lists all of them."""

CONTEXT = [
    "https://w3id.org/ro/crate/1.1/context",
    "https://w3id.org/ro/terms/workflow-run/context",
]

RO_CRATE = "https://w3id.org/ro/crate/1.1"
WORKFLOW_RO_CRATE = "https://w3id.org/workflowhub/workflow-ro-crate/1.0"

PROFILES = {
    "https://w3id.org/ro/wfrun/process/0.5": "Process Run Crate",
    "https://w3id.org/ro/wfrun/workflow/0.5": "Workflow Run Crate",
    "https://w3id.org/ro/wfrun/provenance/0.5": "Provenance Run Crate",
    WORKFLOW_RO_CRATE: "Workflow RO-Crate",
}
"""The profiles that a crate conforms to, by URL."""

Entity = dict[str, Any]

LANGUAGE: Entity = {
    "@id": "https://w3id.org/workflowhub/workflow-ro-crate#snakemake",
    "@type": "ComputerLanguage",
    "name": "Snakemake",
    "identifier": {"@id": "https://doi.org/10.1093/bioinformatics/bts480"},
    "url": {"@id": "https://snakemake.github.io"},
}

MEDIA_TYPES = {
    ".csv": "text/csv",
    ".html": "text/html",
    ".json": "application/json",
    ".parquet": "application/vnd.apache.parquet",
    ".py": "text/x-python",
    ".txt": "text/plain",
    ".yaml": "application/yaml",
}


@dataclass(frozen=True)
class WorkflowRun:
    """The workflow run that a crate describes.

    Attributes:
        title: title of the experiment.
        description: description of the experiment; may be empty.
        ledger: records of its jobs.
        more: files of the crate that are not outputs of a job.
        raw: rows of raw.parquet.
    """

    title: str
    description: str
    ledger: Ledger
    more: list[File]
    raw: list[dict[str, Any]]

    def identifier(self, path: str) -> str:
        """Return the identifier of a file."""
        root = f"{project_paths().experiment(self.ledger.experiment).as_posix()}/"
        return quote(path.removeprefix(root)) if path.startswith(root) else f"#{quote(path)}"


def write_crate(experiment: str) -> Path:
    """Write the folder code, croissant.json and, last, ro-crate-metadata.json of an experiment.

    The same results and code give the same bytes.

    Returns:
        The path of ro-crate-metadata.json.

    Raises:
        TailproofError: the experiment is not built, or its audit fails.
    """
    folder = project_paths().experiment(experiment)
    ledger = audited_ledger(experiment)
    report = ledger.makers[project_paths().page(experiment)]
    target = folder / FILE
    target.unlink(missing_ok=True)
    _copy_code(folder / CODE, Path("config", "experiments", f"{experiment}.yaml"))
    title, description = (report.parameters["experiment"][key] for key in ("title", "description"))
    manifest = folder / "shards" / "manifest.json"
    write_json(
        folder / croissant.FILE,
        croissant.describe_shards(
            title, description, read_json(manifest), ledger.makers[manifest.as_posix()]
        ),
    )
    run = WorkflowRun(
        title=title,
        description=description,
        ledger=ledger,
        more=described(_undeclared_files(folder, ledger)),
        raw=read_parquet(folder / "raw.parquet").to_pylist(),
    )
    write_json(target, describe_run(run))
    return target


def _copy_code(folder: Path, configuration: Path) -> None:
    """Copy the code and configuration, which the audit has compared with every record."""
    temporary = folder.with_name(f".{folder.name}")
    shutil.rmtree(temporary, ignore_errors=True)
    sources = {
        **{name: PIPELINE / name for name in COPIED},
        "src/tailproof": SOURCE / "tailproof",
        configuration.as_posix(): configuration,
    }
    if (PIPELINE / LOCK).is_file():
        sources[LOCK] = PIPELINE / LOCK
    for name, source in sources.items():
        target = temporary / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(
                source, target, ignore=shutil.ignore_patterns("__pycache__", "pipeline")
            )
        else:
            shutil.copy(source, target)
    shutil.rmtree(folder, ignore_errors=True)
    os.replace(temporary, folder)


def _undeclared_files(folder: Path, ledger: Ledger) -> list[str]:
    """Return files of the crate that are not job outputs: records, code, the Croissant file."""
    code = [path.as_posix() for path in sorted((folder / CODE).rglob("*")) if path.is_file()]
    return [*ledger.records, *code, (folder / croissant.FILE).as_posix()]


def describe_run(run: WorkflowRun) -> Entity:
    """Return the content of ro-crate-metadata.json."""
    jobs = [entity for record in run.ledger for entity in _job(run, record)]
    files = _files(run)
    inside = [file["@id"] for file in files if not file["@id"].startswith("#")]
    actions = [entity["@id"] for entity in jobs if entity["@type"] == "CreateAction"]
    graph = [
        {
            "@id": FILE,
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
            "license": croissant.UNKNOWN_LICENCE,
            "conformsTo": _refs(PROFILES),
            "hasPart": _refs(inside),
            "mainEntity": _ref("code/Snakefile"),
            "mentions": _refs(["#run", *actions]),
        },
        *_profiles(),
        *_workflow(run),
        *_whole_run(run, [entity["@id"] for entity in jobs if entity["@type"] == "ControlAction"]),
        *jobs,
        *_raw_data(run),
        *files,
    ]
    return {"@context": CONTEXT, "@graph": _merge_entities(graph)}


def _profiles() -> list[Entity]:
    return [
        {"@id": url, "@type": "CreativeWork", "name": name, "version": url.rsplit("/", 1)[1]}
        for url, name in PROFILES.items()
    ]


def _workflow(run: WorkflowRun) -> list[Entity]:
    """Return the workflow, the engine, and the step and tool of each rule."""
    rules = _rules_in_order(run.ledger)
    workflow: Entity = {
        "@id": "code/Snakefile",
        "@type": ["File", "SoftwareSourceCode", "ComputationalWorkflow", "HowTo"],
        "name": "Tailproof",
        "version": ", ".join(sorted({_version(record.code) for record in run.ledger})),
        "programmingLanguage": _ref(LANGUAGE["@id"]),
        "hasPart": _refs([_script(rule) for rule in rules]),
        "step": _refs([f"#step/{rule}" for rule in rules]),
    }
    engine: Entity = {
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
    """Return a rule's script with its parameters and the packages that it ran with."""
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


def _job(run: WorkflowRun, record: Record) -> list[Entity]:
    """Return a job as an action, with its control action, parameters and results."""
    job = f"{record.rule}/{quote(record.name)}"
    memory: Entity = {
        "@id": f"#memory/{job}",
        "@type": "PropertyValue",
        "name": "peak memory of the largest process",
        "propertyID": "peak_memory_bytes",
        "unitCode": "https://qudt.org/vocab/unit/BYTE",
        "value": record.machine.peak_memory_bytes,
    }
    parameters = [_parameter(record.rule, name, value) for name, value in _parameters(record)]
    results = [
        _value(f"#result/{job}/{quote(name)}", name, value)
        for name, value in _flatten(record.results)
    ]
    agent = _agent(record)
    action: Entity = {
        "@id": f"#run/{job}",
        "@type": "CreateAction",
        "name": " ".join(dict.fromkeys([record.rule, record.name])),
        "description": f"`{record.command}` on {_machine_text(record.machine)}",
        "instrument": _ref(_script(record.rule)),
        "agent": _ref(agent["@id"]),
        "startTime": _time(record.started),
        "endTime": _time(record.ended),
        "object": _refs(
            [run.identifier(file.path) for file in record.inputs]
            + ["#raw"] * (record.rule == "prepare")
            + [value["@id"] for value in parameters]
        ),
        "result": _refs(
            [run.identifier(file.path) for file in record.outputs]
            + [value["@id"] for value in results]
        ),
        "resourceUsage": _ref(memory["@id"]),
        "subjectOf": _ref(run.identifier(record.path)),
    }
    control = {
        "@id": f"#control/{job}",
        "@type": "ControlAction",
        "name": f"orchestrate {action['name']}",
        "instrument": _ref(f"#step/{record.rule}"),
        "object": _ref(action["@id"]),
    }
    return [action, control, memory, agent, *parameters, *results]


def _whole_run(run: WorkflowRun, controls: list[str]) -> list[Entity]:
    """Return the run of the workflow and the run of the engine that executed it."""
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
            "result": _refs([run.identifier(path) for path in run.ledger.files]),
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


def _raw_data(run: WorkflowRun) -> list[Entity]:
    """Return the raw data as one entity, and as single files if they are few."""
    prepare = next(record for record in run.ledger if record.rule == "prepare")
    source = prepare.parameters["data"]["source"]["name"]
    count = f"{len(run.raw)} file{'s' * (len(run.raw) != 1)}"
    description = f"{count} with checksums in raw.parquet"
    listed = run.raw if len(run.raw) <= LISTED_RAW else []
    files = [
        _file(f"#raw/{quote(row['path'])}", row["path"], row["bytes"], row["sha256"])
        for row in listed
    ]
    raw = {
        "@id": "#raw",
        "@type": "Collection" if files else "CreativeWork",
        "name": f"raw data of the source '{source}'",
        "description": description if run.raw else "images from an installed package",
        "subjectOf": _ref("raw.parquet"),
        "hasPart": _refs([file["@id"] for file in files]),
    }
    return [raw, *files]


def _files(run: WorkflowRun) -> list[Entity]:
    """Return every file in the crate, and every file outside that a job read."""
    files = {file.path: file for record in run.ledger for file in record.inputs}
    files |= run.ledger.files | {file.path: file for file in run.more}
    return [
        _file(run.identifier(path), PurePosixPath(path).name, file.bytes, file.sha256)
        for path, file in sorted(files.items())
    ]


def _file(identifier: str, name: str, size: int, sha256: str) -> Entity:
    return {
        "@id": identifier,
        "@type": "File",
        "name": name,
        "encodingFormat": MEDIA_TYPES.get(PurePosixPath(name).suffix, "application/octet-stream"),
        "contentSize": str(size),
        "sha256": sha256,
    }


def _rules_in_order(ledger: Ledger) -> dict[str, list[Record]]:
    """Return the records of each rule, sorted by the depth of the rule's last job in the DAG.

    So a rule follows the rules whose files it reads, unless they read each other's, as in a sweep.
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
    last = {
        rule: max(depth[record.path] for record in records) for rule, records in by_rule.items()
    }
    return {rule: by_rule[rule] for rule in sorted(by_rule, key=lambda rule: last[rule])}


def _parameters(record: Record) -> list[tuple[str, Any]]:
    """Return the wildcards and the parameters of a job by their dotted names."""
    wildcards = {key: text for key, text in record.wildcards.items() if key != "experiment"}
    return _flatten(wildcards | record.parameters)


def _parameter(rule: str, name: str, value: Any) -> Entity:
    """Return a parameter value; jobs of a rule with the same value share one entity."""
    identifier = f"#parameter/{rule}/{quote(name)}/{digest_of(value)[:12]}"
    parameter = _ref(f"#parameter/{rule}/{quote(name)}")
    return _value(identifier, name, value) | {"exampleOfWork": parameter}


def _flatten(value: dict[str, Any], above: str = "") -> list[tuple[str, Any]]:
    """Return the values of nested mappings by their dotted names."""
    values = []
    for key, inner in value.items():
        if isinstance(inner, dict) and inner:
            values += _flatten(inner, f"{above}{key}.")
        else:
            values.append((f"{above}{key}", inner))
    return values


def _value(identifier: str, name: str, value: Any) -> Entity:
    plain = value if isinstance(value, str | bool | int | float) else canonical_json(value)
    return {"@id": identifier, "@type": "PropertyValue", "name": name, "value": plain}


def _agent(record: Record) -> Entity:
    user = record.machine.user
    return {"@id": f"#user/{quote(user)}", "@type": "Person", "name": user}


def _machine_text(machine: Machine) -> str:
    facts = [machine.device, f"threads: {machine.threads}"]
    facts += [f"Slurm job {machine.slurm_job}"] if machine.slurm_job else []
    return f"{machine.host} ({', '.join(facts)})"


def _packages(code: Code) -> list[Entity]:
    """Return the interpreter and the packages as software, identified by package URL."""
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


def _ref(identifier: str) -> Entity:
    return {"@id": identifier}


def _refs(identifiers: Iterable[str]) -> Entity | list[Entity]:
    """Return unique references; RO-Crate requires a single one without a list."""
    references = [_ref(identifier) for identifier in dict.fromkeys(identifiers)]
    return references[0] if len(references) == 1 else references


def _merge_entities(entities: list[Entity]) -> list[Entity]:
    """Merge entities with the same identifier and drop empty values: code is also a file."""
    merged: dict[str, Entity] = {}
    for entity in entities:
        stated = {key: value for key, value in entity.items() if value != []}
        merged[entity["@id"]] = stated | merged.get(entity["@id"], {})
    return list(merged.values())
