"""Tailproof: calibrated classification experts for long-tailed data, with proof."""

from importlib import import_module

# Imported when they are used: a job must not load torch, and no stage reaches them.
_DOOR = {"open": ("predict.expert", "open_expert"), "results": ("result_tables", "read_results")}

__all__ = ["open", "results"]


def __getattr__(name):
    if name not in _DOOR:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, function = _DOOR[name]
    return getattr(import_module(f"{__name__}.{module}"), function)
