"""The names of the six splits, and of the pools that they are drawn from."""

SPLITS = ("train", "val", "calib", "tune", "dev", "test")

TRAIN, VAL, HELD_OUT = "train", "val", "held_out"
"""The pools of a source with official splits: training, validation and test images."""
