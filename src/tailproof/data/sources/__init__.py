"""Sources of labelled images. Each is one file: the model of its configuration, and its reader.

Importing this package imports all its modules, and so registers every source. scikit-learn, Pillow
and pyarrow are imported only by the functions that need them, so that a workflow can ask for
`Source.files` at no cost.
"""

from collections.abc import Sequence
from importlib import import_module
from pkgutil import walk_packages

from tailproof.config.data import PictureSourceConfig, SourceConfig
from tailproof.data.sources.base import SOURCES, Sample, Source, register_source
from tailproof.data.sources.crops.cropped_source import CroppedSource
from tailproof.runtime.errors import TailproofError

__all__ = ["SOURCES", "Sample", "Source", "open_source", "register_source"]

MODULES = "tailproof.data.sources.*"
"""What is imported below; the code digest reads it as every module of this package."""

for module in walk_packages(__path__, MODULES.removesuffix("*")):
    import_module(module.name)


def open_source(config: SourceConfig, context: Sequence[str] = ()) -> Source:
    """Return the source that the configuration names; nothing is read yet.

    Args:
        config: the configuration of the source.
        context: columns that its samples carry.

    Raises:
        TailproofError: the source has no columns to carry.
    """
    source = SOURCES[config.name](config)
    if context and not source.has_columns:
        able = ", ".join(name for name, reader in SOURCES.items() if reader.has_columns)
        raise TailproofError(
            f"data.context names columns, but the source {config.name} has no table with columns: "
            f"use one of {able}, or remove data.context"
        )
    source.context = tuple(context)
    if isinstance(config, PictureSourceConfig) and config.crops is not None:
        return CroppedSource(source, config.crops)
    return source
