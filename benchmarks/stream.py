"""Latency per line on a live instrument: each line as it arrives, a batch of one.

    make bench-stream

The causal model caches earlier lines and computes only the new one; the line encoder recomputes its
whole window of 16 lines. Lines of 64 pixels, full size (6 layers,
d = 256, 8 heads), fp32; each model gets the same 512 lines, of which the first 64 are warm-up.
"""

import argparse
import platform
import statistics
import time
from collections import deque
from collections.abc import Callable

import tailproof.models  # noqa: F401  # isort: skip - before timm: it registers models
import timm
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from tailproof.models.backbones.scan_lines import Stream

LINES, WARM, WINDOW, PIXELS = 512, 64, 16, 64


def windows(model: torch.nn.Module) -> Callable[[Tensor], Tensor]:
    """Return a function of the next line that looks at the last window."""
    kept = deque([torch.zeros(1, PIXELS)] * WINDOW, maxlen=WINDOW)
    model.eval()

    @torch.inference_mode()
    def step(line: Tensor) -> Tensor:
        kept.append(line)
        return model(torch.stack(list(kept), dim=1)[None])[0]

    return step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=1)
    torch.set_num_threads(parser.parse_args().threads)
    steps = {
        "scanline_causal, line by line": Stream(timm.create_model("scanline_causal")).step,
        "scanline_causal, window": windows(timm.create_model("scanline_causal")),
        "scanline_vit, window": windows(timm.create_model("scanline_vit")),
    }
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for number, line in enumerate(torch.randn(LINES, 1, PIXELS)):
        for name, step in steps.items():
            start = time.perf_counter()
            step(line)
            if number >= WARM:
                seconds[name].append(time.perf_counter() - start)
    table = Table(title="time per line, ms")
    for column in ("model", "median", "95 %"):
        table.add_column(column, justify="left" if column == "model" else "right")
    for name, values in seconds.items():
        high = statistics.quantiles(values, n=20)[-1]
        table.add_row(name, f"{1e3 * statistics.median(values):.2f}", f"{1e3 * high:.2f}")
    Console().print(table)
    print(f"{platform.machine()}, torch {torch.__version__}, {torch.get_num_threads()} threads")


if __name__ == "__main__":
    main()
