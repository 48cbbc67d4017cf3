"""Hold a process where it starts or trains, so that no clock decides when it is signalled."""

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


AFTER_EPOCH = """

class HoldTraining:
    def find_spec(self, name, path=None, target=None):
        if name == "tailproof.training.train":
            import logging

            logging.setLogRecordFactory(self.hold)

    def hold(self, *arguments, **named):
        import logging

        record = logging.LogRecord(*arguments, **named)
        if record.getMessage().startswith("epoch {epoch} "):
            from tailproof.runtime.signals import REQUEST

            try:
                open(os.path.join({holds!r}, os.environ["SLURM_JOB_ID"]), "x").close()
            except FileExistsError:
                return record
            while not REQUEST.signal:
                time.sleep(0.05)
        return record


sys.meta_path.insert(0, HoldTraining())
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


def hold_training(folder: Path, epoch: int) -> Path:
    """Hold each Slurm job that trains after an epoch, until a signal asks it to stop.

    A job that was held once is not held again.

    Args:
        folder: that of `hold_imports`, which was called before.
        epoch: number of the epoch.

    Returns:
        The folder in which each job that is held leaves a file named by its number.
    """
    holds = folder / "training"
    holds.mkdir()
    with (folder / "sitecustomize.py").open("a") as file:
        file.write(AFTER_EPOCH.format(holds=str(holds), epoch=epoch))
    return holds
