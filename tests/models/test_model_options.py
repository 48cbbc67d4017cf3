import inspect

import pytest
import timm
from timm.models import build_model_with_cfg

from tailproof.models.model_options import RESERVED, check_options


def test_every_argument_of_timm_s_own_functions_is_reserved():
    names = {
        name
        for function in (timm.create_model, build_model_with_cfg)
        for name, parameter in inspect.signature(function).parameters.items()
        if parameter.kind is not inspect.Parameter.VAR_KEYWORD
    }
    assert {name for name in names if not name.startswith("pretrained")} <= RESERVED


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"in_chans": 1, "classifier": "cosine", "scale": 30.0},
        {"img_size": [32, 48], "dynamic_img_size": True, "drop_path_rate": 0.1},
        {"depths": [2, 2, 6], "norm_layer": None, "block_args": {"ratio": 0.25}},
    ],
)
def test_what_shapes_a_network_is_accepted(arguments):
    assert check_options(arguments) == arguments


@pytest.mark.parametrize(
    "arguments",
    [
        {"pretrained": True},
        {"pretrained_cfg": {"url": "https://example.invalid/w.pth"}},
        {"pretrained_cfg_overlay": {}},
        {"checkpoint_path": "w.pth"},
        {"cache_dir": "x"},
        {"deeper": {"checkpoint_path": "x"}},
        {"backbone": "hf-hub:timm/resnet18"},
        {"weights": "../w"},
        {"act_layer": "__import__('os')"},
        {"depth": 10**9},
        {"scale": float("nan")},
        {"scale": float("inf")},
        {"a b": 1},
        {"__class__": 1},
        {1: 2},
        {"depths": [1] * 1000},
        {"x": [[[[[1]]]]]},
        {"x": {1, 2}},
    ],
)
def test_anything_else_is_refused(arguments):
    with pytest.raises(ValueError, match="has "):
        check_options(arguments)
