import io
import json
import os
import shutil
import subprocess
import tarfile
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import webdataset
from hypothesis import given, settings
from hypothesis import strategies as st

from tailproof.config.data import Data
from tailproof.data.images import decode, encode_png
from tailproof.data.prepare import prepare
from tailproof.data.sources import Sample, open_source
from tailproof.data.sources.archives import tar_members
from tailproof.data.sources.folders.file_patterns import expand_braces, missing_numbers
from tailproof.data.sources.webdataset import WebDataset, WebDatasetSource
from tailproof.data.tables import read_parquet
from tailproof.runtime.errors import TailproofError
from tests.conftest import build_data
from tests.data.sources.documented import documented_data


def png(seed: int) -> bytes:
    return encode_png(np.random.default_rng(seed).integers(0, 256, (3, 4), dtype=np.uint8))


def write_tar(file: Path, *members: tuple[str, bytes | str | dict], **options) -> Path:
    """Write a tar of (name, content); a dictionary becomes JSON."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(file, "w", **options) as tar:
        for name, content in members:
            text = json.dumps(content) if isinstance(content, dict) else content
            data = text.encode() if isinstance(text, str) else text
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return file


def pairs(count: int, first: int = 0, classes: int = 2) -> list[tuple[str, bytes | str]]:
    """Return the members of samples first, first + 1, … with the labels 0, 1, 0, 1, …"""
    return [
        member
        for number in range(first, first + count)
        for member in (
            (f"{number:04d}.png", png(number)),
            (f"{number:04d}.cls", f"{number % classes}\n"),
        )
    ]


def source(root: Path, **options) -> WebDatasetSource:
    return open_source(WebDataset(name="webdataset", root=str(root), **options))


def labels(root: Path, rank: str = "class", **options) -> list[str | None]:
    return [sample.labels[rank] for sample in source(root, **options).samples()]


def complaint(root: Path, **options) -> str:
    """What is said of tars, without the folder that all paths begin with."""
    with pytest.raises(TailproofError) as error:
        list(source(root, **options).samples())
    return str(error.value).replace(f"{root}/", "")


def skipped(root: Path, **options) -> dict[str, int]:
    return {one.reason: one.count for one in source(root, **options).skipped()}


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])
def test_keys_bytes_and_labels_are_those_of_webdataset(tmp_path, form):
    folder = "a.b/" + "long" * (30 if form == tarfile.USTAR_FORMAT else 90)
    name = folder[:90] + "/0007" if form == tarfile.USTAR_FORMAT else f"{folder}/é/0007"
    write_tar(
        tmp_path / "x-0.tar",
        *pairs(3),
        ("dir/0004.JPG", png(4)), ("dir/0004.cls", "1"), ("dir/0004.seg.png.txt", "x"),
        (f"{name}.png", png(7)), (f"{name}.cls", "0"),
        ("__meta__", "x"), ("README", "x"),
        format=form,
    )  # fmt: skip
    write_tar(tmp_path / "x-1.tar", ("./0009.png", png(9)), ("./0009.cls", "5"), format=form)
    files = str(tmp_path / "x-{0..1}.tar")
    expected = [
        (sample["__key__"], sample.get("png") or sample["jpg"], int(sample["cls"]))
        for sample in webdataset.WebDataset(files, shardshuffle=False, empty_check=False)
    ]
    opened = source(tmp_path, train="x-{0..1}.tar")
    assert opened.files() == [tmp_path / "x-0.tar", tmp_path / "x-1.tar"]
    assert len(opened) == len(expected) == 6
    assert [
        (one.sample_id.split(":")[1], opened.read(one.path, one.row), int(one.labels["class"]))
        for one in opened.samples()
    ] == expected


def test_one_tar_is_a_collection(tmp_path):
    file = write_tar(tmp_path / "x.tar", *pairs(3))
    opened = source(file)
    assert opened.root == tmp_path
    assert list(opened.samples()) == [
        Sample("x.tar:0000", {"class": "0"}, "x.tar", 0),
        Sample("x.tar:0001", {"class": "1"}, "x.tar", 2048),
        Sample("x.tar:0002", {"class": "0"}, "x.tar", 4096),
    ]
    assert opened.classes == {"class": ["0", "1"]}
    assert opened.skipped() == [] and opened.warnings() == []


@pytest.mark.parametrize(
    "pools",
    [
        {"train": "train-{000..001}.tar", "test": "test/x.tar"},
        {"train": ["train-000.tar", "train-001.tar"], "test": "test"},
        {"train": "train-*.tar", "test": "t*/x.tar"},
        {"train": "train-{000,001}.tar", "test": ["test"]},
    ],
)
def test_files_lists_folders_and_patterns_are_the_pools(tmp_path, pools):
    write_tar(tmp_path / "train-000.tar", *pairs(2))
    write_tar(tmp_path / "train-001.tar", *pairs(2, 2))
    write_tar(tmp_path / "test/x.tar", *pairs(1, 4))
    opened = source(tmp_path, **pools)
    assert [sample.pool for sample in opened.samples()] == ["train"] * 4 + ["held_out"]
    assert opened.skipped() == []
    write_tar(tmp_path / "val-000.tar", *pairs(1, 5))
    assert skipped(tmp_path, **pools) == {"tars that are not read": 1}


def test_labels_and_groups_are_in_json_and_text(tmp_path):
    write_tar(
        tmp_path / "x.tar",
        ("a.jpg", png(0)), ("a.json", {"taxon": {"genus": "Lynx"}, "id": 7.0, "at": "north"}),
        ("a.txt", "  Lynx lynx\n"),
        ("b.jpg", png(1)), ("b.json", {"taxon": {}, "id": 8, "at": None}), ("b.txt", ""),
        ("c.jpg", png(2)), ("c.json", {"taxon": {"genus": "Lutra"}, "id": 9, "at": "north"}),
    )  # fmt: skip
    opened = source(
        tmp_path, ranks={"genus": "json:taxon.genus", "species": "txt"}, group="json:at"
    )
    assert [(*sample.labels.values(), sample.group) for sample in opened.samples()] == [
        ("Lynx", "Lynx lynx", "north"),
        (None, None, None),
        ("Lutra", None, "north"),
    ]
    assert labels(tmp_path, ranks={"class": "json:id"}) == ["7", "8", "9"]
    assert opened.ranks == ("genus", "species")


@pytest.mark.parametrize("image", ["input.jpg", ".input.JPG", ["input.jpg", "input.png"]])
def test_the_configuration_chooses_among_several_pictures_of_a_sample(tmp_path, image):
    write_tar(
        tmp_path / "x.tar",
        ("a.input.jpg", png(0)), ("a.seg.png", png(1)), ("a.cls", "1"),
        ("b.input.jpg", png(2)), ("b.seg.png", png(3)), ("b.cls", "0"),
    )  # fmt: skip
    opened = source(tmp_path, image=image)
    assert [opened.read(one.path, one.row) for one in opened.samples()] == [png(0), png(2)]
    assert skipped(tmp_path, image=image) == {"files that end in .png": 2}
    assert "data.source.image" in complaint(tmp_path) and "input.jpg" in complaint(tmp_path)


def test_the_files_of_a_sample_may_be_anywhere_in_its_tar(tmp_path):
    ordered = pairs(5)
    write_tar(tmp_path / "x.tar", *ordered[::2], *ordered[::-2])
    assert labels(tmp_path) == ["0", "1", "0", "1", "0"]


def test_what_is_no_sample_is_counted(tmp_path):
    file = write_tar(tmp_path / "x.tar", *pairs(2))
    with tarfile.open(file, "a") as tar:
        for name, kind in (
            ("link.png", tarfile.SYMTYPE),
            ("hard.png", tarfile.LNKTYPE),
            ("pipe.png", tarfile.FIFOTYPE),
            ("disk.png", tarfile.BLKTYPE),
            ("sparse.png", tarfile.GNUTYPE_SPARSE),
            ("folder.png", tarfile.DIRTYPE),
        ):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, "0000.png"
            tar.addfile(member)
        for name in ("/etc/a.png", "../b.png", "c/../../d.png", ".DS_Store", "dir/._0000.png",
                     "README", "__meta__/a.json", "0000.npy", "only.cls", "only.gif"):  # fmt: skip
            tar.addfile(tarfile.TarInfo(name), io.BytesIO())
    write_tar(tmp_path / "y.tar")
    assert len(source(tmp_path)) == 2
    assert skipped(tmp_path) == {
        "links, devices, pipes and sparse files in tars": 5,
        "files in tars whose names lead out of their folder": 3,
        "files in tars without a key and a suffix": 3,
        "metadata files of tars": 1,
        "files that end in .npy": 1,
        "files that end in .gif": 1,
        "samples without an image": 1,
        "tars without a sample": 1,
    }


def test_classes_of_samples_without_an_image_are_none(tmp_path):
    write_tar(tmp_path / "a.tar", ("x.cls", "8"), *pairs(2), ("y.cls", "9"))
    write_tar(tmp_path / "b.tar", ("z.cls", "7"), *pairs(1, 2))
    opened = source(tmp_path)
    assert opened.classes == {"class": ["0", "1"]}
    assert [sample.sample_id for sample in opened.samples()] == [
        "a.tar:0000", "a.tar:0001", "b.tar:0002"
    ]  # fmt: skip
    assert [opened.read(one.path, one.row) for one in opened.samples()] == [
        png(n) for n in range(3)
    ]


@pytest.mark.parametrize(
    ("member", "words"),
    [
        (("0000.png", b"other"), ["'0000.png' is in its tar twice"]),
        (("0001.cls", "0"), ["'0001.cls' is in its tar twice"]),
        (("0002.cls", "a\nb"), ["'0002.cls'", "2 lines"]),
        (("0002.cls", b"\xff\xfe"), ["'0002.cls' is not UTF-8 text"]),
        (("0002.cls", b" " * (1 << 20) + b"1"), ["'0002.cls' has 1048577 bytes"]),
    ],
)
def test_samples_that_cannot_be_used_are_named(tmp_path, member, words):
    write_tar(tmp_path / "x.tar", *pairs(2), ("0002.png", png(2)), member)
    assert all(word in complaint(tmp_path) for word in ["x.tar", *words])


@pytest.mark.parametrize(
    "text",
    ["[1]", "7", '{"a": ', '{"a": {}}', '{"a": [1]}', '{"a": 1, "a": 2}', '{"a": ' + "[" * 20000],
)
def test_json_without_a_label_at_its_place_is_refused(tmp_path, text):
    members = [("a.png", png(0)), ("a.json", text), ("b.png", png(1)), ("b.json", {"a": "x"})]
    write_tar(tmp_path / "x.tar", *members)
    assert "'a.json'" in complaint(tmp_path, ranks={"class": "json:a"})


def test_all_mistakes_are_one_list(tmp_path):
    write_tar(tmp_path / "x.tar", *pairs(9), *pairs(9))
    text = complaint(tmp_path)
    assert text.startswith("18 files") and len(text.splitlines()) == 7


def test_a_place_without_a_label_is_answered_with_what_the_samples_have(tmp_path):
    write_tar(tmp_path / "x.tar", ("cat/0.png", png(0)), ("cat/0.json", {"label": "cat"}))
    text = complaint(tmp_path)
    assert ".png, .json" in text and "json:label" in text and "image_folder" in text
    assert "'kind'" in complaint(tmp_path, ranks={"class": "json:kind"})
    write_tar(tmp_path / "x.tar", ("a.tar", b"x"), ("b.tar", b"x"))
    assert ".tar" in complaint(tmp_path)


def test_numbers_that_mean_no_label_are_the_users_decision(tmp_path):
    write_tar(tmp_path / "x.tar", *pairs(4, classes=3), ("9.png", png(9)), ("9.cls", "-1"))
    assert "data.source.missing" in complaint(tmp_path)
    assert labels(tmp_path, missing=["-1"])[-1] is None
    assert labels(tmp_path, missing=[])[-1] == "-1"


def test_a_key_may_be_in_two_tars(tmp_path):
    for name in ("a.tar", "b.tar"):
        write_tar(tmp_path / name, *pairs(2))
    opened = source(tmp_path)
    assert len({sample.sample_id for sample in opened.samples()}) == len(opened) == 4
    assert len(opened.warnings()) == 1 and "2 keys" in opened.warnings()[0]


def test_tars_that_are_missing_are_reported(tmp_path):
    for number in (0, 1, 4):
        write_tar(tmp_path / f"x-{number:03d}.tar", *pairs(2, 2 * number))
    (warning,) = source(tmp_path).warnings()
    assert "x-002.tar" in warning and "x-003.tar" in warning
    text = complaint(tmp_path, train="x-{000..004}.tar")
    assert "2 of 5" in text and "x-002.tar" in text
    assert "z*" in complaint(tmp_path, train="z*.tar")


def test_tars_of_splits_are_not_mixed(tmp_path):
    for name in ("net1k-train-0", "net1k-train-1", "net1k-validation-0", "net1k-test-0"):
        write_tar(tmp_path / f"{name}.tar", *pairs(1))
    text = complaint(tmp_path)
    for word in (
        "train: net1k-train-*.tar",
        "val: net1k-validation-0.tar",
        "test: net1k-test-0.tar",
    ):
        assert word in text
    assert "two pools" in complaint(tmp_path, train="net1k-t*.tar", test="net1k-test-*.tar")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty"),
        (b"\x1f\x8b\x08" + bytes(600), "gunzip"),
        (b"\x28\xb5\x2f\xfd" + bytes(600), "unzstd"),
        (b"<html>" + b" " * 600, "web page"),
        (b"no tar at all " * 100, "damaged"),
        (bytes(10240), "no image"),
    ],
)
def test_other_files_are_refused(tmp_path, content, words):
    (tmp_path / "x.tar").write_bytes(content)
    assert words in complaint(tmp_path)


def test_compressed_tars_are_refused_by_name(tmp_path):
    (tmp_path / "x.tar.gz").write_bytes(b"\x1f\x8b")
    text = complaint(tmp_path)
    assert "x.tar.gz" in text and "gunzip" in text
    write_tar(tmp_path / "y.tar", *pairs(1))
    assert skipped(tmp_path) == {"tars that are not read": 1}


def follow(root: Path) -> None:
    """Run the command that the message about tars advises."""
    with pytest.raises(TailproofError) as error:
        list(source(root).samples())
    command = str(error.value).split("`")[1]
    subprocess.run(["bash", "-c", command], check=True, timeout=60)


@pytest.mark.parametrize("root_is_file", [True, False])
@pytest.mark.parametrize(
    ("tool", "name"),
    [
        *(("gzip", name) for name in ("x.tar.gz", "x.tgz", "x.TGZ", "my x.tar")),
        *(("bzip2", name) for name in ("x.tar.bz2", "x.tbz2", "x.TBZ2", "my x.tar")),
        *(("xz", name) for name in ("x.tar.xz", "x.txz", "x.TXZ", "my x.tar")),
        *(("zstd", name) for name in ("x.tar.zst", "my x.tar")),
        *(("lz4", name) for name in ("x.tar.lz4", "my x.tar")),
    ],
)
def test_the_advised_command_decompresses_a_tar(tmp_path, tool, name, root_is_file):
    if shutil.which(tool) is None:
        pytest.skip(f"{tool} is not installed")
    plain = write_tar(tmp_path / "plain", *pairs(2))
    packed = subprocess.run([tool, "-c", plain], check=True, capture_output=True).stdout
    plain.unlink()
    (tmp_path / name).write_bytes(packed)
    root = tmp_path / name if root_is_file else tmp_path
    follow(root)
    assert len(source(tmp_path)) == 2


def test_the_advised_command_ends_a_tar_without_its_end(tmp_path):
    file = write_tar(tmp_path / "a b" / "x.tar", *pairs(1))
    file.write_bytes(file.read_bytes().rstrip(b"\0") + bytes(512 - 2))
    follow(tmp_path)
    assert len(source(tmp_path)) == 1


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    return write_tar(tmp_path_factory.mktemp("whole") / "x.tar", *pairs(4))


@given(cut=st.integers(0, 10239))
@settings(max_examples=60)
def test_a_truncated_tar_is_never_read_as_a_smaller_one(whole, cut):
    content = whole.read_bytes()
    file = whole.with_name("cut.tar")
    file.write_bytes(content[:cut])
    if cut > 4 * 2048 + 511:  # only the padding is cut
        assert len(source(file)) == 4
    else:
        with pytest.raises(TailproofError):
            len(source(file))


@given(place=st.integers(0, 8191), value=st.integers(0, 255))
@settings(max_examples=150)
def test_a_damaged_tar_is_refused_or_read_but_never_a_traceback(whole, place, value):
    content = bytearray(whole.read_bytes())
    content[place] = value
    file = whole.with_name("damaged.tar")
    file.write_bytes(content)
    try:
        opened = source(file)
        [opened.read(sample.path, sample.row) for sample in opened.samples()]
    except TailproofError:
        pass


def test_what_follows_the_end_of_a_tar_is_not_lost(tmp_path):
    first, second = (write_tar(tmp_path / name, *pairs(2)).read_bytes() for name in ("a", "b"))
    (tmp_path / "x.tar").write_bytes(first + second)
    assert "more data after its end" in complaint(tmp_path)
    (tmp_path / "x.tar").write_bytes(first + bytes(5 << 20))
    assert len(source(tmp_path)) == 2


def header(name: bytes, kind: bytes, size: bytes) -> bytes:
    """Return a header with a field for the size that no writer would write."""
    start = name.ljust(100, b"\0") + b"0000644\0" + b"0000000\0" * 2
    fields = size.ljust(12, b"\0") + b"00000000000\0"
    rest = kind + bytes(100) + b"ustar\x0000" + bytes(247)
    checksum = sum(start + fields + b" " * 8 + rest)
    return (start + fields + b"%06o\0 " % checksum + rest).ljust(512, b"\0")


HUGE, NEGATIVE = b"\x80" + b"\0" * 3 + b"\x7f" * 8, b"\xff" * 10 + b"\xfc\x00"


@pytest.mark.timeout(60)
@pytest.mark.parametrize("kind", [b"0", b"x", b"g", b"L", b"K", b"S", b"5"])
@pytest.mark.parametrize("size", [HUGE, NEGATIVE, b"77777777777", b"-0000000001", b"nonsense"])
def test_hostile_sizes_neither_hang_nor_fill_the_memory(tmp_path, kind, size):
    start = write_tar(tmp_path / "x.tar", *pairs(2)).read_bytes()[:4096]
    (tmp_path / "x.tar").write_bytes(start + header(b"a.png", kind, size) + bytes(10240))
    try:
        assert len(source(tmp_path)) == 2
    except TailproofError as error:
        assert "x.tar" in str(error)


@pytest.mark.timeout(60)
def test_headers_that_are_nested_deeply_are_refused(tmp_path):
    member = header(b"a", b"x", b"00000000020\0") + b"16 comment=hello".ljust(512, b"\0")
    (tmp_path / "x.tar").write_bytes(member * 20_000)
    assert "damaged" in complaint(tmp_path)


def test_the_members_of_a_tar_are_not_kept_in_memory(tmp_path):
    samples = 2000
    write_tar(tmp_path / "x.tar", *pairs(samples))
    len(source(tmp_path))  # imports
    tracemalloc.start()
    try:
        opened = source(tmp_path)
        assert len(opened) == samples
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 500_000 + 300 * samples, "a member of tarfile takes 1,000 bytes and more"


def test_names_need_not_be_text(tmp_path):
    write_tar(tmp_path / "x.tar", ("caf\xe9.png", png(0)), ("caf\xe9.cls", "1"), encoding="latin-1",
              format=tarfile.GNU_FORMAT)  # fmt: skip
    (sample,) = source(tmp_path).samples()
    assert sample.sample_id == r"x.tar:caf\xe9"


def test_pipes_and_folders_are_no_tars(tmp_path):
    os.mkfifo(tmp_path / "x.tar")
    assert "pipe" in complaint(tmp_path)
    (tmp_path / "y.tar").mkdir()
    assert "y.tar" in complaint(tmp_path, train="y.tar")


def test_many_tars_are_open_one_after_the_other(tmp_path, monkeypatch):
    monkeypatch.setattr("tailproof.data.sources.webdataset.OPEN", 2)
    for number in range(5):
        write_tar(tmp_path / f"{number}.tar", *pairs(2, 2 * number))
    opened = source(tmp_path)
    places = [(sample.path, sample.row) for sample in opened.samples()]
    for _ in range(2):
        assert list(opened.read_many(places)) == [png(number) for number in range(10)]


def test_a_tar_that_changes_after_the_listing_is_not_read(tmp_path):
    file = write_tar(tmp_path / "x.tar", *pairs(3))
    places = [(sample.path, sample.row) for sample in source(file).samples()]
    write_tar(file, ("0.png", png(0) * 9), ("0.cls", "1"))
    with pytest.raises(TailproofError, match="damaged"):
        source(file).read(*places[1])


def test_a_configuration_that_cannot_fit_is_refused():
    for ranks in (
        {"class": "json"},
        {"class": "cls:label"},
        {"class": "json:"},
        {},
        {"path": "cls"},
    ):
        with pytest.raises(ValueError):
            WebDataset(name="webdataset", root="x", ranks=ranks)
    with pytest.raises(ValueError):
        WebDataset(name="webdataset", root="x", train="../x.tar")


@given(
    st.from_regex(
        r"[a-c]{0,2}(\{([0-9]{1,2}\.\.[0-9]{1,2}|[a-c]{1,2}(,[a-c]{0,2}){1,2})\}[a-c]?){0,2}",
        fullmatch=True,
    )
)
def test_braces_expand_as_in_the_library(pattern):
    from braceexpand import braceexpand

    assert expand_braces(pattern) == list(braceexpand(pattern))


def test_braces_cannot_name_a_billion_files(tmp_path):
    write_tar(tmp_path / "x.tar", *pairs(1))
    for pattern in ("{0..999999999}", "{000..999}{000..999}"):
        assert "100,000" in complaint(tmp_path, train=f"x{pattern}.tar")


def test_gaps_are_found_in_numbered_names():
    assert list(missing_numbers(["t-00000-of-00003.tar", "t-00002-of-00003.tar"])) == [
        "t-00001-of-00003.tar"
    ]
    assert list(missing_numbers(["t-00000-of-00002.tar"])) == ["t-00001-of-00002.tar"]
    assert list(missing_numbers(["in2012.tar", "in2019.tar", "x.tar"])) == []


def test_a_bad_image_is_listed_with_its_place_in_the_tar(tmp_path):
    members = [*pairs(9), ("9.png", b"no picture"), ("9.cls", "1")]
    file = write_tar(tmp_path / "x.tar", *members)
    config = Data(
        source={"name": "webdataset", "root": str(file)}, on_bad_image="skip", max_bad_share=0.5
    )
    prepare(config, tmp_path / "samples.parquet")
    assert len(read_parquet(tmp_path / "samples.parquet")) == 9
    assert f"x.tar,{9 * 2048}," in (tmp_path / "bad_images.csv").read_text()


def test_shards_of_the_documented_example_hold_the_pictures_of_the_tars(tmp_path):
    data = documented_data("webdataset")
    for split, first, count in (("train", 0, 26), ("test", 26, 10)):
        for number in range(first, first + count):
            species = number % 2
            write_tar(
                tmp_path / f"{split}-{number - first:06d}.tar",
                *[
                    member
                    for sample in range(3 * number, 3 * number + 3)
                    for member in (
                        (f"{sample}.png", png(sample)),
                        (f"{sample}.json", {
                            "taxon": {"genus": "g", "species": f"s{species}"},
                            "location": f"l{number}",
                        }),
                    )
                ],
            )  # fmt: skip
    config = Data(**{**data, "source": {**data["source"], "root": str(tmp_path)}})
    manifest = json.loads(build_data(config, tmp_path / "work").read_text())
    read = opened = 0
    for split in manifest["splits"]:
        table = read_parquet(tmp_path / "work" / "shards" / split / "part-00000.parquet")
        for row in table.to_pylist():
            number = int(row["sample_id"].split(":")[1])
            np.testing.assert_array_equal(
                decode(row["image"]["bytes"], "L"), decode(png(number), "L")
            )
            read += 1
            opened += row["species"] == (number // 3) % 2
    samples = read_parquet(tmp_path / "work" / "samples.parquet")
    assert read == opened
    assert set(samples["pool"].to_pylist()) == {"train", "held_out"}


def test_tars_are_recognized(tmp_path):
    assert WebDatasetSource.recognize(tmp_path) is None
    write_tar(tmp_path / "x/net-train-0.tar", *pairs(2))
    write_tar(tmp_path / "x/net-val-0.tar", *pairs(2))
    found = WebDatasetSource.recognize(tmp_path / "x")
    assert found.sure
    assert found.source == {
        "name": "webdataset",
        "root": str(tmp_path / "x"),
        "train": "net-train-0.tar",
        "test": "net-val-0.tar",
        "ranks": {"class": "cls"},
    }
    file = write_tar(
        tmp_path / "y.tar",
        ("a.seg.png", png(0)), ("a.input.png", png(1)), ("a.json", {"id": 1, "label": "x"}),
    )  # fmt: skip
    found = WebDatasetSource.recognize(file)
    assert found.source["image"] == "input.png"
    assert found.source["ranks"] == {"class": "json:label"}
    (sample,) = open_source(WebDataset(**found.source)).samples()
    assert sample.labels == {"class": "x"}
    assert WebDatasetSource.recognize(write_tar(tmp_path / "z.tar", ("a.png", png(0)))) is None
    (tmp_path / "w.tar").write_bytes(b"damaged" * 200)
    assert WebDatasetSource.recognize(tmp_path / "w.tar") is None


def test_the_headers_are_read_in_small_steps(tmp_path):
    write_tar(tmp_path / "x.tar", *pairs(2))
    steps = tar_members._Headers((tmp_path / "x.tar").open("rb"))
    with pytest.raises(tarfile.ReadError):
        steps.read()
