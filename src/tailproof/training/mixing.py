"""MixUp and CutMix, as timm implements them."""

from timm.data import Mixup

from tailproof.config.recipe import WholePhase


def build_mixing(phase: WholePhase, world: int) -> Mixup | None:
    """Build timm's MixUp and CutMix; None if both are off.

    Each image of a batch is given a class of its own, so that timm returns the mixing weights
    [B, B] of the images next to the mixed images; the labels of every rank are mixed with them.
    """
    mixing = phase.mixing
    if not (mixing.mixup or mixing.cutmix):
        return None
    return Mixup(
        mixup_alpha=mixing.mixup,
        cutmix_alpha=mixing.cutmix,
        prob=mixing.probability,
        switch_prob=mixing.switch_probability,
        label_smoothing=0.0,  # the loss applies it
        num_classes=phase.batch_size // world,
    )
