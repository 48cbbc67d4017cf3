"""Classifies images with calibrated probabilities and a decision to accept or reject."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from math import prod
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from tailproof.guarantees.expert_guarantees import ExpertGuarantees
from tailproof.predict.answers import Answers, Columns, Decision, answer
from tailproof.predict.class_priors import known_shift
from tailproof.predict.context import ImageContext
from tailproof.predict.groups import Group, GroupMeans
from tailproof.predict.image_files import read_images
from tailproof.predict.image_inputs import GivenImage
from tailproof.predict.loaded_expert import LoadedExpert
from tailproof.predict.network import FEATURES
from tailproof.predict.option_rules import SCORE, Options
from tailproof.predict.promises import (
    WITHOUT_GROUPS,
    RiskRejector,
    RollUpColumns,
    SetColumns,
    no_groups,
)
from tailproof.predict.rejector import Rejector
from tailproof.predict.unknown import UnknownRule
from tailproof.runtime.errors import TailproofError

BATCH_SIZE = 64

MOST_VALUES = 2**28
"""Largest number of values in a batch, 1 GiB; images of more than 2,048 × 2,048 make less of it."""

Note = Callable[[str], None]


class Batch(NamedTuple):
    """The answers for a batch of images, or for groups of images.

    Attributes:
        names: what the answers are for: the names of the images, or the groups.
        answers: the answers; None if there are none.
        broken: the error of each image that could not be read, by its row among all images.
        rows: the row of each answer's image among all images; empty for groups.
        images: the number of images of each answer.
    """

    names: list[str | Path]
    answers: Answers | None
    broken: dict[int, TailproofError]
    rows: list[int]
    images: list[int]


class Classifier:
    """An expert with what is asked of it.

    Args:
        expert: the expert.
        options: what is asked.
        note: is called with each sentence about the answers: why they promise less than they seem
            to, or what was estimated.

    Raises:
        TailproofError: the options do not fit together, or the expert cannot fulfil them.

    Attributes:
        rule: what decides, in words.
        unknown_rule: what calls images unknown, in words; None if nothing does.
    """

    def __init__(self, expert: LoadedExpert, options: Options, note: Note) -> None:
        options.check()
        self._expert, self._options, self._note = expert, options, note
        guarantees = expert.guarantees() if options.promised.any else None
        self._unknown = _unknown_rule(expert, options, guarantees)
        self._decide, self._promises = _decisions(expert, options, guarantees, note)
        self.rule = self._decide.rule
        self.unknown_rule = None if self._unknown is None else self._unknown.words

    @property
    def no_answers(self) -> Answers:
        """The answers for no image."""
        classes = self._expert.classes
        empty = {rank: np.empty((0, len(names))) for rank, names in classes.items()}
        return self._answer(self._expert, empty)

    def batches(
        self, images: Sequence[GivenImage], groups: Sequence[Group] | None = None
    ) -> Iterator[Batch]:
        """Return the answers for all images in order, batch by batch; those for groups at last.

        Args:
            images: the images.
            groups: the group of each image; its images get one answer.

        Raises:
            TailproofError: a logit is not finite, or the images or the expert do not allow what is
                asked.
        """
        expert, options = self._expert, self._options
        if options.classes is not None or options.prior is not None or options.adapt:
            shift = known_shift(
                options,
                expert.posterior,
                expert.deployment.assumptions,
                lambda: _target_log_p(expert, images),
                self._note,
            )
            expert = replace(expert, posterior=replace(expert.posterior, shift=shift))
        context = None
        if options.context is not None:
            context = ImageContext(
                expert.guarantees(),
                options.context,
                self._note,
                options.prefix,
                grouped=options.grouped,
            )
        if self._unknown is not None and self._unknown.needs_features:
            expert = expert.with_features()
        if groups is None:
            return self._single(expert, images, context)
        return self._grouped(expert, images, groups, context)

    def _single(
        self,
        expert: LoadedExpert,
        images: Sequence[GivenImage],
        context: ImageContext | None,
    ) -> Iterator[Batch]:
        for rows, raw, broken in read_batches(expert, images):
            answers = None
            if rows:
                scores = self._scores(raw)
                log_p = expert.posterior(raw)
                if context is not None:
                    log_p[expert.target] = context.of_images(rows, log_p[expert.target])
                answers = self._answer(expert, log_p, scores)
            names = [images[row].name for row in rows]
            yield Batch(names, answers, broken, rows, [1] * len(rows))

    def _scores(self, raw: dict[str, np.ndarray]) -> np.ndarray | None:
        """Take features away from raw logits; return how well each image is known, [N]."""
        scores = None if self._unknown is None else self._unknown.scores(raw)
        for name in [name for name in raw if name.endswith(FEATURES)]:
            del raw[name]
        return scores

    def _grouped(
        self,
        expert: LoadedExpert,
        images: Sequence[GivenImage],
        groups: Sequence[Group],
        context: ImageContext | None,
    ) -> Iterator[Batch]:
        temperature = expert.deployment.group_temperature
        if temperature is None:
            self._note(
                f"the expert has no temperature for groups, because {WITHOUT_GROUPS}: "
                "probabilities of groups may be too low"
            )
        single, means = replace(expert.posterior, shift=None), GroupMeans()
        for rows, raw, broken in read_batches(expert, images):
            if rows:
                scores = self._scores(raw)
                means.add(rows, [groups[row] for row in rows], single(raw), scores)
            yield Batch([], None, broken, [], [])
        if counts := means.counts:
            log_p = means.log_p(expert.posterior, temperature)
            if context is not None:
                of_rows, group = zip(*means.members, strict=True)
                log_p[expert.target] = context.of_groups(of_rows, group, log_p[expert.target])
            scores = None if self._unknown is None else means.scores
            answers = self._answer(expert, log_p, scores)
            names: list[str | Path] = [group.name for group in counts]
            yield Batch(names, answers, {}, [], list(counts.values()))

    def _answer(
        self,
        expert: LoadedExpert,
        log_p: dict[str, np.ndarray],
        scores: np.ndarray | None = None,
    ) -> Answers:
        unknown = None
        if self._unknown is not None and scores is not None:
            unknown = self._unknown(scores)
        return answer(log_p, expert.classes, self._decide, self._promises, unknown)


def batch_size(expert: LoadedExpert) -> int:
    """Return the number of images in a batch."""
    values = max(prod(preparation.shape) for preparation in expert.preparations)
    return max(1, min(BATCH_SIZE, MOST_VALUES // values))


def read_batches(
    expert: LoadedExpert, images: Sequence[GivenImage]
) -> Iterator[tuple[list[int], dict[str, np.ndarray], dict[int, TailproofError]]]:
    """Yield the rows of the readable images of each batch, their raw logits, and the errors.

    Raises:
        TailproofError: a logit is not finite.
    """
    size = batch_size(expert)
    prepared = enumerate(
        read_images(
            images,
            expert.deployment.images,
            expert.preparations,
            ahead=2 * size,
            threads=torch.get_num_threads(),
        )
    )
    while batch := list(islice(prepared, size)):
        broken = {row: image for row, image in batch if isinstance(image, TailproofError)}
        readable = {row: image for row, image in batch if not isinstance(image, TailproofError)}
        raw = expert.raw_logits(list(readable.values())) if readable else {}
        yield list(readable), raw, broken


def _target_log_p(expert: LoadedExpert, images: Sequence[GivenImage]) -> np.ndarray:
    """Return the log-probabilities of the target for all readable images, [N, C]."""
    posterior = expert.posterior
    parts = [np.empty((0, len(expert.classes[expert.target])))]
    for rows, raw, _ in read_batches(expert, images):
        if rows:
            parts.append(posterior(raw)[posterior.target])
    return np.concatenate(parts)


def _unknown_rule(
    expert: LoadedExpert, options: Options, guarantees: ExpertGuarantees | None
) -> UnknownRule | None:
    """Return what calls images unknown; None if nothing does."""
    rate = options.promised.unknown
    if rate is None or guarantees is None:
        return None
    posterior = expert.posterior
    return UnknownRule(
        expert.folder, guarantees, rate, posterior, options.prefix, grouped=options.grouped
    )


def _decisions(
    expert: LoadedExpert, options: Options, guarantees: ExpertGuarantees | None, note: Note
) -> tuple[Decision, Sequence[Columns]]:
    """Return what accepts answers, and what makes the columns of the promises."""
    promised, names = options.promised, expert.classes[expert.target]
    if guarantees is None:
        return Rejector(expert.deployment, names, options.rule, options.coverage), ()
    if options.grouped:
        _note_groups(guarantees, options, note)
    guarantees = guarantees.of_answers(
        grouped=options.grouped, context=options.context is not None, unknown=promised.unknown
    )
    for sentence in guarantees.notes:
        note(sentence)
    promises: list[Columns] = []
    if promised.set_coverage is not None:
        promises.append(SetColumns(guarantees, promised.set_coverage, promised.score or SCORE))
    if promised.precision is not None:
        promises.append(RollUpColumns(guarantees, promised.precision))
    if promised.risk is None:
        return Rejector(expert.deployment, names, options.rule, options.coverage), promises
    rejector = RiskRejector(guarantees, promised.risk, by_group=promised.by_group)
    if rejector.warning:
        note(rejector.warning)
    if promised.unknown is not None:
        note(
            f"{rejector.rule} is promised only for images of known classes: all answers for other "
            "images are wrong"
        )
    return rejector, promises


def _note_groups(guarantees: ExpertGuarantees, options: Options, note: Note) -> None:
    """Say for which groups promises hold.

    Raises:
        TailproofError: there are none for groups.
    """
    if guarantees.grouped is None:
        raise TailproofError(no_groups(options.promises))
    note(
        "promises for groups hold for groups like those of tune, with at most "
        f"{guarantees.grouped.largest} images"
    )
