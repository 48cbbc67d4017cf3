"""Run by .venv/autod: pairs of loss curves as JSON in, what sk-autod finds in each out."""

import json
import sys

from sk_autod import diagnose

found = []
for train, val in json.load(sys.stdin):
    try:
        findings = diagnose(train, val).findings
        found.append([[each.detector_name, each.severity.value] for each in findings])
    except Exception as error:
        found.append([[f"refused: {type(error).__name__}", "INFO"]])
json.dump(found, sys.stdout)
