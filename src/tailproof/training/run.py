"""The stage train: one expert, one seed, as one story from shards to weights.

Order of initialisation: threads, seed, data, model, loss, optimizer, schedule. The seed decides
the initial weights; order and augmentation follow (seed, epoch, sample).
"""

import logging
import os
import socket
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from torch import nn

from tailproof.core.config.recipe import Recipe
from tailproof.core.errors import TailproofError
from tailproof.core.files import atomic, write_json
from tailproof.core.progress import track
from tailproof.data.loader import Split
from tailproof.losses import build_loss
from tailproof.models import build_model, save_expert
from tailproof.models.build import best_precision, count_parameters
from tailproof.training.best import Best, cpu_weights
from tailproof.training.history import Row, write_history
from tailproof.training.metrics import Tally
from tailproof.training.schedule import Schedule
from tailproof.training.setup import (
    Forward,
    build_loader,
    build_mixing,
    build_optimizer,
    mix,
    preprocessing,
    start_device,
)

log = logging.getLogger(__name__)

CHECK_STEPS = 100  # between looks at the loss, each of which waits for the device


def train(
    manifest: str | Path, recipe: Recipe, seed: int, folder: str | Path, state: str | Path
) -> None:
    """Train one expert and write model.safetensors, config.json, history.csv, training.json.

    Args:
        manifest: shards/manifest.json.
        recipe: how.
        seed: of initial weights, order and augmentation.
        folder: where the four files go.
        state: folder for what must survive a failed run.

    Raises:
        TailproofError: the loss is not finite, or data and recipe do not fit together.
    """
    folder, started, clock = Path(folder), datetime.now(UTC), time.monotonic()
    run = Run(manifest, recipe, seed, Path(state))
    best, history, seconds = Best(recipe), [], []
    for epoch in track(range(1, recipe.epochs + 1), f"train {folder.parent.name} {seed}"):
        epoch_clock = time.monotonic()
        row = run.train(epoch)
        if epoch % recipe.validate_every == 0 or epoch == recipe.epochs:
            row |= run.validate()
            best.update(epoch, row[recipe.monitor], run.model)
            run.schedule.after_validation(row[recipe.monitor], epoch * run.steps)
        history.append(row)
        seconds.append(round(time.monotonic() - epoch_clock, 3))
        log.info("%s", " ".join(f"{name} {value:.5g}" for name, value in row.items()))
        if best.patience_lost:
            log.info("no better %s since epoch %d: stopped early", recipe.monitor, best.epoch)
            break

    if recipe.weights == "best":
        run.model.load_state_dict(best.weights)
    run.save(folder, best.epoch if recipe.weights == "best" else len(history))
    write_history(folder / "history.csv", history)
    attempt = {
        "start": started.isoformat(timespec="seconds"),
        "end": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": round(time.monotonic() - clock, 3),
        "reason": "finished",
        "first_epoch": 1,
        "last_epoch": len(history),
        "host": socket.gethostname(),
        "slurm_job_id": os.environ.get("SLURM_JOB_ID"),
    }
    facts = {
        "best": {"epoch": best.epoch, "monitor": recipe.monitor, "value": best.value},
        "epochs": len(history),
        "stopped_early": len(history) < recipe.epochs,
        "parameters": count_parameters(run.model),
        "device": str(run.device),
        "precision": run.precision,
        "threads": recipe.threads,
        "seconds_an_epoch": seconds,
        "attempts": [attempt],
    }
    write_json(folder / "training.json", facts)


class Run:
    """All that takes part in training one expert.

    Attributes:
        device: where it trains.
        precision: fp32 or bf16.
        model: the model.
        schedule: of the learning rate.
        steps: updates an epoch.
    """

    def __init__(self, manifest: str | Path, recipe: Recipe, seed: int, state: Path) -> None:
        self.recipe, self.seed, self._state = recipe, seed, state

        # ---- device and randomness
        self.device = start_device(recipe.threads)
        torch.manual_seed(seed)
        self.precision = best_precision(self.device, recipe.precision)

        # ---- data
        splits = {name: Split(manifest, name) for name in ("train", "val")}
        self.split = splits["train"]
        self.target = self.split.manifest["target"]
        self.names = self.split.manifest["classes"][self.target]
        self._labels = {
            name: torch.from_numpy(split.labels[self.target]).to(self.device)
            for name, split in splits.items()
        }
        self._loaders = {
            name: build_loader(split, recipe, seed, self.device) for name, split in splits.items()
        }
        self.steps = len(self._loaders["train"])

        # ---- model, loss, optimizer, schedule
        self.model: nn.Module = build_model(
            recipe.model.name,
            classes=len(self.names),
            channels=self.split.channels,
            pretrained=recipe.model.pretrained,
            options=recipe.model.options,
        ).to(self.device)
        if recipe.channels_last:
            self.model = self.model.to(memory_format=torch.channels_last)
        counts = torch.bincount(self._labels["train"], minlength=len(self.names)).cpu()
        self._loss = build_loss(recipe.loss.model_dump(), counts).to(self.device)
        self._optimizer = build_optimizer(self.model, recipe)
        self.schedule = Schedule(self._optimizer, recipe, self.steps)
        self._mixing = build_mixing(recipe, len(self.names))
        self._forward = Forward(self.model, self.device, self.precision, recipe.channels_last)
        log.info(
            "%d samples, %d steps an epoch, %d parameters, %s on %s, %d threads",
            len(self.split),
            self.steps,
            count_parameters(self.model),
            self.precision,
            self.device,
            recipe.threads,
        )

    def train(self, epoch: int) -> Row:
        """Train for one epoch (from 1) and return its metrics on the batches as they came.

        Raises:
            TailproofError: the loss is NaN or infinite.
        """
        self.model.train()
        before, tally = cpu_weights(self.model), Tally(len(self.names), self.device)
        for step, batch in enumerate(self._loaders["train"].epoch(epoch), start=1):
            truth = self._labels["train"][torch.from_numpy(batch.rows).to(self.device)]
            images, wanted = mix(self._mixing, batch, truth, self.seed, epoch, step)
            rate = self.schedule.learning_rate
            logits = self._forward(images)
            loss = self._loss(logits, wanted)
            self._optimizer.zero_grad(set_to_none=True)
            loss.backward()
            self._optimizer.step()
            self.schedule.after_update((epoch - 1) * self.steps + step)
            tally.add(logits.detach(), truth, loss)
            if step % CHECK_STEPS == 0 or step == self.steps:
                self._stop_if_not_finite(tally, epoch, before)
        return {"epoch": epoch, "learning_rate": rate, **tally.metrics("train")}

    @torch.no_grad()
    def validate(self) -> Row:
        """Return the metrics of one pass over val, with the loss that is trained."""
        self.model.eval()
        tally, labels = Tally(len(self.names), self.device), self._labels["val"]
        for batch in self._loaders["val"].epoch(1):
            truth = labels[torch.from_numpy(batch.rows).to(self.device)]
            logits = self._forward(batch.images)
            tally.add(logits, truth, self._loss(logits, truth))
        return tally.metrics("val")

    def save(self, folder: Path, epoch: int) -> None:
        """Write the expert: its weights, and all it takes to use them, as of `epoch`."""
        save_expert(
            folder,
            self.model,
            model_args=self.recipe.model.options,
            preprocessing=preprocessing(self.split, self.recipe),
            class_names=self.names,
            facts={
                "target": self.target,
                "seed": self.seed,
                "recipe": self.recipe.model_dump(mode="json"),
                "precision": self.precision,
                "epoch": epoch,
            },
        )

    def _stop_if_not_finite(self, tally: Tally, epoch: int, before: dict[str, Any]) -> None:
        step = tally.first_non_finite()
        if step is None:
            return
        kept = self._state / f"before-epoch-{epoch}.pt"
        with atomic(kept) as temporary:
            torch.save(before, temporary)
        raise TailproofError(
            f"the loss is not finite in epoch {epoch}, step {step}: lower recipe.optimizer."
            "learning_rate or lengthen the warm-up; the weights before this epoch are in "
            f"{kept}"
        )
