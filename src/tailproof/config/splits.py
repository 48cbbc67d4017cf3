"""The names of the six splits."""

SPLITS = ("train", "val", "calib", "tune", "dev", "test")
