"""A project's own loss and metric, by the real pipeline."""

import re

import yaml

from tailproof.files import read_json
from tests.extending.test_extensions import LOSS, METRIC
from tests.project import TINY


def test_an_extension_is_used_recorded_and_stale_by_itself(project):
    folder = project.folder / "extensions"
    folder.mkdir()
    (folder / "_powers.py").write_text("def half(value):\n    return value / 2\n")
    (folder / "root.py").write_text(LOSS)
    (folder / "largest.py").write_text(METRIC)
    project.write(
        "config/experiments/tiny.yaml", TINY | {"experts": {"a": {"loss": {"name": "root"}}}}
    )
    done = project.snakemake()
    assert done.returncode == 0, done.stdout + done.stderr
    metrics = read_json(project.results / "evaluation" / "metrics.json")
    assert metrics["experts"]["a"]["seeds"]["0"]["test"]["largest"]["value"] > 0
    config = read_json(project.results / "experts" / "a" / "seed-0" / "config.json")
    assert "root" in yaml.safe_dump(config)
    assert project.tailproof("audit", "tiny").returncode == 0
    assert "Nothing to be done" in project.snakemake("-n").stdout

    (folder / "largest.py").write_text(METRIC.replace("samples.weights @", "2 * samples.weights @"))
    plan = project.snakemake("-n").stdout
    assert re.search(r"^evaluate +1$", plan, flags=re.M)
    assert not re.search(r"^(train|infer|split) ", plan, flags=re.M)
    (folder / "root.py").write_text(LOSS.replace("half(functional", "half(2 * functional"))
    assert re.search(r"^train +1$", project.snakemake("-n").stdout, flags=re.M)
