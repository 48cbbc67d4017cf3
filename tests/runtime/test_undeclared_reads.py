"""What a job may open, in a process of its own: the hook cannot be removed from this one."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import json, os, sys
from tailproof.runtime.errors import TailproofError
from tailproof.runtime import undeclared_reads
from tailproof.runtime.undeclared_reads import DeclaredReads, declared_reads

declared = DeclaredReads("calibrate", ["results/tiny/declared.parquet"], "raw")
undeclared_reads.refuse_undeclared_reads(declared)
import cv2, pandas, pyarrow, pyarrow.csv, pyarrow.dataset, pyarrow.fs, pyarrow.parquet
import safetensors, safetensors.numpy

def outcome(code):
    try:
        eval(code)
    except TailproofError as error:
        return "refused" if "must not open" in str(error) else str(error)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "opened"

def in_child(code):
    pid = os.fork()
    if not pid:
        os._exit(outcome(code) == "refused")
    return ["opened", "refused"][os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])]

codes = json.loads(sys.stdin.read())
outcomes = {code: outcome(code) for code in codes} | {"child": in_child(codes[0])}
print(json.dumps([outcomes, sorted(declared_reads().raw_files)]))
"""

FOREIGN = "results/tiny/shards/test/part-00000.parquet"
READERS = (
    "open(PATH, 'rb').read()",
    "os.open(PATH, os.O_RDONLY)",
    "os.link(PATH, 'elsewhere')",
    "__import__('shutil').copyfile(PATH, 'elsewhere')",
    "__import__('numpy').fromfile(PATH)",
    "pandas.read_parquet(PATH)",
    "pyarrow.parquet.read_table(PATH)",
    "pyarrow.parquet.read_table([PATH])",
    "pyarrow.parquet.read_table('file://' + os.path.abspath(PATH))",
    "pyarrow.parquet.read_schema(PATH)",
    "pyarrow.parquet.ParquetFile(PATH, memory_map=True)",
    "pyarrow.dataset.dataset(PATH).to_table()",
    "pyarrow.memory_map(PATH)",
    "pyarrow.OSFile(PATH)",
    "pyarrow.fs.LocalFileSystem().open_input_file(PATH)",
    "pyarrow.csv.read_csv(PATH)",
    "safetensors.safe_open(PATH, 'numpy')",
    "safetensors.numpy.load_file(PATH)",
    "cv2.imread(PATH)",
)


def called(folder: Path, codes: list[str]) -> tuple[dict[str, str], list[str]]:
    """Return what became of each code, and the raw files that were noted."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        input=json.dumps(codes),
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture
def folder(tmp_path):
    """A project with results of the experiment tiny, and a folder of raw files."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    (tmp_path / "results" / "tiny" / "provenance").mkdir(parents=True)
    for name in (FOREIGN, "results/tiny/declared.parquet", "raw/a.parquet", "free.parquet"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table({"a": [1]}), path)
    (tmp_path / "results" / "tiny" / "link.parquet").symlink_to(tmp_path / "free.parquet")
    (tmp_path / "to-test.parquet").symlink_to(tmp_path / FOREIGN)
    return tmp_path


def test_no_reader_opens_a_result_that_is_not_declared(folder):
    codes = [code.replace("PATH", repr(FOREIGN)) for code in READERS]
    codes += [f"open({name!r})" for name in ("to-test.parquet", "results/tiny/link.parquet")]
    codes.append(f"open({str(folder / 'results' / '..' / FOREIGN)!r})")
    codes.append("pyarrow.parquet.read_table('results/tiny/shards/test')")
    outcomes, _ = called(folder, codes)
    assert outcomes == dict.fromkeys([*codes, "child"], "refused")
    assert not (folder / "elsewhere").exists()


def test_what_is_declared_and_what_is_no_result_is_opened(folder):
    files = ("results/tiny/declared.parquet", "free.parquet")
    codes = [f"pyarrow.parquet.read_table({name!r})" for name in files]
    codes += [
        "open('results/tiny/new.json', 'w').close()",
        "pyarrow.OSFile('results/tiny/new.parquet', 'w').close()",
        "os.fsync(os.open('results/tiny/shards/test', os.O_RDONLY))",
    ]
    outcomes, raw = called(folder, codes)
    assert outcomes == dict.fromkeys([*codes, "child"], "opened")
    assert raw == []


def test_reads_of_raw_files_are_noted(folder):
    codes = ["pyarrow.parquet.read_table('raw/a.parquet')", "open('free.parquet')"]
    outcomes, raw = called(folder, codes)
    assert set(outcomes.values()) == {"opened"}
    assert raw == ["raw/a.parquet"]
