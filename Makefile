# Start with `make demo` or `make test`. Both set up everything in .venv, once.
PYTHON ?= python3.13 python3.12 python3.11 python3
BIN := .venv/bin
CORES ?= 2
SNAKEMAKE := $(BIN)/snakemake --cores $(CORES)
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

# Containers often set it: each of some fifty jobs would then compile the package again.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help demo test test-pipelines test-chaos test-slurm slurm lint docs schema bench-train bench-threads bench-gpu bench-experts bench-loader bench-scale bench-overhead bench-proof bench-systems bench-stream bench-predict bench-calibration bench-embed bench-diagnosis bench-near-duplicates bench-contains bench-guarantees bench-labels bench-heads bench-long-tail bench-onnx bench-students bench-unknown clean browser

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: .venv/.run ## set up, train three experts on long-tailed digits and show the results
	$(SNAKEMAKE) --quiet host reason
	@$(BIN)/python -m tailproof.report.terminal_summary results/digits_lt

# Three processes for two cores: many tests wait for processes that they started or stopped.
test: .venv/.dev .venv/validators/.done browser ## set up and run the tests
	$(BIN)/pytest -n 3 --dist loadfile --no-loadscope-reorder

test-pipelines: .venv/.dev ## run whole pipelines: rare events, taxonomies, sweeps, heads, and all jobs again
	$(BIN)/pytest -n 2 --dist loadfile tests/pipelines

test-chaos: .venv/.dev ## kill training runs about a hundred times and compare the bytes
	TAILPROOF_KILLS=100 $(BIN)/pytest -k at_random_moments tests/training

test-slurm: .venv/.dev slurm ## run the pipeline on a two-node Slurm cluster on this machine (as root)
	$(BIN)/pytest tests/slurm

lint: .venv/.dev ## check style, types and the workflow
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/lint-imports
	$(BIN)/mypy
	$(BIN)/snakefmt --check --compact-diff Snakefile rules workflow/project/Snakefile
	$(BIN)/snakemake --lint

docs: .venv/.dev ## build docs/ as a web site in .site
	$(BIN)/mkdocs build

schema: .venv/.run ## write the JSON schemas of experiments and records
	$(BIN)/python -m tailproof.config.json_schema config/schema.json
	$(BIN)/python -m tailproof.provenance.record_schema docs/record-schema.json

bench-train: .venv/.dev ## compare training speed with a plain PyTorch loop
	$(BIN)/python benchmarks/train.py

bench-threads: .venv/.run ## measure how threads should wait for each other next to busy neighbours
	$(BIN)/python benchmarks/threads.py

bench-gpu: .venv/.dev ## test and time everything that a GPU changes, in under 10 minutes (on a GPU)
	$(BIN)/python benchmarks/gpu.py

bench-experts: .venv/.dev ## time the three experts of cifar100_lt on random pixels (on a GPU)
	$(BIN)/python benchmarks/experts.py

bench-loader: .venv/.dev .venv/peers/.done ## compare the loader's speed and start-up time with other loaders
	$(BIN)/python benchmarks/loader.py

bench-scale: .venv/.run ## measure how time and memory grow up to 500,000 images
	$(BIN)/python benchmarks/scale.py

bench-systems: .venv/.dev ## compare training speed with timm's training script on three large networks
	$(BIN)/python benchmarks/systems.py

bench-stream: .venv/.run ## time the classification of scan lines as they arrive
	$(BIN)/python benchmarks/stream.py

bench-predict: .venv/.run ## measure how many images per second `tailproof predict` classifies
	$(BIN)/python benchmarks/predict.py

bench-onnx: .venv/.dev ## compare the speed of exported experts with torch, and ONNX's resizing with Pillow's
	$(BIN)/python benchmarks/onnx_export.py

bench-embed: .venv/.dev ## compare the speed of embedding with a plain loop and with timm's inference
	$(BIN)/python benchmarks/embed.py

bench-calibration: .venv/.run ## count the seeds of the demo that calibration makes worse
	$(BIN)/python benchmarks/calibration.py

bench-diagnosis: .venv/.run .venv/autod/.done ## score the diagnosis on histories with known problems
	$(BIN)/python benchmarks/diagnosis.py

bench-near-duplicates: .venv/.run .venv/imagededup/.done ## find planted copies in photographs; CIFAR100=FOLDER
	$(BIN)/python benchmarks/near_duplicates.py $(CIFAR100)

bench-contains: .venv/.run ## ask about copies, strangers and 100,000 files; CIFAR100=FOLDER
	$(BIN)/python benchmarks/near_duplicates.py $(CIFAR100) --contains --count 300

bench-guarantees: .venv/.run ## re-split logits 1,000 times and count broken promises; RESULTS="FOLDER …"
	$(BIN)/python benchmarks/guarantees.py $(RESULTS)

bench-labels: .venv/.dev ## compare the search for wrong labels with cleanlab on planted ones
	$(BIN)/python benchmarks/wrong_labels.py

bench-long-tail: .venv/.run ## write the long-tail table of docs/benchmarks.md from the results of this project
	$(BIN)/python benchmarks/long_tail.py > docs/benchmarks.md

bench-heads: .venv/.run ## measure training a head on up to 400,000 x 768 stored features
	$(BIN)/python benchmarks/heads.py

bench-students: .venv/.run ## train students of the demo's ensemble and measure how far they get
	$(BIN)/python benchmarks/students.py

bench-unknown: .venv/.run ## measure scores of unknown images; FEATURES=FOLDER MANIFEST=FILE
	$(BIN)/python benchmarks/unknown.py $(FEATURES) $(MANIFEST)

bench-overhead: .venv/.run ## compare the demo with one process that computes the same
	$(BIN)/python benchmarks/overhead.py

bench-proof: .venv/.run ## time `snakemake -n` with 100 and 1,000 jobs, and hashing
	$(BIN)/python benchmarks/proof.py

clean: ## remove the environment and caches; keep the results
	rm -rf .venv .site .pytest_cache .mypy_cache .ruff_cache .hypothesis

# The first Python in PYTHON that is new enough and has venv creates the environment. A complete
# environment is kept; an incomplete one, or one whose Python is gone, is created again.
.venv/.run: pyproject.toml constraints.txt
	@$(BIN)/python -c 'import pip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  for python in $(PYTHON); do \
	    "$$python" -c 'import ensurepip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && \
	      exec "$$python" -m venv --clear .venv; \
	  done; \
	  echo "tailproof needs Python 3.11 or newer with venv, but found none among: $(PYTHON)"; \
	  echo "install it (Debian, Ubuntu: python3 python3-venv) or give its path: make PYTHON=/path/to/python3"; \
	  exit 1; }
	@echo "setting up .venv: about 2 GB, a minute or two"
	$(INSTALL) -e .
	@$(BIN)/python -m compileall -q src
	@touch $@

.venv/.dev: .venv/.run
	$(INSTALL) -e '.[dev]'
	@touch $@

.venv/peers/.done: benchmarks/peers.txt | .venv/.run
	@$(BIN)/python -m venv --clear .venv/peers
	@echo "setting up .venv/peers for the benchmark: about 2 GB"
	.venv/peers/bin/python -m pip install --quiet --disable-pip-version-check -r benchmarks/peers.txt
	@touch $@

.venv/autod/.done: benchmarks/autod.txt | .venv/.run
	@$(BIN)/python -m venv --clear .venv/autod
	.venv/autod/bin/python -m pip install --quiet --disable-pip-version-check -r benchmarks/autod.txt
	@touch $@

.venv/imagededup/.done: benchmarks/imagededup.txt | .venv/.run
	@$(BIN)/python -m venv --clear .venv/imagededup
	@echo "setting up .venv/imagededup for the benchmark: about 5 GB"
	.venv/imagededup/bin/python -m pip install --quiet --disable-pip-version-check -r benchmarks/imagededup.txt
	@touch $@

.venv/validators/.done: tests/provenance/validators.txt | .venv/.run
	@$(BIN)/python -m venv --clear .venv/validators
	@echo "setting up .venv/validators for the tests: about 650 MB"
	.venv/validators/bin/python -m pip install --quiet --disable-pip-version-check -r tests/provenance/validators.txt
	@touch $@

browser:
	@command -v chromium >/dev/null && command -v chromedriver >/dev/null || { \
	  echo "the report's test needs the packages chromium and chromium-driver"; \
	  command -v apt-get >/dev/null && test "$$(id -u)" = 0 || { \
	    echo "install them, on Debian as root: apt-get install chromium chromium-driver"; exit 1; }; \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive \
	    apt-get install -y -qq --no-install-recommends chromium chromium-driver; }

slurm:
	@test "$$(id -u)" = 0 || { \
	  echo "test-slurm starts Slurm's daemons, which needs root: sudo make test-slurm, or in a container"; \
	  exit 1; }
	@PATH="$$PATH:/usr/sbin:/sbin"; \
	command -v slurmctld >/dev/null && command -v slurmd >/dev/null && command -v srun >/dev/null && \
	  command -v munged >/dev/null || { \
	  command -v apt-get >/dev/null || { \
	    echo "test-slurm needs slurmctld, slurmd, srun and munged, and can install them only with apt-get"; exit 1; }; \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive \
	    apt-get install -y -qq --no-install-recommends slurmctld slurmd slurm-client munge; }
