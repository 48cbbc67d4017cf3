"""Everything that a GPU changes, in one command of under 10 minutes.

    make bench-gpu

The tests of `tests/gpu` and those of resuming, embedding and predicting, which use a GPU where
there is one; then the times of the experts of `cifar100_lt`, of features, of `tailproof predict`,
and of three large networks next to timm's training loop. Each part is a process with a limit of its
own. A part that fails or reaches its limit is in the table too, and the exit status is 1.

Not run yet: no GPU was at hand.
"""

import platform
import subprocess
import sys
import time
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).parents[1]
TESTS = ("tests/gpu", "tests/training/test_resume.py", "tests/features", "tests/predict")
PARTS = {
    "tests": ([sys.executable, "-m", "pytest", "-q", *TESTS], 180),
    "experts of cifar100_lt": ([sys.executable, "benchmarks/experts.py"], 180),
    "embedding": ([sys.executable, "benchmarks/embed.py"], 90),
    "predict": ([sys.executable, "benchmarks/predict.py"], 60),
    "large networks": ([sys.executable, "benchmarks/systems.py"], 90),
}
"""The command and the limit in seconds of each part; together they are under 10 minutes."""


def main() -> None:
    """Run all parts, print what they print, and a table at the end."""
    if not torch.cuda.is_available():
        sys.exit("no GPU is visible to torch: run `nvidia-smi`, and look at CUDA_VISIBLE_DEVICES")
    device = torch.cuda.get_device_name(0)
    table = Table(title=f"{device}, {platform.node()}, torch {torch.__version__}")
    for column in ("part", "result", "seconds"):
        table.add_column(column)
    failed = False
    for part, (command, limit) in PARTS.items():
        print(f"== {part}", flush=True)
        start = time.perf_counter()
        try:
            status = subprocess.run(command, cwd=ROOT, timeout=limit, check=False).returncode
            result = "done" if status == 0 else f"failed with status {status}"
        except subprocess.TimeoutExpired:
            result = f"stopped after {limit} s"
        failed |= result != "done"
        table.add_row(part, result, f"{time.perf_counter() - start:.0f}")
    Console().print(table)
    sys.exit(failed)


if __name__ == "__main__":
    main()
