"""Whether promises are kept: 1,000 re-splits of stored and of simulated logits.

    make bench-guarantees                              # simulated logits
    make bench-guarantees RESULTS="results/NAME ..."   # and those of finished experiments

The held-out samples of a method (tune, dev and test, 4,000 of them at most) are one pool. In each
re-split, a random part of the size of tune fits every rule, and the rest measures it; all that the
stage fits on tune is fitted again each time, on the same part: the weights of stacked, the
temperature of groups, and the exponents of context. Each promise then has a band that holds 99.9 %
of such runs if the promise is kept:

- Coverage of sets: the mean over re-splits is not below the promise by more than 3.29 standard
  errors. With scores that do not tie (thr and pas, where the accuracy is too low for sets of the
  most probable class alone), it is not above coverage + 1 / (n + 1) by more either.
- Risk, precision and false alarms: at most a share of 1 - confidence of the re-splits has a
  threshold above which more is wrong in the whole pool than promised, plus what the binomial
  distribution allows. `risk if not unknown` is the risk of samples that are not called unknown by
  their largest logit, whose threshold is fitted on the same part.

Each pool is also re-split `in context`, as `pairs`, and as `pairs in context`, with at most 2,000
samples and 500 of them in the part that fits. Its data have no such columns, so these are drawn: a
column of 12 sites that says a little of the class (train has the samples that the manifest counts),
and pairs of samples of one class, whose answer is the mean of their logits with the temperature of
groups.

`views`: things of the same classes, in equal shares, each seen in four views that have some of
their noise in common. A thing is one answer.

`context`: the same classes live at 12 sites. In each re-split the exponent is fitted on a part of
the size of tune and measured on the rest, next to Bayes' rule with the true p(site | class). It is
worse if its NLL on the rest is higher than without context.

`simulated`: 100 classes in 20 genera and 5 families, Gaussian around their means, imbalance 100, in
the pool as in training; the logits are the exact posterior (`exact`) or twice as sharp
(`overconfident`). The options are those of the stage; seeds are 0 to 999. The mean size of sets is
that of the first 20 re-splits. docs/guarantees.md has the result.
"""

import argparse
from collections import defaultdict
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from rich.console import Console
from rich.table import Table
from scipy.special import log_softmax
from scipy.stats import binom, norm

from tailproof.calibration.metrics import ece, log_probabilities
from tailproof.calibration.temperature import fit_temperature
from tailproof.config.evaluation import Evaluation
from tailproof.config.guarantees import Guarantees
from tailproof.config.validation import load_experiment
from tailproof.data.logits import Logits
from tailproof.evaluation.class_groups import class_groups
from tailproof.evaluation.ensembles import combine, stack
from tailproof.evaluation.prior_shift import fit_prior_strength, prior_shares
from tailproof.evaluation.probabilities import Prediction
from tailproof.evaluation.sample_groups import SPREAD
from tailproof.evaluation.task import Task
from tailproof.evaluation.weighted_samples import nanmean
from tailproof.guarantees.context_prior import ContextColumn, add_context, fit_exponents
from tailproof.guarantees.ensemble_predictions import FoldWeights
from tailproof.guarantees.fitting import PRIOR_FROM
from tailproof.guarantees.guarantee import classes_of
from tailproof.guarantees.held_out_predictions import predict_held_out
from tailproof.guarantees.known_risks import is_known
from tailproof.guarantees.prediction_sets import (
    LOWEST,
    PROCEDURES,
    LabelledWeights,
    measure_sets,
    set_scores,
)
from tailproof.guarantees.risk import answered_above, fit_risk
from tailproof.guarantees.roll_up import NONE, Rank, answer_rank, wrong_by_rank
from tailproof.guarantees.rules import Classes, FitData, fit_rules
from tailproof.guarantees.scores import SCORES
from tailproof.guarantees.unknown import fit_false_alarms

POOL = ("tune", "dev", "test")
LARGEST = 4000
UNTIED = ("thr", "pas")
CONFIG = Guarantees()
BAND = 0.999
Z = norm.ppf(0.5 + BAND / 2)


class Pool(NamedTuple):
    """The held-out samples of a method: logits of its experts [E, N, C], labels, facts.

    The logits of grouped samples are the means over their groups.
    """

    system: str
    method: str
    logits: np.ndarray
    labels: np.ndarray
    fitted: int  # samples in the part that rules are fitted on
    classes: Classes
    shares: np.ndarray
    grouped: bool = False
    column: ContextColumn | None = None
    codes: np.ndarray | None = None

    @property
    def fixed(self) -> bool:
        """Whether the predictions do not depend on the part that is fitted on."""
        return len(self.logits) == 1 and not self.grouped and self.column is None


def variants(pool: Pool) -> list[Pool]:
    """Return a smaller pool in context, as pairs, and as pairs in context."""
    kept = slice(0, MOST_OF_VARIANT)
    small = pool._replace(
        logits=pool.logits[:, kept],
        labels=pool.labels[kept],
        fitted=min(pool.fitted, MOST_FITTED, len(pool.labels[kept]) // 2),
    )
    together = paired(small)
    return [in_context(small), together, in_context(together)]


def in_context(pool: Pool) -> Pool:
    """Add a column of sites, which is drawn."""
    rng = np.random.default_rng(1)
    counts = pool.classes.train_counts
    site_of = rng.dirichlet(np.full(SITES, SAYS_A_LITTLE), len(counts))
    learnt, own = (
        draw_sites(rng, site_of, labels)
        for labels in (np.repeat(np.arange(len(counts)), counts), pool.labels)
    )
    column = ContextColumn.fit(
        "site", "value", learnt, np.repeat(np.arange(len(counts)), counts), counts
    )
    return pool._replace(
        method=f"{pool.method}, in context", column=column, codes=column.codes(own)
    )


def draw_sites(rng: np.random.Generator, site_of: np.ndarray, labels: np.ndarray) -> list[str]:
    """Return a site for each label, from p(site | class) [C, sites]."""
    sites = (site_of[labels].cumsum(axis=1) > rng.random((len(labels), 1))).argmax(axis=1)
    return [str(site) for site in sites]


def paired(pool: Pool) -> Pool:
    """Put two samples of one class together; a sample that is left over is dropped."""
    pairs = []
    for label in np.unique(pool.labels):
        rows = np.flatnonzero(pool.labels == label)
        pairs += zip(rows[0::2].tolist(), rows[1::2].tolist(), strict=False)
    first, second = np.random.default_rng(2).permutation(np.array(pairs)).T
    log_p = log_softmax(pool.logits.mean(axis=0, dtype=float), axis=1)
    name = pool.method if len(pool.logits) == 1 else "mean_logits"
    return pool._replace(
        method=f"{name}, pairs",
        logits=(log_p[first] + log_p[second])[None] / 2,
        labels=pool.labels[first],
        fitted=pool.fitted // 2,
        grouped=True,
    )


def of_results(folder: Path) -> list[Pool]:
    """Return the experts of the first seed, and stacked."""
    evaluation = load_experiment(f"config/experiments/{folder.name}.yaml").evaluation
    classes = classes_of(Task.read(folder / "shards" / "manifest.json", evaluation))
    experts = {}
    for path in sorted((folder / "experts").iterdir()):
        seed = sorted(path.glob("seed-*"))[0]
        experts[path.name] = {
            split: Logits.read(seed / "logits" / f"{split}.parquet")
            for split in (*POOL, *PRIOR_FROM)
        }
    pools = [pool_of(folder.name, name, [splits], classes) for name, splits in experts.items()]
    if len(experts) > 1:
        pools.append(pool_of(folder.name, "stacked", list(experts.values()), classes))
    return pools


def pool_of(system: str, method: str, experts: list[dict[str, Logits]], classes: Classes) -> Pool:
    def joined(splits: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
        values = np.stack(
            [np.concatenate([own[split].values for split in splits]) for own in experts]
        )
        return values, np.concatenate([experts[0][split].target for split in splits])

    values, labels = joined(PRIOR_FROM)
    seen = Prediction.from_logits(values.mean(axis=0), labels)
    strength = fit_prior_strength(seen.log_p, labels, classes.train_counts)
    shares = prior_shares(classes.train_counts, strength.value)
    logits, labels = joined(POOL)
    kept = np.random.default_rng(0).permutation(len(labels))[:LARGEST]
    fitted = min(len(experts[0]["tune"].target), len(kept) // 2)
    return Pool(system, method, logits[:, kept], labels[kept], fitted, classes, shares)


SITES = 12
SAYS_A_LITTLE = 1.0
"""The concentration of the sites of each class: the smaller, the more a site says."""
MOST_OF_VARIANT, MOST_FITTED = 2000, 500
SIZES_MEASURED = 20
SPECIES = 100


def species_means(rng: np.random.Generator, dimension: int = 12) -> tuple[np.ndarray, Classes]:
    """Return the mean of each class, and the classes, with an imbalance of 100."""
    species, genera, families = SPECIES, 20, 5
    genus, family = np.arange(species) % genera, np.arange(species) % families
    means = (
        1.2 * rng.normal(size=(families, dimension))[family]
        + 0.9 * rng.normal(size=(genera, dimension))[genus]
        + 0.7 * rng.normal(size=(species, dimension))
    )
    counts = (500 * 100 ** (-np.arange(species) / (species - 1))).astype(int)
    names = [f"species {index}" for index in range(species)]
    ranks = [
        Rank("species", names, np.arange(species)),
        Rank("genus", [f"genus {index}" for index in range(genera)], genus),
        Rank("family", [f"family {index}" for index in range(families)], family),
    ]
    return means, Classes(names, counts, class_groups(counts, Evaluation()), ranks)


def draw(samples: int, *, equal: bool = False, views: int = 1) -> tuple[np.ndarray, ...]:
    """Return the posterior of each view [samples, views, C], the labels, and the classes."""
    rng = np.random.default_rng(0)
    means, classes = species_means(rng)
    share = classes.train_counts / classes.train_counts.sum()
    prior = np.full(SPECIES, 1 / SPECIES) if equal else share
    labels = rng.choice(SPECIES, size=samples, p=prior)
    common, centre = 0.0, means[labels]
    if views > 1:
        common = 0.5
        centre = centre + common * rng.normal(size=centre.shape)
    x = centre[:, None] + rng.normal(size=(samples, views, means.shape[1]))
    distance = np.stack([((x[:, [view]] - means) ** 2).sum(axis=2) for view in range(views)], 1)
    return np.log(prior) - distance / 2 / (1 + common**2), labels, classes


def simulated(samples: int = 4000, fitted: int = 1000) -> list[Pool]:
    """Return a long-tailed pool whose posterior is known."""
    logits, labels, classes = draw(samples)
    exact, shares = logits[:, 0], prior_shares(classes.train_counts, 1.0)
    return [
        Pool("simulated", method, (exact * sharp)[None], labels, fitted, classes, shares)
        for method, sharp in {"exact": 1.0, "overconfident": 2.0}.items()
    ]


def views(samples: int = 3000, fitted: int = 1000, *, equal: bool = True) -> list[Pool]:
    """Return things that are seen in one and in four views, of equal or long-tailed shares."""
    logits, labels, classes = draw(samples, equal=equal, views=4)
    shares = prior_shares(classes.train_counts, 0.0 if equal else 1.0)
    log_p = log_softmax(logits, axis=2)
    one, four = log_p[None, :, 0], log_p.mean(axis=1)[None]
    return [
        Pool("views", "one view", one, labels, fitted, classes, shares),
        Pool("views", "four views", four, labels, fitted, classes, shares, grouped=True),
    ]


class Parts(NamedTuple):
    """The predictions of a re-split: of the part that is fitted on, held out, and of the pool."""

    fit: Prediction
    whole: Prediction


def predict(pool: Pool, fit: np.ndarray) -> Parts:
    """Return the predictions of a pool; what is fitted of them is fitted on `fit`."""
    labels, here = pool.labels, pool.labels[fit]
    if pool.grouped:
        mean = pool.logits[0]

        def held_out(others: np.ndarray, rows: np.ndarray) -> np.ndarray:
            return mean[fit[rows]] / group_temperature(mean, labels, fit[others])

        whole = mean / group_temperature(mean, labels, fit)
        parts = Parts(
            Prediction.from_logits(predict_held_out(here, held_out), here),
            Prediction.from_logits(whole, labels),
        )
    elif len(pool.logits) == 1:
        whole = Prediction.from_logits(pool.logits[0], labels)
        parts = Parts(Prediction(whole.log_p[fit], here), whole)
    else:
        weights = stack(pool.logits[:, fit], here)
        whole = Prediction(combine("stacked", pool.logits, weights), labels)
        parts = Parts(stacked_held_out(pool, fit), whole)
    return parts if pool.column is None else add_sites(pool, parts, fit)


def add_sites(pool: Pool, parts: Parts, fit: np.ndarray) -> Parts:
    """Return the predictions in context."""
    columns = [pool.column]
    own = fit_exponents(parts.fit.log_p, parts.fit.labels, columns, [pool.codes[fit]])
    whole = add_context(parts.whole.log_p, columns, [pool.codes], own.values)
    return Parts(Prediction(own.held_out, parts.fit.labels), Prediction(whole, pool.labels))


def stacked_held_out(pool: Pool, rows: np.ndarray) -> Prediction:
    """Return the prediction of stacked for samples that its weights were not fitted on."""
    logits, labels = pool.logits[:, rows], pool.labels[rows]
    folds = FoldWeights.fit(labels, lambda fit: stack(logits[:, fit], labels[fit]))
    return folds.predict(labels, logits.shape[2], lambda: [(slice(0, len(labels)), logits)])


def group_temperature(mean: np.ndarray, labels: np.ndarray, rows: np.ndarray) -> float:
    return fit_temperature(mean[rows], labels[rows], np.ones(len(rows)), SPREAD).temperature


def resplit(pool: Pool, splits: int) -> tuple[dict, dict]:
    """Return {(coverage, procedure): values} and {(kind, level): values}, a row per re-split."""
    sets, kept = defaultdict(list), defaultdict(list)
    known_by = pool.logits.mean(axis=0).max(axis=1).astype(float)
    whole, p = None, None
    for seed in range(splits):
        order = np.random.default_rng([1, seed]).permutation(len(pool.labels))
        fit, rest = order[: pool.fitted], order[pool.fitted :]
        if whole is None or not pool.fixed:
            parts = predict(pool, fit)
            whole = FitData.of(parts.whole, pool.classes, pool.shares)
            wrong = wrong_by_rank(whole.answers, whole.labels, pool.classes.ranks)
        held_out = FitData.of(parts.fit, pool.classes, pool.shares) if not pool.fixed else None
        tune = held_out or whole.take(fit)
        rules = fit_rules(tune, pool.classes, pool.shares, CONFIG, {"plain": None})
        p = parts.whole.p if seed < SIZES_MEASURED else None
        for (coverage, name), values in of_sets(rules, whole, rest, pool, p).items():
            sets[coverage, name].append(values)
        for rule in rules.risks:
            kept["risk", rule.risk].append(of_risk(rule, whole, rest))
            kept["risk in every group", rule.risk].append(of_groups(rule, whole, rest, pool))
        for precision in rules.roll_ups:
            values = of_roll_up(rules, precision, whole.answers, wrong, rest)
            kept["precision", precision].append(values)
        for key, values in next_to_unknown(pool, tune, whole, known_by, fit, rest).items():
            kept[key].append(values)
    return sets, kept


def next_to_unknown(pool, tune, whole, scores, fit, rest) -> dict:
    """Return the false alarms of a threshold of the score, and the risks of what is above it."""
    rate = CONFIG.false_alarms[0]
    threshold = fit_false_alarms(scores[fit], rate, CONFIG.confidence)
    known = is_known(scores, threshold)
    if threshold.threshold is None:
        known[:] = True  # nothing is called unknown
    values = {("false alarms", rate): summary(known, ~known, rest, [], 0.0)}
    values["false alarms", rate][0] = float((~known).mean() > rate)
    for risk in CONFIG.risks:
        rule = fit_risk(tune, pool.classes.groups, risk, CONFIG.confidence, known[fit])
        answered = answered_above(whole.confidence, rule.overall.threshold) & known
        values["risk if not unknown", risk] = summary(
            answered, ~whole.correct, rest, [answered], risk
        )
    return values


def of_sets(rules, whole: FitData, rest: np.ndarray, pool: Pool, p: np.ndarray | None) -> dict:
    """Return what sets reach on the rest; their size only if the probabilities are given."""
    labels = pool.labels[rest]
    samples = LabelledWeights.of(labels, np.ones((1, len(rest))))
    few, sizes = pool.classes.groups["few"], np.full(len(rest), np.nan)
    scores = {} if p is None else {name: set_scores(name, p[rest], pool.shares) for name in SCORES}
    values = {}
    for coverage, by_procedure in rules.sets["plain"].items():
        for name, rule in by_procedure.items():
            limit = rule.threshold if len(rule.threshold) == 1 else rule.threshold[labels]
            hit = whole.true_scores[rule.score][rest] <= limit
            if p is not None:
                sizes = rule.holds(scores[rule.score]).sum(axis=1)
            measured = measure_sets(hit, sizes, samples, few, coverage)
            tied = float((rule.threshold == LOWEST).any())
            values[coverage, name] = [*(float(rows[0]) for rows in measured.values()), tied]
    return values


def of_risk(rule, whole: FitData, rest: np.ndarray) -> list[float]:
    answered = answered_above(whole.confidence, rule.overall.threshold)
    return summary(answered, ~whole.correct, rest, [answered], rule.risk)


def of_groups(rule, whole: FitData, rest: np.ndarray, pool: Pool) -> list[float]:
    parts = [
        pool.classes.groups[name][whole.predicted] & answered_above(whole.confidence, fit.threshold)
        for name, fit in rule.groups.items()
    ]
    return summary(np.any(parts, axis=0), ~whole.correct, rest, parts, rule.risk)


def of_roll_up(rules, precision, answers, wrong: np.ndarray, rest: np.ndarray) -> list[float]:
    rank = answer_rank(answers, [fit.threshold for fit in rules.roll_ups[precision]])
    mistaken = wrong[np.maximum(rank, 0), np.arange(len(rank))]
    parts = [rank == index for index in range(len(answers))]
    rejection = answered_above(answers[0].certainty, rules.rejections[precision].threshold)
    return [
        *summary(rank != NONE, mistaken, rest, parts, 1 - precision),
        rejection[rest].mean(),
    ]


def summary(answered, wrong, rest, parts, risk) -> list[float]:
    """Return whether a part breaks the promise, the share answered, and the error."""
    broken = any(wrong[part].mean() > risk for part in parts if part.any())
    there = answered[rest]
    error = wrong[rest][there].mean() if there.any() else np.nan
    return [float(broken), there.mean(), error]


def verdict(good: bool) -> str:
    return "inside" if good else "OUTSIDE"


def print_sets(results: list[tuple[Pool, dict]], splits: int) -> int:
    """Print the coverage of every procedure; return how many are outside their band."""
    outside = 0
    for coverage in CONFIG.coverages:
        table = Table(
            "system", "method", "sets", "promise", "coverage", "band", "macro", "tail",
            "below half", "size", title=f"Sets at {coverage:g}, {splits:,} re-splits",
        )  # fmt: skip
        for pool, sets in results:
            highest = coverage + 1 / (pool.fitted + 1)
            for name in PROCEDURES:
                rows = np.array(sets[coverage, name])
                mean = nanmean(rows.T)
                slack = Z * rows[:, 0].std() / np.sqrt(splits) + 1e-9
                promise = 2 * coverage - 1 if name == "interp_q" else coverage
                good = mean[0] >= promise - slack
                good &= name not in UNTIED or mean[5] > 0 or mean[0] <= highest + slack
                outside += not good
                table.add_row(
                    pool.system, pool.method, name, f"{promise:g}", f"{mean[0]:.4f}",
                    verdict(good), *(f"{value:.3f}" for value in mean[1:4]), f"{mean[4]:.2f}",
                )  # fmt: skip
        Console(width=150).print(table)
    return outside


def print_answers(results: list[tuple[Pool, dict]], splits: int) -> int:
    """Print how often a promise is broken; return how many are outside their band."""
    limit = binom.ppf(BAND, splits, 1 - CONFIG.confidence) / splits
    table = Table(
        "system", "method", "promise", "broken", "band", "answered", "error", "rejection answers",
        title=f"Risk and precision, {splits:,} re-splits; at most {limit:.1%} may be broken",
    )  # fmt: skip
    outside = 0
    for pool, answers in results:
        for (kind, level), values in answers.items():
            rows = np.array(values)
            broken, answered = rows[:, 0].mean(), rows[:, 1].mean()
            good = broken <= limit
            outside += not good
            error = np.nanmean(rows[:, 2]) if answered else np.nan
            table.add_row(
                pool.system, pool.method, f"{kind} {level:g}", f"{broken:.1%}", verdict(good),
                f"{answered:.1%}", f"{error:.2%}",
                f"{rows[:, 3].mean():.1%}" if rows.shape[1] > 3 else "",
            )  # fmt: skip
    Console(width=150).print(table)
    return outside


SIGNALS = {"strong": 0.2, "weak": 3.0, "none": np.inf}
"""The concentration of the sites of each class: the smaller, the more a site says."""


def context_gains(splits: int, samples: int = 4000, fitted: int = 1000) -> Table:
    """Return what a column of sites gains, next to Bayes' rule with the true p(site | class)."""
    logits, labels, classes = draw(samples)
    log_p, counts = log_probabilities(logits[:, 0]), classes.train_counts
    table = Table(
        "site says", "exponent", "m", "NLL", "change", "by Bayes' rule", "top-1, points", "worse",
        title=f"Context, {splits:,} re-splits: means over the rest",
    )  # fmt: skip
    for name, concentration in SIGNALS.items():
        rng = np.random.default_rng(1)
        site_of = np.full((SPECIES, SITES), 1 / SITES)
        if np.isfinite(concentration):
            site_of = rng.dirichlet(np.full(SITES, concentration), SPECIES)
        learnt, sites = (
            draw_sites(rng, site_of, own) for own in (np.repeat(np.arange(SPECIES), counts), labels)
        )
        column = ContextColumn.fit(
            "site", "value", learnt, np.repeat(np.arange(SPECIES), counts), counts
        )
        codes = column.codes(sites)
        true_ratio = np.log(np.maximum(site_of, 1e-12)).T[np.array(sites, int)]
        bayes = log_probabilities(log_p + true_ratio)
        rows = []
        for seed in range(splits):
            order = np.random.default_rng([1, seed]).permutation(samples)
            fit, rest = order[:fitted], order[fitted:]
            own = fit_exponents(log_p[fit], labels[fit], [column], [codes[fit]])
            after = add_context(log_p[rest], [column], [codes[rest]], own.values)
            losses = [-p[np.arange(len(rest)), labels[rest]].mean() for p in (
                log_p[rest], after, bayes[rest]
            )]  # fmt: skip
            hits = [(p.argmax(axis=1) == labels[rest]).mean() for p in (log_p[rest], after)]
            rows.append([own.values[0], *losses, hits[1] - hits[0]])
        values = np.array(rows)
        mean = values.mean(axis=0)
        table.add_row(
            name, f"{mean[0]:.2f}", f"{column.smoothing:.3g}", f"{mean[1]:.3f}",
            f"{mean[2] - mean[1]:+.3f}", f"{mean[3] - mean[1]:+.3f}", f"{100 * mean[4]:+.1f}",
            f"{(values[:, 2] > values[:, 1]).mean():.1%}",
        )  # fmt: skip
    return table


def print_views(pools: list[Pool]) -> None:
    """Print the accuracy and the calibration error of one and of four views."""
    for pool in pools:
        fit, rest = np.arange(pool.fitted), np.arange(pool.fitted, len(pool.labels))
        prediction = predict(pool, fit).whole
        labels = pool.labels[rest]
        print(
            f"{pool.method}: top-1 {prediction.correct[rest].mean():.1%}, "
            f"ECE {ece(prediction.p[rest], labels):.1%}"
        )


def measure(pool: Pool, splits: int) -> tuple[Pool, dict, dict]:
    """Return a pool with what its promises reach."""
    return pool, *resplit(pool, splits)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("results", nargs="*", type=Path, help="folders of finished experiments")
    parser.add_argument("--splits", type=int, default=1000)
    options = parser.parse_args()
    pools = [pool for folder in options.results for pool in of_results(folder)] + simulated()
    pools += [own for pool in pools for own in variants(pool)] + views()
    with ProcessPoolExecutor() as workers:
        measured = list(workers.map(partial(measure, splits=options.splits), pools))
    outside = print_sets([(pool, sets) for pool, sets, _ in measured], options.splits)
    outside += print_answers([(pool, answers) for pool, _, answers in measured], options.splits)
    for equal in (True, False):
        print(f"{'equal' if equal else 'long-tailed'} class shares:")
        print_views(views(equal=equal))
    Console(width=150).print(context_gains(options.splits))
    print(f"{outside} promises are outside their band")


if __name__ == "__main__":
    main()
