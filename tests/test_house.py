"""The rules of the house that can be read off the files."""

import ast
import re
import tomllib
from pathlib import Path

import pytest

from tailproof.provenance.closure import ROOT, closure

SOURCES = ROOT / "src" / "tailproof"
MODULES = sorted(SOURCES.rglob("*.py"))
RULE_FILES = [ROOT / "Snakefile", *sorted((ROOT / "rules").glob("*.smk"))]

FLOORS = [
    {"core"},
    {"runtime"},
    {"provenance"},
    {"data"},
    {"models", "losses"},
    {"training", "inference"},
    {"calibration", "sweep"},
    {"evaluation"},
    {"diagnosis"},
    {"preflight"},
    {"report", "card", "prediction"},
    {"cli"},
]
FLOOR = {room: height for height, rooms in enumerate(FLOORS) for room in rooms}

TORCH = {"torch", "timm", "torchvision"}
TORCH_MODULES = (
    "models",
    "losses",
    "training",
    "inference",
    "data.loader",
    "preflight.probe",
    "prediction",
)

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


def name_of(path: Path) -> str:
    """The module's name below the package: ``data.loader.split``, '' for the package itself."""
    parts = path.relative_to(SOURCES).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def imports(path: Path) -> set[str]:
    """Every module that a file imports anywhere; with ``from a import b`` both a and a.b."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}, line {node.lineno}: imports are absolute here"
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def belongs(name: str, rooms: tuple[str, ...]) -> bool:
    return any(name == room or name.startswith(f"{room}.") for room in rooms)


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_imports_only_go_down(path):
    room = name_of(path).split(".")[0]
    if not room:
        assert not any(name.startswith("tailproof") for name in imports(path))
        return
    for name in imports(path):
        if name.startswith("tailproof."):
            other = name.split(".")[1]
            assert other == room or FLOOR[other] < FLOOR[room], f"{room} imports {name}"


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_torch_stays_on_its_floors(path):
    if not belongs(name_of(path), TORCH_MODULES):
        assert not {name.split(".")[0] for name in imports(path)} & TORCH


@pytest.mark.parametrize(
    "room",
    [
        "core",
        "runtime",
        "provenance",
        "data",
        "calibration",
        "sweep",
        "evaluation",
        "diagnosis",
        "preflight",
        "report",
        "card",
    ],
)
def test_no_other_floor_can_reach_torch(room, tmp_path):
    script = tmp_path / "script.py"
    names = [name for name in map(name_of, MODULES) if belongs(name, (room,))]
    names = [name for name in names if not belongs(name, TORCH_MODULES)]
    script.write_text("".join(f"import tailproof.{name}\n" for name in names))
    reached = [name.removeprefix("tailproof.") for name in closure(script)]
    assert not [name for name in reached if belongs(name, TORCH_MODULES)]


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_modules_and_functions_are_short(path):
    text = path.read_text()
    assert len(text.splitlines()) <= 400
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            documented = bool(ast.get_docstring(node))
            lines = node.end_lineno - (node.body[0].end_lineno if documented else node.lineno)
            assert lines <= 60, f"{node.name} has {lines} lines"


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_no_import_is_hidden_from_the_code_closure(path):
    called = {
        node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
    }
    assert not called & {"import_module", "__import__", "exec", "run_path", "run_module"}


def stage_modules() -> dict[str, set[str]]:
    scripts = sorted((ROOT / "workflow" / "scripts").glob("*.py"))
    return {path.stem: set(closure(path)) for path in scripts}


def test_a_stage_reaches_its_own_slice_of_the_configuration():
    """An option of the report must not train every expert again."""
    sections = {"data", "recipe", "calibration", "evaluation", "report", "experiment", "load"}
    own = {
        "prepare": {"data"},
        "split": {"data"},
        "shard": {"data"},
        "manifest": {"data"},
        "probe": set(),
        "preflight": {"recipe"},
        "train": {"recipe"},
        "rung": {"recipe"},
        "promote": {"recipe"},
        "selection": {"recipe"},
        "winner": {"recipe"},
        "infer": {"recipe"},
        "calibrate": {"calibration"},
        "export": set(),
        "evaluate": {"evaluation"},
        "diagnose": {"recipe"},
        "card": {"evaluation"},
    }
    reached = {
        stage: {name for name in sections if f"tailproof.core.config.{name}" in modules}
        for stage, modules in stage_modules().items()
        if stage in own
    }
    assert {stage: found - own[stage] for stage, found in reached.items()} == {
        stage: set() for stage in own
    }


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
    found = {relative(path): machine.findall(path.read_text()) for path in files}
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
