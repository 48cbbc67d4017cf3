"""The stage teach: what an ensemble answers for the training samples, for students to learn."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from tailproof.data.logits import Logits
from tailproof.digests import digest_of
from tailproof.evaluation.ensembles import combine, stack
from tailproof.evaluation.task import FITTED_ON
from tailproof.runtime.errors import TailproofError

TAUGHT = "train"
STACKED = "stacked"

Files = Mapping[str, Mapping[str, str | Path]]


def teach(experts: Files, seed: int, output: str | Path) -> None:
    """Write the log-probabilities of the stacked ensemble for the samples of train.

    Its weights are fitted on tune, as the evaluation fits them.

    Args:
        experts: {expert: {split: path of the calibrated logits}} with train and tune.
        seed: the seed of the experts.
        output: a file of logits, readable by `tailproof.data.logits`.

    Raises:
        TailproofError: files are damaged, or are not of the same samples and classes.
    """
    tune, train = (
        {name: Logits.read(paths[split]) for name, paths in experts.items()}
        for split in (FITTED_ON, TAUGHT)
    )
    for logits in (tune, train):
        _check_same_samples(logits)
    labels = next(iter(tune.values())).target
    weights = stack(np.stack([own.values for own in tune.values()]), labels)
    first = next(iter(train.values()))
    values = np.stack([own.values for own in train.values()])
    log_p = combine(STACKED, values, first.target, weights).log_p
    digests = [own.metadata["weights_sha256"] for own in train.values()]
    Logits(
        sample_ids=first.sample_ids,
        labels=first.labels,
        weight=first.weight,
        heads={first.metadata["target"]: log_p.astype(np.float32)},
        metadata={
            "expert": STACKED,
            "seed": seed,
            "split": TAUGHT,
            "target": first.metadata["target"],
            "weights_sha256": digest_of(digests),
            "weights": dict(zip(train, weights.tolist(), strict=True)),
        },
    ).write(output)


def _check_same_samples(logits: Mapping[str, Logits]) -> None:
    (name, first), *others = logits.items()
    for other, own in others:
        same = np.array_equal(own.sample_ids, first.sample_ids)
        if not same or own.values.shape != first.values.shape:
            raise TailproofError(
                f"the logits of {other} are of other samples or classes than those of {name}: run "
                "infer again"
            )
