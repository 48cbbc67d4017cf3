import pytest

from tailproof.config.lint import warnings
from tailproof.config.validation import parse_experiment
from tests.config.minimal import MINIMAL, assert_mistakes, changed, mistakes


def of_phases(*starts, **first):
    return [{"from_epoch": start} for start in starts[:1]] + [
        {"from_epoch": start, **first} for start in starts[1:]
    ]


@pytest.mark.parametrize(
    ("recipe", "expected"),
    [
        (
            {"phases": of_phases(0)},
            ("recipe.phases.0.from_epoch", "1", "found 0"),
        ),
        (
            {"phases": of_phases(3, 9)},
            ("recipe", "phases[0].from_epoch is 3", "expected 1"),
        ),
        (
            {"phases": of_phases(1, 9, 5)},
            ("recipe", "phase 3", "epoch 5", "more than 9", "phase 2", "from_epoch"),
        ),
        (
            {"phases": of_phases(1, 9, 9)},
            ("recipe", "phase 3", "epoch 9", "more than 9", "phase 2", "from_epoch"),
        ),
        (
            {"phases": of_phases(1, 31), "epochs": 30},
            ("recipe", "phase 2", "epoch 31", "epochs", "30"),
        ),
        (
            {"phases": of_phases(1, 2, batch_size=30), "devices": 4},
            (
                "recipe",
                "phase 2",
                "batch_size is 30",
                "multiple of 4 ",
                "devices",
                "nodes",
                "4 × 1",
            ),
        ),
        (
            {"phases": of_phases(1, 2, mixing={"mixup": 0.2})},
            ("recipe", "phase 2", "mixup", "drop_last: true", "batch_size", "multiple of 2,"),
        ),
        (
            {"phases": [{"from_epoch": 1, "imagesize": 4}]},
            ("recipe.phases.0.imagesize", "'image_size'"),
        ),
        (
            {"phases": [{"image_size": 4}]},
            ("recipe.phases.0.from_epoch",),
        ),
        (
            {"eval_image_size": 0},
            ("recipe.eval_image_size", "1", "found 0"),
        ),
    ],
)
def test_phases_that_do_not_fit_are_errors(recipe, expected):
    assert_mistakes(mistakes(changed(recipe=recipe)), [expected])


def test_what_a_phase_leaves_out_is_the_recipe_s():
    recipe = {
        "image_size": 20,
        "batch_size": 64,
        "augmentation": {"flip": True},
        "phases": [
            {"from_epoch": 1, "image_size": 12},
            {"from_epoch": 5, "augmentation": {"cutout": 3}, "learning_rate_factor": 0.5},
        ],
    }
    found = parse_experiment(changed(recipe=recipe)).recipe
    first, second = found.timeline
    assert (first.image_size, second.image_size) == (12, 20)
    assert first.augmentation.flip and not second.augmentation.flip
    assert (first.batch_size, second.learning_rate_factor) == (64, 0.5)
    assert found.final_size == 20
    (only,) = parse_experiment(MINIMAL).recipe.timeline
    assert (only.from_epoch, only.image_size, only.batch_size) == (1, None, 128)


def test_both_schedules_of_the_case_are_valid_and_the_faulty_one_is_flagged():
    """Sizes by epoch, counted from 0, of a run of 60 epochs; the faulty one ends with "eval"."""
    schedules = {
        "faulty": {0: (128, "train"), 10: (224, "train"), 50: (256, "eval")},
        "fixed": {0: (160, "train"), 15: (224, "train"), 45: (256, "train")},
    }
    experts = {
        name: {
            "phases": [
                {"from_epoch": epoch + 1, "image_size": size}
                | ({"augmentation": {}} if transforms == "eval" else {})
                for epoch, (size, transforms) in schedule.items()
            ]
        }
        for name, schedule in schedules.items()
    }
    recipe = {"epochs": 60, "augmentation": {"flip": True}}
    (warning,) = warnings(parse_experiment(changed(recipe=recipe, experts=experts)))
    assert warning.startswith("expert 'faulty': phase 3, from epoch 51, ")
    assert "'eval_image_size'" in warning
    bare = parse_experiment(changed(recipe={"epochs": 60}, experts=experts))
    assert warnings(bare) == [], "no phase has augmentation: nothing was switched off"
    twice = experts | {"again": experts["faulty"] | {"epochs": 61}}
    shared = warnings(parse_experiment(changed(recipe=recipe, experts=twice)))
    assert shared == [warning.replace("expert 'faulty'", "experts 'faulty', 'again'")]
