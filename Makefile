# Two commands: `make demo` and `make test`. Both set up everything in .venv, once.
PYTHON ?= $(firstword $(foreach p,python3.13 python3.12 python3.11 python3,$(shell command -v $(p))))
BIN := .venv/bin
CORES ?= 2
SNAKEMAKE := $(BIN)/snakemake --cores $(CORES)

.DEFAULT_GOAL := help
.PHONY: help demo test lint schema bench-train clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: .venv/.run ## set up, train three experts on long-tailed digits, show the results
	$(SNAKEMAKE) --quiet host
	@$(BIN)/python -m tailproof.report.summary results/digits_lt

test: .venv/.dev browser ## set up and run the tests
	$(BIN)/pytest

lint: .venv/.dev ## check style and the workflow
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/snakefmt --check --compact-diff Snakefile rules
	$(BIN)/snakemake --lint

schema: .venv/.run ## write config/schema.json from the configuration model
	$(BIN)/python -m tailproof.core.config.schema

bench-train: .venv/.dev ## compare training speed with a plain PyTorch loop
	$(BIN)/python benchmarks/train.py

clean: ## remove results, logs and the environment
	rm -rf .venv .snakemake .state logs results

.venv/.run: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
	  { echo "tailproof needs Python 3.11 or newer: install it, or name it: make PYTHON=..."; exit 1; }
	@test -x $(BIN)/pip || $(PYTHON) -m venv .venv || \
	  { echo "this Python cannot make an environment: install its venv package (python3-venv)"; exit 1; }
	@echo "setting up .venv: about 2 GB, a minute or two"
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	@touch $@

.venv/.dev: .venv/.run
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

.PHONY: browser
browser:
	@command -v chromium chromedriver >/dev/null || { \
	  echo "the report's test needs chromium and chromium-driver"; \
	  test "$$(id -u)" = 0 || { echo "run as root: apt-get install chromium chromium-driver"; exit 1; }; \
	  apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium chromium-driver; }
