# Two commands: `make demo` and `make test`. Both set up everything in .venv, once.
PYTHON ?= python3.13 python3.12 python3.11 python3
BIN := .venv/bin
CORES ?= 2
SNAKEMAKE := $(BIN)/snakemake --cores $(CORES)
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.DEFAULT_GOAL := help
.PHONY: help demo test test-chaos lint schema bench-train bench-experts bench-loader bench-scale clean browser

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: .venv/.run ## set up, train three experts on long-tailed digits, show the results
	$(SNAKEMAKE) --quiet host reason
	@$(BIN)/python -m tailproof.report.summary results/digits_lt

test: .venv/.dev browser ## set up and run the tests
	$(BIN)/pytest

test-chaos: .venv/.dev ## kill training runs some hundred times and compare the bytes
	TAILPROOF_KILLS=100 $(BIN)/pytest -k at_random_moments tests/training

lint: .venv/.dev ## check style and the workflow
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/snakefmt --check --compact-diff Snakefile rules
	$(BIN)/snakemake --lint

schema: .venv/.run ## write config/schema.json from the configuration model
	$(BIN)/python -m tailproof.core.config.schema config/schema.json

bench-train: .venv/.dev ## compare training speed with a plain PyTorch loop
	$(BIN)/python benchmarks/train.py

bench-experts: .venv/.dev ## time the three experts of cifar100_lt on random pixels (on a GPU)
	$(BIN)/python benchmarks/experts.py

bench-loader: .venv/.dev .venv/peers/.done ## compare the loader's speed and start-up with its peers'
	$(BIN)/python benchmarks/loader.py

bench-scale: .venv/.run ## measure how time and memory grow up to 400,000 images
	$(BIN)/python benchmarks/scale.py

clean: ## remove the environment and the tools' caches; results stay
	rm -rf .venv .pytest_cache .ruff_cache .hypothesis

# The first Python named that is new enough and can make an environment makes it; one that is
# whole is kept, one left half-made or whose Python is gone is made again.
.venv/.run: pyproject.toml constraints.txt
	@$(BIN)/python -c 'import pip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  for python in $(PYTHON); do \
	    "$$python" -c 'import ensurepip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && \
	      exec "$$python" -m venv --clear .venv; \
	  done; \
	  echo "tailproof needs Python 3.11 or newer with venv, found none among: $(PYTHON)"; \
	  echo "install it (Debian, Ubuntu: python3 python3-venv) or name it: make PYTHON=/path/to/python3"; \
	  exit 1; }
	@echo "setting up .venv: about 2 GB, a minute or two"
	$(INSTALL) -e .
	@touch $@

.venv/.dev: .venv/.run
	$(INSTALL) -e '.[dev]'
	@touch $@

.venv/peers/.done: benchmarks/peers.txt | .venv/.run
	@$(BIN)/python -m venv --clear .venv/peers
	@echo "setting up .venv/peers for the benchmark: about 2 GB"
	.venv/peers/bin/python -m pip install --quiet --disable-pip-version-check -r benchmarks/peers.txt
	@touch $@

browser:
	@command -v chromium >/dev/null && command -v chromedriver >/dev/null || { \
	  echo "the report's test needs the packages chromium and chromium-driver"; \
	  command -v apt-get >/dev/null && test "$$(id -u)" = 0 || { \
	    echo "install them, on Debian as root: apt-get install chromium chromium-driver"; exit 1; }; \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive \
	    apt-get install -y -qq --no-install-recommends chromium chromium-driver; }
