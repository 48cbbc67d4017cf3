"""Sources of labelled images, found by the name in the configuration.

scikit-learn, Pillow and pyarrow are only imported by what needs them, so that a workflow can ask
for `Source.files` at no cost.
"""

from tailproof.config.data import Source as SourceConfig
from tailproof.data.sources.base import Sample, Source
from tailproof.data.sources.cifar import CifarSource
from tailproof.data.sources.digits import DigitsSource
from tailproof.data.sources.idx import IdxSource
from tailproof.data.sources.image_folder import ImageFolderSource
from tailproof.data.sources.metadata_csv import MetadataCsvSource
from tailproof.data.sources.parquet import ParquetSource
from tailproof.data.sources.simulated.lens import LensSource
from tailproof.data.sources.simulated.scan_lines import ScanLinesSource

__all__ = ["SOURCES", "Sample", "Source", "open_source"]

SOURCES: dict[str, type[Source]] = {
    "digits": DigitsSource,
    "idx": IdxSource,
    "cifar10": CifarSource,
    "cifar100": CifarSource,
    "image_folder": ImageFolderSource,
    "metadata_csv": MetadataCsvSource,
    "parquet": ParquetSource,
    "lens": LensSource,
    "scan_lines": ScanLinesSource,
}


def open_source(config: SourceConfig) -> Source:
    """Return the source that the configuration names; nothing is read yet."""
    return SOURCES[config.name](config)
