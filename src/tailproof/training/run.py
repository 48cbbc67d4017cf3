"""A training run: everything that takes part in it, moved on step by step, saved and restored."""

import logging
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from timm.utils import ModelEmaV3
from torch import Tensor, nn

from tailproof.config.recipe import Recipe
from tailproof.history import Row
from tailproof.loading import Split
from tailproof.models import save_expert
from tailproof.models.build import best_precision, count_parameters, digest_of_weights
from tailproof.runtime.errors import TailproofError
from tailproof.schedules import Phases
from tailproof.training.builders import (
    Forward,
    build_loader,
    build_mixing,
    build_optimizer,
    check_monitor,
    initial_model,
    model_options,
    preprocessing,
    seed_step,
    start_device,
)
from tailproof.training.distributed import ProcessGroup
from tailproof.training.early_stopper import EarlyStopper
from tailproof.training.epoch_metrics import EpochMetrics, RareScores
from tailproof.training.multi_head import Heads, MultiHeadLoss
from tailproof.training.schedule import Schedule

log = logging.getLogger(__name__)

CHECK_STEPS = 100  # between looks at the loss, each of which waits for the device


class TrainingRun:
    """One expert in training. Its position is `step` updates into `epoch`.

    Order of initialisation: threads, seed, data, model, loss, optimizer, schedule. The seed decides
    the initial weights; order and augmentation follow (seed, epoch, sample), all else that is
    random (seed, epoch, step), so that no generator's state needs to be saved.

    Attributes:
        until: the epoch to train to for now; rates follow the recipe's own epochs all the same.
        device: where it trains.
        precision: fp32, bf16 or fp16.
        model: the model.
        phases: what the recipe changes at some epochs.
        epoch: the epoch in progress, from 1.
        step: updates made in it.
        initial: SHA-256 of the weights that the run began with; empty until it begins.
        history: one row for each finished epoch.
        best: the best epoch so far.
    """

    def __init__(
        self, manifest: str | Path, recipe: Recipe, seed: int, ranks: ProcessGroup, until: int = 0
    ) -> None:
        self.recipe, self.seed, self.ranks, self.until = recipe, seed, ranks, until or recipe.epochs

        # ---- device and randomness
        self.device = start_device(recipe.threads)
        torch.manual_seed(seed)

        # ---- data
        splits = {name: Split(manifest, name) for name in ("train", "val")}
        self.split = splits["train"]
        self.heads = Heads(self.split.manifest, recipe)
        check_monitor(recipe, splits["val"])
        self._labels = {
            name: self.heads.labels(split).to(self.device) for name, split in splits.items()
        }
        building = (seed, self.device, ranks)
        # One a phase: what is wrong with a later one is told now. Only the current one is open.
        self._loaders = [
            build_loader(self.split, recipe, phase, *building) for phase in recipe.timeline
        ]
        self._val_loader = build_loader(splits["val"], recipe, None, *building)
        self.phases = Phases(recipe, [len(loader) for loader in self._loaders])

        # ---- model, loss, optimizer, schedule
        self._options = model_options(self.split, recipe)
        outputs = len(self.heads.names)
        self.model = initial_model(recipe, self._options, outputs, self.split, self.device)
        labels = self._labels["train"].cpu()
        self._loss = MultiHeadLoss(self.heads, recipe.loss.model_dump(), labels).to(self.device)
        self._optimizer = build_optimizer(self.model, recipe)
        self._schedule = Schedule(self._optimizer, recipe, self.phases)
        self._mixing = [build_mixing(phase, ranks.world) for phase in recipe.timeline]
        self._ema = ModelEmaV3(self.model, decay=recipe.ema.decay) if recipe.ema else None

        # ---- what computes
        self._parallel = ranks.wrap(self.model, self.device)
        self._trained = self._parallel
        if recipe.compile:
            # Not dynamic: else the kernels would depend on which batch size came first.
            self._trained = torch.compile(self._parallel, dynamic=False)
        self._compute_in(best_precision(self.device, recipe.precision))

        # ---- where it stands
        self.epoch, self.step, self.initial = 1, 0, ""
        self.history: list[Row] = []
        self.best = EarlyStopper(recipe)
        self._rate, self._tally = 0.0, self._new_tally()
        log.info(
            "%d samples, %d steps an epoch, %d parameters, %s on %s, %d processes of %d threads",
            len(self.split),
            self.steps,
            count_parameters(self.model),
            self.precision,
            self.device,
            ranks.world,
            recipe.threads,
        )

    @property
    def result(self) -> nn.Module:
        """The model that is validated and exported: the average of the weights if there is one."""
        return self._ema.module if self._ema else self.model

    @property
    def steps(self) -> int:
        """Updates of the epoch in progress."""
        return self.phases.steps(self.epoch)

    @property
    def updates(self) -> int:
        """Updates made since the start."""
        return self.phases.updates(self.epoch - 1) + self.step

    @property
    def finished(self) -> bool:
        """Whether no epoch is left for now, or early stopping has lost its patience."""
        return self.epoch > self.until or self.best.should_stop

    def finish_epoch(self, at_boundary: Callable[[], None]) -> Row:
        """Train the rest of the epoch, validate where due, and go on to the next.

        Args:
            at_boundary: called after every batch; what it raises ends the run there.

        Returns:
            The epoch's row of history.csv; training metrics are of the batches as they came.

        Raises:
            TailproofError: a loss or gradient is NaN or infinite.
        """
        self._train(at_boundary)
        row = {"epoch": self.epoch, "learning_rate": self._rate, **self._tally.metrics("train")}
        row |= self._phase_columns()
        if self.epoch % self.recipe.validate_every == 0 or self.epoch == self.recipe.epochs:
            row |= self.validate(at_boundary)
            self.best.update(self.epoch, row[self.recipe.monitor], self.result)
            self._schedule.after_validation(row[self.recipe.monitor], self.updates)
        self.history.append(row)
        self.epoch, self.step, self._tally = self.epoch + 1, 0, self._new_tally()
        return row

    def _train(self, at_boundary: Callable[[], None]) -> None:
        self._parallel.train()
        labels, phase = self._labels["train"], self.phases.number(self.epoch)
        mixing = self._mixing[phase]
        for over in self._loaders[:phase]:
            over.close()
        for batch in self._loaders[phase].epoch(self.epoch, first=self.step + 1):
            seed_step(self.seed, self.epoch, self.step + 1, self.ranks.rank)
            # A process without a sample of its own computes one that counts nothing.
            computed = max(batch.real, 1)
            truth = labels[torch.from_numpy(batch.rows[:computed]).to(self.device)]
            images, wanted = batch.images[:computed], truth
            if mixing:
                images, shares = mixing(images, torch.arange(computed, device=self.device))
                wanted = shares @ self.heads.one_hot(truth)
            logits, loss = self._update(images, wanted, 1.0 if batch.real else 0.0)
            self._rate = self._schedule.learning_rate
            self.step += 1
            self._schedule.after_update(self.updates)
            self._tally.add(logits[: batch.real], truth[: batch.real], loss, batch.size)
            if self.step % CHECK_STEPS == 0 or self.step == self.steps:
                self.check_finite()
            at_boundary()

    def _update(self, images: Tensor, wanted: Tensor, weight: float) -> tuple[Tensor, Tensor]:
        """Make one update; return all logits and this rank's share of the batch's mean loss.

        The mean is that of the whole batch, in however many parts on however many ranks it is
        computed. DistributedDataParallel averages gradients over ranks: shares are multiplied by
        their number.
        """
        parts = list(
            zip(
                images.chunk(self.recipe.grad_accum_steps),
                wanted.chunk(self.recipe.grad_accum_steps),
                strict=True,
            )
        )
        whole = self._whole(self._loss.reduction_weight(wanted) * weight)
        self._optimizer.zero_grad(set_to_none=True)
        found, losses = [], []
        for number, (part, target) in enumerate(parts, start=1):
            alone = self.ranks.world == 1 or number == len(parts)
            with nullcontext() if alone else self._parallel.no_sync():
                logits = self._forward_part(part)
                share = self._loss.reduction_weight(target) * weight / whole
                loss = (self._loss(logits, target) * share).sum()
                self._scaler.scale(loss * self.ranks.world).backward()
            found.append(logits.detach())
            losses.append(loss.detach())
        if self.recipe.grad_clip_norm is not None:
            self._scaler.unscale_(self._optimizer)
            nn.utils.clip_grad_norm_(self.model.parameters(), self.recipe.grad_clip_norm)
        self._scaler.step(self._optimizer)
        self._scaler.update()
        if self._ema:
            self._ema.update(self.model)
        return torch.cat(found), torch.stack(losses).sum()

    def _whole(self, reduction_weight: Tensor) -> Tensor:
        """Return the divisor of the whole batch; more than 0 where no sample has a label."""
        return self.ranks.sum(reduction_weight).clamp_min(torch.finfo(reduction_weight.dtype).tiny)

    def _forward_part(self, images: Tensor) -> Tensor:
        try:
            return self._forward(images)
        except ValueError as error:  # batch norm, of one sample and one pixel
            raise TailproofError(
                f"epoch {self.epoch}, step {self.step + 1}, {len(images)} of its images: {error}; "
                "set recipe.drop_last or another recipe.batch_size"
            ) from error

    @torch.no_grad()
    def validate(self, at_boundary: Callable[[], None]) -> Row:
        """Return the metrics of one pass over val, with the loss that is trained."""
        self.ranks.broadcast_buffers(self.result)
        self.result.eval()
        tally, labels = self._new_tally(), self._labels["val"]
        truths = labels[:, list(self.heads.classes).index(self.heads.target)]
        rare = RareScores(truths, self.heads.positive, self.ranks.sum)
        for batch in self._val_loader.epoch(1):
            rows = torch.from_numpy(batch.rows[: batch.real]).to(self.device)
            logits, truth = self._evaluate(batch.images)[: batch.real], labels[rows]
            rare.add(self.heads.parts(logits)[self.heads.target], rows)
            own = self._loss.reduction_weight(truth)
            mean = self._loss(logits, truth) if batch.real else logits.sum()
            tally.add(logits, truth, (mean * (own / self._whole(own))).sum(), batch.size)
            at_boundary()
        return tally.metrics("val") | rare.metrics()

    def check_finite(self) -> None:
        """Raise a TailproofError where a loss of this epoch or the last gradient is not finite."""
        step, what = self._tally.first_non_finite(), "loss"
        gradients = [p.grad for p in self.model.parameters() if p.grad is not None]
        # fp16 overflows now and then: the scaler leaves such an update out.
        checked = step is None and gradients and self.precision != "fp16"
        if checked and not torch.isfinite(nn.utils.get_total_norm(gradients)):
            step, what = self.step, "gradient"
        if step is not None:
            raise TailproofError(
                f"the {what} is not finite in epoch {self.epoch}, step {step}: lower "
                "recipe.optimizer.learning_rate, lengthen the warm-up or set recipe.grad_clip_norm"
            )

    def begin(self) -> None:
        """Note the weights that training begins with, where no state is restored."""
        self.initial = digest_of_weights(self.model)

    def state(self) -> dict[str, Any]:
        """Return all that a process needs to go on from here, whatever the number of ranks."""
        return {
            "epoch": self.epoch,
            "step": self.step,
            "steps": self.steps,
            "precision": self.precision,
            "recipe": self.recipe.result_fields(),
            "rate": self._rate,
            "history": self.history,
            "tally": self._tally.state(),
            "best": self.best.state(),
            "initial": self.initial,
            "model": self.model.state_dict(),
            "ema": self._ema.module.state_dict() if self._ema else None,
            "optimizer": self._optimizer.state_dict(),
            "schedule": self._schedule.state(),
            "scaler": self._scaler.state_dict(),
        }

    def restore(self, state: dict[str, Any], *, adopted: bool = False) -> None:
        """Go on from what `state` returned.

        Args:
            state: of this run, or of another.
            adopted: it is another's, whose weights, position and history are taken on; rates,
                decay and what else this run's recipe says are this run's own.

        Raises:
            TailproofError: it is of another model, optimizer or number of steps.
        """
        steps = self.phases.steps(state["epoch"])
        if state["steps"] != steps:
            raise TailproofError(
                f"the state has {state['steps']} steps an epoch, this run {steps}: it cannot "
                "go on from there"
            )
        if self.recipe.precision == "auto":
            self._compute_in(state["precision"])  # this node might choose another
        optimizer, theirs = state["optimizer"], state["recipe"]
        if adopted:
            own = self._optimizer.state_dict()["param_groups"]
            groups = zip(own, optimizer["param_groups"], strict=False)
            kept = [{**mine, "params": other["params"]} for mine, other in groups]
            optimizer = {**optimizer, "param_groups": kept}
        try:
            self.model.load_state_dict(state["model"])
            if self._ema:
                self._ema.module.load_state_dict(state["ema"] or state["model"])
            self._optimizer.load_state_dict(optimizer)
        except (RuntimeError, ValueError, TypeError, AttributeError, KeyError) as error:
            raise TailproofError(f"the state is of another model or optimizer: {error}") from error
        if self.precision == "fp16" and state["scaler"]:
            self._scaler.load_state_dict(state["scaler"])
        self.initial = state["initial"]
        self.epoch, self.step, self._rate = state["epoch"], state["step"], state["rate"]
        self.history = list(state["history"])
        self._schedule.restore(None if adopted else state["schedule"], self.updates)
        chosen = ("monitor", "export")
        if not adopted or all(theirs[name] == self.recipe.result_fields()[name] for name in chosen):
            self.best.restore(state["best"])
        self._tally = self._new_tally()
        self._tally.restore(state["tally"], 1.0 if self.ranks.main else 0.0)

    def export(self, folder: Path) -> None:
        """Write model.safetensors and config.json: the best weights where they are kept."""
        best = self.best.weights is not None
        if best:
            self.result.load_state_dict(self.best.weights)
        save_expert(
            folder,
            self.result,
            model_args=self._options,
            preprocessing=preprocessing(self.split, self.recipe),
            class_names=self.heads.names,
            facts={
                "target": self.heads.target,
                "heads": self.heads.sizes,
                "seed": self.seed,
                "recipe": self.recipe.result_fields(),
                "precision": self.precision,
                "epoch": self.best.epoch if best else len(self.history),
            },
        )

    def close(self) -> None:
        """End the loaders' worker processes."""
        for loader in (*self._loaders, self._val_loader):
            loader.close()

    def _phase_columns(self) -> Row:
        """Return what history.csv tells of the epoch's phase, where the recipe has phases."""
        if not self.recipe.phases:
            return {}
        number = self.phases.number(self.epoch)
        size = self.phases[number].image_size
        return {"phase": number + 1} | ({"image_size": size} if size else {})

    def _compute_in(self, precision: str) -> None:
        self.precision = precision
        self._scaler = torch.amp.GradScaler(self.device.type, enabled=precision == "fp16")
        self._forward = Forward(self._trained, self.device, precision, self.recipe.channels_last)
        # The 8 bits of a bf16 logit make ties of scores; infer computes in fp32, too.
        exact = precision if self.heads.positive is None else "fp32"
        self._evaluate = Forward(self.result, self.device, exact, self.recipe.channels_last)

    def _new_tally(self) -> EpochMetrics:
        return EpochMetrics(self.heads, self.device, self.ranks.sum)
