# Every target sets up what it needs: a virtual environment in .venv, pinned by constraints.txt.
PRESET ?= tiny
T2I_HOME ?= $(CURDIR)/.t2i
PYTHON ?= python3
WORKERS ?= 2
PORT ?= 3000

UV_VERSION := 0.13.8
BIN := .venv/bin
READY := .venv/.ready

export T2I_HOME
.DEFAULT_GOAL := help
.PHONY: help demo fuzz test ui lint format constraints bench bench-ingest bench-pages bench-duplicates bench-caption bench-train bench-eval clean clean-all

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 22

demo: $(READY) ## run the whole graph on the embedded web site (PRESET=tiny, T2I_HOME=.t2i)
	$(BIN)/t2i demo --preset $(PRESET)

# Whole graphs run by themselves afterwards: each of them keeps every core busy.
test: export OMP_NUM_THREADS = 1
test: lint ## lint, type check and run the test suite
	$(BIN)/pytest -n $(WORKERS) --dist loadfile --ignore=tests/graph --ignore=tests/ui
	$(BIN)/pytest tests/graph tests/ui

SECONDS ?= 60
FUZZ := html robots headers addresses texts images

fuzz: $(READY) ## fuzz the parsers and decoders of the crawl (SECONDS=60 each)
	$(BIN)/uv pip install --quiet --python $(BIN)/python --target build/fuzz/site atheris==3.0.0
	@for target in $(FUZZ); do echo "fuzz $$target"; \
	    PYTHONPATH=build/fuzz/site OMP_NUM_THREADS=1 $(BIN)/python -m tests.fuzz.run $$target $(SECONDS) 2>build/fuzz/$$target.log \
	    || { tail -30 build/fuzz/$$target.log; exit 1; }; \
	    grep -E 'stat::number_of_executed_units|Done' build/fuzz/$$target.log; done

ui: $(READY) ## the Dagster web UI over the same T2I_HOME
	$(BIN)/t2i ui --preset $(PRESET) --port $(PORT)

lint: $(READY) ## ruff, mypy and import-linter
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(READY) ## put the code into its one format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

constraints: $(READY) ## resolve the dependencies again, keeping the versions that still fit
	$(BIN)/uv pip compile pyproject.toml --all-extras --no-header --no-annotate --quiet -o constraints.txt

bench: bench-ingest bench-pages bench-duplicates bench-caption bench-train bench-eval ## every benchmark against the tools of the field

bench-ingest: $(READY) ## images per second against img2dataset, over HTTP and HTTPS (build/bench/ingest.json)
	$(BIN)/python -m tests.bench.ingest $(BENCH_OPTIONS)

bench-pages: $(READY) ## pages and images per second against Scrapy on the embedded site (build/bench/pages.json)
	$(BIN)/python -m tests.bench.pages $(BENCH_OPTIONS)

bench-duplicates: $(READY) ## duplicates among a million hashes: seconds, memory, recall
	$(BIN)/python -m tests.bench.duplicates

bench-caption: $(READY) ## captions per second against open_clip's CoCa.generate (build/bench/caption.json)
	$(BIN)/python -m tests.bench.caption $(BENCH_OPTIONS)

bench-train: $(READY) ## samples per second against diffusers' recipe, a bare loop and open_clip_train (build/bench/train.json)
	$(BIN)/python -m tests.bench.train $(BENCH_OPTIONS)

bench-eval: $(READY) ## Frechet distance of 10,000 pictures against pytorch-fid, and its root against scipy's (build/bench/evaluate.json)
	$(BIN)/python -m tests.bench.evaluate $(BENCH_OPTIONS)

clean: ## remove caches and build outputs; keep .venv and T2I_HOME
	rm -rf build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find t2i_assets training evaluation tests -name __pycache__ -type d -prune -exec rm -rf {} +

clean-all: clean ## remove the environment too
	rm -rf .venv

# uv installs in seconds what pip takes minutes for; pip brings uv, so that nothing but Python is needed.
$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	    echo "Python 3.11 or newer is needed, '$(PYTHON)' is: $$($(PYTHON) --version 2>&1). Name another: make $(MAKECMDGOALS) PYTHON=python3.12" >&2; \
	    exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv || { \
	    echo "the virtual environment could not be made: on Debian and Ubuntu, install python3-venv" >&2; exit 1; }
	@test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	$(BIN)/uv pip install --python $(BIN)/python -c constraints.txt -e '.[dev]'
	@touch $@
