"""The code closure of a script: all code that it can reach, and a digest of the code's meaning.

A module belongs to a script's closure if any module of the closure imports it: at the top of a
file or lazily in a function, absolutely or relatively, under ``TYPE_CHECKING`` or not. It also
belongs if its full name appears as a string (``python -m``, `importlib.import_module`). The string
``tailproof.PACKAGE.*`` stands for every module of a package, at any depth. A package's
``__init__.py`` belongs wherever one of its modules does, because Python runs it. A file in the
project's folder `extensions` belongs if it imports a registry of the closure. The closure is found
without importing anything.

The digest covers the abstract syntax, so it ignores comments, layout, positions and docstrings
(every statement that is only a string). The syntax is serialized here rather than by `ast.dump`,
whose text differs between Python versions; the digest is the same on Python 3.11, 3.12 and 3.13.
Data files in the package of a reached module (templates) are included byte by byte. Packages that
the closure imports are included with their versions from constraints.txt.

The digest covers meaning, not wording. Text that is only for a reader is left out, so that an
error message can be improved without training every expert again. `RUNTIME`, `ERRORS`, `LOGGERS`
and `LEVELS` below list what is left out, and nothing else is:

* The arguments of raised exceptions, and of the package's own errors wherever they are built. The
  class of an error, where it is raised and under which condition stay in the digest, so code that
  catches it behaves as before. Programs read the arguments of the exceptions in `CARRIERS`; those
  arguments stay.
* The arguments of log calls. They return None, and a log is not a result.
* The modules of `tailproof.runtime`. They do not affect results. `runtime_digest` covers them for
  the record and makes nothing stale.

This is safe under three conditions, which tests/test_house.py checks in the source. What is left
out has no side effects (no walrus, await or yield, no call that changes state). No result stores
the text of an error (it stores the error's class, or a sentence of its own). The package's errors
carry only their text. Module names within left-out text are not followed: code that only words a
message affects no result.
"""

import ast
import os
import re
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from tailproof.digests import digest_of, sha256_bytes, sha256_file
from tailproof.extensions import EXTENSIONS, extension_files
from tailproof.project import PIPELINE
from tailproof.runtime.errors import TailproofError
from tailproof.runtime.meaning_store import MeaningStore
from tailproof.runtime.packages import versions_of

SOURCE = Path(__file__).resolve().parents[2]
"""The folder that holds the package: src of a checkout, or site-packages."""

SCRIPT = "__main__"
"""The script's name in its own closure, so that renaming the file changes nothing."""

DATA = {".css", ".html", ".j2", ".js", ".json", ".svg", ".txt", ".yaml"}
"""Suffixes of the data files that code reads; files that editors leave behind have others."""

RUNTIME = "tailproof.runtime"
"""The package that the digest leaves out, with all modules below it."""

REGISTRIES = {
    f"tailproof.{module}"
    for module in (
        "data.sources",
        "diagnosis.registry",
        "evaluation.registry",
        "losses",
        "monitors",
        "preflight.registry",
    )
}
"""The modules whose decorators extensions use; the closure would follow whole names."""

ERRORS = {"TailproofError", "Interrupted", "NewerSchema"}
"""The package's errors: their arguments are left out even where an error is built, not raised."""

CARRIERS = {"OSError", "StopIteration", "SystemExit"}
"""Exceptions with a status, value or number that a program reads: nothing is left out."""

LOGGERS = {"log", "logger"}
"""Names of variables that hold a logger."""

LEVELS = {"debug", "info", "warning", "error", "exception", "critical"}
"""Methods of a logger whose arguments are left out."""

_MODULE = re.compile(r"tailproof(\.[A-Za-z_]\w*)+(\.\*)?")


EVERY = "**"
"""Placeholder for the names of all modules of a package, at any depth."""


class _Import(NamedTuple):
    """``from MODULE import NAMES`` with `level` leading dots; no names for ``import MODULE``."""

    module: str
    names: tuple[str, ...] = ()
    level: int = 0


class _Meaning(NamedTuple):
    digest: str
    imports: tuple[_Import, ...]


_Places = tuple[Path, ...]


class CodeRead:
    """What was read of code and data, by path: several digests that share it read each file once.

    It notices no edit.
    """

    def __init__(self) -> None:
        self.meanings: dict[Path, _Meaning] = {}
        self.imported: dict[tuple[str, Path, _Places], dict[str, Path]] = {}
        self.resolved: dict[Path, Path] = {}
        self.data: dict[Path, dict[Path, str]] = {}


def closure(script: str | Path, root: str | Path = PIPELINE) -> dict[str, Path]:
    """Return the files of the script and of every project module it can import, by module name.

    Modules of `RUNTIME`, and modules that only they import, are not included.

    Args:
        script: a Python file; modules in the same folder are project modules too.
        root: a checkout whose folder src holds the project's packages; without that folder, the
            installed package is used.

    Raises:
        TailproofError: a file of the closure is missing or is not valid Python.
    """
    reached = _reach(Path(script), Path(root), CodeRead())
    return {name: path for name, (path, _) in sorted(reached.items())}


def code_digest(
    script: str | Path, root: str | Path = PIPELINE, read: CodeRead | None = None
) -> str:
    """Return the SHA-256 over the meaning of all code that a script can reach.

    Args:
        script: a Python file.
        root: a checkout, with packages in src and their versions in constraints.txt. Without
            these, the installed package and the installed versions are used.
        read: what earlier calls for the same root have read; this call adds to it.

    Raises:
        TailproofError: a file is missing or is not valid Python, or a package has no version.
    """
    root, read = Path(root), read or CodeRead()
    modules, source = _reach(Path(script), root, read), _source(root)
    return digest_of(
        {
            "code": {name: meaning.digest for name, (_, meaning) in modules.items()},
            "data": {
                path.relative_to(source).as_posix(): digest
                for path, digest in _data(modules, source, read)
            },
            "packages": versions_of(_packages(modules, root), root),
        }
    )


def runtime_digest(root: str | Path = PIPELINE) -> str:
    """Return the SHA-256 over the meaning of all modules of `RUNTIME`.

    Args:
        root: a checkout with the project's packages in src; without src, the installed package
            is used.

    Raises:
        TailproofError: a module cannot be read or is not valid Python.
    """
    folder = _source(Path(root)).joinpath(*RUNTIME.split("."))
    modules = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*.py")}
    return digest_of({name: _read(path).digest for name, path in sorted(modules.items())})


def packages(script: str | Path, root: str | Path = PIPELINE) -> dict[str, str]:
    """Return the version of every package that the closure imports, as it enters the digest."""
    modules = _reach(Path(script), Path(root), CodeRead())
    return versions_of(_packages(modules, Path(root)), Path(root))


def _source(root: Path) -> Path:
    """Return the folder that holds the package."""
    return root / "src" if (root / "src").is_dir() else SOURCE


def _project_names(folder: Path) -> set[str]:
    """Return the names of the project's modules in a folder; in site-packages, only the package."""
    return {"tailproof"} if folder == SOURCE else {child.stem for child in folder.iterdir()}


def _data(
    modules: dict[str, tuple[Path, _Meaning]], source: Path, read: CodeRead
) -> list[tuple[Path, str]]:
    """Return the data files in the packages of the modules, each with its SHA-256."""
    inits = [path for path, _ in modules.values() if path.name == "__init__.py"]
    files: dict[Path, str] = {}
    for folder in {path.parent for path in inits if source in path.parents}:
        if folder not in read.data:
            read.data[folder] = {path: _data_digest(path) for path in _data_files(folder)}
        files |= read.data[folder]
    return sorted(files.items())


def _data_files(folder: Path) -> Iterator[Path]:
    """Yield the data files of a package without those of its subpackages."""
    for child in folder.iterdir():
        package = (child / "__init__.py").exists()
        if package or child.name == "__pycache__" or child == PIPELINE:
            continue
        for path in [child] if child.is_file() else child.rglob("*"):
            if path.is_file() and path.suffix in DATA:
                yield path


def _packages(modules: dict[str, tuple[Path, _Meaning]], root: Path) -> set[str]:
    """Return imported top-level names that belong neither to Python nor to the project."""
    reached = {name.split(".")[0] for name in modules}
    names = {
        item.module.split(".")[0]
        for _, meaning in modules.values()
        for item in meaning.imports
        if not item.level
    }
    return names - reached - _project_names(_source(root)) - sys.stdlib_module_names


def _reach(script: Path, root: Path, read: CodeRead) -> dict[str, tuple[Path, _Meaning]]:
    """Follow imports from the script; look for modules in its folder, then under src."""
    folders = (script.parent, _source(root), Path())
    project = {EXTENSIONS}
    project.update(*(_project_names(folder) for folder in folders[:2] if folder.is_dir()))
    # Python finds its own modules first: `import inspect` is not a script of this name.
    project -= sys.stdlib_module_names
    modules = {SCRIPT: (script, _read(script))}
    _follow([SCRIPT], modules, project, folders, read)
    for path in extension_files():
        name, meaning = f"{EXTENSIONS}.{path.stem}", _read(path)
        targets = set(_targets(name, path, meaning.imports, folders))
        if targets & REGISTRIES & modules.keys():
            modules[name] = (path, meaning)
            _follow([name], modules, project, folders, read)
    return modules


def _follow(
    waiting: list[str],
    modules: dict[str, tuple[Path, _Meaning]],
    project: set[str],
    folders: _Places,
    read: CodeRead,
) -> None:
    """Add all modules that those in `waiting` can reach."""
    script = modules[SCRIPT][0].resolve()
    while waiting:
        name = waiting.pop()
        path, meaning = modules[name]
        key = (name, path, folders)
        if key not in read.imported:
            targets = dict.fromkeys(_targets(name, path, meaning.imports, folders))
            read.imported[key] = {
                target: module
                for target in targets
                if target.split(".")[0] in project and not _is_runtime(target)
                if (module := _locate(target, folders))
            }
        for target, module in read.imported[key].items():
            if target in modules:
                continue
            if module not in read.meanings:
                read.meanings[module], read.resolved[module] = _read(module), module.resolve()
            if read.resolved[module] != script:
                modules[target] = (module, read.meanings[module])
                waiting.append(target)


def _is_runtime(module: str) -> bool:
    return f"{module}.".startswith(f"{RUNTIME}.")


def _targets(name: str, path: Path, imports: Iterable[_Import], folders: _Places) -> Iterator[str]:
    """Yield every name that could be a module, each after its parent packages."""
    package = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
    for item in imports:
        base = package[: len(package) - item.level + 1] if item.level else []
        parts = base + [part for part in item.module.split(".") if part]
        for end in range(1, len(parts) + 1):
            yield ".".join(parts[:end])
        for imported in item.names:
            if imported == "*":
                yield from _submodules(".".join(parts), folders)
            elif imported == EVERY:
                yield from _modules_below(".".join(parts), folders)
            else:
                yield ".".join([*parts, imported])


def _submodules(package: str, folders: _Places) -> Iterator[str]:
    """Yield every module that ``from package import *`` could import: all in the package."""
    path = _locate(package, folders)
    if path is not None and path.name == "__init__.py":
        for child in sorted(path.parent.iterdir()):
            if child != path:
                yield f"{package}.{child.stem}"


def _modules_below(package: str, folders: _Places) -> Iterator[str]:
    """Yield every module of a package and of its subpackages."""
    path = _locate(package, folders)
    if path is not None and path.name == "__init__.py":
        for child in sorted(path.parent.rglob("*.py")):
            parts = child.relative_to(path.parent).with_suffix("").parts
            yield ".".join([package, *parts]).removesuffix(".__init__")


def _locate(name: str, folders: _Places) -> Path | None:
    # Text, not Path, since it is asked for a thousand names that are no modules.
    for folder in folders:
        stem = f"{folder}/{name.replace('.', '/')}"
        for path in (f"{stem}/__init__.py", f"{stem}.py"):
            if os.path.isfile(path):  # noqa: PTH113
                return Path(path)
    return None


def _read(path: Path) -> _Meaning:
    try:
        return _meaning(path.read_bytes())
    except OSError as error:
        raise _unreadable(path, error) from None
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None)
        where = f"{path}, line {line}" if line else str(path)
        raise TailproofError(f"{where}: not valid Python: {getattr(error, 'msg', error)}") from None


def _data_digest(path: str | Path) -> str:
    try:
        return sha256_file(path)
    except OSError as error:
        raise _unreadable(path, error) from None


def _unreadable(path: str | Path, error: OSError) -> TailproofError:
    return TailproofError(
        f"{path}, part of the workflow's code, cannot be read ({error.strerror}): restore it, or "
        "change its permissions"
    )


@cache
def _meaning(source: bytes) -> _Meaning:
    """Digest one module; cached by content, so the same process notices an edit."""
    digest, imports = _store().get(source, _digest_module)
    return _Meaning(digest, tuple(_Import(module, tuple(n), level) for module, n, level in imports))


@cache
def _store() -> MeaningStore:
    return MeaningStore(__file__)


def _digest_module(source: bytes) -> list[Any]:
    """Return the fields of the meaning of a module as plain values."""
    imports: dict[_Import, None] = {}
    text = _written(ast.parse(source), imports)
    return [sha256_bytes(text.encode()), list(imports)]


def wording(node: ast.AST) -> ast.Call | None:
    """Return the call whose arguments are left out: a raised one, or the node itself."""
    call = node.exc if isinstance(node, ast.Raise) else node
    if not isinstance(call, ast.Call):
        return None
    function = call.func
    name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
    if isinstance(node, ast.Raise):
        return call if name not in CARRIERS else None
    owner = getattr(getattr(function, "value", None), "id", "")
    return call if name in ERRORS or (owner in LOGGERS and name in LEVELS) else None


def _note_imports(node: ast.AST, imports: dict[_Import, None]) -> None:
    if isinstance(node, ast.Constant):
        if isinstance(node.value, str) and _MODULE.fullmatch(node.value):
            module = node.value.removesuffix(".*")
            imports[_Import(module, (EVERY,) if module != node.value else ())] = None
    elif isinstance(node, ast.Import):
        imports.update((_Import(alias.name), None) for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        names = tuple(alias.name for alias in node.names)
        imports[_Import(node.module or "", names, node.level)] = None


_IMPORTING = (ast.Constant, ast.Import, ast.ImportFrom)
_WORDING = (ast.Call, ast.Raise)


@cache
def _fields(kind: type[ast.AST]) -> tuple[str, ...]:
    """Return the fields of a syntax node except expression contexts and ``u`` before strings."""
    return tuple(field for field in kind._fields if field not in ("ctx", "kind"))


def _written(node: ast.AST, imports: dict[_Import, None]) -> str:
    """Serialize a syntax tree as text, fields by name, without empty fields; note its imports.

    Expression contexts (implied by position), ``u`` before strings, the arguments of calls that
    `wording` returns and the parts for which `_is_silent` is true are left out.
    """
    kind = type(node)
    if kind in _IMPORTING:
        _note_imports(node, imports)
    elif kind in _WORDING and (call := wording(node)):
        call.args, call.keywords = [], []  # safe: the tree was parsed only for this
    written = []
    for field in _fields(kind):  # type: ignore[arg-type]  # mypy takes AST.__hash__ for missing
        value = getattr(node, field, None)
        if isinstance(value, ast.AST):
            written.append(f"{field}={_written(value, imports)}")
        elif isinstance(value, list):
            if parts := [part for part in value if not _is_silent(part, kind)]:
                texts = [
                    _written(part, imports) if isinstance(part, ast.AST) else ascii(part)
                    for part in parts
                ]
                written.append(f"{field}=[{','.join(texts)}]")
        elif value is not None:
            written.append(f"{field}={value!a}")
    return f"{kind.__name__}({','.join(written)})"


def _is_silent(part: Any, parent: type[ast.AST]) -> bool:
    """Return whether a part is only a string, or an empty piece of a Python 3.12 f-string."""
    if type(part) is ast.Expr:
        return isinstance(part.value, ast.Constant) and isinstance(part.value.value, str)
    return parent is ast.JoinedStr and isinstance(part, ast.Constant) and not part.value
