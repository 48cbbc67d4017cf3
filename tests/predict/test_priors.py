import shutil
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy.special import softmax

from tailproof.files import read_json, write_json
from tailproof.predict.class_priors import (
    allowed_classes,
    class_counts,
    known_shift,
    read_allowed,
    read_counts,
)
from tailproof.predict.command import predict_images
from tailproof.predict.loaded_expert import load_expert
from tailproof.predict.option_rules import Options
from tailproof.runtime.errors import TailproofError
from tests.predict.test_groups import log_p, rows_of

SHARES = [0.6, 0.3, 0.1]


@pytest.fixture(scope="module")
def expert(colour_expert, tmp_path_factory):
    """The expert of three classes, which says what it assumes."""
    folder = tmp_path_factory.mktemp("assuming") / "expert"
    shutil.copytree(colour_expert, folder)
    path = folder / "deployment.json"
    assumptions = {
        "shares": SHARES,
        "confidence_mean": [0.5] * 3,
        "confidence_sd": [0.3] * 3,
        "samples": [50] * 3,
    }
    write_json(path, read_json(path) | {"assumptions": assumptions})
    return folder


@pytest.fixture
def pictures(tmp_path):
    for number in range(3):
        bits = np.random.default_rng(number).integers(0, 256, (32, 32, 3), np.uint8)
        (tmp_path / "photos").mkdir(exist_ok=True)
        Image.fromarray(bits).save(tmp_path / "photos" / f"{number}.png")
    return tmp_path / "photos"


def test_only_allowed_classes_are_answered(expert, tmp_path, pictures, capsys):
    allowed = tmp_path / "allowed.txt"
    allowed.write_text("c\n\nb\n")
    _, before, _ = rows_of(capsys, expert, pictures)
    _, after, _ = rows_of(capsys, expert, pictures, classes=str(allowed))
    for old, new in zip(before, after, strict=True):
        expected = np.exp(log_p(old)[1:]) / np.exp(log_p(old)[1:]).sum()
        assert [float(new["class=b"]), float(new["class=c"])] == pytest.approx(expected, abs=1e-5)
        assert float(new["class=a"]) == 0 and new["class"] in "bc"


@pytest.mark.parametrize("prior", [None, "class,count\na,1000\nb,0\nc,0\n"])
def test_a_class_that_is_not_allowed_has_no_probability_however_sure_the_expert_is(
    expert, tmp_path, prior
):
    allowed, counts = tmp_path / "allowed.txt", tmp_path / "counts.csv"
    allowed.write_text("c\nb\n")
    counts.write_text(prior or "")
    options = Options(
        classes=partial(read_allowed, str(allowed)),
        prior=prior and partial(read_counts, str(counts)),
    )
    loaded = load_expert(expert)
    assumed = loaded.deployment.assumptions
    shift = known_shift(options, loaded.posterior, assumed, lambda: None, print)
    restricted = replace(loaded.posterior, shift=shift)
    p = np.exp(restricted.shifted(np.array([[0.0, -40.0, -45.0], [0.0, -1e8, -1e8]])))
    assert (p[:, 0] == 0).all() and p[:, 1:].sum(axis=1) == pytest.approx(1)


def test_known_counts_change_the_probabilities(expert, tmp_path, pictures, capsys):
    counts = tmp_path / "counts.csv"
    counts.write_text("class,count\nc,79\na,9\nb,9.0\n")
    _, before, _ = rows_of(capsys, expert, pictures)
    _, after, said = rows_of(capsys, expert, pictures, prior=str(counts))
    assert "by chow at coverage 1, fitted without --prior;" in said
    for old, new in zip(before, after, strict=True):
        expected = softmax(log_p(old) - np.log(SHARES) + np.log([9.5, 9.5, 79.5]))
        assert np.exp(log_p(new)) == pytest.approx(expected, abs=1e-5)


def test_too_few_images_are_not_adapted_to(expert, pictures, capsys):
    _, before, _ = rows_of(capsys, expert, pictures)
    _, after, said = rows_of(capsys, expert, pictures, adapt=True)
    assert after == before and "class shares stay as they are" in said


def test_many_images_that_seem_to_be_of_one_class_are_adapted_to(tmp_path, expert, capsys):
    """The network sees one picture again and again, of a class that it assumed to be rare."""
    bits = np.random.default_rng(7).integers(0, 256, (32, 32, 3), np.uint8)
    (tmp_path / "many").mkdir()
    for number in range(60):
        Image.fromarray(bits).save(tmp_path / "many" / f"{number:02d}.png")
    _, before, _ = rows_of(capsys, expert, tmp_path / "many")
    p = np.exp(log_p(before[0]))
    seen = int(np.argmax(p / SHARES))
    path = shutil.copytree(expert, tmp_path / "expert") / "deployment.json"
    value = read_json(path)
    value["assumptions"]["confidence_mean"] = [float(p.max())] * 3
    rare = [0.495] * 3
    rare[seen] = 0.01
    value["assumptions"]["shares"] = rare
    write_json(path, value)
    _, after, said = rows_of(capsys, tmp_path / "expert", tmp_path / "many", adapt=True)
    assert f"{'abc'[seen]} 100 %" in said
    assert {row["class"] for row in after} == {"abc"[seen]}


def test_the_shares_of_allowed_classes_are_adapted_to(tmp_path, expert, capsys):
    """The confidence among all classes is that of tune; among the allowed ones it is higher."""
    bits = np.random.default_rng(7).integers(0, 256, (32, 32, 3), np.uint8)
    (tmp_path / "many").mkdir()
    for number in range(60):
        Image.fromarray(bits).save(tmp_path / "many" / f"{number:02d}.png")
    _, before, _ = rows_of(capsys, expert, tmp_path / "many")
    p = np.exp(log_p(before[0]))
    seen, out, other = np.argsort(-p)
    path = shutil.copytree(expert, tmp_path / "expert") / "deployment.json"
    value = read_json(path)
    shares = np.full(3, 0.01)
    shares[other] = 0.98
    value["assumptions"] |= {
        "shares": shares.tolist(),
        "confidence_mean": [float(p.max())] * 3,
        "confidence_sd": [0.01] * 3,
    }
    write_json(path, value)
    allowed = tmp_path / "allowed.txt"
    allowed.write_text(f"{'abc'[seen]}\n{'abc'[other]}\n")
    _, after, said = rows_of(
        capsys, tmp_path / "expert", tmp_path / "many", adapt=True, classes=str(allowed)
    )
    assert f": {'abc'[seen]} 100 %, {'abc'[other]} 0 %\n" in said
    assert {row["class"] for row in after} == {"abc"[seen]}
    assert {float(row[f"class={'abc'[out]}"]) for row in after} == {0}


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("prior", "class,count\na,1\nb,2\n", r"lacks one class, such as c|lacks 1 class"),
        ("prior", "class,count\na,1\nb,2\nd,3\n", r"line 4: .*'d'"),
        ("prior", "class,count\na,1\nb,-2\nc,3\n", r"line 3: .*'-2'"),
        ("prior", "class,count\na,1\na,2\nc,3\n", r"line 3: .*twice"),
        ("prior", "class,count\na,x\nb,2\nc,3\n", r"line 2: .*'x'"),
        ("prior", "class,count\na,0\nb,0\nc,0\n", r"only counts of 0"),
        ("prior", "class,count\na,1\nb,0.9\nc,0.1\n", r"line 3: .*'0\.9'.* multiply shares"),
        ("prior", "class,count\na,1e300\nb,2\nc,3\n", r"line 2: .*'1e300'"),
        ("prior", "class,number\na,1\n", r"no column 'count'"),
        ("classes", "\n\n", r"is empty"),
        ("classes", "a\nlynx\n", r"'lynx'"),
    ],
)
def test_what_is_wrong_with_a_file_is_one_sentence(
    expert, tmp_path, pictures, name, text, expected
):
    path = tmp_path / "file.csv"
    path.write_text(text)
    with pytest.raises(TailproofError, match=expected) as error:
        predict_images(
            str(expert),
            [str(pictures)],
            as_csv=True,
            rule="chow",
            coverage=1.0,
            **{name: str(path)},
        )
    assert "file.csv" in str(error.value)


def test_an_expert_that_does_not_say_what_it_assumes_is_refused(colour_expert, pictures, tmp_path):
    options = {"as_csv": True, "rule": "chow", "coverage": 1.0}
    with pytest.raises(TailproofError, match="which class shares it assumes"):
        predict_images(str(colour_expert), [str(pictures)], **options, adapt=True)
    with pytest.raises(TailproofError, match="give one of them"):
        predict_images(str(colour_expert), [str(pictures)], **options, adapt=True, prior="x.csv")


def test_assumptions_for_other_classes_are_refused(expert, tmp_path, pictures):
    path = shutil.copytree(expert, tmp_path / "expert") / "deployment.json"
    value = read_json(path)
    value["assumptions"]["shares"] = [0.5, 0.5]
    write_json(path, value)
    with pytest.raises(TailproofError, match=r"deployment\.json: assumptions are for"):
        predict_images(
            str(tmp_path / "expert"), [str(pictures)], as_csv=True, rule="chow", coverage=1.0
        )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("e\u0301t\u00e9\n7.0\n", ["été", "7"]),
        (" Bär \nx.0\n", ["Bär", "x.0"]),
        ("B  C\n", ["B C "]),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_classes_are_found_in_other_spellings(tmp_path, text, expected, encoding):
    names = ["été", "7", "Bär", "x.0", "B C ", "bär"]
    allowed, counts = tmp_path / "allowed.txt", tmp_path / "counts.csv"
    allowed.write_text(text, encoding=encoding)
    assert [names[place] for place in np.flatnonzero(read_allowed(str(allowed), names))] == expected
    rows = text.splitlines()
    rest = [name for name in names if name not in expected]
    counts.write_text("\n".join(["class,count", *(f"{row},3" for row in [*rows, *rest])]), encoding)
    assert read_counts(str(counts), names).tolist() == [3] * 6
    assert allowed_classes(rows, names).sum() == len(rows)


def test_names_that_are_no_text_or_have_two_twins_are_refused():
    for names, chosen in ((["1", "2"], [1]), (["1"], [pd.NA]), (["e\u0301", "é"], ["é\u200b"])):
        with pytest.raises(TailproofError, match="class"):
            allowed_classes(chosen, names)
        with pytest.raises(TailproofError, match="class"):
            class_counts(dict.fromkeys(chosen, 1), names)
