"""All jobs run again from the raw data, by another folder, locale, umask and number of cores."""

import json
import os


def test_all_jobs_give_the_same_bytes_elsewhere(finished, tmp_path, monkeypatch):
    project = finished.copy(tmp_path / "a folder of another name")
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    monkeypatch.setenv("TZ", "Asia/Kathmandu")
    monkeypatch.setenv("PYTHONHASHSEED", "7")
    before = os.umask(0o077)
    try:
        done = project.tailproof("reproduce", "tiny", "--all")
    finally:
        os.umask(before)
    path = project.folder / "reproduction" / "tiny" / "reproduction.json"
    report = json.loads(path.read_text())
    assert {job["job"]: job["why"] for job in report["jobs"] if job["why"]} == {}
    assert {job["verdict"] for job in report["jobs"]} == {"same bytes"}
    assert report["passed"] and report["from_raw_data"] and done.returncode == 0
    assert len(report["jobs"]) == report["recorded_jobs"]
