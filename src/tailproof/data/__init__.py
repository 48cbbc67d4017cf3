"""The stages from a raw collection to six splits in shards: prepare, split, shard, manifest."""
