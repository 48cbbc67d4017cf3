"""Students: what they learn from the ensemble of other experts."""

import numpy as np
import pytest
import torch
from scipy.special import log_softmax, rel_entr, softmax

from tailproof.config.distill import Distill
from tailproof.config.recipe import Recipe
from tailproof.config.validation import parse_experiment
from tailproof.data.logits import Logits
from tailproof.files import read_json
from tailproof.loading import Split
from tailproof.runtime.errors import TailproofError
from tailproof.runtime.signals import StopRequest
from tailproof.training.distillation import Distillation
from tailproof.training.distributed import ProcessGroup
from tailproof.training.launcher import launch
from tailproof.training.network_on_images import NetworkOnImages
from tailproof.training.run import TrainingRun
from tailproof.training.train import train
from tests.training.interrupted_runs import TINY

STUDENT = {**TINY, "epochs": 2, "distill": {"from": "stacked", "temperature": 2.0, "weight": 0.5}}


@pytest.fixture(scope="module")
def teacher(digits, tmp_path_factory):
    """What a drawn ensemble answers for the digits."""
    split = Split(digits, "train")
    target = split.manifest["target"]
    labels = split.labels[target]
    noise = np.random.default_rng(0).normal(size=(len(split), 10))
    log_p = log_softmax(4 * np.eye(10)[labels] + noise, axis=1)
    facts = {"expert": "stacked", "seed": 0, "split": "train", "target": target}
    facts["weights_sha256"] = "0" * 64
    ids, heads = np.array(split.sample_ids), {target: log_p.astype(np.float32)}
    path = tmp_path_factory.mktemp("teacher") / "seed-0.parquet"
    Logits(ids, {target: labels}, split.weight, heads, facts).write(path)
    return path


def test_the_recipe_survives_the_parameters_of_a_job():
    recipe = Recipe(**STUDENT)
    fields = recipe.result_fields()
    assert fields["distill"] == {"from": "stacked", "temperature": 2.0, "weight": 0.5}
    assert Recipe(**fields, **recipe.execution_fields()) == recipe


@pytest.mark.parametrize("temperature", [1.0, 2.0, 5.0])
@pytest.mark.parametrize("shift", [None, np.array([0.0, -1.0, -2.0, -4.0])])
def test_the_loss_is_that_of_the_paper(temperature, shift):
    draw = np.random.default_rng(1)
    teacher, student = draw.normal(size=(2, 7, 4)) * 3
    added = None if shift is None else torch.from_numpy(shift)
    taught = Distillation(
        Distill(temperature=temperature), log_softmax(teacher, axis=1), torch.device("cpu")
    )
    answers = taught.answers(np.arange(7), added)
    found = taught.mean(torch.from_numpy(student), answers, added)
    p, q = (
        softmax((z + (0 if shift is None else shift)) / temperature, axis=1)
        for z in (teacher, student)
    )
    expected = temperature**2 * rel_entr(p, q).sum(axis=1).mean()
    assert float(found) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("name", ["balanced_softmax", "cross_entropy"])
def test_a_teacher_that_repeats_the_labels_teaches_what_they_do(digits, name):
    run = TrainingRun(
        NetworkOnImages(digits, Recipe(**{**TINY, "loss": {"name": name}})), 0, ProcessGroup(1)
    )
    (criterion,), labels = run._losses, run._labels["train"][:40]
    run.close()
    logits = torch.from_numpy(np.random.default_rng(2).normal(size=(40, 10))).float()
    sure = np.full((40, 10), -50.0)
    sure[np.arange(40), labels[:, 0]] = 0
    taught = Distillation(Distill(temperature=1.0), sure, torch.device("cpu"))
    answers = taught.answers(np.arange(40), criterion.shift)
    learnt = taught.mean(logits, answers, criterion.shift)
    assert float(learnt) == pytest.approx(float(criterion(logits, labels).sum()), rel=1e-5)


def run_of(digits, teacher, **changes):
    recipe = Recipe(**{**STUDENT, **changes})
    return TrainingRun(NetworkOnImages(digits, recipe), 0, ProcessGroup(1), 0, teacher)


def test_parts_of_a_batch_learn_what_the_whole_batch_does(digits, teacher):
    gradients = []
    for parts in (1, 4):
        run = run_of(digits, teacher, grad_accum_steps=parts, augmentation={})
        run.model.eval()  # batch norm of parts is not that of the batch
        batch = next(iter(run._loaders[0].epoch(1)))
        truth = run._labels["train"][torch.from_numpy(batch.rows)]
        answers = run._distillation.answers(batch.rows, None)
        _, loss = run._update(batch.inputs, truth, 1.0, answers)
        gradients.append((float(loss), run.model.get_classifier().weight.grad.clone()))
        run.close()
    (loss, gradient), (other_loss, other) = gradients
    assert loss == pytest.approx(other_loss, rel=1e-5)
    torch.testing.assert_close(gradient, other, rtol=1e-3, atol=1e-6)


def test_an_interrupted_student_ends_in_the_same_bytes(digits, teacher, tmp_path):
    recipe = Recipe(**{**STUDENT, "checkpoint": {"steps": 1}})
    whole = tmp_path / "whole/expert/seed-0"
    launch(digits, recipe, 0, whole, tmp_path / "a", "code", tmp_path / "log", teacher=teacher)
    stop, folder = StopRequest(), tmp_path / "cut/expert/seed-0"
    run = TrainingRun(NetworkOnImages(digits, recipe), 0, ProcessGroup(1), 1, teacher)
    train(run, folder, tmp_path / "b", "key", stop)
    run = TrainingRun(NetworkOnImages(digits, recipe), 0, ProcessGroup(1), 0, teacher)
    train(run, folder, tmp_path / "b", "key", stop)
    for name in ("model.safetensors", "history.csv"):
        assert (folder / name).read_bytes() == (whole / name).read_bytes()


def test_another_teacher_is_another_run(digits, teacher, tmp_path):
    recipe, states = Recipe(**{**STUDENT, "epochs": 1}), []
    taught = Logits.read(teacher)
    flatter = {rank: values / 2 for rank, values in taught.heads.items()}
    other = tmp_path / "other.parquet"
    Logits(taught.sample_ids, taught.labels, taught.weight, flatter, taught.metadata).write(other)
    for path in (teacher, other):
        folder = tmp_path / path.stem / "expert/seed-0"
        launch(digits, recipe, 0, folder, tmp_path / "a", "code", tmp_path / "log", teacher=path)
        states.append(read_json(folder / "training.json")["state"])
    assert states[0] != states[1]


def test_a_student_without_a_teacher_is_refused(digits):
    with pytest.raises(TailproofError, match="distill"):
        run_of(digits, None)


def test_a_teacher_of_other_samples_is_refused(digits, teacher, tmp_path):
    taught = Logits.read(teacher)
    other = tmp_path / "other.parquet"
    Logits(
        taught.sample_ids[::-1], taught.labels, taught.weight, taught.heads, taught.metadata
    ).write(other)
    with pytest.raises(TailproofError, match="samples other than"):
        run_of(digits, other)


def experiment(**experts):
    return parse_experiment(
        {"title": "t", "data": {"source": {"name": "digits"}}, "experts": experts}, "x.yaml"
    )


def test_a_student_is_no_part_of_its_teacher():
    student = {"distill": {}}
    assert experiment(a={}, b={}, s=student).combined == ["a", "b"]
    assert experiment(a={}, b={}, s=student).students == ["s"]
    with pytest.raises(TailproofError, match="expected at least 2"):
        experiment(a={}, s=student, t=student)
