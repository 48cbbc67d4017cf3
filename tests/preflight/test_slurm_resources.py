"""What is asked of the cluster, with and without a preflight."""

from tailproof.config.recipe import Recipe
from tailproof.preflight.slurm_resources import TRAIN_MINUTES, request_of, with_measurements

TIMED = {"run": 3600.0, "host_memory_mb": 8000.0}


def test_a_request_follows_the_recipe():
    recipe = Recipe(batch_size=96, devices=2, nodes=3, workers=2, threads=4, cache_gb=1.0)
    assert request_of(recipe) == {
        "nodes": 3,
        "gpus": 6,
        "cores_a_node": 12,
        "memory_mb_a_node": 2 * (2500 + 1024 + 1000),
        "minutes": TRAIN_MINUTES,
    }


def test_a_preflight_tells_time_and_raises_memory():
    plain = request_of(Recipe(devices=2, workers=0, cache_gb=1.0))
    found = with_measurements(plain, TIMED)
    assert found == {**plain, "minutes": 150, "memory_mb_a_node": 20_000}
    small = with_measurements(plain, TIMED | {"host_memory_mb": 100.0})
    assert small["memory_mb_a_node"] == plain["memory_mb_a_node"], "never less than by the recipe"


def test_a_long_run_asks_for_the_longest_time_and_an_unknown_one_too():
    plain = request_of(Recipe())
    assert with_measurements(plain, TIMED | {"run": 1e6})["minutes"] == TRAIN_MINUTES
    assert (
        with_measurements(plain, {})
        == with_measurements(plain, {"failed": "memory is full"})
        == plain
    )
