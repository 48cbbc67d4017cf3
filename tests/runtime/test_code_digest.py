import ast
import subprocess
import sys
from importlib.metadata import version

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailproof.project import PIPELINE as ROOT
from tailproof.runtime.code_digest import (
    RUNTIME,
    CodeRead,
    closure,
    code_digest,
    packages,
    runtime_digest,
)
from tailproof.runtime.errors import TailproofError

SOURCES = ROOT / "src"
BELOW_RUNTIME = {
    "tailproof.files",
    "tailproof.digests",
    "tailproof.extensions",
    "tailproof.project",
    "tailproof.resource_limits",
    "tailproof.untrusted_files",
    "tailproof.untrusted_text",
}  # all that runtime may import

SCRIPT = '''"""The script."""

from tailproof.training import loop


def main(rate=0.1):
    """Train."""
    text = f"{rate!r:>{8}} {{}} {rate=}" "tail"
    for step in range(3):  # a few
        print(text, [step, *[1, 2]], {"a": None, **{}}, sep="")
    return loop.run(rate)


if __name__ == "__main__":
    main()
'''

PROJECT = {
    "constraints.txt": (
        "# pinned\nnumpy==2.4.6\nmatplotlib==3.11.2\nopencv-python-headless==5.0.0.93\n"
    ),
    "workflow/scripts/train.py": SCRIPT,
    "src/tailproof/__init__.py": '"""The package."""\n',
    "src/tailproof/core/__init__.py": "",
    "src/tailproof/core/errors.py": "class Oops(Exception):\n    pass\n",
    "src/tailproof/losses.py": "TAU = 1.0\n",
    "src/tailproof/training/__init__.py": '"""Training."""\n',
    "src/tailproof/training/loop.py": (
        "import numpy\n\n\ndef run(rate):\n    from ..losses import TAU\n\n    return TAU * rate\n"
    ),
    "src/tailproof/report/__init__.py": "from tailproof.core.errors import Oops\n",
    "src/tailproof/report/page.py": "WIDTH = 3\n",
}


@pytest.fixture
def project(tmp_path):
    for name, text in PROJECT.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def reached(project, script="workflow/scripts/train.py"):
    return list(closure(project / script, project))


def digest(project, script="train"):
    return code_digest(project / f"workflow/scripts/{script}.py", project)


def test_closure_follows_imports_and_nothing_else(project):
    assert reached(project) == [
        "__main__",
        "tailproof",
        "tailproof.losses",
        "tailproof.training",
        "tailproof.training.loop",
    ]


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("import tailproof.report.page", {"report", "report.page", "core", "core.errors"}),
        ("import tailproof.report.page as p", {"report", "report.page", "core", "core.errors"}),
        ("from tailproof.core import errors", {"core", "core.errors"}),
        ("from tailproof.core.errors import Oops as O", {"core", "core.errors"}),
        ("from tailproof import core, losses", {"core", "losses"}),
        ("from tailproof.core import *", {"core", "core.errors"}),
        ("if x:\n    import tailproof.losses", {"losses"}),
        ("def f():\n    import tailproof.losses", {"losses"}),
        ("class A:\n    from tailproof import losses", {"losses"}),
        ("from typing import TYPE_CHECKING as T\nif T:\n    import tailproof.losses", {"losses"}),
        ("run(['-m', 'tailproof.losses'])", {"losses"}),
        ("print('losses', 'tailproof losses')", None),
        ("import numpy.core, email, losses", None),
        ("from . import losses", None),
        ("from tailproof.nowhere import thing", set()),
    ],
)
def test_every_way_to_import(project, statement, expected):
    (project / "workflow/scripts/train.py").write_text(statement + "\n")
    names = {f"tailproof.{name}" for name in expected or ()}
    package = {"tailproof"} if expected is not None else set()
    assert set(reached(project)) == {"__main__"} | package | names


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("from . import loop", "tailproof.training.loop"),
        ("from .loop import run", "tailproof.training.loop"),
        ("from ..core.errors import Oops", "tailproof.core.errors"),
        ("from .. import losses", "tailproof.losses"),
        ("from .loop import *", "tailproof.training.loop"),
    ],
)
@pytest.mark.parametrize("module", ["training/__init__.py", "training/other.py"])
def test_relative_imports(project, module, statement, expected):
    (project / "src/tailproof" / module).write_text(statement + "\n")
    (project / "workflow/scripts/train.py").write_text("import tailproof.training.other\n")
    (project / "src/tailproof/training/other.py").touch()
    assert expected in reached(project)


def test_a_starred_name_stands_for_every_module_below(project):
    (project / "src/tailproof/report/tables").mkdir()
    (project / "src/tailproof/report/tables/__init__.py").write_text("")
    (project / "src/tailproof/report/tables/wide.py").write_text("from tailproof import losses\n")
    script = project / "workflow/scripts/train.py"
    script.write_text('MODULES = "tailproof.report.*"\n')
    below = {"", ".page", ".tables", ".tables.wide"}
    reached = closure(script, project)
    assert {f"tailproof.report{name}" for name in below} <= set(reached)
    assert "tailproof.losses" in reached
    assert "tailproof.training.loop" not in reached
    before = code_digest(script, project)
    (project / "src/tailproof/report/tables/narrow.py").write_text("WIDTH = 1\n")
    assert code_digest(script, project) != before
    script.write_text('MODULES = "tailproof.report"\n')
    assert "tailproof.report.page" not in closure(script, project)


def test_cycles_packages_without_init_and_neighbours(project):
    (project / "src/tailproof/losses.py").write_text("import tailproof.training.loop\n")
    (project / "src/tailproof/training/__init__.py").unlink()
    (project / "workflow/scripts/shared.py").write_text("import train\n")
    (project / "workflow/scripts/train.py").write_text("import shared, tailproof.training.loop\n")
    expected = ["__main__", "shared", "tailproof", "tailproof.losses", "tailproof.training.loop"]
    assert reached(project) == expected


def test_a_script_that_is_called_like_a_module_of_python_is_not_what_others_import(project):
    (project / "workflow/scripts/inspect.py").write_text("import tailproof.losses\n")
    (project / "src/tailproof/training/loop.py").write_text("import inspect\n")
    assert "inspect" not in reached(project)


SAME = [
    ("# a few", "# many"),
    ('"""Train."""', '"""Train for ever.\n\n    And on.\n    """'),
    ('    """Train."""\n', ""),
    ('"""The script."""\n', ""),
    ("print(text,", "print(\n            text,\n           "),
    ("\n\n\ndef", "\n\n# note\n\n\n\ndef"),
    ('"__main__"', "'__main__'"),
    ("rate=0.1", "rate=1e-1"),
    ("return loop.run(rate)", "return (loop.run((rate)))"),
    ('sep=""', 'sep=u""'),
]
DIFFERENT = [
    ("rate=0.1", "rate=0.2"),
    ("range(3)", "range(3.0)"),
    ("range(3)", "range(True)"),
    ('sep=""', 'sep=" "'),
    ('sep=""', 'sep=b""'),
    ('sep=""', "sep=None"),
    ("rate!r", "rate!s"),
    ('"tail"', '"tale"'),
    ("[step, *[1, 2]]", "[step, [1, 2]]"),
    ("[step, *[1, 2]]", "(step, *[1, 2])"),
    ('{"a": None, **{}}', '{"a": None, None: {}}'),
    ("loop.run(rate)", "loop.ran(rate)"),
    ("import loop", "import loop as lp"),
    ("== ", "!= "),
]


@pytest.mark.parametrize(("old", "new"), SAME)
def test_an_edit_without_meaning_keeps_the_digest(project, old, new):
    before = digest(project)
    (project / "workflow/scripts/train.py").write_text(SCRIPT.replace(old, new))
    assert SCRIPT.replace(old, new) != SCRIPT
    assert digest(project) == before


@pytest.mark.parametrize(("old", "new"), DIFFERENT)
def test_an_edit_with_meaning_changes_the_digest(project, old, new):
    before = digest(project)
    (project / "workflow/scripts/train.py").write_text(SCRIPT.replace(old, new))
    assert SCRIPT.replace(old, new) != SCRIPT
    assert digest(project) != before


WORDED = """import logging

from tailproof.training import loop

log = logging.getLogger(__name__)


def check(value, rows, logger):
    if value < 0:
        raise TailproofError(f"value is {value:.2f}, expected more")
    if rows is None:
        raise errors.NotThere("no rows", value, hint="add one") from None
    try:
        log.info("%d rows of %s", len(rows), rows[0])
    except (LookupError, OSError) as error:
        logger.warning("%s: %s", value, error)
        raise unreadable("rows", error) from error
    if len(rows) > 9:
        raise SystemExit(3)
    if len(rows) > 8:
        raise OSError(28, "full")
    print("checked", rows)
    rows.error("kept")
    return [TailproofError(f"built of {value}"), ValueError("too much")]
"""
REWORDED = [
    ('f"value is {value:.2f}, expected more"', '"expected more"'),
    ('f"value is {value:.2f}, expected more"', "say(value, loop.TAU)"),
    ('f"value is {value:.2f}, expected more"', ""),
    ('"no rows", value, hint="add one"', '"nothing", hint="add some"'),
    ('"%d rows of %s", len(rows), rows[0]', '"there are %d", len(rows)'),
    ('"%s: %s", value, error', '"%s", error, exc_info=True'),
    ('"rows", error)', '"the rows", error)'),
    ('f"built of {value}"', '"run python -m tailproof.losses"'),
]
REPROGRAMMED = [
    ('TailproofError(f"value', 'Interrupted(f"value'),
    ("errors.NotThere", "errors.NotHere"),
    ("from None", "from value"),
    (" from None", ""),
    ("value < 0", "value <= 0"),
    ("log.info", "log.debug"),
    ("logger.warning", "rows.warning"),
    ("unreadable(", "readable("),
    ("SystemExit(3)", "SystemExit(4)"),
    ("OSError(28", "OSError(13"),
    ('"checked"', '"tested"'),
    ('rows.error("kept")', 'rows.error("dropped")'),
    ('TailproofError(f"built', 'LookupError(f"built'),
    ('"too much"', '"too many"'),
]


@pytest.mark.parametrize(("old", "new"), REWORDED)
def test_another_wording_keeps_the_digest_and_what_is_reached(project, old, new):
    script = project / "workflow/scripts/train.py"
    script.write_text(WORDED)
    before, modules = digest(project), reached(project)
    assert WORDED.count(old) == 1
    script.write_text(WORDED.replace(old, new))
    assert (digest(project), reached(project)) == (before, modules)


@pytest.mark.parametrize(("old", "new"), REPROGRAMMED)
def test_what_an_error_or_a_log_line_does_changes_the_digest(project, old, new):
    script = project / "workflow/scripts/train.py"
    script.write_text(WORDED)
    before = digest(project)
    assert WORDED.count(old) == 1
    script.write_text(WORDED.replace(old, new))
    assert digest(project) != before


def test_the_runtime_is_not_followed_and_has_a_digest_of_its_own(project):
    script = project / "workflow/scripts/train.py"
    script.write_text("from tailproof import runtime\nfrom tailproof.runtime.job import job\n")
    before, nothing = digest(project), runtime_digest(project)
    folder = project / "src/tailproof/runtime"
    folder.mkdir()
    (folder / "__init__.py").write_text("import scipy\n")
    (folder / "job.py").write_text("from tailproof import losses\n\nlog.info('start')\n")
    first = runtime_digest(project)
    assert first != nothing
    assert digest(project) == before
    assert reached(project) == ["__main__", "tailproof"]
    assert packages(script, project) == {}
    (folder / "job.py").write_text("from tailproof import losses\n\nlog.info('begin')  # now\n")
    assert runtime_digest(project) == first
    (folder / "job.py").rename(folder / "jobs.py")
    moved = runtime_digest(project)
    assert moved != first
    (folder / "jobs.py").write_text("from tailproof import report\n")
    assert runtime_digest(project) not in (first, moved)
    assert digest(project) == before
    script.write_text("import tailproof.runtimes\n")
    (project / "src/tailproof/runtimes.py").write_text("import numpy\n")
    assert "tailproof.runtimes" in reached(project), "only the package of that very name"


def test_modules_count_when_reached_and_only_then(project):
    before = digest(project)
    (project / "src/tailproof/report/page.py").write_text("WIDTH = 4\n")
    (project / "src/tailproof/training/new.py").write_text("x = 1\n")
    assert digest(project) == before
    (project / "src/tailproof/losses.py").write_text("TAU = 1.0  # as published\n")
    assert digest(project) == before
    (project / "src/tailproof/losses.py").write_text("TAU = 2.0\n")
    changed = digest(project)
    assert changed != before
    (project / "src/tailproof/__init__.py").write_text("import os\n")
    assert digest(project) not in (before, changed)


def test_moving_a_module_changes_the_digest_and_moving_the_project_does_not(project):
    before = digest(project)
    moved = project.rename(project.with_name("elsewhere"))
    assert digest(moved) == before
    (moved / "workflow/scripts/train.py").rename(moved / "workflow/scripts/fit.py")
    assert code_digest(moved / "workflow/scripts/fit.py", moved) == before
    (moved / "workflow/scripts/fit.py").write_text(SCRIPT.replace("import loop", "import lap"))
    (moved / "src/tailproof/training/loop.py").rename(moved / "src/tailproof/training/lap.py")
    assert code_digest(moved / "workflow/scripts/fit.py", moved) != before


def test_data_files_of_a_reached_package_count_byte_by_byte(project):
    (project / "workflow/scripts/report.py").write_text("import tailproof.report.page\n")
    before, training = digest(project, "report"), digest(project)
    template = project / "src/tailproof/report/templates/page.html"
    template.parent.mkdir()
    template.write_text("<p>")
    first = digest(project, "report")
    assert first != before
    template.write_text("<p> ")
    assert digest(project, "report") not in (before, first)
    assert digest(project) == training
    template.unlink()
    (project / "src/tailproof/report/__pycache__").mkdir()
    (project / "src/tailproof/report/__pycache__/page.pyc").write_bytes(b"x")
    assert digest(project, "report") == before


def test_a_package_s_version_counts_where_it_is_imported_and_nowhere_else(project):
    (project / "workflow/scripts/report.py").write_text("import matplotlib.pyplot, os\n")
    lock = project / "constraints.txt"
    training, report = digest(project), digest(project, "report")
    assert packages(project / "workflow/scripts/train.py", project) == {"numpy": "2.4.6"}
    assert packages(project / "workflow/scripts/report.py", project) == {"matplotlib": "3.11.2"}
    lock.write_text(lock.read_text().replace("3.11.2", "3.11.3"))
    assert digest(project) == training
    assert digest(project, "report") != report
    lock.write_text("# all new\n" + lock.read_text().replace("2.4.6", "2.5"))
    assert digest(project) != training


def test_an_import_by_another_name_finds_its_package(project):
    (project / "src/tailproof/losses.py").write_text("def f():\n    import cv2\n")
    found = packages(project / "workflow/scripts/train.py", project)
    assert found == {"numpy": "2.4.6", "opencv-python-headless": "5.0.0.93"}


def test_a_package_without_a_version_is_named(project):
    (project / "src/tailproof/losses.py").write_text("import scipy.special\n")
    with pytest.raises(TailproofError, match=r"constraints\.txt.*'scipy'"):
        digest(project)


def test_without_constraints_the_installed_versions_count(project):
    (project / "constraints.txt").unlink()
    script = project / "workflow/scripts/train.py"
    assert packages(script, project) == {"numpy": version("numpy")}


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (b"x = 1\ndef f(:\n", r"losses\.py\b.*\bline 2\b"),
        (b"x = 1\0", r"losses\.py\b.*\bPython\b"),
        (b"# \xff\nx = '\xff'\n", r"losses\.py\b.*\bPython\b"),
        (b"  x = 1\n", r"losses\.py\b.*\bline 1\b.*unexpected indent"),
    ],
)
def test_broken_code_is_named_with_its_line(project, source, expected):
    (project / "src/tailproof/losses.py").write_bytes(source)
    with pytest.raises(TailproofError, match=expected):
        digest(project)


def test_a_missing_script_is_named(project):
    with pytest.raises(TailproofError, match=r"absent\.py\b.*No such file"):
        closure(project / "absent.py", project)


def test_without_a_checkout_the_installed_package_counts(tmp_path):
    script = tmp_path / "script.py"
    script.write_text("import tailproof.files\n")
    assert closure(script, tmp_path) == closure(script)


def test_the_digest_is_the_same_on_every_python(project):
    """The value was computed by Python 3.11.7, 3.12.1 and 3.13.0."""
    assert digest(project) == ("2a891cf3e0214b1e73ef2db638688b403003dc934ea86d6214ed4879ab16083b")


LINES = SCRIPT.splitlines(keepends=True)


@given(
    st.lists(
        st.tuples(
            st.sampled_from([n for n, line in enumerate(LINES) if not line.strip() or n == 0]),
            st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Zl", "Zp"])),
        ),
        max_size=5,
    )
)
def test_comments_anywhere_between_statements_keep_the_digest(tmp_path_factory, comments):
    lines = list(LINES)
    for position, text in comments:
        lines[position] = f"# {text}\n" + lines[position]
    folder = tmp_path_factory.mktemp("comments")
    (folder / "plain.py").write_text(SCRIPT)
    (folder / "noted.py").write_text("".join(lines), encoding="utf-8")
    assert code_digest(folder / "plain.py") == code_digest(folder / "noted.py")


ONE_STATEMENT = {
    "raise TailproofError({})": True,
    "raise KeyError({}) from None": True,
    "raise unknown('x', name={})": True,
    "log.info('%s', {})": True,
    "logger.exception({})": True,
    "found = Interrupted({})": True,
    "raise SystemExit({})": False,
    "found = KeyError({})": False,
    "print({})": False,
    "logs.info({})": False,
    "log.setLevel({})": False,
    "return {}": False,
    "if {}: raise TailproofError('x')": False,
    "raise {}": False,
}


@given(st.sampled_from(list(ONE_STATEMENT)), st.text(max_size=20), st.text(max_size=20))
def test_texts_count_exactly_where_they_are_more_than_wording(
    tmp_path_factory, statement, one, other
):
    script = tmp_path_factory.mktemp("texts") / "script.py"
    digests = set()
    for text in (one, other):
        script.write_text(f"def run():\n    {statement.format(ascii(text))}\n")
        digests.add(code_digest(script))
    assert (len(digests) == 1) == (ONE_STATEMENT[statement] or one == other)


VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=20),
    st.binary(max_size=20),
)


@given(VALUES, VALUES)
def test_constants_have_equal_digests_exactly_when_they_are_equal(tmp_path_factory, one, other):
    folder = tmp_path_factory.mktemp("constants")
    digests = []
    for value in (one, other):
        (folder / "script.py").write_text(f"x = {value!a}\n")
        digests.append(code_digest(folder / "script.py"))
    same = type(one) is type(other) and repr(one) == repr(other)
    assert (digests[0] == digests[1]) == same


def test_what_python_really_loads_lies_in_the_closure(tmp_path):
    """Each module without torch is imported in a fresh interpreter and its closure compared."""
    names = [
        ".".join(path.relative_to(SOURCES).with_suffix("").parts)
        for folder in ("provenance", "calibration", "evaluation")
        for path in sorted((SOURCES / "tailproof" / folder).rglob("*.py"))
        if path.name != "__init__.py"
    ]
    program = (
        "import importlib, json, sys\n"
        f"for name in {names!r}:\n"
        "    for old in [m for m in sys.modules if m.startswith('tailproof')]:\n"
        "        del sys.modules[old]\n"
        "    importlib.import_module(name)\n"
        "    print(json.dumps([m for m in sys.modules if m.startswith('tailproof')]))\n"
    )
    environment = {"PYTHONPATH": str(SOURCES), "PATH": ""}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
    )
    script = tmp_path / "script.py"
    for name, line in zip(names, done.stdout.splitlines(), strict=True):
        script.write_text(f"import {name}\n")
        loaded = {each for each in ast.literal_eval(line) if not each.startswith(RUNTIME)}
        assert loaded - BELOW_RUNTIME <= set(closure(script)), name


def test_a_script_that_imports_all_reaches_all(tmp_path):
    modules = [
        ".".join(path.relative_to(SOURCES).with_suffix("").parts).removesuffix(".__init__")
        for path in sorted(SOURCES.rglob("*.py"))
    ]
    script = tmp_path / "all.py"
    script.write_text("".join(f"import {name}\n" for name in modules))
    results = {name for name in modules if not name.startswith(RUNTIME)}
    assert set(modules) - results, "the runtime is left out"
    assert set(closure(script)) == results | {"__main__"}


@pytest.mark.parametrize("backwards", [False, True])
def test_digests_that_share_what_they_read_are_those_of_each_script_alone(backwards):
    scripts = sorted((ROOT / "workflow/scripts").glob("*.py"), reverse=backwards)
    assert len(scripts) > 20
    read = CodeRead()
    for script in scripts:
        assert code_digest(script, read=read) == code_digest(script), script.name
