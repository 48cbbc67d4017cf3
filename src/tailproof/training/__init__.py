"""The stage train: trains one expert with one seed on the shards."""
