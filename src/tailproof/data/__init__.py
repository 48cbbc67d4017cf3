"""From a raw collection to six splits in shards, and the loader that reads them."""
