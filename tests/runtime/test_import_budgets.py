"""What a process of each stage imports: modules are counted, not seconds."""

import ast
import json
import subprocess
import sys

import pytest

from tailproof.project import PIPELINE as ROOT
from tests.predict.conftest import make_expert

SCRIPTS = {path.stem for path in (ROOT / "workflow/scripts").glob("*.py")}
TRAINING = {"preflight", "train", "train_head"}  # timm's optimizers import the compiler
NETWORKS = {
    "bundle",
    "cost",
    "embed",
    "embed_unknown",
    "fetch",
    "infer",
    "infer_head",
    "score_unknown",
    "score_unknown_head",
}
TABLES = {"leakage", "split"}
DRAWING = {"report"}
LEARNING = {"shortcut_probe"}

TORCH = {"torch", "timm", "torchvision"}
COMPILER = {"torch._dynamo", "torch._inductor", "torch.onnx", "sympy"}
LARGE = {"matplotlib", "sklearn", "scipy.stats"}
BUDGETS = [
    (SCRIPTS - TRAINING - NETWORKS - TABLES - DRAWING - LEARNING, {*TORCH, *LARGE, "pandas"}, 1300),
    (TABLES, {*TORCH, *LARGE}, 1100),
    (DRAWING, {*TORCH, *LARGE} - {"matplotlib"}, 1900),
    (LEARNING, {*TORCH, "matplotlib"}, 2100),
    (NETWORKS, {*COMPILER, *LARGE, "pandas"}, 2800),
    (TRAINING, {*LARGE, "pandas"}, 3300),
]
"""Stages, and what they must not import together: packages, and how many modules at most."""


@pytest.mark.parametrize(
    ("stages", "unneeded", "most"), BUDGETS, ids=[min(stages) for stages, *_ in BUDGETS]
)
def test_stages_import_what_they_need(stages, unneeded, most):
    paths = [ROOT / "workflow/scripts" / f"{stage}.py" for stage in sorted(stages)]
    nodes = [node for path in paths for node in ast.walk(ast.parse(path.read_text()))]
    imports = [node for node in nodes if isinstance(node, ast.Import | ast.ImportFrom)]
    lines = ["import tailproof.runtime.recorder", *dict.fromkeys(map(ast.unparse, imports))]
    program = "\n".join([*lines, "import json, sys", "print(json.dumps(list(sys.modules)))"])
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    imported = set(json.loads(done.stdout))
    assert not imported & unneeded
    assert len(imported) < most


def test_a_trained_network_is_built_without_the_compiler():
    """Also after it has computed; all of torchvision is there for who asks for it."""
    program = (
        "import sys, torch; from tailproof.models import build_model\n"
        "model = build_model('cifar_resnet20', classes=3, channels=1, options={})\n"
        "model.eval()(torch.zeros(1, 1, 8, 8))\n"
        f"print(sorted({COMPILER} & set(sys.modules)))\n"
        "import torchvision\n"
        "from torchvision import datasets, ops\n"
        "from torchvision.transforms import v2\n"
        "print(torchvision.__version__.startswith('0.'), torchvision.models.resnet18.__name__,\n"
        "      ops.nms.__name__, ops.misc.FrozenBatchNorm2d.__name__, v2.Resize.__name__,\n"
        "      hasattr(torchvision, 'nothing'))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == [
        "[]",
        "True resnet18 nms FrozenBatchNorm2d Resize False",
    ]


def test_experts_answer_without_the_compiler(tmp_path):
    models = ("cifar_resnet20", "test_vit", "test_efficientnet")
    folders = [str(make_expert(tmp_path / model, model=model)) for model in models]
    program = (
        "import sys, numpy as np, tailproof\n"
        "image = np.zeros((32, 32, 3), np.uint8)\n"
        f"tables = [tailproof.open(folder).predict([image]) for folder in {folders}]\n"
        f"print(*map(len, tables), sorted({COMPILER} & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout == "1 1 1 []\n"
