"""From a training command of timm's train.py to an experiment: ``tailproof init --from-timm``."""
