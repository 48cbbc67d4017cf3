"""The rules of the house that can be read off the files."""

import ast
import re
import tomllib
from functools import cache
from pathlib import Path

import pytest

from tailproof.project import PIPELINE as ROOT
from tailproof.runtime.code_digest import ERRORS, closure, wording

SOURCES = ROOT / "src" / "tailproof"
MODULES = sorted(SOURCES.rglob("*.py"))
SCRIPTS = sorted((ROOT / "workflow" / "scripts").glob("*.py"))
RULE_FILES = [ROOT / "Snakefile", *sorted((ROOT / "rules").glob("*.smk"))]

DIRECTIVES = (
    "input",
    "output",
    "log",
    "benchmark",
    "threads",
    "resources",
    "params",
    "message",
    "script",
)

TEXTS = {".py", ".smk", ".md", ".yaml", ".yml", ".toml", ".txt", ".cff", ".j2", ".css", ".sh", ""}
SKIPPED = {".venv", ".git", ".hypothesis", ".snakemake", ".state", "results", "logs", "raw"}


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def test_modules_and_functions_are_short():
    long = [relative(path) for path in MODULES if len(path.read_text().splitlines()) > 600]
    for path in MODULES:
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                documented = bool(ast.get_docstring(node))
                lines = node.end_lineno - (node.body[0].end_lineno if documented else node.lineno)
                long += [f"{relative(path)}: {node.name} has {lines} lines"] * (lines > 60)
    assert not long


FINDERS = {
    "src/tailproof/__init__.py": "what users import; no stage reaches it through this file",
    "src/tailproof/config/data.py": "validates a source, which computes no result",
    "src/tailproof/extensions.py": "the code digest reads the files of the folder itself",
    "src/tailproof/torchvision_stub.py": "it imports modules of torchvision only",
    "src/tailproof/data/sources/__init__.py": "the code digest knows its string as every module",
}
"""Modules that import by name, and why the code digest misses nothing."""


def test_no_import_is_hidden_from_the_code_closure():
    hiding = {
        relative(path)
        for path in MODULES
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.Call)
        and getattr(node.func, "attr", getattr(node.func, "id", ""))
        in {"import_module", "__import__", "exec", "run_path", "run_module"}
    }
    assert hiding == FINDERS.keys()


CHANGING = re.compile(
    r"next|pop(left|item)?|append(left)?|extend|insert|add|discard|remove|update|clear|setdefault"
    r"|write(_text|_bytes)?|unlink|mkdir|rename|send|put|seek|open"
)
"""Names of calls that change something, or read on in it."""


def wordings(tree: ast.AST) -> list[ast.AST]:
    """Every node within what the code digest leaves out as wording."""
    calls = filter(None, map(wording, ast.walk(tree)))
    return [
        node for call in calls for part in (*call.args, *call.keywords) for node in ast.walk(part)
    ]


def test_what_the_code_digest_leaves_out_has_no_effect():
    """What has one is to be done before, and then said."""
    effects = ast.NamedExpr | ast.Await | ast.Yield | ast.YieldFrom
    found = [
        f"{relative(path)}, line {node.lineno}"
        for path in (*MODULES, *SCRIPTS)
        for node in wordings(parsed(path))
        if isinstance(node, effects)
        or (
            isinstance(node, ast.Call)
            and CHANGING.fullmatch(getattr(node.func, "attr", getattr(node.func, "id", "")))
        )
    ]
    assert not found


def test_the_package_s_errors_are_all_known_and_carry_nothing_but_their_text():
    trees = map(parsed, MODULES)
    classes = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    errors = {"TailproofError": None}
    for _ in classes:  # a class may stand before its base
        errors |= {
            node.name: node
            for node in classes
            if {getattr(base, "id", "") for base in node.bases} & errors.keys()
            or node.name in errors
        }
    assert set(errors) == ERRORS
    for node in errors.values():
        assert not [part for part in node.body if isinstance(part, ast.FunctionDef)], node.name


TEXT_OF_AN_ERROR = {
    "main": "a terminal",
    "standard_streams": "a terminal",
    "job_logging": "a terminal and a log",
    "prepare_image": "`tailproof predict`, which is no stage",
    "read_known_features": "`tailproof predict`, which raises it",
    "read_one": "`tailproof contains`, which is no stage",
    "check_statement": "`tailproof verify`, which raises it",
    "_write_to_tracker": "a warning of `tailproof track`, which is no stage",
    "_read_or_say": "a page of `tailproof watch`, which is no file",
    "choose_source": "`tailproof import`, which is no stage",
    "crop_to_detections": "`tailproof import`, which is no stage",
    "_read_pictures": "`tailproof import`, which is no stage",
    "_read_picture": "bad_images.csv, a list for people that no stage reads",
    "_add_values": "a list of files that cannot be used, which is raised",
    "_labelled_row": "a list of rows that cannot be used, which is raised",
    "_json_lines": "a list of rows that cannot be used, which is raised",
    "_entry": "`tailproof index`, which is no stage",
    "_answer": "an error, in the process that asked",
    "__getitems__": "an error, in the process that asked",
    "_build_transform": "the message of albumentations or torchvision, in a sentence",
    "_failures": "the message of albumentations or torchvision, in a sentence",
    "pooled": "a warning while the rules are read, which no stage writes",
    "read_ledger": "a failing audit, which writes no result",
    "_guarded": "a failing audit, which writes no result",
    "broken_invariants": "a failing audit, which writes no result",
    "_parse": "a mistake in a configuration, which is raised",
    "_read": "a module or a shard that cannot be read, which is raised",
    "_sentences": "a failing audit, which writes no result",
    "_differences_of_page": "a failing audit, which writes no result",
    "_difference": "a failing audit, which writes no result",
}
"""Functions that take the text of one of the package's errors, and where it ends."""


CAUGHT = ERRORS | {"Exception", "KeyError", "LookupError", "ValidationError", "ValueError"}
"""What a handler catches that the package raised."""


def test_no_result_holds_the_text_of_an_error():
    """It is not in the code digest: a result stores the error's class or a sentence of its own."""
    holding = [
        f"{relative(path)}, line {handler.lineno}"
        for path in (*MODULES, *SCRIPTS)
        for function in ast.walk(parsed(path))
        if isinstance(function, ast.FunctionDef) and function.name not in TEXT_OF_AN_ERROR
        for handler in ast.walk(function)
        if isinstance(handler, ast.ExceptHandler)
        and CAUGHT & {getattr(node, "id", "") for node in ast.walk(handler.type or handler)}
        and texts_of(handler)
    ]
    assert not holding


def texts_of(handler: ast.ExceptHandler) -> list[ast.Name]:
    """Where a handler uses its error but for raising, for a log, its class or an attribute."""
    harmless = {id(node) for node in wordings(handler)}
    for node in ast.walk(handler):
        if isinstance(node, ast.Raise | ast.Attribute):
            harmless |= {id(part) for part in ast.iter_child_nodes(node)}
        elif isinstance(node, ast.Call) and getattr(node.func, "id", "") == "type":
            harmless |= {id(part) for part in node.args}
    names = (node for node in ast.walk(handler) if isinstance(node, ast.Name))
    return [node for node in names if node.id == handler.name and id(node) not in harmless]


def test_the_runtime_reaches_nothing_that_makes_a_result():
    """What a stage reaches through it alone would be in no digest."""
    small = {"digests", "extensions", "files", "project", "resource_limits"}
    small |= {"untrusted_files", "untrusted_text"}
    for path in sorted((SOURCES / "runtime").rglob("*.py")):
        rooms = {name.split(".")[1] for name in closure(path) if name.startswith("tailproof.")}
        assert rooms <= small, relative(path)


def stage_modules() -> dict[str, set[str]]:
    return {path.stem: set(closure(path)) for path in SCRIPTS}


def test_a_stage_reaches_its_own_slice_of_the_configuration():
    """An option of the report must not train every expert again."""
    sections = {"data", "recipe", "calibration", "evaluation", "report", "experiment", "load"}
    sections |= {"guarantees"}
    own = {
        "prepare": {"data"},
        "split": {"data"},
        "shard": {"data"},
        "manifest": {"data"},
        "shortcut_probe": set(),
        "preflight": {"recipe"},
        "train": {"recipe"},
        "promote": {"recipe"},
        "selection": {"recipe"},
        "winner": {"recipe"},
        "infer": {"recipe"},
        "calibrate": {"calibration"},
        "export": set(),
        "evaluate": {"evaluation"},
        "guarantee": {"evaluation", "guarantees"},
        "teach": {"evaluation"},
        "diagnose": {"recipe"},
        "card": {"evaluation"},
        "inspect": {"evaluation"},
    }
    reached = {
        stage: {name for name in sections if f"tailproof.config.{name}" in modules}
        for stage, modules in stage_modules().items()
        if stage in own
    }
    assert {stage: found - own[stage] for stage, found in reached.items()} == {
        stage: set() for stage in own
    }


def test_the_readers_of_sources_belong_to_the_stages_that_open_a_source():
    readers = {
        f"tailproof.{'.'.join(path.relative_to(SOURCES).with_suffix('').parts)}"
        for path in (SOURCES / "data" / "sources").rglob("*.py")
        if path.name != "__init__.py"
    }
    reached = {stage: readers & modules for stage, modules in stage_modules().items()}
    assert {stage for stage, found in reached.items() if found} == {"prepare", "shard", "context"}
    assert all(reached[stage] == readers for stage in ("prepare", "shard"))


def rules(path: Path) -> dict[str, list[str]]:
    """The directives of each rule of a file, in their order."""
    found: dict[str, list[str]] = {}
    indent, directives = None, []
    for line in path.read_text().splitlines():
        head = re.match(r"( *)(?:rule|checkpoint) (\w+):", line)
        if head:
            indent, directives = len(head[1]) + 4, found.setdefault(head[2], [])
        elif line.strip() and indent is not None:
            depth = len(line) - len(line.lstrip())
            directive = re.match(r" *(\w+):", line)
            if depth == indent and directive:
                directives.append(directive[1])
            elif depth < indent:
                indent = None
    return found


@pytest.mark.parametrize("path", RULE_FILES, ids=relative)
def test_the_directives_of_every_rule_stand_in_order(path):
    for name, directives in rules(path).items():
        known = [directive for directive in directives if directive in DIRECTIVES]
        assert known == [directive for directive in DIRECTIVES if directive in known], name
        if "script" in known:
            assert set(known) == set(DIRECTIVES), f"{name} lacks {set(DIRECTIVES) - set(known)}"


def test_every_rule_is_seen():
    count = sum(len(re.findall(r"^ *rule ", path.read_text(), flags=re.M)) for path in RULE_FILES)
    assert sum(len(rules(path)) for path in RULE_FILES) == count > 5


def own_texts() -> list[Path]:
    return [
        path
        for path in sorted(ROOT.rglob("*"))
        if path.is_file()
        and path.suffix in TEXTS
        and not any(part in SKIPPED or "cache" in part for part in path.relative_to(ROOT).parts)
        and ".egg-info" not in str(path)
    ]


def test_no_file_knows_this_machine_or_a_registry():
    machine = re.compile(
        r"(?<![\w.])/(?:work|root|home|Users|mnt|opt)/\w"
        r"|\.\./shared|pypi\.org|pythonhosted|registry\.npmjs|conda\.anaconda\.org"
    )
    files = [path for path in own_texts() if path != Path(__file__)]
    assert len(files) > 50
    found = {relative(path): machine.findall(path.read_text(errors="replace")) for path in files}
    assert {name: hits for name, hits in found.items() if hits} == {}


def test_every_direct_dependency_is_declared_and_pinned():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    required = project["dependencies"] + project["optional-dependencies"]["dev"]
    names = {re.match(r"[\w-]+", line)[0].lower() for line in required}
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = [line for line in lines if not line.startswith("#")]
    assert all(re.fullmatch(r"[a-z0-9-]+==[0-9][\w.]*", pin) for pin in pins), "no hashes, no tags"
    assert names <= {pin.split("==")[0] for pin in pins}
    assert {"torch==2.13.0", "torchvision==0.28.0", "albumentations==2.0.8"} <= set(pins)


def test_the_version_is_the_same_everywhere():
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert f"\nversion: {version}\n" in (ROOT / "CITATION.cff").read_text()
    for path in (ROOT / "envs").glob("*.sh"):
        assert f"tailproof=={version}\n" in path.read_text(), path.name
