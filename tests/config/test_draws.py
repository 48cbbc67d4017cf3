"""The experiments of draws: written from one experiment, and refused once they differ from it."""

import re

import pytest
import yaml

from tailproof.config.draws import read_draws, write_draws
from tailproof.config.folds import write_folds
from tailproof.config.validation import load_experiment
from tailproof.runtime.errors import TailproofError
from tests.config.minimal import MINIMAL, assert_mistakes, changed, mistakes

DRAWN = {**MINIMAL["data"], "seeds": [0, 3, 1]}


@pytest.fixture
def experiments(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "config" / "experiments"
    folder.mkdir(parents=True)
    write(folder, "one", changed(data=DRAWN))
    return folder


def write(folder, name, value):
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(value))


def test_draws_differ_in_the_seed_of_the_data_alone_and_the_first_is_the_experiment(experiments):
    assert [path.rsplit("/")[-1] for path in write_draws("one")] == [
        "one-draw-3.yaml",
        "one-draw-1.yaml",
    ]
    draws = read_draws("one")
    assert draws == {"one": 0, "one-draw-3": 3, "one-draw-1": 1}
    whole = load_experiment(experiments / "one.yaml").result_fields()
    for name, seed in draws.items():
        fields = load_experiment(experiments / f"{name}.yaml").result_fields()
        assert fields["data"]["seed"] == seed
        fields["data"] |= {"seed": 0, "seeds": DRAWN["seeds"]}
        assert {**fields, "title": whole["title"]} == whole


@pytest.mark.parametrize("changes", [{"epochs": 4}, {"sampler": "class_aware"}])
def test_draws_of_an_older_experiment_are_refused_until_they_are_written_again(
    experiments, changes
):
    write_draws("one")
    write(experiments, "one", changed(data=DRAWN, recipe=changes))
    with pytest.raises(TailproofError, match=rf"one-draw-3\.yaml .*recipe\.{next(iter(changes))}"):
        read_draws("one")
    write_draws("one")
    assert len(read_draws("one")) == 3


def test_a_draw_that_is_missing_or_left_over_is_named(experiments):
    with pytest.raises(TailproofError, match=r"one-draw-3\.yaml .*tailproof draws one"):
        read_draws("one")
    write_draws("one")
    write(experiments, "one", changed(data={**DRAWN, "seeds": [0, 3]}))
    with pytest.raises(TailproofError, match=r"one-draw-1\.yaml"):
        write_draws("one")


def test_a_file_of_the_user_is_not_replaced(experiments):
    write(experiments, "one-draw-1", mine := changed(title="mine"))
    with pytest.raises(TailproofError, match=r"one-draw-1\.yaml"):
        write_draws("one")
    assert yaml.safe_load((experiments / "one-draw-1.yaml").read_text()) == mine


def test_draws_need_seeds(experiments):
    write(experiments, "plain", MINIMAL)
    for function in (write_draws, read_draws):
        with pytest.raises(TailproofError, match=r"plain\.yaml .*data\.seeds"):
            function("plain")


def test_weights_that_have_seen_test_images_are_refused(experiments):
    """An expert of another experiment on the same images, or of the experiment itself."""
    other = changed(data={**MINIMAL["data"], "seed": 9})
    elsewhere = changed(data={"source": {"name": "image_folder", "root": "raw/other"}})
    write(experiments, "other", other)
    write(experiments, "elsewhere", elsewhere)

    def start_from(weights):
        write(experiments, "one", changed(data=DRAWN, recipe={"model": {"weights": weights}}))

    for name in ("one", "other"):
        start_from(f"results/{name}/experts/plain/seed-0")
        for function in (write_draws, lambda name: write_folds(name, 2)):
            with pytest.raises(TailproofError, match=rf"one\.yaml .*results/{name}/experts"):
                function("one")
    for weights in ("results/elsewhere/experts/plain/seed-0", "hub", "lite0.pth"):
        start_from(weights)
        write_draws("one")


def test_the_folds_of_an_experiment_have_no_draws(experiments):
    write_folds("one", 2)
    assert load_experiment(experiments / "one-fold-0.yaml").data.seeds == []


@pytest.mark.parametrize("seeds", [[0], [0, 1, 1], [1, 2], [1, 0]])
def test_seeds_differ_and_begin_with_that_of_the_data(seeds):
    value = changed(data={**MINIMAL["data"], "seeds": seeds})
    assert_mistakes(mistakes(value), [("data", str(seeds), "'seed' (0)")])


def test_the_seeds_that_a_message_advises_are_accepted(experiments):
    data = {**MINIMAL["data"], "seed": 7}
    write(experiments, "one", changed(data=data))
    with pytest.raises(TailproofError) as error:
        write_draws("one")
    advised = yaml.safe_load(re.search(r"'(seeds: .*)'", str(error.value))[1])
    write(experiments, "one", changed(data=data | advised))
    assert len(write_draws("one")) == 2
