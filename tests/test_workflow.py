"""What the rules know of an experiment, without Snakemake."""

import json
import shutil
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from tailproof import workflow
from tailproof.config import expert_recipes
from tailproof.config.draws import write_draws
from tailproof.config.features import shard_fields
from tailproof.config.folds import write_folds
from tailproof.config.recipe import EXECUTION_FIELDS, Recipe
from tailproof.config.section_fields import config_section, data_section
from tailproof.config.validation import parse_experiment
from tailproof.files import write_json
from tailproof.preflight.slurm_resources import TRAIN_MINUTES, measured_resource
from tailproof.project import Paths
from tailproof.provenance.expected_jobs import expected_jobs
from tailproof.runtime.errors import TailproofError
from tailproof.runtime.records import Code, File, Machine, Record, record_path
from tests.project import TINY

SWEEP = {
    "grid": {"optimizer.learning_rate": [0.1, 0.2, 0.4]},
    "halving": {"rungs": [1]},
}


@pytest.fixture
def tiny():
    return parse_experiment(TINY)


@pytest.fixture
def swept():
    return parse_experiment(
        {**TINY, "recipe": {**TINY["recipe"], "export": "best"}, "experts": {}, "sweep": SWEEP}
    )


def test_an_expert_has_one_recipe(tiny):
    assert expert_recipes.possible_recipes(tiny, "balanced_softmax") == [
        tiny.experts["balanced_softmax"]
    ]
    learned = expert_recipes.learned_recipe(tiny, "balanced_softmax")
    assert learned["loss"]["name"] == "balanced_softmax"
    assert not set(learned) & set(EXECUTION_FIELDS)


def test_a_place_of_a_rung_may_be_any_point(swept):
    (place, *_) = swept.rounds[1]
    assert expert_recipes.possible_recipes(swept, place) == list(swept.points.values())
    assert expert_recipes.rung_of(place) == 2 and expert_recipes.learned_recipe(swept, place) == {}
    assert set(expert_recipes.possible_learned_recipes(swept, place)) == set(swept.points)


@pytest.mark.parametrize(
    ("mode", "split_reads", "report_reads", "jobs"),
    [("group", True, True, 2), ("report", False, True, 2), ("off", False, False, 0)],
)
def test_near_duplicates_are_compared_as_configured(
    tmp_path, monkeypatch, mode, split_reads, report_reads, jobs
):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "config" / "experiments" / "tiny.yaml"
    path.parent.mkdir(parents=True)
    value = {**TINY, "data": {**TINY["data"], "near_duplicates": mode}}
    path.write_text(yaml.safe_dump(value))
    pipeline = workflow.Pipeline(Paths("results", "logs"), print)
    wildcards = SimpleNamespace(experiment="tiny")
    assert bool(pipeline.pairs_to_group(wildcards)) == split_reads
    assert bool(pipeline.leakage_of(wildcards)) == report_reads
    compared = [
        job for job in expected_jobs(parse_experiment(value)) if "near_dup" in job or "leak" in job
    ]
    assert len(compared) == jobs


def test_an_expert_that_is_not_there_is_named_with_a_suggestion(tiny):
    with pytest.raises(TailproofError, match=r"'balanced_sofmax'.*'balanced_softmax'"):
        expert_recipes.possible_recipes(tiny, "balanced_sofmax")


def test_inference_of_a_head_asks_for_no_gpu():
    recipe = {"model": {"name": "resnet18", "weights": "w.pth"}}
    experts = {"head": {"features": {}}, "network": {}}
    experiment = parse_experiment({**TINY, "recipe": recipe, "experts": experts})
    gpus = {name: expert_recipes.gpus_of_inference(experiment, name) for name in experts}
    assert gpus == {"head": 0, "network": 1}
    slurm = yaml.safe_load((Path(__file__).parents[1] / "slurm" / "config.yaml").read_text())
    assert "infer" not in slurm["set-resources"]  # it would replace the number of the rule


def test_how_experts_are_run_is_kept_apart_from_what_they_learn():
    experts = {"a": {}, "b": {"workers": 3}}
    experiment = parse_experiment({**TINY, "experts": experts})
    execution = json.loads(expert_recipes.execution_of_all(experiment))
    assert set(execution["others"]) == {"b"} and execution["others"]["b"]["workers"] == 3
    assert json.loads(expert_recipes.execution_of(experiment, "b")) == execution["others"]["b"]
    assert json.loads(expert_recipes.execution_of(experiment, "a")) == execution["usual"]
    assert expert_recipes.max_over_recipes(experiment, lambda recipe: recipe.workers) == 3


def test_a_job_asks_for_what_was_measured_once_it_was(tiny, tmp_path: Path):
    recipe, timing = tiny.experts["cross_entropy"], tmp_path / "preflight_timing.json"
    assert measured_resource(recipe, timing, "cross_entropy", "minutes") == TRAIN_MINUTES
    write_json(timing, {"experts": {"cross_entropy": {"run": 7200.0, "host_memory_mb": 1.0}}})
    assert measured_resource(recipe, timing, "cross_entropy", "minutes") == 270
    assert measured_resource(recipe, timing, "other", "minutes") == TRAIN_MINUTES


def test_a_section_is_given_in_plain_values(tiny):
    assert set(config_section(tiny.data, "source", "seed")) == {"source", "seed"}
    json.dumps(config_section(tiny.data))


def test_unknown_pictures_have_jobs_of_their_own(tiny):
    """Without the section, no job and no parameter is another one."""

    def of(**unknown):
        data = {**TINY["data"], "unknown": unknown}
        return parse_experiment({**TINY, "data": data, "experts": {"only": {}}})

    held_out, others, none = of(classes=["9"]), of(source={"name": "digits"}), of()
    for experiment in (held_out, others):
        names = {job for job in expected_jobs(experiment) if "unknown" in job}
        shards = {f"shard/unknown_{split}-00000" for split in ("tune", "test")}
        assert names == shards | {"manifest_unknown/manifest_unknown", "score_unknown/only-0"}
    assert [job for job in expected_jobs(none) if "unknown" in job] == ["score_unknown/only-0"]
    assert not [job for job in expected_jobs(tiny) if "unknown" in job]
    plain = data_section(tiny.data, "source", "seed")
    assert plain == data_section(none.data, "source", "seed")
    assert set(data_section(held_out.data, "source")) == {"source", "target", "unknown"}
    for fields in (tiny.result_fields(), tiny.data.model_dump(mode="json")):
        assert "unknown" not in json.dumps(fields)
    assert (
        "false_alarms" not in tiny.guarantee_fields() and "false_alarms" in none.guarantee_fields()
    )
    assert shard_fields(tiny.data) == shard_fields(others.data) == shard_fields(none.data)
    assert shard_fields(tiny.data) != shard_fields(held_out.data)


def test_records_are_expected_of_each_job_once(tiny, swept):
    records = workflow.expected_records("tiny", tiny)
    assert len(set(records)) == len(records)
    assert "results/tiny/provenance/train/cross_entropy-0.json" in records
    assert "results/tiny/provenance/shard/dev-00000.json" in records
    swept_records = workflow.expected_records("swept", swept)
    assert "results/swept/provenance/winner/winner-0.json" in swept_records
    assert "results/swept/provenance/promote/rung-1.json" in swept_records


@pytest.fixture
def pipeline(tmp_path, monkeypatch):
    """Two experiments of a project, one of them with a sweep."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config" / "experiments").mkdir(parents=True)
    swept = {
        **TINY,
        "seeds": [0, 1],
        "recipe": {**TINY["recipe"], "export": "best"},
        "sweep": SWEEP,
    }
    for name, value in (("tiny", TINY), ("swept", swept)):
        (tmp_path / "config" / "experiments" / f"{name}.yaml").write_text(
            yaml.safe_dump(value, sort_keys=False)
        )
    return workflow.Pipeline(Paths(results="out"), [].append)


def test_an_input_function_names_files_of_each_split_and_part(pipeline):
    wildcards = SimpleNamespace(experiment="tiny")
    shards = pipeline.shards_of("train", "val")(wildcards)
    assert shards == [f"out/tiny/shards/{name}/part-00000.parquet" for name in ("train", "val")]


def test_an_input_function_names_files_of_each_expert_and_seed(pipeline):
    wildcards = SimpleNamespace(experiment="swept")
    histories = pipeline.files_of_evaluated("history.csv")(wildcards)
    experts = [*TINY["experts"], "winner"]
    assert histories == [
        f"out/swept/experts/{name}/seed-{seed}/history.csv" for name in experts for seed in (0, 1)
    ]
    assert pipeline.selection_of(wildcards) == "out/swept/experts/winner/selection.json"
    assert pipeline.rung_standing(wildcards, 2) == "out/swept/experts/winner/rung-1.json"
    assert pipeline.rung_standing(wildcards, 1) == []
    assert pipeline.selection_of(SimpleNamespace(experiment="tiny")) == []


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["out/tinny/report/index.html"], "tinny"),
        (["-n", "out/tiny/experts/cross_entropi/seed-0/history.csv"], "cross_entropi"),
        ([], "unlisted"),
    ],
)
def test_a_request_for_what_is_not_there_is_named(pipeline, words, named):
    pipeline.check_requested(["out/tiny/report/index.html"], ["unlisted"])
    pipeline.check_requested(["out/tiny/experts/teacher-0.parquet"], ["unlisted"])
    with pytest.raises(TailproofError, match=named):
        pipeline.check_requested(words, ["unlisted"])


def test_a_source_in_a_package_has_no_raw_files_to_replace(pipeline):
    assert pipeline.raw_of("tiny").inputs == [] and pipeline.replaced_raw("tiny") == []


def test_features_stay_with_the_experiment_whose_shards_they_are_of(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    recipe = {"model": {"name": "resnet18", "weights": "w.pth"}, "features": {"size": 32}}
    value = {**TINY, "recipe": recipe, "experts": {"only": {}}}
    for name, shards in (("b", 2), ("c", 2), ("d", 3)):
        path = tmp_path / "config" / "experiments" / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(
            yaml.safe_dump({**value, "data": {**TINY["data"], "shards_per_split": shards}})
        )

    def pipeline() -> workflow.Pipeline:
        return workflow.Pipeline(Paths(), print)

    b_and_c, d = pipeline().records_of_features(["b", "c"]), pipeline().records_of_features(["d"])
    assert len(b_and_c) == 2 and len(d) == 3 and not set(b_and_c) & set(d)
    key, part = Path(b_and_c[1]).stem.rsplit("-", 1)
    wildcards = SimpleNamespace(key=key, part=part)
    shards_of = pipeline().shards_of_features("part-{part}.json")
    assert shards_of(wildcards)[0] == "results/b/shards/train/part-00001.json"
    expert = SimpleNamespace(experiment="c", expert="only")
    assert pipeline().features_of("val")(expert) == [
        f"features/{key}/val.parquet/part-{part}.parquet" for part in ("00000", "00001")
    ]
    assert pipeline().pixel_sums_of_features(wildcards) == []
    write_record(b_and_c[1], "results/c/shards/train/part-00001.json")
    assert pipeline().shards_of_features("x")(wildcards)[0].startswith("results/c/")
    (tmp_path / "config" / "experiments" / "c.yaml").unlink()
    assert pipeline().shards_of_features("x")(wildcards)[0].startswith("results/b/")
    with pytest.raises(TailproofError, match="'nothing'"):
        pipeline().backbone_of_features("nothing")


def test_a_further_backbone_adds_its_features_and_weights_to_those_of_the_first(
    tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    alone = {"model": {"name": "resnet18", "weights": "w.pth"}, "features": {"size": 32}}
    further = {"name": "cifar_resnet20", "weights": "v.pth", "normalize": True}
    both = alone | {"features": {"size": 32, "concat": [further]}}
    folder = tmp_path / "config" / "experiments"
    folder.mkdir(parents=True)
    for name, recipe in (("alone", alone), ("both", both)):
        value = {**TINY, "recipe": recipe, "experts": {"only": {}}}
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(value))
    pipeline = workflow.Pipeline(Paths(), print)
    (first,) = pipeline.records_of_features(["alone"])
    records = pipeline.records_of_features(["both"])
    assert records[0] == first and len(records) == 2
    expert = SimpleNamespace(experiment="both", expert="only")
    read = pipeline.features_of("train")(expert)
    assert [Path(path).parts[1] for path in read] == [Path(path).stem[:-6] for path in records]
    weights = [Path(path).name[:8] for path in pipeline.pretrained_of(".json")(expert)]
    assert weights == ["resnet18", "cifar_re"]
    for path, model, sums in zip(records, weights, (0, 1), strict=True):
        wildcards = SimpleNamespace(key=Path(path).stem[:-6], part="00000")
        (file,) = pipeline.pretrained_of_features(".json")(wildcards)
        assert Path(file).name.startswith(model)
        assert len(pipeline.pixel_sums_of_features(wildcards)) == sums


@pytest.mark.parametrize(
    ("data", "warned"),
    [
        ({"seed": 1}, True),
        ({"near_duplicates": "group"}, True),
        ({}, False),
        ({"near_duplicates": "off", "max_bad_share": 0.5}, False),
    ],
)
def test_weights_that_were_trained_on_other_splits_are_warned_of(
    tmp_path, monkeypatch, data, warned
):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "config" / "experiments"
    folder.mkdir(parents=True)
    weights = "results/plain/experts/cross_entropy/seed-0"
    recipe = {"model": {"name": "resnet18", "weights": weights}, "features": {"size": 32}}
    value = {**TINY, "data": TINY["data"] | data, "recipe": recipe, "experts": {"only": {}}}
    (folder / "plain.yaml").write_text(yaml.safe_dump(TINY))
    (folder / "heads.yaml").write_text(yaml.safe_dump(value))
    texts: list[str] = []
    workflow.Pipeline(Paths(), texts.append).read("heads")
    assert ["'plain'" in text and "heads.yaml" in text for text in texts] == [True] * warned


def test_weights_are_fetched_again_if_the_config_next_to_them_changes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "config" / "experiments" / "tiny.yaml"
    path.parent.mkdir(parents=True)
    recipe = {"model": {"name": "resnet18", "weights": "start"}}
    path.write_text(yaml.safe_dump({**TINY, "recipe": recipe, "experts": {"only": {}}}))
    key = Recipe(**recipe).model.weights_key
    (tmp_path / "start").mkdir()
    (tmp_path / "start" / "model.safetensors").write_bytes(b"weights")
    digests = [workflow.Pipeline(Paths(), print).weights_config_digest(key)]
    for text in ("{}", '{"num_classes": 3}'):
        (tmp_path / "start" / "config.json").write_text(text)
        digests.append(workflow.Pipeline(Paths(), print).weights_config_digest(key))
    assert digests[0] is None and len(set(digests)) == 3
    shutil.rmtree(tmp_path / "start")
    record = record_path("weights", "fetch", key)
    write_record(record, "x", {"config": digests[1]})
    assert workflow.Pipeline(Paths(), print).weights_config_digest(key) == digests[1]


def write_record(path: str, source: str, parameters: dict | None = None) -> None:
    digest, now = "0" * 64, datetime.now(UTC)
    code = Code(
        version="0", closure=digest, runtime=digest, commit=None, dirty=False, difference=None,
        packages={}, python="3",
    )  # fmt: skip
    machine = Machine(host="", user="", slurm_job=None, device="", threads=1, peak_memory_bytes=1)
    Record(
        experiment="features", rule="embed", name=Path(path).stem, wildcards={},
        inputs=[File(path=source, sha256=digest, bytes=1)], undeclared=[], outputs=[],
        parameters=parameters or {}, running={}, seeds=[], code=code, machine=machine,
        started=now, ended=now, command="", log="",
    ).write(path)  # fmt: skip


def test_the_page_reads_folds_and_draws_while_they_are_of_the_experiment(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "config" / "experiments" / "tiny.yaml"
    path.parent.mkdir(parents=True)
    drawn = {**TINY, "data": {**TINY["data"], "seeds": [0, 1]}}
    path.write_text(yaml.safe_dump(drawn))
    warnings: list[str] = []
    wildcards = SimpleNamespace(experiment="tiny")

    def read():
        return workflow.Pipeline(Paths(), warnings.append).pooled(wildcards)

    assert read() == []
    write_draws("tiny")
    files = {name: f"results/tiny/{name}/metrics.json" for name in ("cross_fit", "draws")}
    for file in files.values():
        write_json(file, {})
    assert read() == [files["draws"]]
    assert [files["cross_fit"] in text and "tailproof folds tiny" in text for text in warnings]
    write_folds("tiny", 2)
    assert read() == list(files.values())
    path.write_text(yaml.safe_dump({**drawn, "seeds": [1]}))
    warnings.clear()
    assert read() == [] and len(warnings) == 2
