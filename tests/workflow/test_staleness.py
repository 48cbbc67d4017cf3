"""What an edit makes stale, each asked of the real Snakemake on a finished experiment."""

import os
import re
from copy import deepcopy
from pathlib import Path

import pytest

from tests.project import TINY

EXPERTS = list(TINY["experts"])
OF_EXPERT = ("train", "infer", "calibrate", "export", "diagnose")
AFTERWARDS = {"evaluate", "guarantee", "inspect", "report", "audit"}
AFTERWARDS |= {f"card {expert}" for expert in EXPERTS}
BEFORE = {"preflight"}


def planned(project) -> set[str]:
    """Return the jobs that Snakemake would run: the rule, and the expert if there is one."""
    done = project.plan()
    assert done.returncode == 0, done.stdout + done.stderr
    return expected_jobs(done)


def expected_jobs(done) -> set[str]:
    jobs = re.findall(r"^Job \d+: tiny: (.+)$", done.stdout + done.stderr, flags=re.M)
    return {short(message) for message in jobs}


def short(message: str) -> str:
    words = re.sub(r", seed \d+$", "", message).split()
    verbs = {"write": "report", "gather": "manifest", "find": "near_duplicates", "count": "leakage"}
    rule = verbs.get(words[0], words[0])
    rule = "card" if "card" in words else rule
    expert = [word for word in words if word in (*EXPERTS, "added")]
    return " ".join([rule, *expert])


def of_experts(*rules, experts=EXPERTS) -> set[str]:
    return {f"{rule} {expert}" for rule in rules for expert in experts}


def edit(path: str, old: str, new: str):
    def apply(project):
        file = project.folder / path
        before = file.stat()
        text = file.read_text()
        assert old in text, f"{path} no longer holds {old!r}"
        file.write_text(text.replace(old, new, 1))
        os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))  # content decides, not clocks

    return apply


def edits(*changes):
    def apply(project):
        for change in changes:
            change(project)

    return apply


def configure(change):
    def apply(project):
        value = deepcopy(TINY)
        change(value)
        project.write("config/experiments/tiny.yaml", value)

    return apply


def touch_everything(project):
    for path in project.folder.rglob("*"):
        if path.is_file() and ".snakemake" not in path.parts:
            path.touch()


def touch(path):
    return lambda project: (project.folder / path).touch()


SOURCE = "src/tailproof"
TABLE = {
    "a comment": (
        edit(f"{SOURCE}/losses.py", "\nTensor = Any\n", "\nTensor = Any  # well\n"),
        set(),
    ),
    "a docstring": (edit("workflow/scripts/train.py", '"""', '"""Well: '), set()),
    "errors reworded": (
        edits(
            edit(f"{SOURCE}/files.py", "is not valid JSON", "does not hold JSON"),
            edit(f"{SOURCE}/data/images.py", "it cannot be decoded", "it does not decode"),
            edit(f"{SOURCE}/losses.py", "correct the list", "shorten the list"),
            edit(f"{SOURCE}/training/run.py", "the state does not fit", "a state does not fit"),
        ),
        set(),
    ),
    "log lines reworded": (
        edits(
            edit(f"{SOURCE}/data/prepare.py", "samples listed", "samples found"),
            edit(f"{SOURCE}/training/train.py", "early stopping: best", "stopped early: best"),
            edit(f"{SOURCE}/predict/raw_logits.py", '"%s: %s"', '"%s has %s"'),
        ),
        set(),
    ),
    "the git helper rewritten": (
        edit(f"{SOURCE}/runtime/git.py", '"-C", str(root)', '*("-C", str(root))'),
        set(),
    ),
    "an error's condition": (
        edit(
            f"{SOURCE}/training/run.py", "except (RuntimeError, ValueError,", "except (ValueError,"
        ),
        BEFORE | of_experts(*OF_EXPERT) | AFTERWARDS,
    ),
    "every file touched": (touch_everything, set()),
    "a large output touched": (
        touch("results/tiny/experts/cross_entropy/seed-0/model.safetensors"),
        set(),
    ),
    "a loss": (
        edit(f"{SOURCE}/losses.py", "\nTensor = Any\n", "\nTensor = Any\nEDITED = 1\n"),
        BEFORE | of_experts(*OF_EXPERT) | AFTERWARDS,
    ),
    "a decode": (
        edit(
            f"{SOURCE}/data/images.py",
            "6: lambda upright: np.rot90(upright, 1)",
            "6: lambda upright: np.rot90(upright, -1)",
        ),
        {"prepare", "near_duplicates", "split", "leakage", "shard", "manifest", "thumbnails"}
        | BEFORE
        | of_experts(*OF_EXPERT)
        | AFTERWARDS,
    ),
    "an augmentation": (
        edit(f"{SOURCE}/loading/augmentation.py", "draws[2] < 0.5", "draws[2] < 0.4"),
        BEFORE | of_experts(*OF_EXPERT) | AFTERWARDS,
    ),
    "a parameter of the calibration": (
        configure(lambda value: value.update(calibration={"weighting": "class_balanced"})),
        of_experts("calibrate", "export") | AFTERWARDS,
    ),
    "a promise": (
        configure(lambda value: value.update(guarantees={"risks": [0.03]})),
        of_experts("card") | {"guarantee", "report", "audit"},
    ),
    "one expert's weight decay": (
        configure(
            lambda value: value["experts"]["logit_adjustment"].update(
                optimizer={"weight_decay": 1e-4}
            )
        ),
        BEFORE | of_experts(*OF_EXPERT, experts=["logit_adjustment"]) | AFTERWARDS,
    ),
    "what is expected of a run": (
        configure(lambda value: value.update(targets={"val_accuracy": [{"at_least": 0.9}]})),
        of_experts("diagnose", "card") | {"report", "audit"},
    ),
    "how training is run": (
        configure(lambda value: value["recipe"].update(workers=1, checkpoint={"steps": 7})),
        set(),
    ),
    "a script behind an old time": (
        edit("workflow/scripts/calibrate.py", "with job", "EDITED = 1\n\nwith job"),
        of_experts("calibrate", "export") | AFTERWARDS,
    ),
    "a sentence of the preflight": (
        edit(f"{SOURCE}/preflight/checks/preprocessing.py", "images are not normalized", "not so"),
        BEFORE | {"report", "audit"},
    ),
    "what is accepted of the preflight": (
        configure(lambda value: value.update(preflight={"ignore": ["unusual_rate"]})),
        {"report", "audit"},
    ),
    "a word of the cards": (
        edit(f"{SOURCE}/model_card/templates/README.md.j2", "How to use it", "Use"),
        of_experts("card") | {"report", "audit"},
    ),
    "a limit of odd images": (
        edit(f"{SOURCE}/inspection/odd_images.py", "BLANK = 8.0", "BLANK = 9.0"),
        {"inspect", "report", "audit"},
    ),
    "a figure's colour": (
        edit(f"{SOURCE}/report/svg.py", '"#050505"', '"#050515"'),
        {"report", "audit"},
    ),
    "the page's style": (
        edit(f"{SOURCE}/report/templates/style.css", "{", "{ "),
        {"report", "audit"},
    ),
    "a new matplotlib": (
        edit("constraints.txt", "matplotlib==", "matplotlib==9"),
        {"report", "audit"},
    ),
    "a new scipy": (
        edit("constraints.txt", "scipy==", "scipy==9"),
        of_experts("calibrate", "export") | AFTERWARDS,
    ),
    "an expert added": (
        configure(lambda value: value["experts"].update(added={"loss": {"name": "focal"}})),
        BEFORE | of_experts(*OF_EXPERT, "card", experts=["added"]) | AFTERWARDS,
    ),
    "another seed of the splits": (
        configure(lambda value: value["data"].update(seed=1)),
        {"split", "leakage", "shard", "manifest", "thumbnails"}
        | BEFORE
        | of_experts(*OF_EXPERT)
        | AFTERWARDS,
    ),
    "near duplicates kept in one split": (
        configure(lambda value: value["data"].update(near_duplicates="group")),
        {"split", "leakage", "shard", "manifest", "thumbnails"}
        | BEFORE
        | of_experts(*OF_EXPERT)
        | AFTERWARDS,
    ),
    "the search for near duplicates": (
        edit(f"{SOURCE}/data/picture_hashes.py", "TABLES = 24", "TABLES = 25"),
        {"near_duplicates", "leakage", "report", "audit"},
    ),
}


@pytest.mark.parametrize(("change", "expected"), TABLE.values(), ids=TABLE)
def test_what_an_edit_makes_stale(twin, change, expected):
    change(twin)
    assert planned(twin) == expected


def test_a_shard_changed_behind_its_old_time_is_refused_by_the_stage_that_reads_it(twin):
    shard = Path("results/tiny/shards/train/part-00000.parquet")
    flip(twin.folder / shard, 5000)
    weights = "results/tiny/experts/cross_entropy/seed-0/model.safetensors"
    done = twin.snakemake(weights, "--force")
    assert done.returncode != 0
    assert re.search(f"train failed: {shard} .*SHA-256", done.stderr)
    assert not (twin.folder / weights).exists()


def test_a_job_without_its_record_is_run_again(twin):
    (twin.results / "provenance/calibrate/logit_adjustment-0.json").unlink()
    assert planned(twin) == {
        "calibrate logit_adjustment",
        "export logit_adjustment",
        *AFTERWARDS,
    }


def test_code_edited_after_the_start_is_refused(project):
    """The job would run other code than the one that its record names."""
    hook = "onstart:\n    with open('src/tailproof/data/prepare.py', 'a') as file:\n"
    hook += "        file.write('EDITED = 1\\n')\n\n\n"
    snakefile = project.folder / "Snakefile"
    snakefile.write_text(snakefile.read_text().replace("rule all:", hook + "rule all:"))
    done = project.snakemake("results/tiny/samples.parquet")
    assert done.returncode != 0
    assert re.search(r"prepare failed: .*\bprepare\.py\b", done.stderr)


def flip(path: Path, position: int) -> None:
    """Change one byte and leave the time as it was."""
    before = path.stat()
    content = bytearray(path.read_bytes())
    content[position % len(content)] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
