"""Experts that start from another experiment's, and experts that are taken out."""

from tests.project import TINY

EXPERTS = "results/tiny/experts"
START = f"{EXPERTS}/cross_entropy/seed-0"


def test_an_expert_that_starts_from_another_experiment_s_is_audited_through_it(twin):
    model = {**TINY["recipe"]["model"], "weights": START}
    recipe = {**TINY["recipe"], "epochs": 1, "model": model}
    experts = {"tuned": TINY["experts"]["logit_adjustment"]}
    twin.write("config/experiments/next.yaml", {**TINY, "recipe": recipe, "experts": experts})
    done = twin.snakemake("--quiet", "all", "--", "results/next/audit.json")
    assert done.returncode == 0, done.stderr
    assert "missing" not in twin.tailproof("audit", "next").stdout
    twin.tailproof("restore", "next")
    done = twin.plan()
    assert "Nothing to be done" in done.stdout + done.stderr
    weights = twin.folder / START / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\1")
    done = twin.tailproof("audit", "next")
    assert done.returncode == 1
    assert "results/next/experts/tuned/seed-0/model.safetensors" in done.stdout
    assert twin.tailproof("audit", "tiny").returncode == 1


def test_an_expert_that_was_taken_out_is_no_reason_to_fail(twin):
    experts = {**TINY["experts"]}
    del experts["logit_adjustment"]
    twin.write("config/experiments/tiny.yaml", {**TINY, "experts": experts})
    done = twin.snakemake("--quiet", "all")
    assert done.returncode == 0, done.stderr
    done = twin.tailproof("audit", "tiny")
    assert done.returncode == 0, done.stdout
    assert f"{EXPERTS}/logit_adjustment/seed-0, " in done.stdout
