"""What an ensemble promises of groups and in context, on drawn logits."""

import pytest

from tailproof.bundle.inputs import Sources
from tailproof.bundle.promises import promise
from tailproof.config.evaluation import ENSEMBLES
from tailproof.evaluation.task import Task
from tailproof.guarantees.ensemble_predictions import combine_experts
from tailproof.guarantees.expert_guarantees import ExpertGuarantees
from tailproof.guarantees.guarantee import guarantee, read_logits
from tests.guarantees.test_guarantee import CONFIG, EVALUATION, pairs, sites, write

SPLITS = ("val", "calib", "tune")


@pytest.mark.parametrize("method", ENSEMBLES)
def test_an_ensemble_promises_of_groups_and_in_context(tmp_path, method):
    files, manifest, samples = write(tmp_path, groups=pairs, context=sites)
    more = {name: tmp_path / f"{name}.parquet" for name in ("splits", "context")}
    sources = Sources(
        experiment="study",
        title="",
        method=method,
        seed=3,
        experts=list(files),
        weights={},
        configs={},
        calibrations={},
        logits={},
        manifest=manifest,
        samples=samples,
        metrics="",
        **more,
    )
    task = Task.read(manifest, EVALUATION)
    logits = [
        {split: read_logits(own[3][split], task) for split in SPLITS} for own in files.values()
    ]
    predictions = combine_experts(method, logits).predictions
    facts = {"experiment": "study", "expert": method, "seed": 3, "weights_sha256": "ab" * 32}
    made = promise(sources, task, logits[0], predictions, CONFIG, 0.8, facts)
    promises = ExpertGuarantees.model_validate(made)
    assert promises.grouped.temperature == 0.8 and promises.grouped.largest == 2
    kinds = [(group, context) for group in (False, True) for context in (False, True)]
    own = {
        kind: promises.of_answers(grouped=kind[0], context=kind[1]).risks[0].overall
        for kind in kinds
    }
    samples = [fit.samples for fit in own.values()]
    assert samples[0] == samples[1] > samples[2] == samples[3]
    assert min(promises.context.strengths() + promises.grouped.context.strengths()) > 0
    run = guarantee(files, manifest, tmp_path / "samples.parquet", EVALUATION, CONFIG, "study",
                    tmp_path, **more)  # fmt: skip
    measured = run["methods"][method]
    within = measured["context"]["promises"], measured["groups"]["context"]["promises"]
    for (group, context), summary in zip(
        kinds, (measured, within[0], measured["groups"], within[1]), strict=True
    ):
        assert own[group, context].model_dump() == summary["risks"][0]["fits"]["3"]
        assert summary["risks"][0]["test"]["error"]["mean"] is not None
