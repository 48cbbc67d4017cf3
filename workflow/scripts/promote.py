"""Histories up to a rung -> who goes on."""

from tailproof.runtime.stage import job

with job(snakemake):
    from tailproof.config.recipe import Recipe
    from tailproof.config.sweep import Sweep
    from tailproof.sweep.selection import promote

    params, paths = snakemake.params, iter(snakemake.input.histories)
    sweep, rung = Sweep(**params.sweep), int(snakemake.wildcards.rung)
    points = sweep.expand(Recipe(**params.recipe))
    names, left = sweep.rounds(list(points))[rung - 1 : rung + 1]
    histories = {name: {seed: next(paths) for seed in params.seeds} for name in names}
    before = snakemake.input.before or None
    promote(histories, before, points, len(left), snakemake.output.standing)
