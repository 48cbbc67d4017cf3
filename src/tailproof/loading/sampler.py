"""The order and random numbers of an epoch, as functions of (seed, epoch, sample) only."""

import numpy as np
import numpy.random  # otherwise its first use loads it while the first batch is awaited

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def epoch_order(groups: list[int], seed: int, epoch: int, block_rows: int) -> np.ndarray:
    """Return every row once, shuffled so that a reader needs only a few row groups at a time.

    Row groups are permuted and gathered into blocks of at least `block_rows` rows. Then rows are
    permuted within each block. A split of up to `block_rows` rows is thus fully shuffled.

    Args:
        groups: number of rows of each row group, in the order of the shards.
        seed: seed of the run.
        epoch: number of the epoch, from 1.
        block_rows: minimum number of rows of a block.

    Returns:
        Row numbers, int64 [sum(groups)].
    """
    rng = np.random.default_rng([seed, epoch])
    starts = np.concatenate([[0], np.cumsum(groups)])
    order, block, rows = [], [], 0
    for group in rng.permutation(len(groups)):
        block.append(np.arange(starts[group], starts[group + 1]))
        rows += groups[group]
        if rows >= block_rows:
            order.append(rng.permutation(np.concatenate(block)))
            block, rows = [], 0
    if block:
        order.append(rng.permutation(np.concatenate(block)))
    return np.concatenate(order)


def uniforms(seed: int, epoch: int, rows: np.ndarray, draws: int) -> np.ndarray:
    """Return random numbers in [0, 1) for each row, float64 [len(rows), draws].

    The generator is counter-based (the finaliser of SplitMix64, Steele et al. 2014). Each number
    depends only on its (seed, epoch, row, draw), not on the rest of the batch.
    """
    bits = random_bits(seed, epoch, rows, draws)
    return (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53


def random_bits(seed: int, epoch: int, rows: np.ndarray, draws: int) -> np.ndarray:
    """Return 64 random bits for each row and draw, uint64 [len(rows), draws]."""
    key = _mix(np.array([seed], np.uint64) * _GOLDEN + np.uint64(epoch))
    by_row = _mix(key ^ (rows.astype(np.uint64) * _GOLDEN))
    counter = np.arange(1, draws + 1, dtype=np.uint64) * _GOLDEN
    return _mix(by_row[:, None] + counter[None, :])


def _mix(x: np.ndarray) -> np.ndarray:
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
