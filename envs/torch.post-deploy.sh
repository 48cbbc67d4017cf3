#!/usr/bin/env bash
# The package itself: from the checkout that the workflow runs in, or in a project this version.
set -euo pipefail
if [ -d src/tailproof ]; then
  pip install --no-deps --editable .
else
  pip install --no-deps tailproof==0.2.0
fi
