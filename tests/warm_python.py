"""A Python that has imported other people's packages; each command runs in a fork of it.

Importing Snakemake, pandas or torch takes longer than most commands. A fork runs the same code as
``python -m MODULE``, and imports this package from the environment that it is given. The jobs of
Snakemake are forks, too, and so is a Snakemake that a command starts: `CLIENT` is their Python.
"""

import atexit
import gc
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
import traceback
from contextlib import suppress
from functools import cache
from importlib import import_module
from pathlib import Path

from tailproof.runtime import code_digest
from tailproof.runtime.process import die_with_parent

PACKAGES = (
    "PIL.BmpImagePlugin",
    "PIL.GifImagePlugin",
    "PIL.ImageCms",
    "PIL.JpegImagePlugin",
    "PIL.PpmImagePlugin",
    "cv2",
    "jinja2",
    "matplotlib.figure",
    "pandas",
    "pyarrow.dataset",
    "pyarrow.pandas_compat",
    "pydantic",
    "rich.console",
    "scipy.optimize",
    "smart_open",
    "snakemake.cli",
    "snakemake.report.html_reporter",
    "tailproof.torchvision_stub",  # lets timm be imported
    "timm.optim",
    "torch.profiler",
    "typer",
)

# A command starts it as its `sys.executable`. What is not to run in a fork is run as ever.
CLIENT = """\
#!{python} -IS
import json, os, socket, sys

if not (sys.argv[1].endswith(".py") or sys.argv[1] == "-m" and sys.argv[2] in {modules}):
    os.execv({python!r}, [{python!r}, *sys.argv[1:]])
with socket.socket(socket.AF_UNIX) as connection:
    connection.connect({address!r})
    order = json.dumps([dict(os.environ), os.getcwd(), *sys.argv[1:]]).encode()
    socket.send_fds(connection, [order], [0, 1, 2])
    connection.shutdown(socket.SHUT_WR)
    answer = int(connection.makefile().read())
    sys.exit(answer if answer >= 0 else 128 - answer)
"""
# What every Snakemake and every job works out of the same files: the meaning of each, by content.
MEANINGS = {}
MODULES = ("snakemake", "tailproof.provenance.snakemake_bridge")


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
    for path in (Path(__file__).resolve().parents[1] / "src").rglob("*.py"):
        content = path.read_bytes()
        MEANINGS[content] = code_digest._meaning(content)
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
    _answer_clients(Path(out).parent)
    sys.exit(_become(environment, folder, "-m", module, *arguments))


def _answer_clients(folder: Path) -> None:
    """Have a fork of this process run what its clients ask for, until this process ends."""
    address, client = str(folder / "socket"), folder / "python"
    text = CLIENT.format(python=sys.executable, address=address, modules=MODULES)
    client.write_text(text)
    client.chmod(0o755)
    sys.executable = str(client)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address)
    listener.listen()
    if server := os.fork():
        listener.close()
        atexit.register(_end, server)
        return
    die_with_parent()
    signal.signal(signal.SIGCHLD, _reap)
    while True:
        connection, _ = listener.accept()
        if os.fork() == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            listener.close()
            _answer(connection)
        connection.close()


def _reap(*_) -> None:
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _end(process: int) -> None:
    os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)


def _answer(connection: socket.socket) -> None:
    """Run what a client asks for in a fork, and report its exit code."""
    message, streams, _, _ = socket.recv_fds(connection, 1 << 20, 3)
    while part := connection.recv(1 << 20):
        message += part
    if (fork := os.fork()) == 0:
        connection.close()
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
        os._exit(_become(*json.loads(message)))
    _, status = os.waitpid(fork, 0)
    connection.sendall(str(os.waitstatus_to_exitcode(status)).encode())
    os._exit(0)


def _keep_meanings(digests) -> None:
    ask = digests._meaning
    digests._meaning = lambda content: MEANINGS.get(content) or ask(content)


def _become(environment, folder, *arguments) -> int:
    """Run ``python ARGUMENTS`` in this process; return the exit code."""
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    first = folder if arguments[0] == "-m" else str(Path(arguments[0]).parent)
    own = filter(None, environment.get("PYTHONPATH", "").split(os.pathsep))
    sys.path[:1] = [first, *own]
    code = 0
    try:
        _keep_meanings(import_module("tailproof.runtime.code_digest"))
        if arguments[0] == "-m":
            sys.argv = list(arguments[1:])
            runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
        else:
            sys.argv = list(arguments)
            runpy.run_path(arguments[0], run_name="__main__")
    except SystemExit as stop:
        code = stop.code
        if isinstance(code, str):
            print(code, file=sys.stderr)
            code = 1
    except BaseException:
        traceback.print_exc()
        code = 1
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    return code or 0


if __name__ == "__main__":
    _serve()
