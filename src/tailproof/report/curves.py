"""The learning curves of all experts as one table, for tools that draw their own."""

from pathlib import Path

import pandas as pd

from tailproof.core.config.experiment import Experiment
from tailproof.core.files import write_text


def write_curves(experiment: Experiment, results: str | Path, output: str | Path) -> None:
    """Write expert, seed and the columns of history.csv, one row an expert, seed and epoch."""
    histories = []
    for expert in experiment.evaluated:
        for seed in experiment.seeds:
            path = Path(results, "experts", expert, f"seed-{seed}", "history.csv")
            history = pd.read_csv(path, dtype=str, keep_default_na=False)
            history.insert(0, "expert", expert)
            history.insert(1, "seed", str(seed))
            histories.append(history)
    write_text(output, pd.concat(histories).to_csv(index=False))
