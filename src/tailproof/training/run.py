"""A training run: its model, data and optimizer, trained step by step, saved and restored."""

import logging
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from timm.utils import ModelEmaV3
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel as Parallel

from tailproof.history import Row
from tailproof.models.build import count_parameters
from tailproof.models.device import start_device
from tailproof.models.expert_weights import digest_of_weights
from tailproof.models.trained_weights import TrainedWeights, hold_statistics
from tailproof.monitors import measure_monitors
from tailproof.runtime.errors import TailproofError
from tailproof.schedules import Phases, Plateau, learning_rate
from tailproof.text import quantity
from tailproof.training.distillation import Distillation
from tailproof.training.distributed import ProcessGroup
from tailproof.training.early_stopper import EarlyStopper, check_monitor
from tailproof.training.epoch_metrics import EpochMetrics, RareScores
from tailproof.training.learner import Learner
from tailproof.training.mixing import build_mixing
from tailproof.training.multi_head import Heads, build_losses
from tailproof.training.optimizer import build_optimizer
from tailproof.training.seeding import seed_initial_weights, seed_step

log = logging.getLogger(__name__)

CHECK_STEPS = 100  # steps between checks of the loss, which wait for the device

STATE: dict[str, Any] = {
    **dict.fromkeys(("epoch", "step", "steps"), int),
    **dict.fromkeys(("precision", "initial", "frozen"), str),
    **dict.fromkeys(("recipe", "tally", "best", "model", "optimizer", "plateau", "scaler"), dict),
    "history": list,
    "rate": float | int,
    "ema": dict | None,
}
"""The parts of a saved state and their types."""


class TrainingRun:
    """One expert in training. Its position is `step` updates into `epoch`.

    Order of initialization: threads, seed, data, model, loss, optimizer, schedule. The seed
    determines the initial weights; sample order and augmentation depend on (seed, epoch, sample),
    everything else that is random on (seed, epoch, step). No generator state needs to be saved.

    Args:
        learner: what is trained, and what it learns from.
        seed: the seed.
        ranks: the processes that train together.
        until: last epoch of this round; 0 for the last one of the recipe.
        teacher: what the stage teach wrote, if the recipe distils.

    Attributes:
        learner: what is trained, and what it learns from.
        partial: whether this is a round of a sweep, which ends before the recipe does.
        until: last epoch of this round; learning rates still follow the recipe's epochs.
        device: the device that it trains on.
        precision: fp32, bf16 or fp16.
        model: the model.
        phases: the phases of the recipe.
        epoch: the epoch in progress, from 1.
        step: number of updates in it.
        initial: SHA-256 of the initial weights; empty until the run begins.
        history: one row per finished epoch.
        best: the best epoch so far.
    """

    def __init__(
        self,
        learner: Learner,
        seed: int,
        ranks: ProcessGroup,
        until: int = 0,
        teacher: str | Path | None = None,
    ) -> None:
        self.learner, self.recipe = learner, (recipe := learner.recipe)
        self.seed, self.ranks = seed, ranks
        self.partial, self.until = bool(until), min(until or recipe.epochs, recipe.epochs)

        # ---- device and randomness
        self.device = start_device(recipe.threads)
        seed_initial_weights(seed)

        # ---- data
        self.heads = Heads(learner.manifest, recipe)
        check_monitor(recipe, learner.manifest)
        self._labels = {
            name: self.heads.labels(split.labels).to(self.device)
            for name, split in (("train", learner.train), ("val", learner.val))
        }
        self._loaders, self._val_loader = learner.loaders(seed, self.device, ranks)
        self.phases = Phases(recipe, [len(loader) for loader in self._loaders])

        # ---- model, loss, optimizer, schedule
        self.model = learner.model(len(self.heads.names), self.device)
        self._trained_weights = TrainedWeights(self.model)
        self._losses = build_losses(self.heads, recipe, self._labels["train"])
        self._distillation = Distillation.of(
            recipe, teacher, learner.train, self.heads, self.device
        )
        self._optimizer = build_optimizer(self.model, recipe)
        self._plateau = Plateau(recipe)
        self._mixing = [build_mixing(phase, ranks.world) for phase in recipe.timeline]
        self._ema = ModelEmaV3(self.model, decay=recipe.ema.decay) if recipe.ema else None

        # ---- forward passes
        self._parallel = ranks.wrap(self.model, self.device)
        self._trained = self._parallel
        if recipe.compile:
            # Not dynamic: otherwise the kernels would depend on which batch size is seen first.
            # The declared type is that of functions; a module becomes a module.
            self._trained = torch.compile(self._parallel, dynamic=False)  # type: ignore[assignment]
        self._compute_in(learner.precision(self.device))

        # ---- position
        self.epoch, self.step, self.initial = 1, 0, ""
        self.history: list[Row] = []
        self.best = EarlyStopper(recipe)
        self._rate, self._tally = 0.0, self._new_tally()
        self._set_learning_rate()
        self._log_start()

    def _log_start(self) -> None:
        log.info(
            "%s, %s per epoch, %d of %d parameters trained, %s on %s, %s of %s",
            quantity(len(self.learner.train), "sample"),
            quantity(self.steps, "step"),
            count_parameters(self.model, trained=True),
            count_parameters(self.model),
            self.precision,
            self.device,
            quantity(self.ranks.world, "process", "processes"),
            quantity(self.recipe.threads, "thread"),
        )

    @property
    def result(self) -> nn.Module:
        """The model that is validated and exported: the EMA of the weights, if there is one."""
        return self._ema.module if self._ema else self.model

    @property
    def steps(self) -> int:
        """The number of updates in the epoch in progress."""
        return self.phases.steps(self.epoch)

    @property
    def updates(self) -> int:
        """The number of updates since the start."""
        return int(self.phases.updates(self.epoch - 1)) + self.step

    @property
    def finished(self) -> bool:
        """Whether the last epoch of this round is done or early stopping has stopped the run."""
        return self.epoch > self.until or self.best.should_stop

    def finish_epoch(self, at_boundary: Callable[[], None]) -> Row:
        """Train the rest of the epoch, validate if due, and move on to the next epoch.

        Args:
            at_boundary: called after every batch; an exception that it raises ends the run there.

        Returns:
            The epoch's row of history.csv; training metrics are those of the batches during
            training.

        Raises:
            TailproofError: a loss or gradient is NaN or infinite.
        """
        self._train(at_boundary)
        row = {"epoch": self.epoch, "learning_rate": self._rate, **self._tally.metrics("train")}
        row |= self._phase_columns()
        if self.epoch % self.recipe.validate_every == 0 or self.epoch == self.recipe.epochs:
            row |= self.validate(at_boundary)
            weights = self._trained_weights.of(self.result)
            self.best.update(self.epoch, row[self.recipe.monitor], weights)
            self._plateau.update(row[self.recipe.monitor])
            self._set_learning_rate()
        self.history.append(row)
        self.epoch, self.step, self._tally = self.epoch + 1, 0, self._new_tally()
        return row

    def _train(self, at_boundary: Callable[[], None]) -> None:
        self._parallel.train()
        hold_statistics(self.model)
        labels, phase = self._labels["train"], self.phases.number(self.epoch)
        mixing, shift = self._mixing[phase], self._losses[phase].shift
        for finished in self._loaders[:phase]:
            finished.close()
        for batch in self._loaders[phase].epoch(self.epoch, first=self.step + 1):
            seed_step(self.seed, self.epoch, self.step + 1, self.ranks.rank)
            # A process without a sample in this batch computes one with weight 0.
            computed = max(batch.real, 1)
            truth = labels[torch.from_numpy(batch.rows[:computed]).to(self.device)]
            inputs, target, answers = batch.inputs[:computed], truth, None
            if self._distillation:
                answers = self._distillation.answers(batch.rows[:computed], shift)
            if mixing:
                inputs, shares = mixing(inputs, torch.arange(computed, device=self.device))
                target = shares @ self.heads.one_hot(truth)
                answers = None if answers is None else shares @ answers
            logits, loss = self._update(inputs, target, 1.0 if batch.real else 0.0, answers)
            group = self._optimizer.param_groups[0]
            self._rate = group["lr"] / group.get("lr_scale", 1.0)
            self.step += 1
            self._set_learning_rate()
            self._tally.add(logits[: batch.real], truth[: batch.real], loss, batch.size)
            if self.step % CHECK_STEPS == 0 or self.step == self.steps:
                self.check_finite()
            at_boundary()

    def _update(
        self, inputs: Tensor, wanted: Tensor, weight: float, answers: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Make one update; return all logits and this process's share of the batch's mean loss.

        The mean is over the whole batch, however many parts and processes compute it.
        DistributedDataParallel averages gradients over processes, so the shares are multiplied by
        the number of processes.
        """
        number_of_parts = self.recipe.grad_accum_steps
        columns = [inputs.chunk(number_of_parts), wanted.chunk(number_of_parts)]
        taught = [None] * len(columns[0]) if answers is None else answers.chunk(number_of_parts)
        parts = list(zip(*columns, taught, strict=True))
        criterion = self._losses[self.phases.number(self.epoch)]
        whole = self._whole(criterion.reduction_weight(wanted) * weight)
        if answers is not None:
            counted = self._whole(inputs.new_tensor(len(inputs) * weight))
        self._optimizer.zero_grad(set_to_none=True)
        found, losses = [], []
        for number, (part, target, teacher) in enumerate(parts, start=1):
            alone = self.ranks.world == 1 or number == len(parts)
            parallel = None if alone else self._parallel
            with parallel.no_sync() if isinstance(parallel, Parallel) else nullcontext():
                logits = self._forward_part(part)
                share = criterion.reduction_weight(target) * weight / whole
                loss = (criterion(logits, target) * share).sum()
                if teacher is not None:
                    assert self._distillation is not None  # which gave the teacher's answers
                    own, share = self._distillation.weight, len(part) * weight / counted
                    of_target = self.heads.parts(logits)[self.heads.target]
                    learnt = self._distillation.mean(of_target, teacher, criterion.shift)
                    loss = (1 - own) * loss + own * share * learnt
                if loss.requires_grad:  # a head that was fitted has nothing to train
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

    def _forward_part(self, inputs: Tensor) -> Tensor:
        try:
            return self._forward(inputs)
        except ValueError as error:  # batch norm, of one sample and one pixel
            raise TailproofError(
                f"epoch {self.epoch}, step {self.step + 1}: the network cannot be trained on a "
                f"part of a batch with {quantity(len(inputs), 'image')} ({error}): set "
                "recipe.drop_last, another recipe.batch_size or fewer recipe.grad_accum_steps"
            ) from error

    @torch.no_grad()
    def validate(self, at_boundary: Callable[[], None]) -> Row:
        """Return the metrics of one pass over val, always with the loss of the last phase."""
        self.ranks.broadcast_buffers(self.result)
        self.result.eval()
        tally, labels, criterion = self._new_tally(), self._labels["val"], self._losses[-1]
        truths = labels[:, list(self.heads.classes).index(self.heads.target)]
        rare = RareScores(truths, self.heads.positive, self.ranks.sum)
        for batch in self._val_loader.epoch(1):
            rows = torch.from_numpy(batch.rows[: batch.real]).to(self.device)
            logits, truth = self._evaluate(batch.inputs)[: batch.real], labels[rows]
            rare.add(self.heads.parts(logits)[self.heads.target], rows)
            own = criterion.reduction_weight(truth)
            mean = criterion(logits, truth) if batch.real else logits.sum()
            tally.add(logits, truth, (mean * (own / self._whole(own))).sum(), batch.size)
            at_boundary()
        validation = tally.validation(rare)
        return validation.metrics | measure_monitors(validation)

    def check_finite(self) -> None:
        """Check that the losses of this epoch and the last gradient are finite.

        Raises:
            TailproofError: one of them is NaN or infinite.
        """
        step, what = self._tally.first_non_finite(), "loss"
        gradients = [p.grad for p in self.model.parameters() if p.grad is not None]
        # fp16 overflows occasionally: the scaler skips such an update.
        checked = step is None and gradients and self.precision != "fp16"
        if checked and not torch.isfinite(nn.utils.get_total_norm(gradients)):
            step, what = self.step, "gradient"
        if step is not None:
            raise TailproofError(
                f"the {what} is not finite in epoch {self.epoch}, step {step}: lower "
                "recipe.optimizer.learning_rate, lengthen the warm-up or set recipe.grad_clip_norm"
            )

    def begin(self) -> None:
        """Set weights that depend on the data, and record their digest, if no state is restored."""
        labels = self._labels["train"]

        def one_hot(rows: np.ndarray) -> Tensor:
            return self.heads.one_hot(labels[torch.from_numpy(rows).to(self.device)])

        building = (self.seed, self.device, self.ranks)
        if self.learner.initialize(self._evaluate, one_hot, *building) and self._ema:
            self._ema.set(self.model)
        self.initial = digest_of_weights(self.model)

    def state(self) -> dict[str, Any]:
        """Return everything that is needed to resume here on any number of processes."""
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
            "frozen": self._trained_weights.frozen,
            "model": self._trained_weights.of(self.model),
            "ema": self._trained_weights.of(self._ema.module) if self._ema else None,
            "optimizer": self._optimizer.state_dict(),
            "plateau": self._plateau.state(),
            "scaler": self._scaler.state_dict(),
        }

    def misfit(self, state: dict[str, Any]) -> str | None:
        """Return why a value cannot be a state that this run saved; None if it can be.

        Nothing of the run changes, so that it can still begin. No other process is asked.
        """
        return next(self._misfits(state), None)

    def _misfits(self, state: dict[str, Any]) -> Iterator[str]:
        for name, kind in STATE.items():
            if not isinstance(state.get(name), kind):
                yield f"its '{name}' is missing or of another type"
        if state["recipe"] != self.recipe.result_fields():
            yield "it belongs to another recipe"
        if state["frozen"] != self._trained_weights.frozen:
            yield "it belongs to other frozen weights"
        within = 1 <= state["epoch"] <= self.recipe.epochs + 1
        if not within or len(state["history"]) != state["epoch"] - 1:
            yield "its epoch does not fit its history"
        if not 0 <= state["step"] <= state["steps"] == self.phases.steps(state["epoch"]):
            yield "its step is not one of the epoch"
        parts = {
            "best": self.best.state(),
            "plateau": self._plateau.state(),
            "optimizer": self._optimizer.state_dict(),
            "model": self._trained_weights.of(self.model),
            "ema": self._trained_weights.of(self._ema.module) if self._ema else {},
        }
        for name, current in parts.items():
            saved = state[name] or {}
            if saved.keys() != current.keys():
                yield f"its '{name}' has other parts"
            for key, value in current.items():
                shape = getattr(value, "shape", None) if name in ("model", "ema") else None
                if shape is not None and getattr(saved[key], "shape", None) != shape:
                    yield f"the tensor {key} of its '{name}' has another shape"

    def restore(self, state: dict[str, Any], *, adopted: bool = False) -> None:
        """Restore what `state` returned.

        Args:
            state: state of this run or of another one.
            adopted: whether it belongs to another run. Its weights, position and history are used,
                but learning rates, weight decay and all else follow this run's recipe.

        Raises:
            TailproofError: the state has another model, optimizer or number of steps.
        """
        steps = self.phases.steps(state["epoch"])
        if state["steps"] != steps:
            raise TailproofError(
                f"the state has {quantity(state['steps'], 'step')} per epoch, expected {steps} as "
                "in this run: use the same data and recipe.batch_size, or start from its weights "
                "with recipe.model.weights"
            )
        if state["frozen"] != self._trained_weights.frozen:
            raise TailproofError(
                "the state was trained with frozen weights other than those of this run: use the "
                "same recipe.model.weights, recipe.freeze and recipe.tune, or remove "
                "recipe.resume_from"
            )
        if self.recipe.precision == "auto":
            self._compute_in(state["precision"])  # this node might choose another
        optimizer, saved_recipe = state["optimizer"], state["recipe"]
        if adopted:
            current = self._optimizer.state_dict()["param_groups"]
            groups = zip(current, optimizer["param_groups"], strict=False)
            merged = [{**group, "params": saved["params"]} for group, saved in groups]
            optimizer = {**optimizer, "param_groups": merged}
        try:
            self._trained_weights.load(self.model, state["model"])
            if self._ema:
                self._trained_weights.load(self._ema.module, state["ema"] or state["model"])
            self._optimizer.load_state_dict(optimizer)
        except (RuntimeError, ValueError, TypeError, AttributeError, KeyError) as error:
            raise TailproofError(
                f"the state does not fit the model or optimizer of this run ({error}): use the "
                "recipe that the state was trained with, or remove recipe.resume_from"
            ) from error
        if self.precision == "fp16" and state["scaler"]:
            self._scaler.load_state_dict(state["scaler"])
        self.initial = state["initial"]
        self.epoch, self.step, self._rate = state["epoch"], state["step"], state["rate"]
        self.history = list(state["history"])
        if not adopted:
            self._plateau.restore(state["plateau"])
        self._set_learning_rate()
        chosen = ("monitor", "export")
        if not adopted or all(
            saved_recipe[name] == self.recipe.result_fields()[name] for name in chosen
        ):
            self.best.restore(state["best"])
        self._tally = self._new_tally()
        self._tally.restore(state["tally"], 1.0 if self.ranks.main else 0.0)

    def export(self, folder: Path) -> None:
        """Write model.safetensors and config.json, with the best weights if they were kept."""
        best = self.best.weights
        if best is not None:
            self._trained_weights.load(self.result, best)
        self.learner.export(
            folder,
            self.result,
            self.heads.names,
            {
                "target": self.heads.target,
                "heads": self.heads.sizes,
                "seed": self.seed,
                "recipe": self.learner.configured.result_fields(),
                "precision": self.precision,
                "epoch": len(self.history) if best is None else self.best.epoch,
            },
        )

    def close(self) -> None:
        """End the loaders' worker processes."""
        for loader in (*self._loaders, self._val_loader):
            loader.close()

    def _set_learning_rate(self) -> None:
        """Set the learning rate of the next update; layer-wise decay scales it by group."""
        rate = learning_rate(self.recipe, self.phases, self.updates, self._plateau.rate)
        for group in self._optimizer.param_groups:
            group["lr"] = rate * group.get("lr_scale", 1.0)

    def _phase_columns(self) -> Row:
        """Return the columns of history.csv for the current phase; empty without phases."""
        if not self.recipe.phases:
            return {}
        number = self.phases.number(self.epoch)
        size = self.phases[number].image_size
        columns: Row = {"phase": number + 1}
        return columns | ({"image_size": size} if size else {})

    def _compute_in(self, precision: str) -> None:
        self.precision = precision
        self._scaler = torch.amp.GradScaler(self.device.type, enabled=precision == "fp16")
        forward = self.learner.forward
        self._forward = forward(self._trained, self.device, precision)
        # bf16 logits have 8 significant bits and cause tied scores; infer also computes in fp32.
        exact = precision if self.heads.positive is None else "fp32"
        self._evaluate = forward(self.result, self.device, exact)

    def _new_tally(self) -> EpochMetrics:
        return EpochMetrics(self.heads, self.device, self.ranks.sum)
