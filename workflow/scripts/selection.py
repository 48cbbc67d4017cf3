"""Histories of all points -> the winner, and the table of them all."""

from pathlib import Path

from tailproof.config.recipe import Recipe
from tailproof.config.sweep import Sweep
from tailproof.runtime.stage import job
from tailproof.sweep.selection import select

with job(snakemake) as stage:
    params, paths = snakemake.params, iter(snakemake.input.histories)
    sweep = Sweep(**params.sweep)
    points = sweep.expand(Recipe(**params.recipe))
    rounds = [
        {name: {seed: next(paths) for seed in params.seeds} for name in names}
        for names in sweep.rounds(list(points))
    ]
    standings = list(snakemake.input.standings)
    output = Path(snakemake.output.selection).parent
    selection = select(rounds, standings, points, sweep.keys, output)
    stage.results.update({key: selection[key] for key in ("monitor", "winner")})
