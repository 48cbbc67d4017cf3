"""What a recipe may say about training a few weights."""

import pytest
from pydantic import ValidationError

from tailproof.config.recipe import Recipe

PRETRAINED = {"name": "test_vit", "weights": "vit.safetensors"}


def test_a_recipe_tunes_a_pretrained_network():
    recipe = Recipe(
        model=PRETRAINED,
        tune={"adapter": "adaptformer", "head": "cosine"},
        freeze=["blocks"],
        optimizer={"layer_decay": 0.75, "head_learning_rate_factor": 10.0},
        test_views="ten_crops",
        image_size=224,
        eval_image_size=248,
    )
    assert recipe.tune.blocks == "all" and recipe.tune.dim == "auto"
    assert Recipe(model=PRETRAINED, tune={}).tune.adapter is None
    plain = Recipe()
    assert (plain.tune, plain.freeze, plain.test_views) == (None, None, None)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"model": {"name": "test_vit"}, "tune": {"adapter": "lora"}}, "tune"),
        ({"model": {"name": "test_vit"}, "freeze": ["blocks.0"]}, "freeze"),
        ({"tune": {"adapter": "prompt"}}, "lora"),
        ({"tune": {"adapter": "norm", "dim": 4}}, "dim"),
        ({"tune": {"dim": 4}}, "dim"),
        ({"tune": {"blocks": 4}}, "blocks"),
        ({"tune": {"adapter": "lora", "blocks": 0}}, "blocks"),
        ({"optimizer": {"layer_decay": 1.5}}, "layer_decay"),
        ({"optimizer": {"head_learning_rate_factor": 0.0}}, "head_learning_rate_factor"),
        ({"test_views": "five_crops"}, "eval_image_size"),
        ({"test_views": "five_crops", "image_size": 64, "eval_image_size": 64}, "eval_image_size"),
    ],
)
def test_what_makes_no_sense_is_refused(changes, field):
    with pytest.raises(ValidationError, match=field):
        Recipe(**{"model": PRETRAINED, **changes})
