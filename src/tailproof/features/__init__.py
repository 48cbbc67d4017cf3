"""Features of frozen backbones: computed once, stored as parquet files, read by heads."""
