"""A network that is compiled, which takes longer than all else that a recipe can ask for."""

import numpy as np

from tests.training.test_options import VIT, step, vector


def test_compiling_gives_the_same_weights(digits):
    """A small network, and batches of one size in train: each kernel and size is compiled."""
    recipe = {"model": {**VIT, "options": {**VIT["options"], "depth": 1}}, "drop_last": True}
    eager, compiled = (vector(step(digits, **recipe, compile=on).model) for on in (False, True))
    assert np.allclose(eager, compiled, atol=1e-4)
