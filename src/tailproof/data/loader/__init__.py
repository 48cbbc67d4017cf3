"""Batches from shards: every sample once an epoch, the same bits with any number of workers."""

from tailproof.data.loader.loader import Batch, Loader
from tailproof.data.loader.split import Split

__all__ = ["Batch", "Loader", "Split"]
