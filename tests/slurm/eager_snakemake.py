"""Snakemake that asks for the state of its Slurm jobs every second.

The plugin asks less and less often while no job ends, for the good of a cluster. Each test would
wait for its next question, longer than for the job.
"""

import sys

from snakemake.cli import main
from snakemake_executor_plugin_slurm import Executor

Executor.next_seconds_between_status_checks = property(lambda _: 1, lambda *_: None)

if __name__ == "__main__":
    sys.exit(main())
