"""A Python that has imported other people's packages; each command runs in a fork of it.

Importing Snakemake, pandas or torch takes longer than most commands. A fork runs the same code as
``python -m MODULE``, and imports this package from the environment that it is given.
"""

import atexit
import gc
import json
import os
import runpy
import subprocess
import sys
import tempfile
from functools import cache
from importlib import import_module
from pathlib import Path

PACKAGES = (
    "jinja2",
    "matplotlib.figure",
    "pandas",
    "pyarrow.parquet",
    "pydantic",
    "snakemake.cli",
    "tailproof.torchvision_stub",  # lets timm be imported
    "timm",
)


def run_module(
    folder: Path, environment: dict[str, str], module: str, *arguments: str
) -> subprocess.CompletedProcess:
    """Run a module in a folder, and return what it printed and its exit code."""
    with tempfile.TemporaryDirectory() as outputs:
        out, err = Path(outputs, "out"), Path(outputs, "err")
        texts = [str(folder), str(out), str(err), module, *map(str, arguments)]
        code = _ask(json.dumps([environment, *texts]))
        return subprocess.CompletedProcess(
            [module, *arguments], code, out.read_text(), err.read_text()
        )


@cache
def _server() -> subprocess.Popen:
    server = subprocess.Popen(
        [sys.executable, "-m", "tests.warm_python"],
        cwd=Path(__file__).resolve().parents[1],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    atexit.register(server.communicate)  # it ends with its input
    return server


def _ask(order: str) -> int:
    server = _server()
    try:
        print(order, file=server.stdin, flush=True)
        return int(server.stdout.readline())
    except BaseException:  # the time limit of a test: its answer is not the next one's
        server.kill()
        _server.cache_clear()
        raise


def _serve() -> None:
    for name in PACKAGES:
        import_module(name)
    # Each fork imports the package of its own environment; what the stub declares stays alive.
    own = [sys.modules.pop(name) for name in list(sys.modules) if name.split(".")[0] == "tailproof"]
    assert own
    gc.freeze()
    for order in sys.stdin:
        if (fork := os.fork()) == 0:
            _run(*json.loads(order))
        _, status = os.waitpid(fork, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def _run(environment, folder, out, err, module, *arguments) -> None:
    for number, path in enumerate((os.devnull, out, err)):
        flags = os.O_RDONLY if number == 0 else os.O_WRONLY | os.O_CREAT
        os.dup2(os.open(path, flags), number)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    own = filter(None, environment.get("PYTHONPATH", "").split(os.pathsep))
    sys.path[:1] = [folder, *own]
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
    sys.exit()


if __name__ == "__main__":
    _serve()
