"""From pictures on disk to the report, with the experiment that `tailproof import` writes."""

import json

from tests.importer.writers import write_pictures, write_table


def test_the_imported_experiment_runs_as_it_stands(project):
    rows = []
    for number in range(72):
        kind = min(number % 6, 3)  # three rare kinds, and one that is not
        rows.append([f"{number:03d}", ("lynx", "otter", "wolf", "Bär: 1")[kind], number // 2])
    write_pictures(project.folder / "raw" / "traps" / "pictures", [f"{row[0]}.jpg" for row in rows])
    (project.folder / "raw" / "traps" / "pictures" / "000.jpg").write_bytes(b"broken")
    write_table(project.folder / "raw" / "traps" / "labels.csv", ["id", "species", "burst"], rows)
    imported = project.tailproof("import", "raw/traps")
    assert imported.returncode == 0, imported.stderr
    file = project.folder / "config" / "experiments" / "traps.yaml"
    text = file.read_text(encoding="utf-8")
    assert "epochs: 60" in text
    file.write_text(text.replace("epochs: 60", "epochs: 2"), encoding="utf-8")

    planned = project.snakemake("-n", "results/traps/report/index.html")
    assert planned.returncode == 0, planned.stdout + planned.stderr
    done = project.snakemake("results/traps/report/index.html")
    assert done.returncode == 0, done.stdout + done.stderr
    results = project.folder / "results" / "traps"
    splits = json.loads((results / "splits.json").read_text())
    assert splits["samples"] == 71 and min(splits["splits"].values()) > 0
    metrics = json.loads((results / "evaluation" / "metrics.json").read_text())
    assert set(metrics["experts"]) == {"cross_entropy", "balanced_softmax"}
    assert "Bär: 1" in (results / "report" / "index.html").read_text(encoding="utf-8")
