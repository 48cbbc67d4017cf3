import numpy as np
import pytest
import timm
import torch

from tailproof.config.recipe import Recipe
from tailproof.config.splits import SPLITS
from tailproof.data.tables import read_parquet, table_metadata
from tailproof.files import read_json, write_json
from tailproof.loading import Split
from tailproof.predict.infer import infer
from tailproof.runtime.errors import TailproofError
from tailproof.training.launcher import launch


@pytest.fixture(scope="module")
def expert(digits, tmp_path_factory):
    folder = tmp_path_factory.mktemp("expert")
    recipe = Recipe(model={"name": "cifar_resnet20"}, epochs=2, batch_size=64)
    launch(digits, recipe, 3, folder, folder, "code", folder / "train.log")
    return folder


def run(expert, digits, output, workers=0, budget=2**30):
    infer(expert, "plain", 3, digits, output, threads=1, memory_budget=budget, workers=workers)


def test_logits_cover_every_split_in_its_order(expert, digits, tmp_path):
    run(expert, digits, tmp_path)
    model = timm.create_model(f"local-dir:{expert}", pretrained=True).eval()
    data = timm.data.resolve_model_data_config(model)
    for name in SPLITS:
        split = Split(digits, name)
        table = read_parquet(tmp_path / f"{name}.parquet").to_pandas()
        assert table["sample_id"].tolist() == split.sample_ids
        assert (table["class"] == split.labels["class"]).all()
        logits = np.stack(table["logits"])
        assert logits.dtype == np.float32 and logits.shape == (len(split), 10)
        pixels = np.stack([split.image(row) for row in range(len(split))])[..., 0] / 255
        images = torch.tensor((pixels - data["mean"][0]) / data["std"][0], dtype=torch.float32)
        with torch.no_grad():
            assert np.allclose(model(images[:, None]).numpy(), logits, atol=1e-3)
        metadata = table_metadata(tmp_path / f"{name}.parquet")
        assert (metadata["expert"], metadata["seed"], metadata["split"]) == ("plain", 3, name)


def test_streaming_and_workers_change_no_bit(expert, digits, tmp_path):
    run(expert, digits, tmp_path / "a")
    run(expert, digits, tmp_path / "b", workers=2, budget=0)
    for name in SPLITS:
        first, second = (tmp_path / folder / f"{name}.parquet" for folder in "ab")
        assert first.read_bytes() == second.read_bytes()


def test_an_expert_of_other_classes_is_refused(expert, digits, tmp_path):
    config = read_json(expert / "config.json")
    config["pretrained_cfg"]["label_names"][0] = "zero"
    (tmp_path / "model.safetensors").write_bytes((expert / "model.safetensors").read_bytes())
    write_json(tmp_path / "config.json", config)
    with pytest.raises(TailproofError, match=f"{tmp_path} .*classes"):
        run(tmp_path, digits, tmp_path / "logits")
