"""The names of the six splits, and of the pools that they are drawn from."""

SPLITS = ("train", "val", "calib", "tune", "dev", "test")

CALIBRATED = SPLITS[1:]
"""The splits with calibrated logits. Of train, whose logits take most of the disk, there are raw
ones alone: nothing is measured on images that a network has learnt."""

TRAIN, VAL, HELD_OUT = "train", "val", "held_out"
"""The pools of a source with official splits: training, validation and test images."""
