"""Tables as spreadsheets, R, pandas and people write them: read right, or refused by a sentence."""

import re
import shutil
import unicodedata
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tailproof.config.data import Data
from tailproof.config.splits import SPLITS
from tailproof.data.images import encode_png
from tailproof.data.prepare import prepare
from tailproof.data.sources import open_source
from tailproof.data.sources.tables.table_recognition import recognize_table
from tailproof.data.splits import split
from tailproof.data.tables import read_parquet
from tailproof.files import read_json
from tailproof.runtime.errors import TailproofError

TABLES = Path(__file__).parent / "tables"
FOUR = [("a/1.png", "lynx"), ("a/2.png", "lynx"), ("b/3.png", "otter"), ("b/4.png", "otter")]


def picture(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (6, 6), dtype=np.uint8)
    path.write_bytes(encode_png(pixels))


def open_table(root: Path, table="labels.csv", **options):
    options = {"table": table, "ranks": ["label"], "group": None, **options}
    if "train" in options:
        del options["table"]
    return open_source(Data(source={"name": "metadata_csv", "root": str(root), **options}).source)


def listed(source):
    return [(sample.path, sample.labels["label"]) for sample in source.samples()]


def refusal(source) -> str:
    with pytest.raises(TailproofError) as error:
        list(source.samples())
    return str(error.value)


@pytest.fixture
def four(tmp_path):
    """Four images in two folders, and all tables of this folder."""
    for number, (path, _) in enumerate(FOUR):
        picture(tmp_path / path, number)
    shutil.copytree(TABLES, tmp_path, dirs_exist_ok=True)
    return tmp_path


def write_images(root: Path, rows, header="filename,label\n", name="labels.csv"):
    """Write a table of (file name, cells) and one image for each row."""
    for number, row in enumerate(rows):
        picture(root / row[0], number)
    (root / name).write_text(header + "".join(",".join(row) + "\n" for row in rows))
    return root


@pytest.mark.parametrize(
    "table",
    [
        "blanks_after_commas.csv",
        "comments.csv",
        "excel_sep_line.csv",
        "excel_trailing_columns.csv",
        "excel_unicode_text.txt",
        "no_suffix.csv",
        "old_mac.csv",
        "pandas_index.csv",
        "pipe.txt",
        "quoted_breaks.csv",
        "r_write_csv.csv",
        "r_write_table.csv",
    ],
)
def test_a_table_of_any_program_is_read(four, table):
    source = open_table(four, table)
    assert listed(source) == FOUR
    assert source.warnings() == []


@pytest.mark.parametrize(("table", "count"), [("excel_european.csv", 4), ("capitals.csv", 4)])
def test_files_with_other_capitals_are_found_and_said(four, table, count):
    source = open_table(four, table)
    assert listed(source) == FOUR
    (warning,) = source.warnings()
    assert f"{count} of 4 files" in warning


def test_comments_and_unlisted_images_are_counted(four):
    picture(four / "a/9.png", 9)
    skipped = open_table(four, "comments.csv").skipped()
    assert [(each.count, each.examples) for each in skipped] == [(3, ()), (1, ("a/9.png",))]


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ("utf16_without_mark.csv", ["UTF-16"]),
        ("no_header.csv", ["no header", "a/1.png", "filename,label"]),
        ("title_above.csv", ["line 1", "line 3"]),
        ("blanks_as_separators.txt", ["blanks", "commas"]),
    ],
)
def test_a_table_that_cannot_be_read_says_what_it_is(four, table, words):
    message = refusal(open_table(four, table))
    assert str(four / table) in message and "\n" not in message
    for word in words:
        assert word in message


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"PK\x03\x04\x14", "Excel"),
        (b"\xd0\xcf\x11\xe0\xa1", "Excel"),
        (b"\x1f\x8b\x08", "compressed"),
        (b"PAR1\x15", "parquet"),
        (b"<!DOCTYPE html>", "web page"),
        (b'{"filename": ["a"]}', "JSON"),
        (b'[{"filename": "a"}]', "JSON"),
        (b"ARROW1\0\0", "feather"),
        (b"\x80\x04\x95", "pickle"),
        (b"\n \n", "empty"),
        (b"filename,label\na/1.png,ly\0nx\n", "zero bytes"),
    ],
)
def test_another_kind_of_file_is_named(four, content, word):
    (four / "labels.csv").write_bytes(content)
    assert word in refusal(open_table(four))


def test_text_that_is_not_utf8_is_read_only_in_the_encoding_that_is_named(four):
    message = refusal(open_table(four, "windows_1252.csv"))
    assert "line 2" in message and "cp1252" in message and "'Mélèze'" in message
    named = open_table(four, "windows_1252.csv", encoding="cp1252")
    assert named.classes == {"label": ["Mélèze", "Épicéa"]}
    (four / "twice.csv").write_bytes(
        (four / "windows_1252.csv").read_text("cp1252").encode().decode("cp1252").encode()
    )
    (warning,) = open_table(four, "twice.csv").warnings()
    assert "MÃ©lÃ¨ze" in warning


def test_all_wrong_rows_are_listed_at_once(four):
    message = refusal(open_table(four, "many_faults.csv"))
    first, *lines = message.split("\n")
    assert first.startswith("12 rows")
    assert len(lines) == 6 and lines[-1].strip() == "and 7 more"


def test_all_missing_images_are_counted_and_some_are_named(four):
    rows = "".join(f"a/{number}.jpg,x\n" for number in (1, 7, 8))
    (four / "labels.csv").write_text("filename,label\n" + rows)
    message = refusal(open_table(four))
    for word in ("a/1.jpg", "3 of 3", "'a/7.jpg'", "'1.png'"):
        assert word in message


def test_two_spellings_of_one_file_are_one_file(four):
    (four / "labels.csv").write_text("filename,label\na/1.png,x\nb/3.png,y\nA\\1.PNG,y\n")
    message = refusal(open_table(four))
    assert "line 4" in message and "line 2" in message and "a/1.png" in message


def test_names_that_differ_in_capitals_only_are_not_guessed(four):
    picture(four / "a/X.png", 8)
    picture(four / "a/x.png", 9)
    (four / "labels.csv").write_text("filename,label\na/X.png,u\na/x.png,v\n")
    assert listed(open_table(four)) == [("a/X.png", "u"), ("a/x.png", "v")]
    (four / "labels.csv").write_text("filename,label\na/X.PNG,u\n")
    message = refusal(open_table(four))
    assert "'X.png' and 'x.png'" in message


@pytest.mark.parametrize("on_disk", ["NFC", "NFD"])
@pytest.mark.parametrize("in_table", ["NFC", "NFD"])
def test_accents_are_found_in_either_unicode_form(tmp_path, on_disk, in_table):
    for number in range(3):
        picture(tmp_path / unicodedata.normalize(on_disk, f"Épicéa/é{number}.png"), number)
    rows = "".join(f"Épicéa/é{number}.png,Épicéa\n" for number in range(3))
    text = unicodedata.normalize(in_table, "filename,label\n" + rows)
    (tmp_path / "labels.csv").write_text(text)
    source = open_table(tmp_path)
    assert [path for path, _ in listed(source)] == [
        unicodedata.normalize(on_disk, f"Épicéa/é{number}.png") for number in range(3)
    ]
    assert source.warnings() == []


R_ROWS = [
    (f"{n:03d}.png", "NA" if n % 10 == 0 else "abcd"[n % 4], "NA" if n % 3 == 0 else f"p{n // 4}")
    for n in range(160)
]


@pytest.fixture
def r_table(tmp_path):
    return write_images(tmp_path, R_ROWS, "filename,label,plot\n")


def test_na_needs_a_decision(r_table):
    message = refusal(open_table(r_table, group="plot"))
    for word in ("'NA'", "16 of 160", "'label'", "54 of 160", "'plot'", "[NA]", "[]"):
        assert word in message


@pytest.mark.parametrize("missing", [["NA"], {"label": ["NA"], "plot": ["NA"]}])
def test_na_is_missing_if_the_configuration_says_so(r_table, missing):
    source = open_table(r_table, group="plot", missing=missing)
    assert source.classes == {"label": ["a", "b", "c", "d"]}
    samples = list(source.samples())
    assert sum(sample.labels["label"] is None for sample in samples) == 16
    assert sum(sample.group is None for sample in samples) == 54
    assert source.warnings() == []


def test_na_is_a_name_if_the_configuration_says_so(r_table):
    source = open_table(r_table, group="plot", missing={"label": [], "plot": ["NA"]})
    assert "NA" in source.classes["label"]
    assert sum(sample.group is None for sample in source.samples()) == 54
    source = open_table(r_table, group="plot", missing=[])
    assert Counter(sample.group for sample in source.samples())["NA"] == 54


@pytest.mark.parametrize(
    "sign", ["N/A", "n/a", "#N/A", "<NA>", "null", "NULL", "?", "-", ".", "\\N", "NAN", "(null)"]
)
def test_any_sign_for_a_missing_label_needs_a_decision(tmp_path, sign):
    rows = [(f"{n}.png", sign if n % 5 == 0 else "ab"[n % 2]) for n in range(20)]
    write_images(tmp_path, rows)
    message = refusal(open_table(tmp_path))
    assert f"'{sign}'" in message and "4 of 20" in message
    assert open_table(tmp_path, missing=[sign]).classes == {"label": ["a", "b"]}


@pytest.mark.parametrize("word", ["None", "none", "unknown", "na", "missing", "unlabelled"])
def test_a_word_is_a_class_with_a_warning_but_no_group_without_a_decision(tmp_path, word):
    rows = [(f"{n}.png", word if n % 5 == 0 else "ab"[n % 2], "p1") for n in range(20)]
    write_images(tmp_path, rows, "filename,label,site\n")
    source = open_table(tmp_path)
    assert word in source.classes["label"]
    (warning,) = source.warnings()
    assert f"'{word}'" in warning and "4 samples" in warning
    message = refusal(open_table(tmp_path, ranks=["site"], group="label"))
    assert f"'{word}' in 4 of 20" in message


@pytest.mark.parametrize("cell", ["", "  ", "NaN", "nan", "\u00a0"])
def test_empty_cells_are_missing_without_a_decision(tmp_path, cell):
    rows = [(f"{n}.png", cell if n % 5 == 0 else "ab"[n % 2]) for n in range(20)]
    source = open_table(write_images(tmp_path, rows))
    assert source.classes == {"label": ["a", "b"]}
    assert source.warnings() == []


def test_minus_one_among_whole_numbers_needs_a_decision_but_not_plus_and_minus_one(tmp_path):
    write_images(tmp_path, [(f"{n}.png", str(n % 4 - 1)) for n in range(20)])
    assert "'-1' in 5 of 20" in refusal(open_table(tmp_path))
    assert open_table(tmp_path, missing=["-1"]).classes == {"label": ["0", "1", "2"]}
    write_images(tmp_path, [(f"{n}.png", "-1" if n % 2 else "1") for n in range(20)])
    assert open_table(tmp_path).classes == {"label": ["-1", "1"]}


def test_a_sign_that_no_cell_has_is_said(tmp_path):
    write_images(tmp_path, [(f"{n}.png", "NA" if n % 5 == 0 else "a") for n in range(20)])
    (warning,) = open_table(tmp_path, missing=["NA", "N/A"]).warnings()
    assert "'N/A'" in warning


def two_tables(root, train, test, header="filename,label\n"):
    write_images(root / "train", train, header, "../train.csv")
    write_images(root / "test", test, header, "../test.csv")
    for number, (path, *_) in enumerate(test):
        picture(root / "test" / path, 1000 + number)
    return {pool: {"table": f"{pool}.csv", "images": pool} for pool in ("train", "test")}


def test_7_and_7_point_0_are_one_class_in_two_tables_and_in_one(tmp_path):
    train = [(f"{n}.png", str(7 + n % 3)) for n in range(30)]
    test = [(f"{n}.png", f"{7 + n % 3}.0") for n in range(15)]
    source = open_table(tmp_path, **two_tables(tmp_path, train, test))
    assert source.classes == {"label": ["7", "8", "9"]}
    (warning,) = source.warnings()
    for word in ("'7.0' (5 samples)", "'7' (10)"):
        assert word in warning
    write_images(tmp_path / "one", [*train, *((f"x{path}", label) for path, label in test)])
    assert open_table(tmp_path / "one").classes == {"label": ["7", "8", "9"]}


def test_groups_that_are_whole_numbers_are_one_in_two_spellings(tmp_path):
    train = [(f"{n}.png", "ab"[n % 2], str(n // 2)) for n in range(20)]
    test = [(f"{n}.png", "ab"[n % 2], f"{n // 2}.0") for n in range(6)]
    pools = two_tables(tmp_path, train, test, "filename,label,animal\n")
    source = open_table(tmp_path, group="animal", **pools)
    groups = {sample.group for sample in source.samples()}
    assert groups == {str(n) for n in range(10)}
    assert len(source.warnings()) == 1


@pytest.mark.parametrize("spelling", ["7.0", "007", "1e5"])
def test_one_spelling_stays_as_it_is(tmp_path, spelling):
    source = open_table(write_images(tmp_path, [("0.png", spelling), ("1.png", "x")]))
    assert source.classes == {"label": sorted([spelling, "x"])}
    assert source.warnings() == []


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("7", "007"),
        ("x", "x\u200b"),
        ("Lynx", "lynx"),
        ("red fox", "red_fox"),
        ("red fox", "red  fox"),
        ("x", "ｘ"),
    ],
)
def test_lookalikes_are_kept_apart_and_said(tmp_path, one, other):
    rows = [(f"{n}.png", one if n % 3 else other) for n in range(30)]
    source = open_table(write_images(tmp_path, rows))
    assert set(source.classes["label"]) == {one, other}
    (warning,) = source.warnings()
    assert "20 samples" in warning and "10 samples" in warning


def test_letters_of_another_alphabet_are_said(tmp_path):
    rows = [(f"{n}.png", "cat" if n % 3 else "c\u0430t") for n in range(30)]
    (warning,) = open_table(write_images(tmp_path, rows)).warnings()
    assert "'c\u0430t'" in warning


def test_two_unicode_forms_of_a_class_are_one(tmp_path):
    forms = [unicodedata.normalize(form, "Épicéa") for form in ("NFC", "NFD")]
    source = open_table(write_images(tmp_path, [(f"{n}.png", forms[n % 2]) for n in range(10)]))
    assert source.classes == {"label": ["Épicéa"]}
    assert len(source.warnings()) == 1


def test_numbers_that_a_spreadsheet_shortened_are_said(tmp_path):
    rows = [(f"{n}.png", "ab"[n % 2], "1.23457E+12") for n in range(10)]
    write_images(tmp_path, rows, "filename,label,id\n")
    (warning,) = open_table(tmp_path, group="id").warnings()
    assert "1.23457E+12" in warning


def stages(root: Path, data: Data) -> tuple[pd.DataFrame, dict]:
    """Run prepare and split; return the samples with their splits, and splits.json."""
    names = ("samples.parquet", "splits.parquet", "splits.json")
    samples, splits, summary = (root / "out" / name for name in names)
    prepare(data, samples)
    split(samples, data, splits, summary)
    both = [read_parquet(file).to_pandas().set_index("sample_id") for file in (samples, splits)]
    return both[0].join(both[1]), read_json(summary)


def official(rows=120, tests=60):
    train = [(f"{n:03d}.png", "abc"[n % 3], str(n // 2)) for n in range(rows)]
    test = [(f"{n:03d}.png", "abc"[n % 3], str(n // 2)) for n in range(tests)]
    return train, test


def source_of(root, **options):
    return {"name": "metadata_csv", "root": str(root), "ranks": ["label"], **options}


@pytest.mark.parametrize("per_pool", [False, True])
def test_groups_that_each_table_numbers_from_the_start_are_said(tmp_path, caplog, per_pool):
    pools = two_tables(tmp_path, *official(), "filename,label,observationID\n")
    data = Data(source=source_of(tmp_path, group_per_pool=per_pool, **pools))
    samples, summary = stages(tmp_path, data)
    assert summary["shared_groups_dropped"] == (0 if per_pool else 60)
    assert summary["official_test_dropped"] == 0
    assert any("group_per_pool" in record.getMessage() for record in caplog.records) != per_pool
    tested = samples[samples["pool"] == "held_out"]
    assert set(tested["split"]) == {"tune", "dev", "test"} and len(tested) == 60
    trained = samples[samples["pool"] == "train"]["split"].dropna()
    assert set(trained) == {"train", "val", "calib"}
    assert len(trained) == (120 if per_pool else 60)


NAMES = [("train", "val", "test"), ("Training", "valid", "Testing"), ("TRAIN", "dev", "TEST")]


@pytest.mark.parametrize("names", NAMES)
def test_a_column_of_official_splits_is_kept_exactly(tmp_path, names):
    rows = [(f"{n:03d}.png", "abc"[n % 3], names[(0, 0, 0, 1, 2)[n // 3 % 5]]) for n in range(150)]
    write_images(tmp_path, rows, "filename,label,subset\n")
    data = Data(source=source_of(tmp_path, table="labels.csv", group=None, split="subset"))
    samples, summary = stages(tmp_path, data)
    subset = pd.Series({path: name for path, _, name in rows})
    assert set(samples["split"]) == set(SPLITS)
    assert set(samples["split"][subset == names[0]]) == {"train", "calib"}
    assert set(samples["split"][subset == names[1]]) == {"val"}
    assert set(samples["split"][subset == names[2]]) == {"tune", "dev", "test"}
    assert sum(summary["splits"].values()) == 150


def write_lists(root, **names):
    for name, lines in names.items():
        (root / f"{name}.txt").write_text("".join(f"{line}\n" for line in lines))
    return {"lists": {name: f"{name}.txt" for name in names}}


@pytest.mark.parametrize("line", ["{}/{}.png", "{}\\{}", "{}/{}.png 3", "{}/{}.png,label"])
def test_official_lists_are_kept_exactly(tmp_path, line):
    rows = [(f"{'abc'[n % 3]}/{n}.png", "abc"[n % 3]) for n in range(30)]
    write_images(tmp_path, rows)
    lines = [line.format("abc"[n % 3], n) for n in range(30)]
    lists = write_lists(
        tmp_path, train=lines[:18], val=["# official", *lines[18:22]], test=lines[22:]
    )
    source = open_table(tmp_path, **lists)
    pools = [sample.pool for sample in source.samples()]
    assert pools == ["train"] * 18 + ["val"] * 4 + ["held_out"] * 8
    assert len(source.files()) == 4


def test_lists_that_do_not_fit_the_table_are_refused(tmp_path):
    names = [f"{n}.png" for n in range(9)]
    write_images(tmp_path, [(name, "a") for name in names])
    picture(tmp_path / "other.png", 99)
    for train, test, words in (
        (names[:5], names[5:8], ["1 of 9", "8.png"]),
        (names[:5], names[4:], ["test.txt, line 1", "'4.png'", "train.txt"]),
        ([*names[:5], "other.png"], names[5:], ["train.txt, line 6", "'other.png'"]),
    ):
        message = refusal(open_table(tmp_path, **write_lists(tmp_path, train=train, test=test)))
        for word in words:
            assert word in message


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (("train", "fold1"), ["'fold1' in 5 rows", "line 3"]),
        (("train", ""), ["no value in 5 rows", "line 3"]),
        (("train", "val"), ["test", "'val' (5 rows)"]),
        (("test", "test"), ["train", "'test' (10 rows)"]),
    ],
)
def test_official_splits_that_are_not_clear_are_refused(tmp_path, values, words):
    rows = [(f"{n}.png", "ab"[n // 2 % 2], values[n % 2]) for n in range(10)]
    write_images(tmp_path, rows, "filename,label,subset\n")
    message = refusal(open_table(tmp_path, split="subset"))
    for word in ["'subset'", *words]:
        assert word in message


def test_copies_in_official_sets_leave_the_published_test_set_whole(tmp_path):
    pools = two_tables(tmp_path, *official(), "filename,label,observationID\n")
    for name in ("000.png", "001.png"):  # the same label in both tables
        shutil.copy(tmp_path / "test" / name, tmp_path / "train" / name)
    shutil.copy(tmp_path / "test/003.png", tmp_path / "test/006.png")  # within the test set
    data = Data(source=source_of(tmp_path, group_per_pool=True, **pools))
    samples, summary = stages(tmp_path, data)
    assert summary["duplicates_dropped"] == 3 and summary["official_test_dropped"] == 1
    assert samples.loc[["train/000.png", "train/001.png"], "split"].isna().all()


def test_forty_classes_of_one_to_five_images_are_split(tmp_path):
    rows = [(f"{n}-{m}.png", f"sp{n:02d}") for n in range(40) for m in range(n % 5 + 1)]
    write_images(tmp_path, rows)
    samples, summary = stages(
        tmp_path, Data(source=source_of(tmp_path, table="labels.csv", group=None))
    )
    assert len(rows) == 120 == sum(summary["splits"].values())
    assert all(summary["splits"][name] >= 4 for name in SPLITS)
    assert set(samples["label"][samples["split"] == "train"]) == {f"sp{n:02d}" for n in range(40)}


def test_too_few_images_say_how_many_are_needed(tmp_path):
    write_images(tmp_path, [(f"{n}.png", f"c{n % 4}") for n in range(7)])
    with pytest.raises(TailproofError) as error:
        stages(tmp_path, Data(source=source_of(tmp_path, table="labels.csv", group=None)))
    assert re.search(r"at least 9 images.* found 7: add 2 images", str(error.value))


@pytest.mark.parametrize(
    ("name", "train", "test"),
    [("is_test", "FALSE", "TRUE"), ("is_train", "1", "0"), ("isTraining", "yes", "no"),
     ("is_training_image", "1", "0"), ("IsTest", "0.0", "1.0"), ("is_test", "FALSCH", "WAHR")],
)  # fmt: skip
def test_a_column_that_asks_for_a_split_is_one(tmp_path, name, train, test):
    rows = [(f"{n:03d}.png", "ab"[n % 2], test if n % 3 == 0 else train) for n in range(12)]
    write_images(tmp_path, rows, f"filename,label,{name}\n")
    pools = Counter(sample.pool for sample in open_table(tmp_path, split=name).samples())
    assert pools == {"train": 8, "held_out": 4}
    assert recognize_table(tmp_path).source["split"] == name


@pytest.mark.parametrize(
    ("name", "values"),
    [("split", "012"), ("subset", ["train", "test", "unlabeled"]), ("test", "01"),
     ("is_valid", ["True", "False"]),
     ("Usage", ["Training", "PublicTest", "PrivateTest"])],
)  # fmt: skip
def test_what_may_be_official_splits_and_is_not_read_is_said(tmp_path, name, values):
    rows = [(f"{n:03d}.png", "ab"[n // 3 % 2], values[n % len(values)]) for n in range(12)]
    write_images(tmp_path, rows, f"filename,label,{name}\n")
    found = recognize_table(tmp_path)
    assert "split" not in found.source
    assert any(f"'{name}'" in doubt for doubt in found.doubts) == (name != "test")
    assert "data.source.split" in refusal(open_table(tmp_path, split=name))


def test_lists_of_official_splits_next_to_a_table_are_said(tmp_path):
    write_images(tmp_path, [(f"{n}.png", "ab"[n % 2]) for n in range(12)])
    write_lists(tmp_path, train=["0.png"], test=["1.png"])
    (doubt,) = recognize_table(tmp_path).doubts
    assert "test.txt" in doubt and "lists" in doubt


@pytest.mark.parametrize(
    "sign", ["#NV", "#WERT!", "#BEZUG!", "#VALEUR!", "#¡REF!", "#¿NOMBRE?", "(blank)", "-1"]
)
def test_signs_of_spreadsheets_in_any_language_need_a_decision(tmp_path, sign):
    rows = [(f"{n}.png", sign if n % 5 == 0 else "ab"[n % 2]) for n in range(20)]
    write_images(tmp_path, rows)
    assert f"'{sign}' in 4 of 20" in refusal(open_table(tmp_path))


@pytest.mark.parametrize(
    ("values", "word"),
    [
        (["Mass", "Nodule", "Mass|Nodule"], "'Mass|Nodule'"),
        (["beach", "city", "beach, city"], "'beach, city'"),
        (["20.5", "31.25", "8.75"], "20.5"),
    ],
)
def test_labels_that_are_no_classes_are_said(tmp_path, values, word):
    write_images(tmp_path, [(f"{n}.png", f'"{values[n % 3]}"') for n in range(12)])
    (warning,) = open_table(tmp_path).warnings()
    assert word in warning


def test_a_table_in_markdown(four):
    rows = "".join(f"| {path} | {label} |\n" for path, label in FOUR)
    (four / "labels.csv").write_text(f"| filename | label |\n|:---|---|\n{rows}")
    assert listed(open_table(four)) == FOUR


@pytest.mark.parametrize("address", ["https://example.org/{}", "s3://bucket/{}", "file:///{}"])
def test_addresses_are_no_paths(four, address):
    (four / "labels.csv").write_text(f"filename,label\n{address.format('a/1.png')},lynx\n")
    assert "address" in refusal(open_table(four))


def test_names_without_the_zeros_that_a_spreadsheet_dropped_are_recognised(tmp_path):
    write_images(tmp_path, [("007.png", "a"), ("010.png", "b")])
    (tmp_path / "labels.csv").write_text("filename,label\n7,a\n10,b\n")
    assert "'007.png' may be meant" in refusal(open_table(tmp_path))


def test_no_advice_overwrites_a_table(tmp_path):
    """A command that reads labels.csv and writes it with ``>`` would empty it."""
    rows = [(f"img/{n}.png", "ab"[n % 2]) for n in range(12)]
    write_images(tmp_path, rows)
    text = "".join(f"/scratch/{path},{label}\n" for path, label in rows)
    (tmp_path / "labels.csv").write_text(f"filename,label\n{text}")
    with pytest.raises(TailproofError, match=r"labels\.csv > .*labels1\.csv"):
        recognize_table(tmp_path)
