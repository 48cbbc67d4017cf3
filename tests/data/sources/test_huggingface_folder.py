import codecs
import json
from pathlib import Path

import datasets
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tailproof.config.data import Data
from tailproof.data.images import encode_png
from tailproof.data.prepare import prepare
from tailproof.data.sources import open_source
from tailproof.data.sources.huggingface_folder import HuggingfaceFolder, HuggingfaceFolderSource
from tailproof.data.sources.tables.dataset_card import read_card
from tailproof.data.tables import read_parquet, table_metadata
from tailproof.runtime.errors import TailproofError
from tests.data.sources.documented import documented_data

CARD = """\
---
license: mit
dataset_info:
  features:
  - name: image
    dtype: image
  - name: label
    dtype:
      class_label:
        names:
          '0': yes
          '1': no
          '2': 07
---
# Birds
"""


def png(seed: int) -> bytes:
    return encode_png(np.random.default_rng(seed).integers(0, 256, (3, 4), dtype=np.uint8))


def write_files(root: Path, files: dict[str, str | bytes | int | pa.Table]) -> Path:
    """Write files by their paths; a picture is its number."""
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, pa.Table):
            pq.write_table(content, path)
        elif isinstance(content, int):
            path.write_bytes(png(content))
        else:
            path.write_bytes(content.encode() if isinstance(content, str) else content)
    return root


def pictures(*names: str) -> dict[str, int]:
    return {name: seed for seed, name in enumerate(names)}


def source(root: Path, **options) -> HuggingfaceFolderSource:
    return open_source(HuggingfaceFolder(name="huggingface_folder", root=str(root), **options))


def read(root: Path, **options) -> dict[str, tuple[str | None, str | None]]:
    """Return label and pool by path."""
    return {
        sample.path: (sample.labels["label"], sample.pool)
        for sample in source(root, **options).samples()
    }


def complaint(root: Path, **options) -> str:
    """What is said of a folder, without the folder that all paths begin with."""
    with pytest.raises(TailproofError) as error:
        list(source(root, **options).samples())
    return str(error.value).replace(f"{root}/", "")


def skipped(root: Path, **options) -> dict[str, int]:
    return {one.reason: one.count for one in source(root, **options).skipped()}


SPLITS = {"train": "train", "validation": "val", "test": "held_out"}

LAYOUTS = {
    "one table at the root": {
        **pictures("a.png", "sub/b.jpg"),
        "metadata.csv": "file_name,label,other\na.png,cat,x\nsub/b.jpg,dog,y\n",
    },
    "a table per split": {
        **pictures("train/a.png", "train/sub/b.png", "validation/c.png", "test/d.png"),
        "train/metadata.csv": "file_name,label\na.png,1\nsub/b.png,0\n",
        "validation/metadata.csv": "file_name,label\nc.png,1\n",
        "test/metadata.csv": "file_name,label\nd.png,0\n",
    },
    "JSON lines in a folder of splits": {
        **pictures("data/training/a.png", "data/dev/c.png", "data/eval/d.png"),
        "data/training/metadata.jsonl": '{"file_name": "a.png", "label": "ä", "x": [1, 2]}\n\n',
        "data/dev/metadata.jsonl": '{"file_name": "c.png", "label": "b", "x": [3]}\n',
        "data/eval/metadata.jsonl": '{"file_name": "d.png", "label": "b", "x": [4]}',
    },
    "parquet": {
        **pictures("train-00/a.png", "train-01/b.png", "my test/c.png"),
        "train-00/metadata.parquet": pa.table({"file_name": ["a.png"], "label": [3]}),
        "train-01/metadata.parquet": pa.table({"file_name": ["b.png"], "label": [4]}),
        "my test/metadata.parquet": pa.table({"file_name": ["c.png"], "label": [3]}),
    },
    "tables in subfolders": {
        **pictures("train/x/a.png", "train/y/b.png", "test/z/c.png"),
        "train/x/metadata.csv": "label,file_name\n1,a.png\n",
        "train/y/metadata.csv": "label,file_name\n2,b.png\n",
        "test/z/metadata.csv": "label,file_name\n2,c.png\n",
    },
    "a column of another name": {
        **pictures("a.png", "b.png"),
        "metadata.csv": "input_file_name,label\na.png,cat\nb.png,dog\n",
    },
    "no label in a row": {
        **pictures("a.png", "b.png"),
        "metadata.jsonl": '{"file_name": "a.png", "label": null}\n'
        '{"file_name": "b.png", "label": 3}\n',
    },
    "a split in the card": {
        **pictures("x/a.png", "y/b.png"),
        "x/metadata.csv": "file_name,label\na.png,1\n",
        "y/metadata.csv": "file_name,label\nb.png,0\n",
        "README.md": "---\nconfigs:\n- config_name: default\n  data_files:\n"
        "  - split: train\n    path: x/*\n  - split: test\n    path:\n    - 'y/**'\n---\n",
    },
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_samples_labels_and_splits_are_those_of_datasets(tmp_path, monkeypatch, layout):
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    root, cache = write_files(tmp_path / "set", LAYOUTS[layout]), str(tmp_path / "cache")
    by_card = (
        {"path": str(root)} if "card" in layout else {"path": "imagefolder", "data_dir": str(root)}
    )
    loaded = datasets.load_dataset(**by_card, cache_dir=cache)
    expected = {}
    for split, rows in loaded.items():
        (image,) = (
            name for name, kind in rows.features.items() if isinstance(kind, datasets.Image)
        )
        for row in rows.cast_column(image, datasets.Image(decode=False)):
            path = Path(row[image]["path"]).relative_to(root).as_posix()
            label = None if row["label"] is None else str(row["label"])
            expected[path] = label, SPLITS[split] if len(loaded) > 1 else None
    assert read(root) == expected
    opened = source(root)
    assert len(opened) == len(expected)
    assert all(opened.read(path, None) == (root / path).read_bytes() for path in expected)


def test_rows_are_samples(tmp_path):
    write_files(
        tmp_path,
        {
            **pictures("train/a.png", "train/b.png", "test/c.png", "test/d.png"),
            "train/metadata.csv": "file_name,family,species,bird\na.png,f,s,1\nb.png,f,,\n",
            "test/metadata.csv": "file_name,family,species,bird\nc.png,f,s,1\nd.png,,t,2\n",
        },
    )
    options = {"ranks": ["family", "species"], "group": "bird", "group_per_pool": True}
    opened = source(tmp_path, **options)
    assert [
        (sample.path, *sample.labels.values(), sample.pool, sample.group)
        for sample in opened.samples()
    ] == [
        ("test/c.png", "f", "s", "held_out", "held_out/1"),
        ("test/d.png", None, "t", "held_out", "held_out/2"),
        ("train/a.png", "f", "s", "train", "train/1"),
        ("train/b.png", "f", None, "train", None),
    ]
    assert opened.files() == [tmp_path / "test/metadata.csv", tmp_path / "train/metadata.csv"]
    assert opened.classes == {"family": ["f"], "species": ["s", "t"]}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("metadata.csv", "file_name,label\na.png,2\nb.png,0\nc.png,\nd.png,-1\n"),
        ("metadata.csv", "file_name,label\na.png,2.0\nb.png,0.0\nc.png,\nd.png,nan\n"),
        ("metadata.csv", "file_name,label\na.png,07\nb.png,yes\nc.png,\nd.png,\n"),
        ("metadata.jsonl", [2, 0, None, -1]),
        ("metadata.jsonl", [2.0, 0.0, float("nan"), None]),
        ("metadata.jsonl", ["07", "yes", "", None]),
        ("metadata.parquet", [2, 0, None, -1]),
        ("metadata.parquet", [2.0, 0.0, None, float("nan")]),
        ("metadata.parquet", ["07", "yes", None, ""]),
    ],
)
def test_the_card_names_the_classes(tmp_path, name, content):
    names = ["a.png", "b.png", "c.png", "d.png"]
    write_files(tmp_path, {**pictures(*names), "README.md": CARD})
    if name.endswith("jsonl"):
        rows = [
            {"file_name": file, "label": label} for file, label in zip(names, content, strict=True)
        ]
        content = "".join(f"{json.dumps(row)}\n" for row in rows)
    elif name.endswith("parquet"):
        content = pa.table({"file_name": names, "label": content})
    write_files(tmp_path, {name: content})
    assert [label for label, _ in read(tmp_path).values()] == ["07", "yes", None, None]
    opened = source(tmp_path)
    assert opened.classes == {"label": ["yes", "07"]}
    assert tmp_path / "README.md" in opened.files()


@pytest.mark.parametrize("label", [3, -2, "maybe", 0.5, [1], {"a": 1}])
def test_labels_that_the_card_does_not_name_are_refused(tmp_path, label):
    rows = [{"file_name": "a.png", "label": 0}, {"file_name": "b.png", "label": label}]
    text = "".join(f"{json.dumps(row)}\n" for row in rows)
    write_files(tmp_path, {**pictures("a.png", "b.png"), "README.md": CARD, "metadata.jsonl": text})
    assert "metadata.jsonl, line 2" in complaint(tmp_path)
    if not isinstance(label, list | dict):
        (tmp_path / "metadata.jsonl").unlink()
        write_files(tmp_path, {"metadata.csv": f"file_name,label\na.png,0\nb.png,{label}\n"})
        assert "metadata.csv, line " in complaint(tmp_path)


def test_a_table_at_the_root_lists_the_images_of_all_splits(tmp_path):
    """datasets reads neither its labels nor its rows."""
    write_files(
        tmp_path,
        {
            **pictures("train/a.png", "test/b.png", "extra/c.png"),
            "metadata.csv": "file_name,label\ntrain/a.png,x\ntest/b.png,y\nextra/c.png,y\n",
        },
    )
    assert read(tmp_path) == {"train/a.png": ("x", "train"), "test/b.png": ("y", "held_out")}
    assert skipped(tmp_path) == {"listed images in no split of the folders": 1}


def test_splits_in_file_names_count_only_if_all_have_one(tmp_path):
    table = "file_name,label\nx/train_a.png,1\nx/test_b.png,0\n"
    write_files(tmp_path, {**pictures("x/train_a.png", "x/test_b.png"), "metadata.csv": table})
    assert [pool for _, pool in read(tmp_path).values()] == ["train", "held_out"]
    write_files(
        tmp_path, {"x/test-tube.png": 3, "metadata.csv": f"{table}x/c.png,2\n", "x/c.png": 4}
    )
    assert [pool for _, pool in read(tmp_path).values()] == [None] * 3
    assert skipped(tmp_path) == {"images that no metadata file lists": 1}


def test_a_folder_that_is_called_test_alone_is_no_split(tmp_path):
    files = pictures("test tube/a.png", "flask/b.png")
    table = "file_name,label\ntest tube/a.png,1\nflask/b.png,0\n"
    write_files(tmp_path, {**files, "metadata.csv": table})
    assert [pool for _, pool in read(tmp_path).values()] == [None, None]


def test_a_name_with_several_keywords_names_no_split(tmp_path):
    files = pictures("train_test_split/train/a.png", "train_test_split/test/b.png")
    table = "".join(f"{name},{seed}\n" for name, seed in files.items())
    write_files(tmp_path, {**files, "metadata.csv": f"file_name,label\n{table}"})
    assert [pool for _, pool in read(tmp_path).values()] == ["train", "held_out"]


def test_a_validation_set_without_a_test_set_is_held_out_and_said(tmp_path):
    write_files(
        tmp_path,
        {
            **pictures("train/a.png", "val/b.png"),
            "train/metadata.csv": "file_name,label\na.png,x\n",
            "val/metadata.jsonl": '{"file_name": "b.png", "label": "x"}\n',
        },
    )
    assert [pool for _, pool in read(tmp_path).values()] == ["train", "held_out"]
    (warning,) = source(tmp_path).warnings()
    assert "validation" in warning


def test_a_split_without_a_table_is_left_out_with_a_warning(tmp_path):
    files = pictures("train/a.png", "train/b.png", "test/c.png", "test/d.png")
    write_files(tmp_path, {**files, "train/metadata.csv": "file_name,label\na.png,x\nb.png,y\n"})
    assert [pool for _, pool in read(tmp_path).values()] == [None, None]
    assert skipped(tmp_path) == {"images that no metadata file lists": 2}
    (warning,) = source(tmp_path).warnings()
    assert "2 images of the split test" in warning


def test_withheld_labels_are_refused_and_other_folders_can_be_named(tmp_path):
    write_files(
        tmp_path,
        {
            **pictures("train/a.png", "val/b.png", "test/c.png"),
            "train/metadata.csv": "file_name,label\na.png,x\n",
            "val/metadata.csv": "file_name,label\nb.png,x\n",
            "test/metadata.csv": "file_name,label\nc.png,\n",
        },
    )
    assert "data.source.test" in complaint(tmp_path)
    options = {"train": "train", "test": "val"}
    assert read(tmp_path, **options) == {
        "train/a.png": ("x", "train"),
        "val/b.png": ("x", "held_out"),
    }
    assert skipped(tmp_path, **options) == {"listed images in no split of data.source": 1}
    assert list(read(tmp_path, train="{train,val}/*.png")) == ["train/a.png", "val/b.png"]
    assert "disjoint" in complaint(tmp_path, train="*/*", test="test")
    assert "training set" in complaint(tmp_path, train="nowhere", test="test")


CSV = "file_name,label\na.png,cat\nsub/b.png,dog\n"


@pytest.mark.parametrize(
    "content",
    [
        CSV.encode("utf-8-sig"),
        codecs.BOM_UTF16_LE + CSV.encode("utf-16-le"),
        CSV.replace(",", ";").replace("\n", "\r\n").encode(),
        CSV.replace("sub/b.png", "sub\\b.png").encode(),
        CSV.replace("sub/b.png", "./sub//b.png").encode(),
        b"# made by hand\n" + CSV.encode(),
    ],
)
def test_tables_are_read_as_programs_write_them(tmp_path, content):
    write_files(tmp_path, {**pictures("a.png", "sub/b.png"), "metadata.csv": content})
    assert read(tmp_path) == {"a.png": ("cat", None), "sub/b.png": ("dog", None)}


def test_another_encoding_is_the_users_to_name(tmp_path):
    content = "file_name,label\na.png,Épicéa\n".encode("cp1252")
    write_files(tmp_path, {**pictures("a.png"), "metadata.csv": content})
    assert "data.source.encoding" in complaint(tmp_path)
    assert read(tmp_path, encoding="cp1252") == {"a.png": ("Épicéa", None)}


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("gone.png,cat", ["line 3", "gone.png does not exist"]),
        ("sub/a.png,cat", ["line 3", "already in metadata.csv, line 2"]),
        ("./sub/a.png,cat", ["already in metadata.csv, line 2"]),
        ("sub\\a.png,cat", ["already in metadata.csv, line 2"]),
        ("../x.png,cat", ["line 3", "outside"]),
        ("sub/../../x.png,cat", ["outside"]),
        ("/etc/passwd,cat", ["line 3", "absolute"]),
        ("C:\\x.png,cat", ["line 3", "absolute"]),
        ("..\\x.png,cat", ["outside"]),
        ("file:///etc/passwd,cat", ["address"]),
        (",cat", ["line 3", "no value", "'file_name'"]),
        ("b.png,cat,dog", ["line 3", "3 cells"]),
    ],
)
def test_rows_that_cannot_be_used_are_named(tmp_path, row, words):
    write_files(
        tmp_path,
        {**pictures("sub/a.png"), "metadata.csv": f"file_name,label\nsub/a.png,cat\n{row}\n"},
    )
    text = complaint(tmp_path)
    assert all(word in text for word in words) and "\n" not in text


@pytest.mark.parametrize(
    "line",
    [
        "{",
        "[1]",
        '{"file_name": "a.png", "label": ["x"]}',
        '{"label": "x"}',
        '{"file_name": null, "label": "x"}',
        '{"file_name": "../a.png", "label": "x"}',
        '{"file_name": "b\\u0000.png", "label": "x"}',
        '{"file_name": "\\ud800.png", "label": "x"}',
        '{"file_name": "b.png", "label": "\\ud800"}',
        '{"file_name": "b.png", "file_name": "c.png"}',
        '{"file_name": "b.png", "label": ' + "[" * 20000,
        '{"file_name": "b.png", "label": ' + "9" * 6000 + "}",
    ],
)
def test_lines_that_are_no_row_are_named(tmp_path, line):
    text = '{"file_name": "a.png", "label": "x"}\n' + line + "\n"
    write_files(tmp_path, {**pictures("a.png", "b.png"), "metadata.jsonl": text})
    text = complaint(tmp_path)
    assert "metadata.jsonl, line 2" in text or "zero byte" in text


def test_all_mistakes_are_one_list(tmp_path):
    rows = "".join(f"../{number}.png,x\n" for number in range(9))
    write_files(
        tmp_path, {**pictures("a.png"), "metadata.csv": f"file_name,label\na.png,x\n{rows}"}
    )
    text = complaint(tmp_path)
    assert text.startswith("9 rows") and len(text.splitlines()) == 7


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("metadata.csv", "file_name,labels\na.png,x\n", ["'label'", "labels"]),
        ("metadata.csv", "filename,label\na.png,x\n", ["'file_name'", "did you mean 'filename'"]),
        ("metadata.jsonl", '{"file_name": "a.png", "labels": 1}\n', ["'label'", "labels"]),
        ("metadata.jsonl", '{"image": "a.png", "label": 1}\n', ["'file_name'", "image"]),
        ("metadata.jsonl", '{"file_names": ["a.png"], "label": 1}\n', ["several images per row"]),
        ("metadata.jsonl", '{"a_file_name": "a.png", "b_file_name": "b", "label": 1}\n',
         ["a_file_name, b_file_name", "data.source.image"]),
        ("metadata.parquet", pa.table({"file_name": ["a.png"]}), ["'label'"]),
        ("metadata.parquet", pa.table({"file_name": ["a.png"], "label": [[1]]}), ["'label'"]),
        ("metadata.parquet", b"PAR1", ["metadata.parquet"]),
        ("metadata.csv", "file_name,label\n", ["no row"]),
        ("metadata.jsonl", "", ["no row"]),
        ("metadata.csv", "", ["empty"]),
        ("metadata.csv", "file_name,label\na.png,NA\n", ["data.source.missing"]),
        ("metadata.csv", "file_name,label\na.png,\n", ["no sample has a label", "add labels"]),
    ],
)  # fmt: skip
def test_tables_that_do_not_fit_are_refused(tmp_path, name, content, words):
    write_files(tmp_path, {**pictures("a.png"), name: content})
    text = complaint(tmp_path)
    assert all(word in text for word in words)


def test_two_tables_for_one_image_are_refused(tmp_path):
    files = {**pictures("train/a.png"), "train/metadata.csv": "file_name,label\na.png,x\n"}
    write_files(tmp_path, {**files, "metadata.csv": "file_name,label\ntrain/a.png,y\n"})
    assert "already in metadata.csv, line 2" in complaint(tmp_path)
    write_files(tmp_path, {"train/metadata.jsonl": '{"file_name": "a.png", "label": "x"}\n'})
    assert "one folder" in complaint(tmp_path)


def test_without_tables_the_classes_may_be_folders(tmp_path):
    write_files(tmp_path, pictures("train/cat/a.png", "train/dog/b.png", "test/cat/c.png"))
    text = complaint(tmp_path)
    assert "name: image_folder" in text and "train: train, test: test" in text
    assert "does not exist" in complaint(tmp_path / "nowhere")


def test_archives_that_may_contain_the_images_are_named(tmp_path):
    table = "file_name,label\ntrain/a.png,x\n"
    write_files(tmp_path, {"metadata.csv": table, "data/train.zip": b"PK"})
    assert "data/train.zip" in complaint(tmp_path)


def test_leftovers_and_unlisted_images_are_counted(tmp_path):
    files = pictures("a.png", "b.png", ".hidden.png", "@eaDir/a.png", "c.gif")
    write_files(tmp_path, {**files, "metadata.csv": "file_name,label\na.png,x\n# a note\n"})
    counted = skipped(tmp_path)
    assert counted["images that no metadata file lists"] == 1
    assert sum(counted.values()) == 4


def test_names_in_another_form_are_found(tmp_path):
    files = pictures("E\u0301pice\u0301a.png", "IMG.JPG")
    table = "file_name,label\n\u00c9pic\u00e9a.png,x\nimg.jpg,y\n"
    write_files(tmp_path, {**files, "metadata.csv": table})
    assert list(read(tmp_path)) == list(files)
    assert len(source(tmp_path).warnings()) == 1


def info(names: object) -> str:
    value = [{"name": "label", "dtype": {"class_label": {"names": names}}}]
    return f"---\ndataset_info: {json.dumps({'features': value})}\n---\n"


@pytest.mark.parametrize(
    ("text", "names"),
    [
        (info({"0": "a", "1": "b"}), ("a", "b")),
        (info({"1": "b", "0": "a"}), ("a", "b")),
        (info(["a", "b"]), ("a", "b")),
        (info(7), None),
        ("no card", None),
        ("---\n---\n", None),
        ("---\n[1, 2]\n---\n", None),
        ("---\ndataset_info: 7\nconfigs: x\n---\n", None),
        ("---\r\ndataset_info:\r\n- config_name: x\r\n  features: []\r\n---\r\n", None),
    ],
)
def test_cards_name_classes(tmp_path, text, names):
    file = tmp_path / "README.md"
    file.write_text(text, newline="")
    assert read_card(file).names.get("label") == names


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("---\na: [\n---\n", "line 3"),
        (info({"0": "a", "2": "b"}), "0 to 1"),
        ("---\nconfigs:\n- config_name: a\n- config_name: b\n---\n", "'a', 'b'"),
        ("---\n" + "a: " + "[" * 1200 + "\n---\n", "README.md"),
    ],
)
def test_cards_that_cannot_be_used_are_refused(tmp_path, text, words):
    file = tmp_path / "README.md"
    file.write_text(text)
    with pytest.raises(TailproofError, match=words):
        read_card(file)


def test_the_default_configuration_of_a_card_counts(tmp_path):
    configs = [{"config_name": "a"}, {"config_name": "b", "default": True, "data_files": "b/*"}]
    infos = [
        {
            "config_name": name,
            "features": [{"name": "label", "dtype": {"class_label": {"names": [name]}}}],
        }
        for name in "ab"
    ]
    (tmp_path / "README.md").write_text(
        f"---\nconfigs: {json.dumps(configs)}\ndataset_info: {json.dumps(infos)}\n---\n"
    )
    card = read_card(tmp_path / "README.md")
    assert card.names == {"label": ("b",)} and card.splits == {"train": ["b/*"]}


def test_the_documented_example_runs(tmp_path):
    data = documented_data("huggingface_folder")
    for split in ("train", "validation", "test"):
        rows = [
            {"file_name": f"{number}.png", "genus": f"g{number % 2}", "species": f"s{number % 4}",
             "site": f"{split}{number}"}
            for number in range(8)
        ]  # fmt: skip
        table = pd.DataFrame(rows).to_csv(index=False)
        write_files(
            tmp_path / split,
            {"metadata.csv": table, **pictures(*[row["file_name"] for row in rows])},
        )
    config = Data(**{**data, "source": {**data["source"], "root": str(tmp_path)}})
    prepare(config, tmp_path / "samples.parquet")
    samples = read_parquet(tmp_path / "samples.parquet")
    assert samples["pool"].value_counts().to_pylist() == [
        {"values": pool, "counts": 8} for pool in ("held_out", "train", "val")
    ]
    assert table_metadata(tmp_path / "samples.parquet")["ranks"] == ["genus", "species"]


def test_folders_with_metadata_are_recognized(tmp_path):
    recognize = HuggingfaceFolderSource.recognize
    names = [f"{number}.png" for number in range(6)]
    table = "file_name,caption,species\n" + "".join(
        f"{name},picture {name},{'owl' if name < '3' else 'elk'}\n" for name in names
    )
    assert recognize(tmp_path) is None
    write_files(tmp_path, {"data/train/metadata.csv": table})
    assert recognize(tmp_path) is None, "no image is there"
    write_files(tmp_path / "data" / "train", pictures(*names))
    found = recognize(tmp_path)
    assert found.sure
    assert found.source == {
        "name": "huggingface_folder",
        "root": str(tmp_path),
        "ranks": ["species"],
    }
    assert len(open_source(HuggingfaceFolder(**found.source))) == 6
    write_files(tmp_path, {"data/train/metadata.csv": table.replace("file_name", "image_id")})
    assert recognize(tmp_path) is None
    write_files(tmp_path, {"data/train/metadata.csv": table.replace("owl", "elk")})
    with pytest.raises(TailproofError, match="caption, species"):
        recognize(tmp_path)
    assert recognize(tmp_path / "data" / "train" / "0.png") is None


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_the_card_decides_which_column_is_the_label(tmp_path, kind):
    rows = [{"file_name": f"{n}.png", "label": n % 3, "category": f"c{n % 2}"} for n in range(6)]
    lines = "".join(f"{json.dumps(row)}\n" for row in rows)
    content = lines if kind == "jsonl" else pa.Table.from_pylist(rows)
    files = pictures(*[row["file_name"] for row in rows])
    write_files(tmp_path, {f"metadata.{kind}": content, **files, "README.md": CARD})
    found = HuggingfaceFolderSource.recognize(tmp_path)
    assert found.sure and found.source["ranks"] == ["label"]
