import hashlib
import io
import os
import pickle
import struct
import tarfile
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from tailproof.data.images import decode
from tailproof.data.sources import Sample, open_source
from tailproof.data.sources.archives.safe_archives import unpickle_arrays
from tailproof.data.sources.cifar import CLASSES, LAYOUTS, PINS, Cifar, CifarSource
from tailproof.runtime.errors import TailproofError

KINDS = sorted(LAYOUTS)
ROWS = 3


class Python2Pickler(pickle._Pickler):
    """Writes what Python 2 wrote: byte strings as such, and numpy under its old names."""

    dispatch: ClassVar = dict(pickle._Pickler.dispatch)

    def save_bytes(self, value):
        self.write(b"T" + struct.pack("<i", len(value)) + value)
        self.memoize(value)

    def save_text(self, value):
        self.save_bytes(value.encode())

    def save_global(self, value, name=None):
        module = value.__module__.replace("numpy._core", "numpy.core")
        self.write(f"c{module}\n{name or value.__qualname__}\n".encode())
        self.memoize(value)

    dispatch[bytes] = save_bytes
    dispatch[str] = save_text
    dispatch[type] = save_global


def pickled(value) -> bytes:
    file = io.BytesIO()
    Python2Pickler(file, protocol=2).dump(value)
    return file.getvalue()


class Tiny:
    """A collection in an official layout, with three images a file."""

    def __init__(self, name: str, kind: str):
        self.name, self.kind, self.layout = name, kind, LAYOUTS[name, kind]
        rng = np.random.default_rng(0)
        files = [file for names in self.layout.pools.values() for file in names]
        self.pixels = {file: rng.integers(0, 256, (ROWS, 3072), dtype=np.uint8) for file in files}
        self.labels = {
            rank: {file: rng.integers(0, len(names), ROWS).tolist() for file in files}
            for rank, names in CLASSES[name].items()
        }
        self.names = {rank: list(names) for rank, names in CLASSES[name].items()}

    def contents(self) -> dict[str, bytes]:
        return {**{file: self._data(file) for file in self.pixels}, **self._names()}

    def _data(self, file: str) -> bytes:
        columns = [labels[file] for labels in self.labels.values()]
        if self.kind == "binary":
            pixels = self.pixels[file]
            return np.column_stack([*np.array(columns, np.uint8), pixels]).tobytes()
        batch = {b"batch_label": b"a batch", b"data": self.pixels[file]}
        return pickled(batch | dict(zip(self.layout.label_keys, columns, strict=True)))

    def _names(self) -> dict[str, bytes]:
        result = {}
        for file, keys in self.layout.names.items():
            if self.kind == "binary":
                lines = [name for rank in keys for name in self.names[rank]]
                result[file] = "\n".join([*lines, "", ""]).encode()
            else:
                names = {key: [n.encode() for n in self.names[rank]] for rank, key in keys.items()}
                result[file] = pickled({b"num_vis": 3072} | names)
        return result

    def unpack(self, root: Path) -> CifarSource:
        for file, content in self.contents().items():
            (root / file).parent.mkdir(exist_ok=True)
            (root / file).write_bytes(content)
        return self.open(root, {})

    def pack(self, root: Path, more: tuple[tarfile.TarInfo, ...] = ()) -> CifarSource:
        archive = root / self.layout.archive
        with tarfile.open(archive, "w:gz") as tar:
            folder = tarfile.TarInfo(next(iter(self.pixels)).split("/")[0])
            folder.type = tarfile.DIRTYPE
            tar.addfile(folder)
            for file, content in self.contents().items():
                member = tarfile.TarInfo(file)
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
            for member in more:
                tar.addfile(member)
        return self.open(root, self.pin(root))

    def pin(self, root: Path) -> dict[str, str]:
        archive = root / self.layout.archive
        return {archive.name: f"sha256:{hashlib.sha256(archive.read_bytes()).hexdigest()}"}

    def open(self, root: Path, pins: dict[str, str]) -> CifarSource:
        return CifarSource(Cifar(name=self.name, format=self.kind, root=str(root)), pins)


@pytest.fixture(params=KINDS, ids="-".join)
def tiny(request) -> Tiny:
    return Tiny(*request.param)


@pytest.fixture(params=["pack", "unpack"])
def opened(request, tiny, tmp_path) -> CifarSource:
    return getattr(tiny, request.param)(tmp_path)


def test_every_sample_comes_with_its_labels_and_pixels(tiny, opened):
    samples = list(opened.samples())
    files = list(tiny.pixels)
    assert len(samples) == len(opened) == ROWS * len(files)
    assert opened.classes == CLASSES[tiny.name]
    test_file = files[-1]
    assert samples[-1] == Sample(
        "test-00002",
        {rank: opened.classes[rank][labels[test_file][2]] for rank, labels in tiny.labels.items()},
        test_file,
        2,
        pool="held_out",
    )
    assert [sample.sample_id for sample in samples[:-ROWS]] == [
        f"train-{row:05d}" for row in range(len(samples) - ROWS)
    ]
    images = np.stack([decode(opened.read(sample.path, sample.row), "RGB") for sample in samples])
    planes = np.concatenate(list(tiny.pixels.values())).reshape(-1, 3, 32, 32)
    np.testing.assert_array_equal(images, planes.transpose(0, 2, 3, 1))
    for rank, labels in tiny.labels.items():
        codes = [opened.classes[rank].index(sample.labels[rank]) for sample in samples]
        assert codes == [code for file in files for code in labels[file]]


def test_packed_and_unpacked_hold_the_same_samples(tiny, tmp_path):
    roots = tmp_path / "packed", tmp_path / "unpacked"
    for root in roots:
        root.mkdir()
    packed, unpacked = tiny.pack(roots[0]), tiny.unpack(roots[1])
    assert list(packed.samples()) == list(unpacked.samples())
    assert packed.files() == [roots[0] / tiny.layout.archive]
    assert unpacked.files() == [roots[1] / file for file in tiny.pixels]


def test_root_may_be_the_unpacked_folder_itself(tmp_path):
    tiny = Tiny("cifar10", "python")
    below = tiny.unpack(tmp_path)
    inside = tiny.open(tmp_path / "cifar-10-batches-py", {})
    assert inside.files() == below.files()
    assert list(inside.samples()) == list(below.samples())


def test_nothing_is_extracted(tiny, tmp_path):
    tiny.pack(tmp_path).load()
    assert [entry.name for entry in tmp_path.iterdir()] == [tiny.layout.archive]


def test_a_missing_archive_is_named(tiny, tmp_path):
    source = tiny.open(tmp_path, {})
    assert source.files() == [tmp_path / tiny.layout.archive]
    with pytest.raises(TailproofError, match=f"{tmp_path}.*{tiny.layout.archive}"):
        list(source.samples())


def test_a_missing_unpacked_file_is_named(tiny, tmp_path):
    source = tiny.unpack(tmp_path)
    last = source.files()[-1]
    last.unlink()
    with pytest.raises(TailproofError, match=f"{last} is missing"):
        source.load()


def test_a_missing_member_is_named(tiny, tmp_path):
    last = list(tiny.pixels)[-1]
    del tiny.pixels[last]
    with pytest.raises(TailproofError, match=f"has no member '{last}'"):
        tiny.pack(tmp_path).load()


@pytest.mark.parametrize("share", [0, 0.1, 0.5, 0.99])
def test_a_truncated_archive_is_refused(tiny, tmp_path, share):
    tiny.pack(tmp_path)
    archive = tmp_path / tiny.layout.archive
    data = archive.read_bytes()
    archive.write_bytes(data[: int(share * len(data))])
    with pytest.raises(TailproofError, match=r"truncated or damaged|has no member"):
        tiny.open(tmp_path, tiny.pin(tmp_path)).load()


@pytest.mark.parametrize("kind", KINDS, ids="-".join)
def test_an_archive_or_file_with_another_sum_is_refused(tmp_path, kind):
    tiny = Tiny(*kind)
    tiny.pack(tmp_path)
    config = Cifar(name=tiny.name, format=tiny.kind, root=str(tmp_path))
    with pytest.raises(TailproofError, match=r"sha256 .*\w{64}, expected \w{64}"):
        open_source(config).load()
    (tmp_path / tiny.layout.archive).unlink()
    tiny.unpack(tmp_path)
    algorithm = "md5" if tiny.kind == "python" else "sha256"
    with pytest.raises(TailproofError, match=rf"{algorithm} .*\w{{32}}, expected \w{{32}}"):
        open_source(config).load()


@pytest.mark.parametrize("kind", KINDS, ids="-".join)
def test_every_archive_and_data_file_is_pinned(kind):
    layout = LAYOUTS[kind]
    files = [file for names in layout.pools.values() for file in names]
    assert {layout.archive, *files} <= set(PINS)
    sizes = {"sha256": 64, "md5": 32}
    assert all(len(hexes) == sizes[name] for name, hexes in (p.split(":") for p in PINS.values()))
    assert len(set(PINS.values())) == len(PINS)


def test_labels_out_of_range_are_named(tiny, tmp_path):
    rank = list(tiny.labels)[-1]
    file = next(iter(tiny.pixels))
    tiny.labels[rank][file][1] = 150
    with pytest.raises(TailproofError, match=rf"{file}, row 1.* 150, expected 0 to \d+"):
        tiny.pack(tmp_path).load()


def test_other_class_names_are_refused(tiny, tmp_path):
    rank = list(tiny.names)[-1]
    tiny.names[rank][0], tiny.names[rank][1] = tiny.names[rank][1], tiny.names[rank][0]
    with pytest.raises(TailproofError, match=f"class names.*'{rank}'.* official"):
        tiny.pack(tmp_path).load()


def test_official_names_are_complete():
    sizes = {
        name: {rank: len(set(n)) for rank, n in ranks.items()} for name, ranks in CLASSES.items()
    }
    assert sizes == {"cifar10": {"class": 10}, "cifar100": {"superclass": 20, "class": 100}}


@pytest.mark.parametrize("length", [0, 1, 3073 * ROWS - 1])
def test_a_truncated_binary_file_is_refused(tmp_path, length):
    source = Tiny("cifar10", "binary").unpack(tmp_path)
    file = source.files()[2]
    file.write_bytes(file.read_bytes()[:length])
    with pytest.raises(TailproofError, match=f" {length} .*3073"):
        source.load()


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        ([1, 2], "expected a dictionary with data, labels"),
        ({b"data": np.zeros((1, 3072), np.uint8)}, "expected a dictionary with data, labels"),
        ({b"data": b"bytes", b"labels": [1]}, r"array of bytes \[images, 3072\]"),
        ({b"data": np.zeros((1, 3072)), b"labels": [1]}, r"array of bytes \[images, 3072\]"),
        (
            {b"data": np.zeros((1, 99), np.uint8), b"labels": [1]},
            r"array of bytes \[images, 3072\]",
        ),
        ({b"data": np.zeros((2, 3072), np.uint8), b"labels": [1]}, "'labels'.* 2 "),
        ({b"data": np.zeros((1, 3072), np.uint8), b"labels": [b"x"]}, "'labels'.* 1 "),
        ({b"data": np.zeros((1, 3072), np.uint8), b"labels": 7}, "'labels'.* 1 "),
    ],
)
def test_a_pickle_of_something_else_is_refused(tmp_path, batch, message):
    source = Tiny("cifar10", "python").unpack(tmp_path)
    source.files()[0].write_bytes(pickled(batch))
    with pytest.raises(TailproofError, match=message):
        source.load()


class Call:
    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
@pytest.mark.parametrize("function", [os.system, exec, getattr, __import__])
def test_a_pickle_that_would_run_code_is_refused_and_runs_nothing(tmp_path, protocol, function):
    witness = tmp_path / "witness"
    argument = f"touch {witness}" if function is os.system else f"open({str(witness)!r}, 'w')"
    source = Tiny("cifar10", "python").unpack(tmp_path)
    batch = {b"data": Call(function, argument), b"labels": []}
    source.files()[0].write_bytes(pickle.dumps(batch, protocol))
    with pytest.raises(TailproofError, match="nothing was executed"):
        source.load()
    assert not witness.exists()


def test_the_attack_itself_works_with_an_ordinary_unpickler(tmp_path):
    witness = tmp_path / "witness"
    pickle.loads(pickle.dumps(Call(os.system, f"touch {witness}")))
    assert witness.exists()


@pytest.mark.parametrize("name", ["numpy.f2py.crackfortran.myeval", "numpy.load", "numpy.core.x"])
def test_the_rest_of_numpy_is_out_of_reach(name):
    module, function = name.rsplit(".", 1)
    with pytest.raises(TailproofError, match=f"asks for {name}"):
        unpickle_arrays(f"c{module}\n{function}\n.".encode(), "file")


def test_arrays_are_read_as_both_pythons_and_both_numpys_wrote_them():
    value = {b"data": np.arange(6, dtype=np.uint8).reshape(2, 3), b"labels": [1, 2]}
    modern = pickle.dumps({"a": [1.5, None, True, (1, "x")], "data": value[b"data"]}, protocol=5)
    with pytest.raises(TailproofError, match="asks for"):
        unpickle_arrays(modern, "file")  # protocol 5 rebuilds arrays by another function
    for data in (pickled(value), pickled(value).replace(b"numpy.core", b"numpy._core")):
        loaded = unpickle_arrays(data, "file")
        np.testing.assert_array_equal(loaded[b"data"], value[b"data"])
        assert loaded[b"labels"] == [1, 2]


@pytest.mark.parametrize("share", [0, 0.3, 0.99])
def test_a_damaged_pickle_is_refused(share):
    data = pickled({b"data": np.zeros((2, 3), np.uint8)})
    with pytest.raises(TailproofError, match=r"file.* damaged pickle"):
        unpickle_arrays(data[: int(share * len(data))], "file")


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


@pytest.mark.parametrize(
    "bad",
    [
        member("../climbs"),
        member("cifar-10-batches-py/../../climbs"),
        member("/tmp/absolute"),
        member("link", tarfile.SYMTYPE, "/etc/passwd"),
        member("hard", tarfile.LNKTYPE, "cifar-10-batches-py/data_batch_1"),
        member("device", tarfile.CHRTYPE),
        member("pipe", tarfile.FIFOTYPE),
    ],
    ids=lambda info: info.name,
)
def test_a_member_that_leaves_the_folder_is_refused(tmp_path, bad):
    root = tmp_path / "root"
    root.mkdir()
    source = Tiny("cifar10", "python").pack(root, (bad,))
    with pytest.raises(TailproofError, match=f"'{bad.name}'.*nothing was extracted"):
        source.load()
    assert [entry.name for entry in tmp_path.rglob("*")] == ["root", "cifar-10-python.tar.gz"]
