from dataclasses import replace

from tailproof.calibration.calibrate import calibrate
from tailproof.config.calibration import Calibration
from tailproof.report.calibration_section import MOST_ROWS, choices
from tailproof.report.results import Results
from tests.calibration.test_choice import SKEWED, write


def test_a_table_of_choices_that_is_cut_off_says_so(drawn, tmp_path):
    folder, experiment = drawn
    config = Calibration(calibrators=["temperature", "vector"])
    raw = {split: write(tmp_path / split, split, 60, SKEWED) for split in config.splits}
    fit = calibrate(raw, config, tmp_path / "calibration.json")
    results = Results.read("drawn", experiment, folder)
    shown = []
    for runs in (MOST_ROWS // 2, MOST_ROWS // 2 + 1):
        calibrations = {"adjusted": dict.fromkeys(range(runs), fit)}
        shown.append(choices(replace(results, calibrations=calibrations)))
    assert [len(table.rows) for table in shown] == [MOST_ROWS] * 2
    assert str(MOST_ROWS) not in shown[0].title
    assert f"the first {MOST_ROWS} of {MOST_ROWS + 2} rows" in shown[1].title
