"""Where the seed enters training: initial weights once, every random number of a step again."""

import random

import numpy as np
import torch


def seed_initial_weights(seed: int) -> None:
    """Seed torch's generator for the initial weights, the same on all ranks."""
    torch.manual_seed(seed)


def seed_step(seed: int, epoch: int, step: int, rank: int) -> None:
    """Seed every global generator for one step, so that a resumed run draws the same numbers.

    numpy's generator, which timm's MixUp and CutMix use, is the same on all ranks; torch's differs
    per rank.
    """
    per_rank, shared = np.random.SeedSequence([seed, epoch, step]).generate_state(2)[::-1]
    np.random.seed(shared)
    random.seed(int(shared))
    torch.manual_seed(int(per_rank) + rank)
