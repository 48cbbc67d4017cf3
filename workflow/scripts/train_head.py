"""Features -> one expert that is a head on them, or the history of a sweep point up to a rung."""

import json
from pathlib import Path

from tailproof.runtime.job import job

with job(snakemake) as stage:
    from tailproof.runtime.errors import TailproofError

    if snakemake.resources.cleared != "yes":
        raise TailproofError(snakemake.resources.cleared)
    from tailproof.config.features import keys_for
    from tailproof.config.recipe import Recipe
    from tailproof.project import project_paths
    from tailproof.sweep.rungs import recipe_for_slot
    from tailproof.training.head_on_features import launch_head
    from tailproof.training.run_summary import results_of

    params, wildcards = snakemake.params, snakemake.wildcards
    recipe = params.recipe or recipe_for_slot(snakemake.input.standing, wildcards.expert)
    recipe = Recipe(**recipe, **json.loads(snakemake.resources.execution))
    folder, states = Path(snakemake.output.history).parent, project_paths().training_states
    until = params.get("until", 0)
    launch_head(
        snakemake.input.manifest,
        [project_paths().features(key) for key in keys_for(recipe, params.features)],
        recipe,
        int(wildcards.seed),
        folder,
        states,
        params.code,
        until,
        stage.digests,
        snakemake.input.teacher or None,
    )
    if not until:
        stage.results.update(results_of(folder, states))
