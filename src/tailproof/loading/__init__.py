"""Batches from shards: every sample as often as drawn, the same bits with any number of workers."""

from tailproof.loading.dataset import Split
from tailproof.loading.loader import Batch, Loader

__all__ = ["Batch", "Loader", "Split"]
