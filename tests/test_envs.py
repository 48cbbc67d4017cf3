"""The conda environments hold what their stages import, at the versions of constraints.txt."""

import ast
import re
import sys
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


def imported(script: str) -> set[str]:
    """The distributions that a script and all project modules it reaches import."""
    names = set()
    runtime = (ROOT / "src" / "tailproof" / "runtime").glob("*.py")
    for file in [*closure(ROOT / "workflow" / "scripts" / script, ROOT).values(), *runtime]:
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                names |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                names.add(node.module.split(".")[0])
    known = packages_distributions()
    foreign = names - set(sys.stdlib_module_names) - {"tailproof"}
    return {known[name][0].lower().replace("_", "-") for name in foreign}


@pytest.mark.parametrize("env", sorted({env for env, _ in RULES}))
def test_versions_are_those_of_the_constraints(env):
    assert packages(env).items() <= PINS.items()


def test_every_script_has_an_environment():
    scripts = {path.name for path in (ROOT / "workflow" / "scripts").glob("*.py")}
    assert {script for _, script in RULES} == scripts


@pytest.mark.parametrize(("env", "script"), RULES)
def test_an_environment_holds_what_its_scripts_import(env, script):
    assert imported(script) <= set(packages(env))
