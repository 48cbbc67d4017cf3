"""Refuses to open results that a job's rule does not declare.

Python raises the audit event ``open`` before it opens a file, and an exception in a hook prevents
it. Libraries that open files in compiled code raise no such event. Their functions in
`NATIVE_READERS` are wrapped when the library is imported, so that they raise it too. Processes
that a job forks inherit the hook.

Raw files are only noted. The audit compares them with raw.parquet, which a job need not read.
"""

import os
import sys
from collections.abc import Callable, Iterable
from functools import wraps
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

from tailproof.project import STORES, project_paths
from tailproof.runtime.errors import TailproofError

NATIVE_READERS = {
    "cv2": ("imread", "imreadmulti"),
    "pyarrow.fs": ("LocalFileSystem.open_input_file", "LocalFileSystem.open_input_stream"),
    "pyarrow.csv": ("open_csv", "read_csv"),
    "pyarrow.dataset": ("dataset", "parquet_dataset"),
    "pyarrow.feather": ("read_feather", "read_table"),
    "pyarrow.json": ("open_json", "read_json"),
    "pyarrow": ("OSFile", "input_stream", "memory_map"),
    "pyarrow.orc": ("ORCFile.__init__",),
    "pyarrow.parquet.core": (
        "ParquetDataset.__init__",
        "ParquetFile.__init__",
        "read_metadata",
        "read_schema",
    ),
    "safetensors": ("safe_open",),
}
"""Functions and methods that open a path in compiled code, by module; the path is the first
argument, or a list of paths."""

PACKAGES = tuple({f"{prefix}/lib/" for prefix in (sys.prefix, sys.base_prefix)})
"""Folders of Python's modules: files in there are opened often, and are no results."""


class DeclaredReads:
    """The results that one job may open.

    Args:
        stage: name of the stage.
        paths: the files that the job may open: its inputs, outputs and log.
        raw: the folder of the raw files, whose reads are noted; None notes none.

    Attributes:
        raw_files: the raw files that were opened, in this process.
    """

    def __init__(self, stage: str, paths: Iterable[str], raw: str | None = None) -> None:
        self.stage, self.raw_files = stage, set[str]()
        self._declared = {form for path in paths for form in _forms(path)}
        self._raw = _forms(raw) if raw else ()
        project = project_paths()
        self._results = _forms(project.results)
        self._stores = [form for store in STORES for form in _forms(str(project.experiment(store)))]

    def as_json(self) -> dict[str, Any]:
        """Return the arguments that make the same object in another process."""
        return {"stage": self.stage, "paths": sorted(self._declared)}

    def check(self, path: str) -> None:
        """Note a path that is to be opened for reading.

        Raises:
            TailproofError: it is a result that the job does not declare.
        """
        forms = _forms(path)
        if self._declared.intersection(forms):
            return
        if any(self._is_result(form) for form in forms):
            raise TailproofError(
                f"{self.stage} must not open {path}: its rule does not declare this file as an "
                "input; add it to the inputs of the rule, so that its content is on record"
            )
        if any(form == root or _is_below(form, root) for form in forms for root in self._raw):
            self.raw_files.add(_from_here(forms[0]))

    def _is_result(self, path: str) -> bool:
        """Return whether a path is a file, or a folder of files, of an experiment or a store."""
        for store in self._stores:
            if _is_below(path, store) and not Path(path).name.startswith("."):
                return Path(store, "provenance").is_dir()
        for results in self._results:
            if _is_below(path, results) and not Path(path).name.startswith("."):
                experiment = Path(path).relative_to(results).parts[0]
                return Path(results, experiment, "provenance").is_dir()
        return False


def refuse_undeclared_reads(declared: DeclaredReads) -> None:
    """From now on, let this process open only the results that are declared."""
    global _DECLARED  # noqa: PLW0603 - a hook of the interpreter cannot be removed
    if _DECLARED is None:
        sys.addaudithook(_check_open)
        sys.meta_path.insert(0, _ReaderFinder())
        for name in NATIVE_READERS.keys() & sys.modules.keys():
            _wrap_readers(sys.modules[name])
    _DECLARED = declared


def declared_reads() -> DeclaredReads | None:
    """Return what this process may open; None if it may open everything."""
    return _DECLARED


_DECLARED: DeclaredReads | None = None


def _check_open(event: str, arguments: tuple[Any, ...]) -> None:
    if event not in ("open", "os.link", "os.rename") or _DECLARED is None:
        return
    path, mode, flags = arguments[:3] if event == "open" else (arguments[0], "r", os.O_RDONLY)
    if isinstance(path, int) or flags & os.O_ACCMODE == os.O_WRONLY:
        return
    text = os.fsdecode(path)
    synced = mode is None and Path(text).is_dir()  # by os.open: a folder cannot be read that way
    if not (synced or text.startswith(PACKAGES)):
        _DECLARED.check(text)


class _ReaderFinder(MetaPathFinder):
    """Wraps the functions in `NATIVE_READERS` as soon as their module is executed."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if name not in NATIVE_READERS:
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def execute_and_wrap(module: ModuleType) -> None:
                execute(module)
                _wrap_readers(sys.modules.get(name, module))

            spec.loader.exec_module = execute_and_wrap  # type: ignore[method-assign]
        return spec


def _wrap_readers(module: ModuleType) -> None:
    for reader in NATIVE_READERS[module.__name__]:
        *owner, name = reader.split(".")
        holder: Any = getattr(module, owner[0]) if owner else module
        announced = _announced(getattr(holder, name), method=bool(owner))
        try:
            setattr(holder, name, announced)
        except TypeError:  # a class in compiled code
            setattr(module, owner[0], type(owner[0], (holder,), {name: announced}))


def _announced(read: Callable[..., Any], *, method: bool) -> Callable[..., Any]:
    """Return a function that raises the event ``open`` for its paths, then calls `read`."""

    @wraps(read, updated=())
    def announced(*args: Any, **options: Any) -> Any:
        _announce(args[1:] if method else args, options)
        return read(*args, **options)

    return announced


def _announce(args: tuple[Any, ...], options: dict[str, Any]) -> None:
    first, *others = [*args, *options.values()]
    if any(mode in ("w", "wb") for mode in others if isinstance(mode, str)):
        return
    for path in first if isinstance(first, list | tuple) else [first]:
        if isinstance(path, str | os.PathLike):
            sys.audit("open", os.fspath(path).removeprefix("file://"), "r", os.O_RDONLY)


def _forms(path: str | os.PathLike[str]) -> tuple[str, ...]:
    """Return the absolute path as it is written and with its links followed."""
    written = os.path.abspath(path)  # noqa: PTH100 - four times as fast, and called for every file
    real = os.path.realpath(written)
    return (written,) if real == written else (written, real)


def _from_here(path: str) -> str:
    """Return a path as records have it: relative to the working directory if it is below it."""
    here = Path.cwd()
    return Path(path).relative_to(here).as_posix() if Path(path).is_relative_to(here) else path


def _is_below(path: str, folder: str) -> bool:
    return path.startswith(folder + os.sep)
