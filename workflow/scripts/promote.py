"""Histories up to a rung -> the points promoted to the next rung."""

from tailproof.runtime.job import job

with job(snakemake):
    from tailproof.config.recipe import Recipe
    from tailproof.config.sweep import Sweep
    from tailproof.runtime.stages import paths_by
    from tailproof.sweep.selection import promote

    params, rung = snakemake.params, int(snakemake.wildcards.rung)
    sweep = Sweep(**params.sweep)
    points = sweep.expand(Recipe(**params.recipe))
    names, left = sweep.rounds(list(points))[rung - 1 : rung + 1]
    paths = paths_by("rung", ("expert", "seed"), snakemake.input.histories)
    histories = {name: {seed: paths[name, str(seed)] for seed in params.seeds} for name in names}
    before = snakemake.input.before or None
    promote(histories, before, points, len(left), snakemake.output.standing)
