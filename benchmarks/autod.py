"""Runs in .venv/autod: reads pairs of loss curves as JSON, prints the findings of sk-autod."""

import json
import sys

from sk_autod import diagnose

results = []
for train, val in json.load(sys.stdin):
    try:
        findings = diagnose(train, val).findings
        results.append([[item.detector_name, item.severity.value] for item in findings])
    except Exception as error:
        results.append([[f"refused: {type(error).__name__}", "INFO"]])
json.dump(results, sys.stdout)
