"""What a student learns from its teacher, the ensemble of other experts."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - torch's own convention

from tailproof.config.distill import Distill
from tailproof.config.recipe import Recipe
from tailproof.data.logits import Logits
from tailproof.loading.batches import Rows
from tailproof.runtime.errors import TailproofError
from tailproof.training.multi_head import Heads


class Distillation:
    """The loss of answers that differ from the teacher's (Hinton, Vinyals & Dean 2015).

    If the loss of the labels adds log(prior) to the logits, student and teacher are compared with
    it too, as answers under the class shares of train. A teacher that repeats the labels then
    teaches what the labels do. Compared without it, it would teach plain cross-entropy, and with
    that the class shares of train.

    Args:
        config: how the recipe distils.
        log_p: log-probabilities of the teacher for the samples of train, [N, C].
        device: the device of the run.
    """

    def __init__(self, config: Distill, log_p: np.ndarray, device: torch.device) -> None:
        self.weight, self._temperature = config.weight, config.temperature
        self._log_p = torch.from_numpy(log_p).to(device)

    @classmethod
    def of(
        cls,
        recipe: Recipe,
        path: str | Path | None,
        train: Rows,
        heads: Heads,
        device: torch.device,
    ) -> "Distillation | None":
        """Read the teacher's answers; return None for an expert that is no student.

        Args:
            recipe: the recipe of the expert.
            path: what the stage teach wrote, or None.
            train: the training samples.
            heads: the heads of the student.
            device: the device of the run.

        Raises:
            TailproofError: there are none, or they are for other samples or classes.
        """
        if recipe.distill is None:
            return None
        if path is None:
            raise TailproofError(
                "the recipe has distill, but the file of the ensemble's answers is missing: "
                "train the expert with snakemake, or remove distill"
            )
        taught = Logits.read(path)
        classes = len(heads.classes[heads.target])
        if list(taught.sample_ids) != list(train.sample_ids):
            raise TailproofError(
                f"{path} has the answers of the ensemble for samples other than those of train: "
                "run snakemake again with --forcerun infer"
            )
        if taught.values.shape[1] != classes:
            raise TailproofError(
                f"{path} has answers for {taught.values.shape[1]} classes, expected {classes} as "
                "in the manifest: run snakemake again with --forcerun infer"
            )
        return cls(recipe.distill, taught.values, device)

    def answers(self, rows: np.ndarray, shift: Tensor | None) -> Tensor:
        """Return the softened answers for rows of train, [B, C].

        Args:
            rows: the rows.
            shift: what the loss of the labels adds to the logits, [C].
        """
        log_p = self._log_p[torch.from_numpy(rows).to(self._log_p.device)]
        return self._soften(log_p, shift).exp()

    def mean(self, logits: Tensor, answers: Tensor, shift: Tensor | None) -> Tensor:
        """Return the mean of T² · KL(teacher ‖ student), a scalar.

        The factor T² keeps the gradients of the same size at every T (section 2.1 of the paper).

        Args:
            logits: of the target, [B, C].
            answers: from `answers`, or a mixture of them.
            shift: what the loss of the labels adds to the logits, [C].
        """
        divergence = F.kl_div(self._soften(logits, shift), answers, reduction="batchmean")
        return self._temperature**2 * divergence

    def _soften(self, values: Tensor, shift: Tensor | None) -> Tensor:
        shifted = values if shift is None else values + shift
        return F.log_softmax(shifted / self._temperature, dim=1)
