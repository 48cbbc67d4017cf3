"""Measures scores of unknown images on stored features, with held-out classes of a long tail.

    python benchmarks/unknown.py results/../features/KEY results/NAME/shards/manifest.json

Every tenth class is held out, from the largest to the smallest. A linear head learns the others by
cross-entropy and by balanced softmax. Half of the held-out images of tune, dev and test chooses
the score, the other half measures it, as `data.unknown` does. Then tune and test are divided again
1,000 times, to count how often a false-alarm rate is above what was promised.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F  # noqa: N812 - torch's own convention

from tailproof.config.evaluation import Evaluation
from tailproof.config.guarantees import Guarantees
from tailproof.evaluation.class_groups import GROUPS, class_groups
from tailproof.features.heads import standardization
from tailproof.features.store import FeatureSplit
from tailproof.guarantees.roll_up import Rank
from tailproof.guarantees.rules import Classes
from tailproof.guarantees.unknown import (
    Scored,
    SplitScores,
    fit_and_measure_unknown,
    fit_false_alarms,
    rank,
)
from tailproof.guarantees.unknown_scores import SCORES, KnownFeatures, logit_scores

EVERY, EPOCHS, BATCH = 10, 30, 256
RATE, CONFIDENCE, AGAIN, REPLICATES = 0.05, 0.9, 1000, 200


def read(features: Path, manifest: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return features [N, D] and labels [N] of the splits, standardized by train."""
    train = FeatureSplit(features, manifest, "train")
    mean, scale = standardization(train)
    print(f"features of {len(train):,} images of train, {train.width} numbers each")
    found = {}
    for name in ("train", "tune", "dev", "test"):
        split = FeatureSplit(features, manifest, name)
        labels = split.labels[split.manifest["target"]]
        found[name] = split.read_all()[:, 0].astype(np.float32), labels
    found["moments"] = mean.astype(np.float32), scale.astype(np.float32)
    return found


def train_head(features: np.ndarray, labels: np.ndarray, prior: np.ndarray) -> torch.nn.Linear:
    """Return a linear head; `prior` [C] is added to its logits in training."""
    torch.manual_seed(0)
    head = torch.nn.Linear(features.shape[1], len(prior))
    optimizer = torch.optim.AdamW(head.parameters(), lr=1e-3, weight_decay=0.05)
    steps = EPOCHS * -(-len(features) // BATCH)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    inputs, targets = torch.from_numpy(features), torch.from_numpy(labels)
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(features)).split(BATCH):
            loss = F.cross_entropy(head(inputs[rows]) + torch.from_numpy(prior), targets[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return head.requires_grad_(False)


def divide(labels: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the rows of two halves, class by class."""
    order = np.argsort(labels, kind="stable")
    yield order[::2]
    yield order[1::2]


Parts = dict[str, tuple[np.ndarray, np.ndarray]]


def parts_of(data: dict, held_out: np.ndarray) -> Parts:
    """Return features and labels of tune, test and two halves of the unknown images."""
    index = np.cumsum(~held_out) - 1
    parts = {}
    for name in ("tune", "test"):
        features, labels = data[name]
        here = ~held_out[labels]
        parts[name] = features[here], index[labels[here]]
    others = [tuple(part[held_out[data[name][1]]] for part in data[name]) for name in data_splits()]
    features, labels = (np.concatenate(part) for part in zip(*others, strict=True))
    for name, rows in zip(("unknown_tune", "unknown_test"), divide(labels), strict=True):
        parts[name] = features[rows], np.full(len(rows), -1)
    return parts


def score(head: torch.nn.Linear, parts: Parts, moments: tuple, of_features: dict) -> Scored:
    """Return the scores of each part; those of features do not depend on the head."""
    mean, scale = moments
    scored = {}
    for name, (features, labels) in parts.items():
        logits = head(torch.from_numpy((features - mean) * scale)).numpy()
        scores = logit_scores(logits) | of_features[name]
        ids = np.arange(len(labels))
        scored[name] = SplitScores(labels, logits.argmax(axis=1), scores, ids)
    return scored


def data_splits() -> tuple[str, ...]:
    """Return the splits whose images of held-out classes are unknown."""
    return ("tune", "dev", "test")


def print_scores(name: str, scored: Scored, classes: Classes) -> None:
    """Print a table of the scores, and what the chosen one reaches."""
    config = Guarantees(false_alarms=[RATE])
    found = fit_and_measure_unknown(
        {"0": scored}, classes, config, Evaluation(bootstrap=REPLICATES)
    ).summary

    def cell(value: dict) -> str:
        return f"{100 * value['mean']:.1f} [{100 * value['low']:.1f}, {100 * value['high']:.1f}]"

    print(f"\n{name}; chosen on tune: {found['score']}; images: {found['rows']}")
    print(
        "| score | AUROC | FPR at 95 % TPR | AUROC many | medium | few |\n|---|---|---|---|---|---|"
    )
    for own in SCORES:
        groups = found["scores"][own]
        cells = [groups["all"]["auroc"], groups["all"]["fpr_at_tpr_95"]]
        cells += [groups[group]["auroc"] for group in GROUPS]
        print(f"| {own} | {' | '.join(map(cell, cells))} |")
    names = ("false_alarm", *(f"false_alarm_{group}" for group in GROUPS))
    names += ("missed", "error", "open_set_risk")
    print(f"| score | {' | '.join(names)} |\n|{'---|' * (len(names) + 1)}")
    for answers in found["answers"]:
        print(f"| {answers['score']} | {' | '.join(cell(answers['test'][own]) for own in names)} |")
    print("always answers:", cell(found["always"]["test"]["open_set_risk"]))


def print_broken(scored: Scored) -> None:
    """Print how often more known images are called unknown than promised."""
    rng = np.random.default_rng(0)
    tune, test, unknown = (scored[name] for name in ("tune", "test", "unknown_tune"))
    values = {own: np.concatenate([tune.scores[own], test.scores[own]]) for own in SCORES}
    size, total = len(tune), len(tune) + len(test)
    broken, alarms = dict.fromkeys((*SCORES, "the best of them"), 0), dict.fromkeys(SCORES, 0.0)
    for _ in range(AGAIN):
        order = rng.permutation(total)
        fitted, other = order[:size], order[size:]
        above, auroc = {}, {}
        for own, scores in values.items():
            fit = fit_false_alarms(scores[fitted], RATE, CONFIDENCE)
            rate = (scores[other] < fit.threshold).mean()
            above[own], alarms[own] = rate > RATE, alarms[own] + rate / AGAIN
            once = np.ones((1, size), int), np.ones((1, len(unknown)), int)
            auroc[own] = rank(scores[fitted], unknown.scores[own], *once).auroc[0]
            broken[own] += above[own]
        broken["the best of them"] += above[max(auroc, key=auroc.get)]
    print(f"\n{AGAIN} re-splits, {size} fitted: promised {RATE:.0%} with {CONFIDENCE:.0%}")
    for own, count in broken.items():
        mean = f", mean rate {alarms[own]:.2%}" if own in alarms else ""
        print(f"{own}: above in {count / AGAIN:.1%}{mean}")


def main() -> None:
    """Run the benchmark."""
    torch.set_num_threads(1)
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("features", type=Path)
    parser.add_argument("manifest", type=Path)
    given = parser.parse_args()
    data = read(given.features, given.manifest)
    features, labels = data["train"]
    counts = np.bincount(labels)
    held_out = np.zeros(len(counts), bool)
    held_out[np.argsort(-counts, kind="stable")[EVERY // 2 :: EVERY]] = True
    here, index = ~held_out[labels], np.cumsum(~held_out) - 1
    features, labels, counts = features[here], index[labels[here]], counts[~held_out]
    names = [str(number) for number in range(len(counts))]
    groups = class_groups(counts, Evaluation())
    classes = Classes(names, counts, groups, [Rank("class", names, np.arange(len(counts)))])
    print(
        f"{held_out.sum()} of {len(held_out)} classes are held out, {len(features):,} learnt from"
    )
    known = KnownFeatures.fit(features, labels)
    print(f"the bank has {len(known.bank):,} images, {known.bank.nbytes / 2**20:.1f} MiB")
    parts = parts_of(data, held_out)
    of_features = {name: known.scores(part[0]) for name, part in parts.items()}
    mean, scale = data["moments"]
    for name, strength in (("cross-entropy", 0.0), ("balanced softmax", 1.0)):
        prior = (strength * np.log(counts)).astype(np.float32)
        head = train_head((features - mean) * scale, labels, prior)
        scored = score(head, parts, data["moments"], of_features)
        print_scores(name, scored, classes)
    print_broken(scored)


if __name__ == "__main__":
    main()
