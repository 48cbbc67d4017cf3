"""Histories of all points -> the winner, and a table of all points."""

from pathlib import Path

from tailproof.runtime.job import job

with job(snakemake) as stage:
    from tailproof.config.recipe import Recipe
    from tailproof.config.sweep import Sweep
    from tailproof.runtime.stages import paths_by
    from tailproof.sweep.selection import select

    params, inputs = snakemake.params, snakemake.input
    sweep = Sweep(**params.sweep)
    points = sweep.expand(Recipe(**params.recipe))
    paths = paths_by("rung", ("expert", "seed"), inputs.rungs)
    paths |= paths_by("train", ("expert", "seed"), inputs.histories)
    rounds = [
        {name: {seed: paths[name, str(seed)] for seed in params.seeds} for name in names}
        for names in sweep.rounds(list(points))
    ]
    standings = paths_by("promote", ("rung",), inputs.standings)
    ordered = [standings[str(rung)] for rung in range(1, len(rounds))]
    output = Path(snakemake.output.selection).parent
    selection = select(rounds, ordered, points, sweep.keys, output)
    stage.results.update({key: selection[key] for key in ("monitor", "winner")})
