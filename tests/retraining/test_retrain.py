"""`tailproof retrain`: the right fit, scores on rows that no head has learnt, honest refusals."""

import csv
import shutil
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score

from tailproof.config.data import Data
from tailproof.config.features import deciding_fields
from tailproof.config.recipe import Recipe
from tailproof.data.logits import Logits
from tailproof.features.store import FeatureSplit
from tailproof.files import read_json, write_json
from tailproof.inspection.label_studio import write_tasks
from tailproof.predict.infer_head import infer_head
from tailproof.retraining.retrain import retrain, summary
from tailproof.retraining.verified_labels import VerifiedLabels, correct_labels
from tailproof.review.review import COLUMNS
from tailproof.runtime.errors import TailproofError
from tailproof.runtime.recorder import described
from tailproof.runtime.records import Code, Machine, Record
from tailproof.training.head_on_features import launch_head
from tests.features.stored_features import embed_digits, fetch_random

EXPERT, MANIFEST = "results/tiny/experts/e/seed-0", "results/tiny/shards/manifest.json"


def write_record(expert: str, inputs: list[str], features: dict | None = None) -> None:
    """Write the record of training an expert."""
    digest, now = "0" * 64, datetime.now(UTC)
    code = Code(
        version="0", closure=digest, runtime=digest, commit=None, dirty=False, difference=None,
        packages={}, python="3",
    )  # fmt: skip
    machine = Machine(host="", user="", slurm_job=None, device="", threads=1, peak_memory_bytes=1)
    record = Record(
        experiment="tiny", rule="train", name=Path(expert).parent.name, wildcards={},
        inputs=described(inputs), undeclared=[],
        outputs=described([f"{expert}/model.safetensors", f"{expert}/config.json"]),
        parameters={"features": features or {}}, running={}, seeds=[], code=code, machine=machine,
        started=now, ended=now, command="", log="",
    )  # fmt: skip
    record.write(record.path)


@pytest.fixture(scope="module")
def trained(digits, tmp_path_factory):
    """A project with a head, the features that it learnt from, and its record."""
    folder = tmp_path_factory.mktemp("retrain")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        write_json("config/config.yaml", {"experiments": ["tiny"]})
        experiment = {
            "title": "T",
            "data": {"source": {"name": "digits"}},
            "experts": {"e": {}},
            "evaluation": {"bootstrap": 200},
        }
        write_json("config/experiments/tiny.yaml", experiment)
        Path(MANIFEST).parent.mkdir(parents=True)
        shutil.copy(digits, MANIFEST)
        model = fetch_random("test_resnet")
        embed_digits(digits, "features/K", model, size=32)
        recipe = Recipe(model=model.model_dump(), features={}, epochs=5, batch_size=64)
        launch_head(MANIFEST, ["features/K"], recipe, 0, EXPERT, "states", "code", 0, {})
        parts = [str(path) for path in Path("features/K").glob("[tv]*.parquet/*")]
        (fields,) = deciding_fields(Data(**experiment["data"]), [recipe]).values()
        inputs = [MANIFEST, *parts, str(next(Path("weights").glob("*.json")))]
        write_record(EXPERT, inputs, {"K": fields})
    return folder


@pytest.fixture
def project(trained, tmp_path, monkeypatch):
    """The project, not to be changed; new files belong into another folder."""
    monkeypatch.chdir(trained)
    return tmp_path


@pytest.fixture
def copy(trained, tmp_path, monkeypatch):
    """A copy of the project, to be changed."""
    shutil.copytree(trained, tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")
    return tmp_path


def opened(name: str) -> FeatureSplit:
    return FeatureSplit("features/K", MANIFEST, name)


def write_table(path: Path, labels: dict[str, str], column: str = "label") -> str:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([("sample_id", column), *labels.items()])
    return str(path)


def moved(name: str, count: int, by: int = 1) -> dict[str, str]:
    """Labels of other classes for some samples of a split."""
    split = opened(name)
    classes = split.manifest["classes"]["class"]
    labels = split.labels["class"][:count]
    return {
        sample: classes[(label + by) % 10]
        for sample, label in zip(split.sample_ids, labels, strict=False)
    }


def test_the_new_head_is_that_of_the_corrected_labels(project):
    before = {path: path.read_bytes() for path in Path(EXPERT).iterdir()}
    labels = moved("train", 40) | moved("dev", 5) | moved("test", 3) | {"nowhere": "1"}
    result = retrain(EXPERT, write_table(project / "l.csv", labels), str(project / "new"))
    assert {path: path.read_bytes() for path in Path(EXPERT).iterdir()} == before
    assert {name: tuple(one) for name, one in result.corrections.items()} == {
        "train": (40, 40), "val": (0, 0), "calib": (0, 0), "tune": (0, 0), "dev": (5, 5),
        "test": (3, 3),
    }  # fmt: skip
    assert result.unknown == ["nowhere"]
    names = {path.name for path in (project / "new").iterdir()}
    assert names >= {"model.safetensors", "config.json", "history.csv", "retrained.json"}
    assert {path.name for path in project.iterdir()} == {"l.csv", "new"}
    truth = opened("dev").labels["class"].copy()
    truth[:5] = (truth[:5] + 1) % 10
    scores = result.scores["balanced_accuracy"]
    for head, folder in (("old", EXPERT), ("new", project / "new")):
        infer_head(folder, "e", 0, MANIFEST, ["features/K"], project / head, 1, {})
        predicted = Logits.read(project / head / "dev.parquet").values.argmax(1)
        expected = balanced_accuracy_score(truth, predicted)
        assert scores[head]["value"] == pytest.approx(expected)
    gain = scores["new"]["value"] - scores["old"]["value"]
    assert scores["difference"]["difference"] == pytest.approx(gain)
    assert any("nowhere" in line for line in summary(result))
    saved = read_json(project / "new" / "retrained.json")
    assert saved["scores"] == result.scores and saved["corrections"]["dev"]["changed"] == 5


def test_the_answers_to_a_queue_are_used_and_counted(project):
    """A queue that a person filled in, as the table itself and as Label Studio's export."""
    labels = moved("train", 12) | moved("dev", 3)
    rows = [("lynx", "", 0.5, 0.9, "rejected", "", "", sample, labels[sample]) for sample in labels]
    rows.append(("lynx", "", 0.5, 0.1, "far", "", "train", "unseen", None))
    images = dict.fromkeys([*labels, "unseen"], "/data/local-files/?d=x.png")
    write_tasks(project / "queue.csv", COLUMNS, rows, images, {})
    tasks = [
        {
            "data": {"sample_id": row[7]},
            "annotations": [{"result": [answer(row[8])] if row[8] else []}],
        }
        for row in rows
    ]
    write_json(project / "export.json", tasks)
    for name in ("queue.csv", "export.json"):
        result = retrain(EXPERT, str(project / name), str(project / f"new-{name}"))
        assert result.corrections["train"] == (12, 12) and result.corrections["dev"] == (3, 3)
        assert (result.unlabelled, result.unknown) == (1, [])
    weights = [project / f"new-{name}/model.safetensors" for name in ("queue.csv", "export.json")]
    assert weights[0].read_bytes() == weights[1].read_bytes()


def answer(name: str) -> dict:
    return {"from_name": "verified", "type": "choices", "value": {"choices": [name]}}


def test_right_labels_are_better_and_wrong_ones_worse_beyond_noise(copy):
    train = opened("train")
    scrambled = moved("train", len(train), by=5)
    table = write_table(copy / "wrong.csv", scrambled)
    worse = retrain(EXPERT, table, str(copy / "worse")).scores["balanced_accuracy"]["difference"]
    assert worse["high"] < 0
    # The head of the wrong labels takes the place of the old one.
    for name in ("model.safetensors", "config.json"):
        shutil.copy(copy / "worse" / name, Path(EXPERT) / name)
    record = read_json("results/tiny/provenance/train/e.json")
    inputs = [file["path"] for file in record["inputs"]]
    write_record(EXPERT, inputs, record["parameters"]["features"])
    one = write_table(copy / "right.csv", moved("train", 1))
    better = retrain(EXPERT, one, str(copy / "better"))
    assert better.scores["balanced_accuracy"]["difference"]["low"] > 0
    assert "better" in list(summary(better))[-1]


def test_labels_that_change_little_are_within_noise(project):
    table = write_table(project / "l.csv", moved("train", 1))
    result = retrain(EXPERT, table, str(project / "new"))
    difference = result.scores["balanced_accuracy"]["difference"]
    assert difference["low"] <= 0 <= difference["high"]
    assert "within noise" in list(summary(result))[-1]


@pytest.mark.parametrize("split", ["calib", "dev", "test"])
def test_labels_that_fit_nothing_make_no_head(project, split):
    table = write_table(project / "l.csv", moved(split, 9))
    with pytest.raises(TailproofError, match=f"train or val.*{split} 9 verified"):
        retrain(EXPERT, table, str(project / "new"))
    assert not (project / "new").exists()


def test_samples_of_another_experiment_are_counted(project):
    table = write_table(project / "l.csv", dict.fromkeys(map(str, range(-9, -1)), "1"))
    with pytest.raises(TailproofError, match="8 others: -2, "):
        retrain(EXPERT, table, str(project / "new"))


@pytest.mark.parametrize("place", ["results/x", "weights/../results/tiny/x", "features/x"])
def test_nothing_is_written_among_the_results(project, place):
    table = write_table(project / "l.csv", moved("train", 3))
    with pytest.raises(TailproofError, match="--output"):
        retrain(EXPERT, table, place)
    assert not Path(place).exists()


def test_an_output_that_exists_is_left_alone(project):
    table = write_table(project / "l.csv", moved("train", 3))
    for output in (table, str(project), f"{table}/new"):
        with pytest.raises(TailproofError, match="--output"):
            retrain(EXPERT, table, output)


def test_an_expert_without_a_record_is_refused(project):
    table = write_table(project / "l.csv", moved("train", 3))
    for expert in ("results/tiny/experts/e", "nowhere", "..", "features/K", "/"):
        with pytest.raises(TailproofError, match="no record"):
            retrain(expert, table, str(project / "new"))


@pytest.mark.parametrize(
    "path",
    [
        "features/K/train.parquet/part-00000.parquet",
        "features/K/dev.parquet/part-00001.parquet",
        MANIFEST,
        f"{EXPERT}/model.safetensors",
    ],
)
@pytest.mark.parametrize("change", ["missing", "other"])
def test_files_that_the_head_was_not_trained_on_are_refused(copy, path, change):
    table = write_table(copy / "l.csv", moved("train", 3))
    Path(path).unlink()
    if change == "other":
        shutil.copy("features/K/val.parquet/part-00000.parquet", path)
    with pytest.raises(TailproofError, match=Path(path).name):
        retrain(EXPERT, table, str(copy / "new"))
    assert not (copy / "new").exists()


def test_a_whole_network_is_refused(copy):
    write_record(EXPERT, [MANIFEST])
    with pytest.raises(TailproofError, match=f"features.*model.weights: {EXPERT}"):
        retrain(EXPERT, write_table(copy / "l.csv", {"a": "1"}), str(copy / "new"))


def test_a_student_is_refused(copy):
    config = read_json(f"{EXPERT}/config.json")
    config["tailproof"]["recipe"]["distill"] = {"from": "stacked"}
    write_json(f"{EXPERT}/config.json", config)
    features = [f"features/K/{name}.parquet/part-00000.parquet" for name in ("train", "val")]
    write_record(EXPERT, [MANIFEST, *features], {"K": {}})
    with pytest.raises(TailproofError, match=f"{EXPERT} is a student"):
        retrain(EXPERT, write_table(copy / "l.csv", {"a": "1"}), str(copy / "new"))


def test_unknown_classes_are_listed_together(project):
    table = write_table(project / "l.csv", moved("train", 3) | {"a": "11", "b": "zero"})
    with pytest.raises(TailproofError, match=r"'11' \(did you mean '1'\?\), 'zero'"):
        retrain(EXPERT, table, str(project / "new"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no rows"),
        ("sample_id,label\n", "no rows"),
        ("sample_id,label\n1,\n2,\n", "no label.*2 rows"),
        ("sample,label\n1,x\n", "'sample_id'.*did you mean 'sample'"),
        ("sample_id,lable\n1,x\n", "'label'.*did you mean 'lable'"),
        ("sample_id,label\n1,x\n1,y\n", "different labels.*1 sample"),
        ("sample_id,label\n1,x,y\n2\n", "2 rows.*rows 1, 2"),
        ('sample_id,label\n1,"x\n', "quote"),
        (b"sample_id,label\n1,\xff\n", "UTF-8"),
    ],
)
def test_tables_that_say_nothing_are_refused(tmp_path, text, said):
    path = tmp_path / "l.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(TailproofError, match=said):
        VerifiedLabels.read(path)


@pytest.mark.parametrize(
    "text",
    [
        "sample_id,label\n1,lynx\n2,=a\n3,\n1,lynx\n",
        "\ufeffsample_id;label\r\n1;lynx\r\n2;'=a\r\n\r\n3;\r\n",
        "image,label,sample_id,verified\nx,otter,1,lynx\ny,otter,2,'=a\nz,otter,3,\n",
    ],
    ids=["plain", "spreadsheet", "label_studio"],
)
def test_tables_of_people_are_read(tmp_path, text):
    path = tmp_path / "l.csv"
    path.write_bytes(text.encode())
    assert VerifiedLabels.read(path) == ({"1": "lynx", "2": "=a"}, 1)


def test_labels_of_other_ranks_follow():
    manifest = {
        "target": "genus",
        "classes": {"order": ["A", "B"], "genus": ["a", "b", "c"], "species": ["x", "y"]},
        "ancestors": {"genus": {"order": [0, 1, None]}},
    }
    labels = {"order": [0, 0, 0, 1], "genus": [0, 0, 0, 1], "species": [0, 1, 1, -1]}
    split = SimpleNamespace(
        manifest=manifest,
        sample_ids=["1", "2", "3", "4"],
        labels={rank: np.array(of_rank) for rank, of_rank in labels.items()},
    )
    assert correct_labels(split, {"1": 0, "2": 1, "3": 2, "9": 1}) == (3, 2)
    assert split.labels["order"].tolist() == [0, 1, -1, 1]
    assert split.labels["genus"].tolist() == [0, 1, 2, 1]
    assert split.labels["species"].tolist() == [0, -1, -1, -1]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_labels_are_found_as_other_programs_write_them(tmp_path, encoding):
    path = tmp_path / "labels.csv"
    path.write_text("sample_id\tverified\na\t7.0\nb\te\u0301\nc\t x \nd\t\n", encoding)
    verified = VerifiedLabels.read(path)
    assert verified.indices(path, ["x", "é", "7"]) == {"a": 2, "b": 1, "c": 0}
    assert verified.unlabelled == 1


def test_a_relation_hides_no_answer_of_label_studio(tmp_path):
    results = [
        {"type": "relation", "from_id": "x", "to_id": "y"},
        {"from_name": "verified", "type": "choices", "value": {"choices": ["cat"]}},
    ]
    path = tmp_path / "export.json"
    task = {"data": {"sample_id": "a"}, "annotations": [{"result": results}]}
    write_json(path, [task])
    assert VerifiedLabels.read(path).classes == {"a": "cat"}
