"""Images per second of an exported expert, next to torch, in one run on two cores.

    make bench-onnx

Networks of random weights at their usual sizes, batches of 32 images that are in memory, from
pixels to decisions: torch as `tailproof predict` computes, onnxruntime in single precision, and
onnxruntime in 8 bits. Then the seconds until the first answer in a new process, and how often the
operator Resize of onnxruntime gives other pixels than Pillow.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from PIL import Image
from rich.console import Console
from rich.table import Table
from untrained_expert import write_expert

from tailproof.onnx_export.command import export
from tailproof.onnx_export.compared_images import Images
from tailproof.onnx_export.parity import run_expert, run_file
from tailproof.predict.loaded_expert import load_expert

CASES = {
    "cifar_resnet32": 32,
    "resnet18": 96,
    "mobilenetv3_small_100": 96,
    "tf_efficientnet_lite0": 96,
    "vit_tiny_patch16_224": 224,
    "convnext_atto": 96,
}
CLASSES = 100
THREADS = 2
DRAWN = 160  # sizes of images for Resize

TORCH = "import sys, tailproof; tailproof.open(sys.argv[1]).predict(sys.argv[2])"
ONNX = """
import sys, numpy as np, onnxruntime
session = onnxruntime.InferenceSession(sys.argv[1])
size = session.get_inputs()[0].shape[1]
session.run(None, {"images": np.zeros((1, size, size, 3), np.uint8)})
"""


def rate(run: Callable[[], object], images: int, runs: int) -> str:
    """Return the images per second: the fastest run, and the median."""
    run()
    speeds = []
    for _ in range(runs):
        start = time.perf_counter()
        run()
        speeds.append(images / (time.perf_counter() - start))
    return f"{max(speeds):,.0f} ({statistics.median(speeds):,.0f})"


def seconds(code: str, *arguments: object) -> float:
    """Return the shortest time of three of a new process."""
    spent = []
    for _ in range(3):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", code, *map(str, arguments)], check=True)
        spent.append(time.perf_counter() - start)
    return min(spent)


def session_of(file: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = THREADS
    return onnxruntime.InferenceSession(file, options)


def resize_differences() -> str:
    """Return in how many drawn sizes Resize gives other pixels than Pillow, and by how much."""
    node = onnx.helper.make_node(
        "Resize",
        ["x", "", "", "sizes"],
        ["y"],
        mode="cubic",
        cubic_coeff_a=-0.5,
        antialias=1,
        exclude_outside=1,
    )
    uint8, int64 = onnx.TensorProto.UINT8, onnx.TensorProto.INT64
    graph = onnx.helper.make_graph(
        [node],
        "resize",
        [
            onnx.helper.make_tensor_value_info("x", uint8, [1, 3, None, None]),
            onnx.helper.make_tensor_value_info("sizes", int64, [4]),
        ],
        [onnx.helper.make_tensor_value_info("y", uint8, [1, 3, None, None])],
    )
    opset = [onnx.helper.make_opsetid("", 18)]
    model = onnx.helper.make_model(graph, opset_imports=opset, ir_version=8)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    draw = np.random.default_rng(0)
    other, largest = 0, 0
    for _ in range(DRAWN):
        side = int(draw.choice([32, 64, 96, 160]))
        height, width = draw.integers(side // 2, 4 * side, 2)
        scale = side / min(height, width)
        new = max(side, int(height * scale)), max(side, int(width * scale))
        bits = draw.integers(0, 256, (height, width, 3), np.uint8)
        feed = {"x": bits.transpose(2, 0, 1)[None], "sizes": np.array([1, 3, *new])}
        resized = session.run(None, feed)[0][0].transpose(1, 2, 0).astype(int)
        pillow = np.asarray(Image.fromarray(bits).resize(new[::-1], Image.Resampling.BICUBIC))
        largest = max(largest, difference := int(np.abs(resized - pillow).max()))
        other += difference > 0
    return f"Resize differs from Pillow in {other} of {DRAWN} sizes, by up to {largest} levels"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("models", nargs="*", default=list(CASES))
    arguments = parser.parse_args()
    torch.set_num_threads(THREADS)
    table = Table(title=f"images per second, fastest of {arguments.runs} runs (median)")
    for column in ("expert", "torch", "onnxruntime", "8 bits", "start torch, s", "start ONNX, s"):
        table.add_column(column, justify="left" if column == "expert" else "right")
    with tempfile.TemporaryDirectory() as temporary:
        for model in arguments.models:
            size, root = CASES[model], Path(temporary) / model
            folder = write_expert(root / "expert", model, "RGB", size, CLASSES)
            draw = np.random.default_rng(0)
            pixels = draw.integers(0, 256, (arguments.images, size, size, 3), np.uint8)
            (root / "images").mkdir()
            for number, image in enumerate(pixels[:16]):
                Image.fromarray(image).save(root / "images" / f"{number}.png")
            images = Images("drawn", [(image,) for image in pixels])
            expert, files = load_expert(folder), {}
            for name, int8 in (("a", False), ("b", True)):
                files[name] = root / f"{name}.onnx"
                export(str(folder), str(files[name]), [str(root / "images")], int8=int8)
            runs = [lambda expert=expert, images=images: run_expert(expert, images)]
            for file in files.values():
                session = session_of(file)
                runs.append(lambda session=session, images=images: run_file(session, images))
            speeds = [rate(run, arguments.images, arguments.runs) for run in runs]
            first = root / "images" / "0.png"
            starts = [seconds(TORCH, folder, first), seconds(ONNX, files["a"])]
            table.add_row(f"{model}, {size} px", *speeds, *(f"{spent:.2f}" for spent in starts))
    Console(width=120).print(table)
    print(resize_differences())
    print(f"torch {torch.__version__}, onnxruntime {onnxruntime.__version__}, {THREADS} threads")


if __name__ == "__main__":
    main()
