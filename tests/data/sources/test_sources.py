import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tailproof.config.data import Cifar, Digits, Idx, ImageFolder, MetadataCsv, Parquet
from tailproof.data.images import decode
from tailproof.data.sources import SOURCES, Sample, open_source
from tailproof.data.sources.base import check_labels
from tailproof.runtime.errors import TailproofError

HEAVY = ("sklearn", "PIL", "pyarrow", "pandas", "scipy", "torch", "matplotlib")


def test_importing_the_sources_imports_nothing_heavy(tmp_path):
    (tmp_path / "x.parquet").touch()
    program = (
        "import sys, tailproof.data.sources as s, tailproof.config.data as c;"
        "s.open_source(c.Digits(name='digits')).files();"
        "s.open_source(c.MetadataCsv(name='metadata_csv', root='.', table='x.csv')).files();"
        f"s.open_source(c.Parquet(name='parquet', root={str(tmp_path)!r})).files();"
        f"print([m for m in {HEAVY} if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], check=True, stdout=subprocess.PIPE, text=True
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    "config",
    [
        Digits(name="digits"),
        Idx(name="idx", root="nowhere"),
        Cifar(name="cifar10", root="nowhere"),
        Cifar(name="cifar100", root="nowhere", format="binary"),
        ImageFolder(name="image_folder", root="nowhere"),
        MetadataCsv(name="metadata_csv", root="nowhere", table="x.csv", ranks=["class"]),
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
    with pytest.raises(TailproofError, match=rf"{path}, row {row}: no longer in the source"):
        open_source(Digits(name="digits")).read(path, row)


@pytest.mark.parametrize("wrong", [-1, 3, 200])
def test_a_label_out_of_range_is_named_with_file_and_row(wrong):
    labels = np.array([0, 2, wrong, 1, wrong])
    with pytest.raises(TailproofError, match=f"labels.bin, row 2: label {wrong}, expected 0 to 2"):
        check_labels(labels, 3, "labels.bin")
