"""The conda environments hold what their stages import, at the versions of constraints.txt."""

import ast
import re
import sys
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import yaml

from tailproof.runtime.code_digest import closure

ROOT = Path(__file__).resolve().parents[1]
PINS = dict(
    line.split("==") for line in (ROOT / "constraints.txt").read_text().split() if "==" in line
)
RULE = re.compile(
    r'rule (\w+):.*?conda:\s+"\.\./envs/(\w+)\.yaml"'
    r'.*?script:\s+"\.\./workflow/scripts/(\S+?)\.py"',
    re.DOTALL,
)


def scripts_of(rule: str, script: str) -> list[str]:
    """The scripts of a rule: one, or one for networks and one for heads."""
    return [script] if script != "{params.script}" else [rule, f"{rule}_head"]


RULES = [
    (env, f"{name}.py")
    for path in sorted((ROOT / "rules").glob("*.smk"))
    for rule, env, script in RULE.findall(path.read_text())
    for name in scripts_of(rule, script)
]


def packages(env: str) -> dict[str, str]:
    found = yaml.safe_load((ROOT / "envs" / f"{env}.yaml").read_text())["dependencies"]
    return dict(line.split("==") for line in found[-1]["pip"])


@cache
def imported_by(file: Path) -> set[str]:
    """The packages that a file imports."""
    names = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names.add(node.module.split(".")[0])
    return names - set(sys.stdlib_module_names) - {"tailproof"}


@pytest.fixture(scope="module")
def distributions():
    """The distribution that each package is from."""
    known = packages_distributions()
    return {name: found[0].lower().replace("_", "-") for name, found in known.items()}


@pytest.mark.parametrize("env", sorted({env for env, _ in RULES}))
def test_versions_are_those_of_the_constraints(env):
    assert packages(env).items() <= PINS.items()


def test_every_script_has_an_environment():
    scripts = {path.name for path in (ROOT / "workflow" / "scripts").glob("*.py")}
    assert {script for _, script in RULES} == scripts


@pytest.mark.parametrize(("env", "script"), RULES)
def test_an_environment_holds_what_its_scripts_import(env, script, distributions):
    runtime = (ROOT / "src" / "tailproof" / "runtime").glob("*.py")
    reached = closure(ROOT / "workflow" / "scripts" / script, ROOT).values()
    imported = set().union(*map(imported_by, [*reached, *runtime]))
    assert {distributions[name] for name in imported} <= set(packages(env))
