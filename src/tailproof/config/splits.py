"""The names of the splits, and of the pools that they are drawn from."""

SPLITS = ("train", "val", "calib", "tune", "dev", "test")

CALIBRATED = SPLITS[1:]
"""The splits with calibrated logits. Of train, whose logits take most of the disk, there are raw
ones alone: nothing is measured on images that a network has learnt."""

TRAIN, VAL, HELD_OUT = "train", "val", "held_out"
"""The pools of a source with official splits: training, validation and test images."""

UNKNOWN = "unknown"
"""The pool of pictures of no known class."""

UNKNOWN_SPLITS = ("unknown_tune", "unknown_test")
"""The two splits of the pool `UNKNOWN`, next to tune and to test. They are not among the six."""

SCORED_SPLITS = ("train", "tune", "test")
"""The splits of known pictures that say when an expert knows a picture: fit, threshold, result."""
