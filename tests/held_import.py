"""Hold a process in the middle of its start, so that no clock decides when it is signalled."""

from pathlib import Path

SITECUSTOMIZE = """\
import os
import sys
import time


class Hold:
    def find_spec(self, name, path=None, target=None):
        if not ({condition}):
            return
        life = os.environ.get("SLURM_JOB_ID", "") + "-" + os.environ.get("RANK", "")
        try:
            open(os.path.join({holds!r}, life), "x").close()
        except FileExistsError:
            return
        while True:
            time.sleep(0.05)


sys.meta_path.insert(0, Hold())
"""


def hold_imports(folder: Path, condition: str) -> Path:
    """Hold each process that has `folder` on its PYTHONPATH in an import, until a signal ends it.

    A Slurm job that was held once is not held again.

    Args:
        folder: of the file that Python runs at its start.
        condition: which imports do not end: an expression of the module's `name`, `os` and `sys`.

    Returns:
        The folder in which each process that is held leaves a file, JOB-RANK: the number of its
        Slurm job and its process rank, each empty where it has none.
    """
    holds = folder / "holds"
    holds.mkdir(parents=True)
    text = SITECUSTOMIZE.format(holds=str(holds), condition=condition)
    (folder / "sitecustomize.py").write_text(text)
    return holds
