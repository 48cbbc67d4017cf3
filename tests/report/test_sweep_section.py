import pytest

from tailproof.config.sweep import Sweep
from tailproof.report.sweep_section import section

GRID = {"epochs": [10, 20], "optimizer.weight_decay": [0.0, 5e-4, 0.1], "normalize": [True, False]}


def selection(sweep, values, monitor="val_balanced_accuracy"):
    keys = sweep.keys
    points = [
        {
            "point": f"p{number}",
            "rung": 1,
            "values": dict.fromkeys(keys, number),
            "value": value,
            "val_loss": value,
            "gap": value and 0.1,
            "lowest_val_loss": value,
            "sd": value and 0.01,
            "epochs": [5, 5],
            "best_epoch": [3, 4],
            "lowest_val_loss_epoch": [2, None],
        }
        for number, value in enumerate(values)
    ]
    return {"monitor": monitor, "rungs": 1, "winner": "p1", "expert": "p1", "points": points}


def test_two_keys_are_one_map_with_a_row_and_a_column_for_each_value():
    sweep = Sweep(grid={key: GRID[key] for key in list(GRID)[1:]})
    found = section(sweep, selection(sweep, [0.5, 0.9, 0.7, None, 0.6, 0.8]))
    (table,) = found.maps
    assert (table.head, [row.label for row in table.rows]) == (
        ["true", "false"],
        ["0", "0.0005", "0.1"],
    )
    assert [[cell.main.text for cell in row.cells] for row in table.rows] == [
        ["50.0", "90.0"],
        ["70.0", "–"],
        ["60.0", "80.0"],
    ]
    heats = [cell.heat for row in table.rows for cell in row.cells]
    assert heats == pytest.approx([0, 1, 0.5, None, 0.25, 0.75])
    assert found.axes == "Rows: optimizer.weight_decay; columns: normalize."


def test_three_keys_are_a_map_for_each_value_of_the_first():
    sweep = Sweep(grid=GRID)
    found = section(sweep, selection(sweep, [number / 12 for number in range(12)]))
    assert [table.title[-9:] for table in found.maps] == ["epochs 10", "epochs 20"]
    assert found.maps[1].rows[0].cells[0].main.value == 0.5


@pytest.mark.parametrize(
    "value",
    [{"grid": {"epochs": [1, 2]}}, {"points": [{"epochs": 1, "normalize": True}, {"epochs": 2}]}],
)
def test_one_key_or_a_list_is_the_table_alone(value):
    sweep = Sweep(**value)
    found = section(sweep, selection(sweep, [0.1, 0.2]))
    assert (found.maps, found.axes) == ([], "")
    winner = found.points.rows[1]
    assert (winner.label, winner.tag) == ("p1", "winner")
    assert [cell.main.text for cell in winner.cells[len(sweep.keys) :]] == [
        "20.0", "3, 4", "0.200", "+10.0", "0.200", "2, –", "5",
    ]  # fmt: skip
    assert "p1: balanced accuracy 20.0\u00a0%" in found.words


def test_of_losses_the_lowest_is_the_strongest():
    sweep = Sweep(grid={"epochs": [1, 2], "normalize": [True, False]})
    found = section(sweep, selection(sweep, [1.0, 0.5, 2.0, 1.5], "val_loss"))
    heats = [cell.heat for row in found.maps[0].rows for cell in row.cells]
    assert heats == pytest.approx([2 / 3, 1, 0, 1 / 3])
    assert "points" not in found.points.head[-4], "a loss is not a percentage"


@pytest.mark.parametrize(
    ("monitor", "gap"),
    [("val_balanced_accuracy", "gap train − val"), ("val_loss", "gap val − train")],
)
def test_a_gap_is_positive_where_train_is_better(monitor, gap):
    sweep = Sweep(grid={"epochs": [1, 2]})
    head = section(sweep, selection(sweep, [0.5, 0.4], monitor)).points.head
    assert [name for name in head if name.startswith(gap)]
