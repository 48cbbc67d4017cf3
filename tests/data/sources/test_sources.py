import subprocess
import sys
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from tailproof.config.data import SOURCE_CONFIGS, Data, SourceConfig
from tailproof.data.images import decode
from tailproof.data.sources import SOURCES, Sample, open_source, register_source
from tailproof.data.sources.base import check_labels
from tailproof.data.sources.cifar import Cifar
from tailproof.data.sources.digits import Digits
from tailproof.data.sources.idx import Idx
from tailproof.data.sources.image_folder import ImageFolder
from tailproof.data.sources.image_list import ImageList
from tailproof.data.sources.metadata_csv import MetadataCsv
from tailproof.data.sources.parquet import Parquet
from tailproof.runtime.errors import TailproofError

HEAVY = ("sklearn", "PIL", "pyarrow", "pandas", "scipy", "torch", "matplotlib")


def test_importing_the_sources_imports_nothing_heavy(tmp_path):
    (tmp_path / "x.parquet").touch()
    sources = (
        {"name": "digits"},
        {"name": "metadata_csv", "root": ".", "table": "x.csv"},
        {"name": "parquet", "root": str(tmp_path)},
        {"name": "image_list", "root": ".", "list": "x", "crops": {"detections": "md.json"}},
        {"name": "coco_json", "root": ".", "file": "x.json"},
    )
    program = (
        "import sys, tailproof.data.sources as s, tailproof.config.data as c;"
        f"[s.open_source(c.Data(source=value).source).files() for value in {sources}];"
        f"print([m for m in {HEAVY} if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], check=True, stdout=subprocess.PIPE, text=True
    )
    assert done.stdout.strip() == "[]"


def test_reading_a_configuration_imports_the_sources_only_when_it_has_one():
    program = (
        "import sys, tailproof.config.validation as load;"
        "imported = ('numpy' in sys.modules, 'tailproof.data' in sys.modules);"
        "load.parse_experiment({'title': 't', 'data': {'source': {'name': 'lens'}},"
        " 'experts': {'a': {}}});"
        f"print(imported, [m for m in {HEAVY} if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], check=True, stdout=subprocess.PIPE, text=True
    )
    assert done.stdout.strip() == "(False, False) []"


def test_every_source_is_in_the_schema_and_has_a_reader():
    assert set(SOURCE_CONFIGS) == set(SOURCES)
    source = Data.model_json_schema()["properties"]["source"]
    assert set(source["discriminator"]["mapping"]) == set(SOURCES)


def test_two_sources_cannot_have_one_name():
    class Other(SourceConfig):
        name: Literal["digits"]

    with pytest.raises(ValueError, match="digits"):
        register_source(Other)(SOURCES["digits"])
    assert SOURCE_CONFIGS["digits"] is Digits


@pytest.mark.parametrize(
    "config",
    [
        Digits(name="digits"),
        Idx(name="idx", root="nowhere"),
        Cifar(name="cifar10", root="nowhere"),
        Cifar(name="cifar100", root="nowhere", format="binary"),
        ImageFolder(name="image_folder", root="nowhere"),
        MetadataCsv(name="metadata_csv", root="nowhere", table="x.csv", ranks=["class"]),
        ImageList(name="image_list", root="nowhere", list="x"),
        Parquet(name="parquet", root="nowhere", ranks=["class"]),
    ],
)
def test_every_configured_source_opens_without_reading(config):
    source = open_source(config)
    assert type(source) is SOURCES[config.name]
    assert source.ranks[-1] == "class"
    assert source.root == (None if config.name == "digits" else Path("nowhere"))


def test_digits_are_scikit_learns_scaled_to_bytes():
    from sklearn.datasets import load_digits

    published = load_digits()
    source = open_source(Digits(name="digits"))
    samples = list(source.samples())
    assert len(samples) == len(source) == 1797
    assert samples[3] == Sample("sample-00003", {"class": "3"}, "digits.csv.gz", 3)
    assert [int(sample.labels["class"]) for sample in samples] == published.target.tolist()
    images = np.stack([decode(source.read(sample.path, sample.row), "L") for sample in samples])
    assert images.dtype == np.uint8
    assert images.max() == 255
    np.testing.assert_array_equal(np.rint(images / 255 * 16), published.images)


def test_samples_are_the_same_each_time():
    first, second = (open_source(Digits(name="digits")) for _ in range(2))
    assert list(first.samples()) == list(second.samples()) == list(first.samples())


@pytest.mark.parametrize(("path", "row"), [("digits.csv.gz", 1797), ("other", 0)])
def test_a_sample_that_is_not_there_any_more_is_named(path, row):
    with pytest.raises(TailproofError, match=rf"{path}, row {row}.* no longer"):
        open_source(Digits(name="digits")).read(path, row)


@pytest.mark.parametrize("wrong", [-1, 3, 200])
def test_a_label_out_of_range_is_named_with_file_and_row(wrong):
    labels = np.array([0, 2, wrong, 1, wrong])
    with pytest.raises(TailproofError, match=f"labels.bin, row 2.* {wrong}, expected 0 to 2"):
        check_labels(labels, 3, "labels.bin")
