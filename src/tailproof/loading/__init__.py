"""Batches from shards: every sample as often as drawn, the same bits with any number of workers."""

from tailproof.loading.batches import Batch
from tailproof.loading.dataset import Split
from tailproof.loading.loader import Loader

__all__ = ["Batch", "Loader", "Split"]
