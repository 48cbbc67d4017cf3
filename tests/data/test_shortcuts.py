import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import roc_auc_score

from tailproof.config.data import Data
from tailproof.data.images import encode_png
from tailproof.data.multiband import encode_bands
from tailproof.data.shortcuts import SUMMARIES, probe, summarise
from tailproof.files import read_json
from tailproof.runtime.errors import TailproofError
from tests.conftest import build_data


def build(root, draw, encode=encode_bands, labels=("blank", "mark"), count=1000):
    """Build shards of images that `draw` makes of (class index, generator)."""
    rng = np.random.default_rng(0)
    codes = [row % len(labels) for row in range(count)]
    images = [encode(draw(code, rng)) for code in codes]
    root.mkdir(parents=True)
    table = pa.table({"image": images, "label": [labels[code] for code in codes]})
    pq.write_table(table, root / "x.parquet")
    source = {"name": "parquet", "root": str(root / "x.parquet"), "bands": "last"}
    return build_data(Data(source=source), root / "out")


def noise(rng):
    return rng.normal(size=(16, 16, 2)).astype(np.float32)


def brighter(code, rng):
    return noise(rng) + 0.5 * code


def brighter_core(code, rng):
    image = noise(rng)
    image[6:10, 6:10] += 4 * code
    image[0:4, 0:4] += 4 * (1 - code)  # the same light elsewhere, but not at the border
    return image


def border(code, rng):
    image = noise(rng)
    image[0] *= 1 - code
    return image


def shape(code, rng):
    """A bar that stands or lies: the same light in the same square, away from core and border."""
    image = noise(rng)
    bar = np.zeros((4, 4))
    bar[1] = 10
    image[1:5, 1:5, 0] += bar.T if code else bar
    return image


@pytest.mark.parametrize(
    ("draw", "leaking"),
    [
        (brighter, {"total_flux", "all"}),
        (border, {"borders", "all"}),
        (brighter_core, {"core_pixels", "all"}),
        (shape, set()),
    ],
)
def test_each_shortcut_is_found_by_its_summary(tmp_path, draw, leaking):
    manifest = build(tmp_path / "raw", draw)
    found = probe(manifest, tmp_path / "shortcuts.json")
    assert found == json.loads((tmp_path / "shortcuts.json").read_text())
    reached = {name: each["auroc"] for name, each in found["reached"].items()}
    assert set(reached) == {*SUMMARIES, "all"}
    high = {name for name, auroc in reached.items() if auroc >= 0.9}
    assert leaking <= high
    assert leaking or max(reached.values()) < 0.8
    assert len(found["warnings"]) == len(high)
    assert reached["file_size"] == 0.5


def test_file_size_gives_pictures_away(tmp_path):
    def draw(code, rng):
        image = rng.integers(0, 256, (16, 16)).astype(np.uint8)
        return image if code else np.full_like(image, image[0, 0]) // 2 * 2

    manifest = build(tmp_path / "raw", draw, encode_png)
    found = probe(manifest, tmp_path / "shortcuts.json")
    assert found["reached"]["file_size"]["auroc"] == 1
    assert found["reached"]["file_size"]["tpr_at_fpr_0"] == 1
    assert "sees nothing but bytes of the encoded image" in " ".join(found["warnings"])


def test_more_classes_are_each_held_against_the_others(digits, tmp_path):
    found = probe(digits, tmp_path / "shortcuts.json")
    for each in found["reached"].values():
        assert set(each) == {"auroc"} and 0 <= each["auroc"] <= 1
    assert found["reached"]["core_pixels"]["auroc"] > 0.6
    assert found["rows"]["train"] == read_json(digits)["splits"]["train"]["rows"]


def test_the_same_shards_give_the_same_bytes(digits, tmp_path):
    for name in ("a.json", "b.json"):
        probe(digits, tmp_path / name)
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()


def test_summaries_are_what_they_say():
    image = np.zeros((20, 10), np.uint8)
    image[9:11, 4:6] = 100
    image[0] = 50
    found = summarise(image, 77)
    assert found["total_flux"] == [pytest.approx((4 * 100 + 10 * 50) / 200)]
    assert found["core_pixels"] == [pytest.approx(400 / 24)]
    edges = [50.0] * 10 + [0.0] * 10 + ([50.0] + [0.0] * 19) * 2
    assert found["borders"] == [pytest.approx(np.mean(edges)), pytest.approx(np.std(edges))]
    assert found["file_size"] == [77, 20, 10]


def test_a_missing_shard_is_told(tmp_path):
    manifest = build(tmp_path / "raw", brighter, count=60)
    (manifest.parent / "train" / "part-00000.parquet").unlink()
    with pytest.raises(TailproofError, match=r"part-00000\.parquet does not exist"):
        probe(manifest, tmp_path / "shortcuts.json")
    assert not (tmp_path / "shortcuts.json").exists()


def test_auroc_is_that_of_scikit_learn_for_one_summary(tmp_path):
    """Of one value that rises with the class, a regression keeps the order but at the ends."""
    manifest = build(tmp_path / "raw", lambda code, rng: noise(rng)[..., :1] + 0.1 * code)
    found = probe(manifest, tmp_path / "s.json")["reached"]["total_flux"]["auroc"]
    facts = read_json(manifest)
    path = manifest.parent / facts["splits"]["dev"]["shards"][0]["path"]
    table = pq.read_table(path).to_pylist()
    flux = [np.frombuffer(row["image"]["bytes"][128:], np.float32).mean() for row in table]
    truth = [row["label"] for row in table]
    assert found == pytest.approx(roc_auc_score(truth, flux), abs=0.1)
