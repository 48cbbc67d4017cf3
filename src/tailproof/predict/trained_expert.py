"""What a trained expert of an experiment answers, without its tensors."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tailproof.digests import known_sha256
from tailproof.predict.raw_logits import check_classes


@dataclass(frozen=True)
class TrainedExpert:
    """An expert that computes on the shards, or on stored features.

    Attributes:
        folder: its folder.
        heads: number of outputs of each rank.
        target: the rank that decisions refer to.
        class_names: names of the classes in the order of the outputs.
    """

    folder: Path
    heads: dict[str, int]
    target: str
    class_names: list[str]

    def check_classes(self, manifest: dict[str, Any]) -> None:
        """Check that the expert has the classes of the data.

        Raises:
            TailproofError: it was trained on other classes.
        """
        check_classes(self.folder, manifest, self.heads, self.class_names)

    def facts(self, name: str, seed: int, digests: Mapping[str, str]) -> dict[str, Any]:
        """Return what files say of the expert that made them.

        Args:
            name: name of the expert.
            seed: seed of the expert.
            digests: SHA-256 of inputs that were already hashed, by path.
        """
        digest = known_sha256(self.folder / "model.safetensors", digests)
        return {"expert": name, "seed": seed, "target": self.target, "weights_sha256": digest}
