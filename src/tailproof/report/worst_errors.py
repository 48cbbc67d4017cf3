"""The most confident errors on dev, with their pictures."""

from typing import Any

from tailproof.data.thumbnails import find_pictures
from tailproof.report.results import Results


def worst_errors(results: Results) -> tuple[str, list[dict[str, Any]]]:
    """Return the method, and its most confident errors on dev with their pictures.

    The method is the best ensemble, or the best expert if there is no ensemble.
    """
    method = results.scores.best_ensemble or results.scores.best_expert
    errors = results.tables["errors"].query("method == @method")
    errors = errors.head(results.experiment.report.worst_errors)
    manifest = results.folder / "shards" / "manifest.json"
    pictures = find_pictures(manifest, "dev", "sample_id", set(errors["sample_id"]))
    return method, [
        {**row, "picture": pictures[row["sample_id"]]} for row in errors.to_dict("records")
    ]
