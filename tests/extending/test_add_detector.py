"""What a user adds from outside the package, each by one file of their own."""

import json
import subprocess
import sys

DETECTOR = '''
from tailproof.cli import main
from tailproof.diagnosis.finding import Finding
from tailproof.diagnosis.registry import detector


@detector("loss_below_zero", explains={"loss_below_zero": ("overfitting",)})
def loss_below_zero(history, context):
    """Find a validation loss below zero, which cross entropy cannot have."""
    loss = history.curve("val_loss")
    epochs = tuple(int(epoch) for epoch in loss.epochs[loss.values < 0])
    if not epochs:
        return []
    return [Finding("loss_below_zero", "The loss is below zero.", "error", epochs)]


main()
'''


def test_a_detector_from_outside_finds_something_in_a_history(tmp_path):
    (tmp_path / "mine.py").write_text(DETECTOR)
    history = tmp_path / "history.csv"
    for losses, kinds in (((0.5, -0.1, -0.2), {"loss_below_zero"}), ((0.5, 0.4, 0.3), set())):
        rows = [f"{epoch},{loss}" for epoch, loss in enumerate(losses, 1)]
        history.write_text("\n".join(["epoch,val_loss", *rows]) + "\n")
        done = subprocess.run(
            [sys.executable, tmp_path / "mine.py", "diagnose", history, "--json"],
            capture_output=True,
            text=True,
            check=True,
        )
        assert {finding["kind"] for finding in json.loads(done.stdout)["findings"]} == kinds
