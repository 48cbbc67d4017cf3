import re
import subprocess
import sys

from tailproof.report.metric_format import number
from tailproof.report.results import Scores
from tailproof.report.terminal_summary import main


def test_every_method_and_number_is_printed(drawn, capsys):
    folder, _ = drawn
    assert main([str(folder)]) == 0
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines()[:-1])) <= 100
    scores = Scores.read(folder)
    for method in scores.methods:
        (line,) = (line for line in text.splitlines() if line.split()[:1] == [method])
        for metric in ("top1", "balanced_accuracy", "few_accuracy", "nll", "ece"):
            assert number(metric, scores.value("test", method, metric)["mean"]) in line
    before = number("ece", scores.value("test", "plain", "ece_uncalibrated")["mean"])
    between = "≈" if scores.calibration_verdict("test", "plain") == "same" else "→"
    assert f"{before} {between} " in text
    low, high = (scores.value("test", "plain", "nll")[end] for end in ("low", "high"))
    assert f"{low:.3f}–{high:.3f}" in text
    assert f": {scores.best}\n" in text


def test_it_says_where_the_report_is(drawn, page, single, capsys):
    main([str(drawn[0])])
    assert capsys.readouterr().out.rstrip().endswith(f"Report: {page}")
    main([str(single[0])])
    assert "snakemake --cores all" in capsys.readouterr().out


def test_it_runs_as_a_module_and_fails_in_one_sentence(tmp_path):
    command = [sys.executable, "-m", "tailproof.report.terminal_summary", str(tmp_path)]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 1
    assert re.fullmatch(r"\S+metrics\.json does not exist.*\n", run.stderr)
    assert run.stdout == ""


def test_it_needs_no_torch_and_no_matplotlib():
    code = (
        "import sys, tailproof.report.terminal_summary; "
        "sys.exit(any(name in sys.modules for name in ('torch', 'matplotlib')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
