"""Measures how OpenMP threads should wait for each other, alone and next to busy neighbours.

Trains the ResNet-32 of CIFAR on random pixels with two threads. Every setting is a process of its
own, because OpenMP reads its environment when it is loaded. The neighbours only count.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

SETTINGS = {
    "default": {},
    "OMP_WAIT_POLICY=PASSIVE": {"OMP_WAIT_POLICY": "PASSIVE"},
    "GOMP_SPINCOUNT=1000": {"GOMP_SPINCOUNT": "1000"},
    "GOMP_SPINCOUNT=20000": {"GOMP_SPINCOUNT": "20000"},
    "GOMP_SPINCOUNT=100000": {"GOMP_SPINCOUNT": "100000"},
}
NEIGHBOURS = (0, 2, 8)


def main() -> None:
    """Print images per second and processor time per 1,000 images."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=6)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    print(f"{os.cpu_count()} processors, median of {options.repeats} runs of {options.seconds:g} s")
    print("images per second (seconds of processor time per 1,000 images)")
    print(f"{'':26}" + "".join(f"{f'{n} neighbours':>18}" for n in NEIGHBOURS))
    runs = {(name, count): [] for name in SETTINGS for count in NEIGHBOURS}
    for _ in range(options.repeats):
        for count in NEIGHBOURS:
            neighbours = [subprocess.Popen([sys.executable, "-c", COUNT]) for _ in range(count)]
            for name, environment in SETTINGS.items():
                runs[name, count].append(_run(environment, options.seconds))
            for neighbour in neighbours:
                neighbour.kill()
                neighbour.wait()
    for name in SETTINGS:
        cells = ("{:.0f} ({:.1f})".format(*_median(runs[name, count])) for count in NEIGHBOURS)
        print(f"{name:26}" + "".join(f"{cell:>18}" for cell in cells))


COUNT = "while True: pass"


def _run(environment: dict[str, str], seconds: float) -> tuple[float, float]:
    command = [sys.executable, "-c", f"import threads; threads.train({seconds})"]
    surroundings = {key: os.environ[key] for key in os.environ if "OMP_" not in key}
    result = subprocess.run(
        command,
        env=surroundings | environment | {"PYTHONPATH": str(Path(__file__).parent)},
        capture_output=True,
        text=True,
        check=True,
    )
    rate, processor = result.stdout.split()
    return float(rate), float(processor)


def _median(pairs: list[tuple[float, float]]) -> tuple[float, float]:
    rates, processor = zip(*pairs, strict=True)
    return statistics.median(rates), statistics.median(processor)


def train(seconds: float) -> None:
    """Train for some seconds; print images per second, and processor seconds per 1,000 images."""
    import torch

    from tailproof.models.backbones.resnet_cifar import cifar_resnet32

    torch.set_num_threads(2)
    torch.manual_seed(0)
    network = cifar_resnet32(num_classes=100).to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(network.parameters(), 0.1)
    images = torch.randn(64, 3, 32, 32).to(memory_format=torch.channels_last)
    labels = torch.randint(0, 100, (64,))

    def step() -> None:
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(network(images), labels).backward()
        optimizer.step()

    step()
    steps, start, processor = 0, time.perf_counter(), time.process_time()
    while time.perf_counter() - start < seconds:
        step()
        steps += 1
    count = steps * len(images)
    print(count / (time.perf_counter() - start), 1000 * (time.process_time() - processor) / count)


if __name__ == "__main__":
    main()
