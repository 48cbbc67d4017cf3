"""The stage train: one expert, one seed, from shards to weights."""
