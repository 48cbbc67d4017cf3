#!/usr/bin/env bash
# The package itself, from the checkout that the workflow runs in.
set -euo pipefail
pip install --no-deps --editable .
