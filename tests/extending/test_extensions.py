"""The folder `extensions` of a project: what is imported, and which stages it makes stale."""

import sys

import pytest

from tailproof.evaluation.registry import METRICS
from tailproof.extensions import import_extensions
from tailproof.losses import LOSSES
from tailproof.monitors import MONITORS
from tailproof.runtime.code_digest import closure, code_digest
from tailproof.runtime.errors import TailproofError
from tailproof.runtime.stages import script_of

LOSS = """
from typing import Literal

from extensions._powers import half
from tailproof.losses import Loss, register_loss


@register_loss
class Root(Loss):
    name: Literal["root"]

    def mean(self, functional, logits, target, class_values):
        return half(functional.cross_entropy(logits, target))
"""

METRIC = """
from tailproof.evaluation.registry import metric


@metric("largest", label="L", title="largest", meaning="Largest.", higher_is_better=True)
def largest(samples):
    return samples.weights @ samples.prediction.confidence
"""

FILES = {
    "_powers.py": "def half(value):\n    return value / 2\n",
    "largest.py": METRIC,
    "root.py": LOSS,
    "unrelated.py": "import json\n",
}


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project with extensions, as the current folder; what they register is gone afterwards."""
    registries = [(registry, dict(registry)) for registry in (LOSSES, METRICS, MONITORS)]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    folder = tmp_path / "extensions"
    folder.mkdir()
    for name, text in FILES.items():
        (folder / name).write_text(text)
    yield folder
    for name in [name for name in sys.modules if name.split(".")[0] == "extensions"]:
        del sys.modules[name]
    for registry, before in registries:
        registry.clear()
        registry.update(before)


def digests():
    return {stage: code_digest(script_of(stage)) for stage in ("train", "evaluate", "split")}


def test_every_extension_is_imported_once(project):
    import_extensions()
    import_extensions()
    assert "root" in LOSSES and "largest" in METRICS


@pytest.mark.parametrize(
    ("name", "stale"),
    [
        ("largest.py", {"evaluate"}),
        ("root.py", {"train"}),
        ("_powers.py", {"train"}),
        ("unrelated.py", set()),
    ],
)
def test_an_edit_makes_the_stages_stale_that_reach_its_registry(project, name, stale):
    before = digests()
    path = project / name
    path.write_text(f"# a comment\n{path.read_text()}")
    assert digests() == before
    path.write_text(f"{path.read_text()}\nEDITED = True\n")
    after = digests()
    assert {stage for stage in after if after[stage] != before[stage]} == stale


def test_the_closure_names_an_extension_and_what_it_imports(project):
    names = closure(script_of("train"))
    assert {"extensions.root", "extensions._powers"} <= names.keys()
    assert not {"extensions.largest", "extensions.unrelated"} & names.keys()


@pytest.mark.parametrize(
    ("text", "line", "kind"),
    [
        ("import json\nnumber = 1 / 0\n", 2, "ZeroDivisionError"),
        ("def broken(:\n", 1, "SyntaxError"),
        ("import no_such_package\n", 1, "ModuleNotFoundError"),
        (LOSS + LOSS, None, "ValueError"),
    ],
)
def test_an_extension_that_cannot_be_imported_is_named(project, text, line, kind):
    (project / "zz.py").write_text(text)
    with pytest.raises(TailproofError) as refused:
        import_extensions()
    assert f"extensions/zz.py, line {line or ''}" in str(refused.value)
    assert kind in str(refused.value)


def test_a_package_is_no_extension_unless_its_name_says_that_others_import_it(project):
    package = project / "mine"
    package.mkdir()
    (package / "__init__.py").write_text("")
    with pytest.raises(TailproofError, match=r"extensions/mine\.py, or name the folder _mine"):
        import_extensions()
    package.rename(project / "_mine")
    import_extensions()
