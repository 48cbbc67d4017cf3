"""The names of the six splits, and of the pools that they come from."""

SPLITS = ("train", "val", "calib", "tune", "dev", "test")
TRAINING_POOL = SPLITS[:3]
HELD_OUT_POOL = SPLITS[3:]
