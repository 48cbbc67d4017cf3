"""Hold a process in the middle of its start, so that no clock decides when it is signalled."""

from pathlib import Path

SITECUSTOMIZE = """\
import os
import sys
import time


class Hold:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r} and os.path.isdir({holds!r}) and {condition}:
            with open(os.path.join({holds!r}, str(os.getpid())), "w"):
                pass
            while True:
                time.sleep(0.05)


sys.meta_path.insert(0, Hold())
"""


def hold_import(folder: Path, module: str, condition: str = "True") -> Path:
    """Hold each process that has `folder` on its PYTHONPATH where it imports a module.

    Args:
        folder: of the file that Python runs at its start.
        module: whose import never ends, as long as the returned folder exists when it begins.
        condition: an expression that must hold too; it may use `os` and `sys`.

    Returns:
        The folder in which each process that is held leaves a file named by its id.
    """
    holds = folder / "holds"
    holds.mkdir(parents=True)
    text = SITECUSTOMIZE.format(module=module, holds=str(holds), condition=condition)
    (folder / "sitecustomize.py").write_text(text)
    return holds
