import csv
import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tailproof.config.recipe import Recipe
from tailproof.history import COLUMNS, write_history
from tailproof.runtime.errors import TailproofError
from tailproof.runtime.stages import TRAINED
from tailproof.sweep.selection import adopt, promote, select
from tailproof.sweep.trial import read_trial

KEYS = ["optimizer.weight_decay"]
POINTS = {
    name: Recipe(export="best", optimizer={"weight_decay": decay})
    for name, decay in (("a", 0.0), ("b", 0.1), ("c", 0.2))
}


def write(path, values, losses=None):
    """Write a history whose balanced accuracies on val are these; None is not validated."""
    rows = []
    for epoch, value in enumerate(values, 1):
        row = dict.fromkeys(COLUMNS, 0.5) | {"epoch": epoch, "train_balanced_accuracy": 0.9}
        if value is None:
            row = {name: each for name, each in row.items() if not name.startswith("val_")}
        else:
            row |= {"val_balanced_accuracy": value}
            row |= {"val_loss": losses[epoch - 1]} if losses else {}
        rows.append(row)
    write_history(path, rows)
    return path


def histories(folder, values):
    return {
        name: {seed: write(folder / name / f"{seed}.csv", each) for seed, each in enumerate(seeds)}
        for name, seeds in values.items()
    }


def test_a_trial_is_the_best_epoch_and_the_lowest_loss(tmp_path):
    path = write(tmp_path / "h.csv", [0.2, None, 0.7, 0.7, 0.6], [2.0, 0, 1.5, 1.0, 3.0])
    found = read_trial(path, "val_balanced_accuracy")
    assert found._asdict() == pytest.approx(
        {
            "epochs": 5,
            "value": 0.7,
            "best_epoch": 3,
            "val_loss": 1.5,
            "gap": 0.2,
            "lowest_val_loss": 1.0,
            "lowest_val_loss_epoch": 4,
        }
    )
    by_loss = read_trial(path, "val_loss")
    assert (by_loss.value, by_loss.best_epoch, by_loss.gap) == (1.0, 4, 0.5)


def test_a_run_without_a_finite_value_is_a_trial_without_values(tmp_path):
    found = read_trial(write(tmp_path / "h.csv", [float("nan"), None]), "val_balanced_accuracy")
    assert found.epochs == 2 and set(found[1:]) == {None}


@pytest.mark.parametrize("text", [None, "", "a,b\n1,2\n", "epoch,val_loss\n1,x\n"])
def test_what_is_no_history_is_an_error_that_names_the_file(tmp_path, text):
    path = tmp_path / "h.csv"
    if text is not None:
        path.write_text(text)
    with pytest.raises(TailproofError, match=re.escape(str(path))):
        read_trial(path, "val_balanced_accuracy")


def test_the_best_go_on_and_equals_as_they_stand(tmp_path):
    found = histories(tmp_path, {"a": [[0.5], [0.5]], "b": [[0.9], [0.1]], "c": [[0.6], [0.6]]})
    promote(found, None, POINTS, 2, tmp_path / "rung-1.json")
    places = json.loads((tmp_path / "rung-1.json").read_text())["places"]
    assert [place["point"] for place in places] == ["c", "a"]
    assert [place["value"] for place in places] == [0.6, 0.5]
    assert Recipe(**places[1]["recipe"]) == POINTS["a"]
    again = histories(tmp_path, {"rung-2-place-1": [[0.1], [0.1]], "rung-2-place-2": [[0.2]] * 2})
    promote(again, tmp_path / "rung-1.json", POINTS, 1, tmp_path / "rung-2.json")
    places = json.loads((tmp_path / "rung-2.json").read_text())["places"]
    assert [place["point"] for place in places] == ["a"]


def test_the_winner_is_of_the_last_round_even_if_another_was_ahead(tmp_path):
    first = histories(tmp_path, {"a": [[0.5]], "b": [[0.95]], "c": [[0.6]]})
    promote({name: first[name] for name in "abc"}, None, POINTS, 2, tmp_path / "rung-1.json")
    second = histories(tmp_path, {"rung-2-place-1": [[0.95, 0.8]], "rung-2-place-2": [[0.6, 0.97]]})
    found = select([first, second], [tmp_path / "rung-1.json"], POINTS, KEYS, tmp_path)
    assert found == json.loads((tmp_path / "selection.json").read_text())
    assert (found["winner"], found["expert"]) == ("c", "rung-2-place-2")
    assert [(each["point"], each["rung"], each["epochs"]) for each in found["points"]] == [
        ("a", 1, [1]),
        ("b", 2, [2]),
        ("c", 2, [2]),
    ]
    with open(tmp_path / "points.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["optimizer.weight_decay"] for row in rows] == ["0.0", "0.1", "0.2"]
    assert [(row["best_epoch"], row["value"]) for row in rows] == [
        ("1", "0.5"), ("1", "0.95"), ("2", "0.97"),
    ]  # fmt: skip


@settings(max_examples=20)
@given(st.lists(st.lists(st.floats(0, 1), min_size=2, max_size=2), min_size=3, max_size=3))
def test_the_winner_has_the_best_mean_over_seeds(tmp_path_factory, values):
    folder = tmp_path_factory.mktemp("drawn")
    found = histories(
        folder, {name: [[v] for v in each] for name, each in zip("abc", values, strict=True)}
    )
    winner = select([found], [], POINTS, KEYS, folder)
    means = {each["point"]: each["value"] for each in winner["points"]}
    assert means[winner["winner"]] == max(means.values())
    assert winner["winner"] == max(means, key=means.get), "of equals the first"


def test_a_point_without_a_value_never_wins(tmp_path):
    values = {"a": [[float("nan")]], "b": [[0.0]], "c": [[None]]}
    assert select([histories(tmp_path, values)], [], POINTS, KEYS, tmp_path)["winner"] == "b"
    nothing = histories(tmp_path, {name: [[None]] for name in "abc"})
    with pytest.raises(TailproofError, match="val_balanced_accuracy"):
        select([nothing], [], POINTS, KEYS, tmp_path)


def test_the_winner_s_expert_is_copied(tmp_path):
    source = tmp_path / "experts" / "b" / "seed-3"
    source.mkdir(parents=True)
    for name in TRAINED:
        (source / name).write_text(f"{name} of b")
    (tmp_path / "selection.json").write_text('{"winner": "x", "expert": "b"}')
    adopt(tmp_path / "selection.json", tmp_path / "experts", 3, tmp_path / "winner")
    assert {path.name: path.read_text() for path in (tmp_path / "winner").iterdir()} == {
        name: f"{name} of b" for name in TRAINED
    }
